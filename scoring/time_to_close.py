"""The time-to-close model: a hazard over periods, with a card of its own.

The log is cut where the test slice begins: what is learnt from is seen up to there and no further, so an outcome of the
test slice is known to no row before it.
"""

from typing import Any

import msgspec
import numpy as np

from kernel.steps import Steps
from kernel.times import DAY_US
from scoring.cards import coverage, libraries, references, spans
from scoring.conversion import measured
from scoring.dataset import Dataset
from scoring.hazard import EDGES_DAYS, Hazard, fit_hazard
from scoring.importance import importances
from scoring.metrics import judged
from scoring.model import Card, Contributions, Days, Matrix, Measure, Vector
from scoring.outcomes import Happens
from scoring.splitting import Slices, enough, split

TASK = "time_to_close"


class TimeToCloseModel:
    """``DurationModel`` of TIME_TO_CLOSE."""

    def __init__(self, card: Card, hazard: Hazard) -> None:
        self.card, self.hazard = card, hazard
        self.columns, self.fingerprint = card.columns, card.fingerprint
        self.edges_days = hazard.edges_days

    @property
    def calibration_error(self) -> float | None:
        """Of the curve at the conversion's horizon."""
        return measured(self.card.metrics.get(TASK), "calibrationError")

    def curve(self, rows: Matrix) -> Matrix:
        return self.hazard.curve(rows)

    def days(self, rows: Matrix) -> Days:
        return self.hazard.days(rows)

    def contributions(self, rows: Matrix) -> Contributions:
        return self.hazard.contributions(rows)

    def parts(self) -> dict[str, Any]:
        return self.hazard.parts()

    @classmethod
    def of_parts(cls, card: Card, parts: dict[str, Any]) -> "TimeToCloseModel":
        return cls(card, Hazard.of_parts(parts))


def train_time_to_close(dataset: Dataset, outcome: Happens, *, seed: int, now_us: int) -> Steps[TimeToCloseModel]:
    """Train on everything before the test slice, open leads included, and judge on the test slice.

    Raises ``TooFewRows``.
    """
    slices = split(dataset, outcome.within_days)
    enough(dataset.labels[outcome.name], slices, outcome.name)
    edges = np.array(EDGES_DAYS, dtype=np.float64)
    yield
    hazard, losses = yield from fit_hazard(*_seen_before(dataset, slices), seed=seed, edges_days=edges)
    test = slices.test
    at = int(np.argmin(np.abs(edges - outcome.within_days)))
    label = dataset.labels[outcome.name][test]
    metrics = judged(hazard.curve(dataset.rows[test])[:, at], label, dataset.lead[test], seed=seed)
    yield
    metrics = msgspec.structs.replace(metrics, measures=metrics.measures | _days_off(dataset, slices, hazard, seed))
    importance = yield from importances(
        lambda rows: hazard.logits(rows, np.full(len(rows), edges[at])),
        dataset.rows[test],
        label,
        dataset.features.groups,
        seed=seed,
    )
    said = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    card = Card(
        family="time_to_close",
        estimator=f"hazard, {hazard.kind}",
        created_us=now_us,
        log_until_us=dataset.until_us,
        horizon_days=outcome.within_days,
        seed=seed,
        slices=spans(dataset, slices),
        outcomes={TASK: f"days until {' or '.join(outcome.types)}, given that it comes within {edges[-1]:g} days"},
        metrics={TASK: metrics},
        beats_rules=None,
        notes=(
            f"{hazard.kind} was kept for its log loss on the calibration rows ({said})",
            f"ranked and calibrated by the curve at {edges[at]:g} days",
        ),
        features=dataset.features.references,
        columns=dataset.features.columns,
        fingerprint=dataset.features.fingerprint,
        calibration={TASK: "sigmoid"},
        thresholds={},
        coverage=coverage(dataset, slices),
        reference=references(dataset, slices),
        importance=importance,
        libraries=libraries(),
    )
    return TimeToCloseModel(card, hazard)


def _seen_before(dataset: Dataset, slices: Slices) -> tuple[Matrix, Vector, Vector, Any]:
    """Rows before the test slice, their waits, how long each may be followed, and which decide when to stop."""
    test_us, later_us = int(dataset.at_us[slices.test].min()), int(dataset.at_us[slices.calibration].min())
    rows = np.flatnonzero(dataset.at_us < test_us)
    is_later = dataset.at_us[rows] >= later_us
    seen = (np.where(is_later, test_us, later_us) - dataset.at_us[rows]) / DAY_US
    return dataset.rows[rows], dataset.wait_days[rows], seen, is_later


def _days_off(dataset: Dataset, slices: Slices, hazard: Hazard, seed: int) -> dict[str, Measure]:
    """Mean of predicted less actual days, and of its size, over test rows that were followed to the last edge."""
    reach = float(hazard.edges_days[-1])
    test = slices.test
    whole = test[(dataset.seen_days[test] >= reach) & (dataset.wait_days[test] <= reach)]
    if len(whole) < 30:
        return {}
    off = hazard.days(dataset.rows[whole]).mean - dataset.wait_days[whole]
    rng = np.random.default_rng(seed)
    drawn = off[rng.integers(len(off), size=(200, len(off)))]
    found = {
        "meanDaysOff": (off.mean(), drawn.mean(axis=1)),
        "absoluteDaysOff": (np.abs(off).mean(), np.abs(drawn).mean(axis=1)),
    }
    return {
        name: Measure(float(value), *np.quantile(repeated, [0.025, 0.975]).tolist())
        for name, (value, repeated) in found.items()
    }
