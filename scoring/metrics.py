"""How good probabilities are on rows that came later, with intervals.

Rows of one lead are no independent witnesses, so an interval repeats the draw of leads, not of rows. Every measure is
computed with weights, so that a repetition is one weighting and costs no sorting.
"""

from collections.abc import Callable

import numpy as np

from scoring.dataset import Indexes
from scoring.model import CalibrationBin, Measure, Metrics, Vector

BINS = 10
REPETITIONS = 200

Measured = Callable[[Vector, Vector, Vector], float]


def auc(probability: Vector, label: Vector, weight: Vector | None = None) -> float:
    """Area under the ROC curve: the chance that a row that came true is ranked above one that did not, ties half.

    NaN where one of the classes is missing.
    """
    order = np.argsort(probability, kind="stable")
    return _sorted_auc(probability[order], label[order], _weights(weight, label)[order])


def _sorted_auc(probability: Vector, label: Vector, weight: Vector) -> float:
    starts = np.flatnonzero(np.concatenate([[True], np.diff(probability) > 0]))
    positive = np.add.reduceat(weight * label, starts)
    negative = np.add.reduceat(weight * (1.0 - label), starts)
    pairs = positive.sum() * negative.sum()
    if pairs <= 0:
        return float("nan")
    return float((positive * (np.cumsum(negative) - negative / 2)).sum() / pairs)


def brier(probability: Vector, label: Vector, weight: Vector | None = None) -> float:
    """Mean squared difference."""
    return float(np.average((probability - label) ** 2, weights=_weights(weight, label)))


def log_loss(probability: Vector, label: Vector, weight: Vector | None = None) -> float:
    """Mean negative log likelihood; a probability of exactly 0 or 1 is taken as 1e-9 from it."""
    said = np.clip(np.where(label > 0.5, probability, 1.0 - probability), 1e-9, 1.0)
    return float(np.average(-np.log(said), weights=_weights(weight, label)))


def calibration_error(probability: Vector, label: Vector, weight: Vector | None = None) -> float:
    """Mean distance, over ten bins of equal mass, of what was said from how often it came true."""
    order = np.argsort(probability, kind="stable")
    return _sorted_error(probability[order], label[order], _weights(weight, label)[order])


def _sorted_error(probability: Vector, label: Vector, weight: Vector) -> float:
    starts = _bin_starts(len(label))
    gaps = np.abs(np.add.reduceat(weight * (probability - label), starts))
    return float(gaps.sum() / weight.sum())


def calibration_bins(probability: Vector, label: Vector) -> tuple[CalibrationBin, ...]:
    """The calibration curve: ten bins of equal mass, by rising probability."""
    order = np.argsort(probability, kind="stable")
    pieces = np.split(order, _bin_starts(len(order))[1:])
    return tuple(CalibrationBin(float(probability[p].mean()), float(label[p].mean()), len(p)) for p in pieces if len(p))


def best_f1(probability: Vector, label: Vector) -> float:
    """The threshold at which precision and recall together are best."""
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(label[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + label.sum())
    return float(probability[order][int(np.argmax(f1))])


def judged(probability: Vector, label: Vector, lead: Indexes, *, seed: int, repetitions: int = REPETITIONS) -> Metrics:
    """AUC, Brier score, log loss and calibration error with 95 % intervals, and the calibration curve.

    What cannot be computed (AUC of one class) is left out. O(rows · repetitions).
    """
    if not len(label):
        return Metrics()
    order = np.argsort(probability, kind="stable")
    probability, label, lead = probability[order], label[order], lead[order]
    measures: dict[str, Measured] = {
        "auc": _sorted_auc,
        "brier": brier,
        "logLoss": log_loss,
        "calibrationError": _sorted_error,
    }
    found = _with_intervals(measures, probability, label, lead, np.random.default_rng(seed), repetitions)
    return Metrics(found, calibration_bins(probability, label))


def _with_intervals(
    measures: dict[str, Measured],
    probability: Vector,
    label: Vector,
    lead: Indexes,
    rng: np.random.Generator,
    repetitions: int,
) -> dict[str, Measure]:
    _, place = np.unique(lead, return_inverse=True)
    count = int(place.max()) + 1
    ones = np.ones(len(label))
    values = {name: measure(probability, label, ones) for name, measure in measures.items()}
    drawn: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repetitions):
        weight = np.bincount(rng.integers(count, size=count), minlength=count).astype(np.float64)[place]
        for name, measure in measures.items():
            drawn[name].append(measure(probability, label, weight))
    return {
        name: Measure(value, *np.nanquantile(drawn[name], [0.025, 0.975]).tolist())
        for name, value in values.items()
        if np.isfinite(value)
    }


def _bin_starts(rows: int) -> Indexes:
    return np.unique(np.linspace(0, rows, min(BINS, rows), endpoint=False).astype(np.int64))


def _weights(weight: Vector | None, label: Vector) -> Vector:
    return np.ones(len(label)) if weight is None else weight
