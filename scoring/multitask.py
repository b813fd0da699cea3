"""Churn, calls and health: one network with a shared base, a calibrated probability per task.

*Customer health*, 0 to 100, is 100 times the weighted freedom from both risks and the recent ratings::

    health = 100 · (0.5 · (1 − P(churn)) + 0.2 · (1 − P(calls)) + 0.3 · rating)

with rating = (mean rating of 30 days − 1) / 4, of all time where the 30 days have none. Without any rating the other two
weights are raised to 1 together (0.714 and 0.286), so that silence about lessons is neither praise nor blame.
"""

from typing import Any

import msgspec
import numpy as np

from kernel.steps import Steps
from scoring.calibration import Calibration, calibrated
from scoring.cards import coverage, libraries, references, spans
from scoring.conversion import measured
from scoring.dataset import Dataset
from scoring.importance import importances
from scoring.metrics import best_f1, judged
from scoring.model import Card, Contributions, Health, Importance, Matrix, Metrics, Vector
from scoring.network import Network, fit_network
from scoring.outcomes import Outcome
from scoring.splitting import enough, split

TASKS = ("churn", "calls")
CHURN_WEIGHT, CALLS_WEIGHT, RATING_WEIGHT = 0.5, 0.2, 0.3
#: Ratings of sessions, the recent one first: the first that is there counts.
RATINGS = ("window:avg_session_rating_30d", "lifetime:avg_lifetime_rating")


class Risk:
    """``ProbabilityModel`` of one task of the network."""

    def __init__(self, card: Card, network: Network, task: int, calibration: Calibration) -> None:
        self.card, self.columns, self.fingerprint = card, card.columns, card.fingerprint
        self._network, self._task, self._calibration = network, task, calibration

    @property
    def calibration_error(self) -> float | None:
        return measured(self.card.metrics.get(TASKS[self._task]), "calibrationError")

    def margin(self, rows: Matrix) -> Vector:
        return self._network.margins(rows)[:, self._task]

    def predict_proba(self, rows: Matrix) -> Vector:
        return self.probabilities(self.margin(rows))

    def probabilities(self, margin: Vector) -> Vector:
        return self._calibration.probabilities(margin)

    def contributions(self, rows: Matrix) -> Contributions:
        return self._network.contributions(rows, self._task)


class MultitaskModel:
    """``RiskModel``: CHURN, CALL_RISK, HEALTH."""

    def __init__(self, card: Card, network: Network, calibrations: tuple[Calibration, ...]) -> None:
        self.card, self.columns, self.fingerprint = card, card.columns, card.fingerprint
        self._network, self._calibrations = network, calibrations
        self.churn, self.calls = (Risk(card, network, task, each) for task, each in enumerate(calibrations))
        self._ratings = [card.columns.index(each) for each in RATINGS if each in card.columns]

    def health(self, rows: Matrix) -> Health:
        margins = self._network.margins(rows)
        churn, calls = (each.probabilities(margins[:, task]) for task, each in enumerate(self._calibrations))
        return health_of(churn, calls, self._rating(rows))

    def _rating(self, rows: Matrix) -> Vector:
        """1 to 5; NaN where there is none."""
        rating = np.full(len(rows), np.nan)
        for place in self._ratings:
            rating = np.where(np.isnan(rating), rows[:, place], rating)
        return rating

    def parts(self) -> dict[str, Any]:
        return {
            "network": self._network.parts(),
            "calibrations": [msgspec.to_builtins(each) for each in self._calibrations],
        }

    @classmethod
    def of_parts(cls, card: Card, parts: dict[str, Any]) -> "MultitaskModel":
        calibrations = tuple(msgspec.convert(each, Calibration) for each in parts["calibrations"])
        return cls(card, Network.of_parts(parts["network"]), calibrations)


def health_of(churn: Vector, calls: Vector, rating: Vector) -> Health:
    """Health and its parts, in points; ``rating`` is 1 to 5, or NaN."""
    is_rated = ~np.isnan(rating)
    scale = np.where(is_rated, 100.0, 100.0 / (CHURN_WEIGHT + CALLS_WEIGHT))
    from_churn, from_calls = scale * CHURN_WEIGHT * (1.0 - churn), scale * CALLS_WEIGHT * (1.0 - calls)
    from_ratings = np.where(is_rated, 100.0 * RATING_WEIGHT * (np.nan_to_num(rating, nan=1.0) - 1.0) / 4.0, 0.0)
    return Health(from_churn + from_calls + from_ratings, from_churn, from_calls, from_ratings)


def train_multitask(
    dataset: Dataset, churn: Outcome, calls: Outcome, *, seed: int, now_us: int
) -> Steps[MultitaskModel]:
    """Train both tasks at once and judge each on the test slice. Raises ``TooFewRows``."""
    horizon = max(churn.within_days, calls.within_days)
    slices = split(dataset, horizon)
    labels = np.column_stack([dataset.labels[churn.name], dataset.labels[calls.name]])
    for task, outcome in enumerate((churn, calls)):
        enough(labels[:, task], slices, outcome.name)
    yield
    train, later, test = slices
    network = yield from fit_network(dataset.rows[train], labels[train], dataset.rows[later], labels[later], seed=seed)
    margins, tested = network.margins(dataset.rows[later]), network.margins(dataset.rows[test])
    calibrations = tuple(calibrated(margins[:, task], labels[later, task]) for task in range(len(TASKS)))
    metrics: dict[str, Metrics] = {}
    thresholds: dict[str, float] = {}
    shares: list[tuple[Importance, ...]] = []
    for task, (name, calibration) in enumerate(zip(TASKS, calibrations, strict=True)):
        metrics[name] = judged(
            calibration.probabilities(tested[:, task]), labels[test, task], dataset.lead[test], seed=seed
        )
        thresholds[f"{name}BestF1"] = best_f1(calibration.probabilities(margins[:, task]), labels[later, task])
        yield
        shares.append((yield from _importance(network, task, dataset.rows[test], labels[test, task], dataset, seed)))
    card = Card(
        family="multitask",
        estimator="network",
        created_us=now_us,
        log_until_us=dataset.until_us,
        horizon_days=horizon,
        seed=seed,
        slices=spans(dataset, slices),
        outcomes={"churn": churn.words(), "calls": calls.words()},
        metrics=metrics,
        beats_rules=None,
        notes=(),
        features=dataset.features.references,
        columns=dataset.features.columns,
        fingerprint=dataset.features.fingerprint,
        calibration={name: each.kind for name, each in zip(TASKS, calibrations, strict=True)},
        thresholds=thresholds,
        coverage=coverage(dataset, slices),
        reference=references(dataset, slices),
        importance=_together(shares),
        libraries=libraries(),
    )
    return MultitaskModel(card, network, calibrations)


def _importance(
    network: Network, task: int, rows: Matrix, label: Vector, dataset: Dataset, seed: int
) -> Steps[tuple[Importance, ...]]:
    return importances(lambda each: network.margins(each)[:, task], rows, label, dataset.features.groups, seed=seed)


def _together(shares: list[tuple[Importance, ...]]) -> tuple[Importance, ...]:
    """The mean over the tasks that could be judged."""
    judged_tasks = [each for each in shares if each]
    found: dict[str, list[Importance]] = {}
    for each in judged_tasks:
        for item in each:
            found.setdefault(item.feature, []).append(item)
    merged = (
        Importance(feature, float(np.mean([i.importance for i in items])), float(np.mean([i.std for i in items])))
        for feature, items in found.items()
    )
    return tuple(sorted(merged, key=lambda each: (-each.importance, each.feature)))
