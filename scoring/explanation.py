"""Why a score is what it is: a base, and what each feature adds to it or takes from it, in points of the score.

``base + Σ contributions = score`` within 1e-6, for every source. A model's contributions are logits; they are scaled
linearly, from the way its margin goes from its base to the way its calibrated score goes::

    points = logits · (score − base) / Σ logits

Columns of one feature are one item. The greatest items are named, the others summed in one item ``other``, which also
takes what no scale can express: where contributions cancel out, a linear scale would blow a small difference up to
thousands of points, so a logit is never worth more than 50 points, nor less than none.

Where shap is installed its TreeExplainer finds the contributions of boosted trees; without it, and for all other
models, the model's own way does (paths through the trees, coefficients, gradients).
"""

import importlib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Any, NamedTuple

import msgspec
import numpy as np

from scoring.model import Contributions, Matrix, Vector
from scoring.rules import RuleScore

OTHER = "other"

#: Rows that shap explains at a time: it gives other threads no turn meanwhile, some 3 ms.
_ROWS_AT_ONCE = 20

#: Points of the score that one logit may be worth at most.
STEEPEST = 50.0


class Item(msgspec.Struct, frozen=True, gc=False):
    """What one feature adds to the score; ``value`` is the feature's, null for ``other``."""

    feature: str
    value: int | float | str | list[str] | None
    contribution: float


class Explanation(msgspec.Struct, frozen=True, gc=False):
    """``base + Σ contribution`` is the score, within 1e-6. Items by size, ``other`` last."""

    base: float
    items: tuple[Item, ...]


class Part(NamedTuple):
    """What one feature adds, in points of the score."""

    feature: str
    value: Any
    points: float


def explained(base: float, score: float, parts: Iterable[Part], most: int) -> Explanation:
    """The explanation of these parts; ``other`` takes what they leave.

    Parameters
    ----------
    most : items named at most, the greatest.

    Examples
    --------
    >>> explained(10.0, 40.0, [Part("a", 1, 20.0), Part("b", 2, 7.0), Part("c", 3, 3.0)], 1).items
    (Item(feature='a', value=1, contribution=20.0), Item(feature='other', value=None, contribution=10.0))
    """
    ranked = sorted((each for each in parts if each.points), key=lambda each: -abs(each.points))
    return _completed(base, score, [Item(*each) for each in ranked[:most]])


def _completed(base: float, score: float, items: list[Item]) -> Explanation:
    """With an item ``other`` where these leave something."""
    rest = fsum((score, -base, *(-item.contribution for item in items)))
    if abs(rest) > 1e-9:
        items.append(Item(OTHER, None, rest))
    return Explanation(base, tuple(items))


def slope_between(base: float, score: float, logits: float) -> float:
    """Points per logit, when so many logits lead from the base to the score.

    Examples
    --------
    >>> slope_between(10.0, 40.0, 1.5), slope_between(10.0, 40.0, 1e-6), slope_between(10.0, 40.0, -1.0)
    (20.0, 50.0, 0.0)
    """
    way = score - base
    if logits * way < 0:
        return 0.0
    return way / logits if abs(logits) * STEEPEST > abs(way) else STEEPEST


def by_logits(
    base: float,
    score: float,
    features: Sequence[str],
    logits: Vector,
    values: Mapping[str, Any],
    most: int,
    slope: float | None = None,
) -> Explanation:
    """The explanation of contributions in logits, scaled to points.

    Parameters
    ----------
    features, logits : each feature's contribution.
    slope : points per logit; by default what leads from the base to the score.
    """
    points = logits * (slope_between(base, score, float(logits.sum())) if slope is None else slope)
    greatest = np.argsort(-np.abs(points), kind="stable")[:most]
    given = zip(map(features.__getitem__, greatest.tolist()), points[greatest].tolist(), strict=True)
    return _completed(base, score, [Item(name, values.get(name), each) for name, each in given if each])


def by_rules(scored: RuleScore, most: int) -> Explanation:
    """The explanation of the rules' score: the base is 0, each feature gives its points."""
    return explained(0.0, scored.score, [Part(*each) for each in scored.given], most)


class Grouping:
    """Sums the columns of each feature.

    Parameters
    ----------
    groups : feature → places of its columns.
    columns : how many there are.
    """

    def __init__(self, groups: Mapping[str, Sequence[int]], columns: int) -> None:
        self.features: tuple[str, ...] = tuple(groups)
        self._members = np.zeros((columns, len(groups)))
        for place, columns_of in enumerate(groups.values()):
            self._members[list(columns_of), place] = 1.0

    def summed(self, columns: Matrix) -> Matrix:
        """Shape (rows, features) from (rows, columns)."""
        return columns @ self._members


def shap_is_installed() -> bool:
    """Whether the extra is there."""
    return importlib.util.find_spec("shap") is not None


class TreeExplainer:
    """shap's exact contributions of boosted trees, the explainer made once per model.

    Parameters
    ----------
    trees : a fitted ``HistGradientBoostingClassifier``, nulls as NaN.
    """

    def __init__(self, trees: Any) -> None:
        shap = importlib.import_module("shap")  # an extra: half a second and 200 MB that only its users pay for
        self._explainer = shap.TreeExplainer(trees)

    def contributions(self, rows: Matrix) -> Contributions:
        """Of each column to the margin; about 0.7 ms a row."""
        parts = [rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE)]
        values = [self._explainer.shap_values(part, check_additivity=False) for part in parts]
        base = np.ravel(self._explainer.expected_value)[0]
        return Contributions(float(base), np.vstack(values) if values else np.zeros(rows.shape), "shap")
