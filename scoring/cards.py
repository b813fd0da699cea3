"""What goes into every card: where the rows came from, what the columns looked like, which libraries had a hand in it."""

from importlib.metadata import version

import numpy as np

from scoring.dataset import Dataset
from scoring.drift import reference_of
from scoring.model import Reference, Span
from scoring.splitting import Slices

_LIBRARIES = ("scikit-learn", "numpy", "scipy", "skops")


def spans(dataset: Dataset, slices: Slices) -> dict[str, Span]:
    """Times, rows and positives of each slice."""
    found: dict[str, Span] = {}
    for name, rows in slices._asdict().items():
        at_us = dataset.at_us[rows]
        positives = {outcome: int(np.nansum(label[rows])) for outcome, label in dataset.labels.items()}
        found[name] = Span(int(at_us.min()), int(at_us.max()), len(rows), positives)
    return found


def coverage(dataset: Dataset, slices: Slices) -> dict[str, float]:
    """Column → share of the training rows in which it is not null."""
    known = 1.0 - np.isnan(dataset.rows[slices.train]).mean(axis=0)
    return dict(zip(dataset.features.columns, known.tolist(), strict=True))


def references(dataset: Dataset, slices: Slices) -> dict[str, Reference]:
    """Column → its distribution among the training rows."""
    rows = dataset.rows[slices.train]
    return {name: reference_of(rows[:, place]) for place, name in enumerate(dataset.features.columns)}


def libraries() -> dict[str, str]:
    """Name → version of what models are made with."""
    return {name: version(name) for name in _LIBRARIES}
