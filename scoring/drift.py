"""Whether recent rows still look like those that a model was trained on.

*PSI*, the population stability index, compares shares per bin, ``Σ (p − q) · ln(p / q)``: under 0.1 nothing to speak of,
over 0.25 another population. It needs only what a card keeps. *KS*, the Kolmogorov–Smirnov distance, compares the
distributions themselves where both samples are at hand.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from scoring.model import Card, Matrix, Reference, Vector

#: A column whose PSI is above it has drifted.
PSI_LIMIT = 0.25
_BINS = 10
#: A share that no row fell into is taken as this, or one empty bin would be infinitely far away.
_LEAST = 1e-4


class ColumnDrift(msgspec.Struct, frozen=True):
    """How far a column has moved. ``ks`` and its p-value are None where only the card is at hand, or all is null."""

    column: str
    psi: float
    ks: float | None = None
    p_value: float | None = None


def reference_of(values: Vector) -> Reference:
    """A column's deciles among training rows, and the shares between them; the last share is that of nulls."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Reference((), (0.0, 1.0))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return Reference(tuple(edges.tolist()), tuple(_shares(values, edges).tolist()))


def psi(reference: Reference, values: Vector) -> float:
    """The population stability index of a column; 0 without rows."""
    if not len(values):
        return 0.0
    before = np.maximum(np.array(reference.shares), _LEAST)
    after = np.maximum(_shares(values, np.array(reference.edges)), _LEAST)
    return float(((after - before) * np.log(after / before)).sum())


def drift(card: Card, rows: Matrix, training: Matrix | None = None) -> list[ColumnDrift]:
    """How far each column of recent rows has moved since the training of a model, the farthest first.

    Parameters
    ----------
    rows : of the model's columns; a few hundred at least.
    training : the training rows, where they are at hand; then KS is computed, too.
    """
    found = [
        ColumnDrift(name, psi(card.reference[name], rows[:, place]), *_distance(training, rows, place))
        for place, name in enumerate(card.columns)
    ]
    return sorted(found, key=lambda each: (-each.psi, each.column))


def drifted(found: Sequence[ColumnDrift], limit: float = PSI_LIMIT) -> list[str]:
    """Columns beyond the limit."""
    return [each.column for each in found if each.psi > limit]


def drifted_share(card: Card, found: Sequence[ColumnDrift], limit: float = PSI_LIMIT) -> float:
    """How much of a model's importance lies on features that have drifted, 0 to 1; 0 where nothing was important.

    A column that the model hardly looks at may move as it likes.
    """
    moved = {column.partition("=")[0] for column in drifted(found, limit)}
    weights = {each.feature: max(0.0, each.importance) for each in card.importance}
    total = sum(weights.values())
    return sum(weight for feature, weight in weights.items() if feature in moved) / total if total else 0.0


def _distance(training: Matrix | None, rows: Matrix, place: int) -> tuple[float | None, float | None]:
    if training is None:
        return None, None
    from scipy.stats import ks_2samp  # a second to import, and only where the training rows are at hand

    before, after = (each[~np.isnan(each)] for each in (training[:, place], rows[:, place]))
    if not len(before) or not len(after):
        return None, None
    found = ks_2samp(before, after, method="asymp")
    return float(found.statistic), float(found.pvalue)


def _shares(values: Vector, edges: Vector) -> Vector:
    """Of each bin between the edges, then of nulls."""
    is_null = np.isnan(values)
    bins = np.searchsorted(edges, values[~is_null], side="left")
    counts = np.bincount(bins, minlength=len(edges) + 1)
    return np.append(counts, is_null.sum()) / len(values)
