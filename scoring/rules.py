"""The rule score: 0 to 100, by category, from the tables of ``scoring.points`` and the configuration's weights.

Used where no model is trained, where a caller asks for it, and as the yardstick beside every model. The breakdown of
every prediction comes from here, whatever its source.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from kernel.settings_scoring import CategoryWeights
from scoring.claims import compared
from scoring.points import CATEGORIES, SCORED_FEATURES, Category, Scored


class Breakdown(msgspec.Struct, frozen=True, gc=False):
    """The score's points by category; they add up to the rules' score."""

    demographic: float
    behavioral: float
    temporal: float
    engagement: float


class Given(NamedTuple):
    """What one feature gave: points of the score, weight included."""

    feature: str
    value: Any
    points: float


class RuleScore(NamedTuple):
    """``score`` is the sum of ``given``; ``coverage`` the share of the tables' features that are known."""

    score: float
    breakdown: Breakdown
    given: tuple[Given, ...]
    coverage: float


def rule_score(values: Mapping[str, Any], weights: CategoryWeights) -> RuleScore:
    """The score of a lead's features, by reference.

    Examples
    --------
    >>> scored = rule_score({"demographic:has_company": 1, "timing:activity_burst": 1}, CategoryWeights())
    >>> scored.score, scored.breakdown.demographic, scored.breakdown.temporal
    (7.75, 3.75, 4.0)
    """
    given: list[Given] = []
    totals: dict[str, float] = {}
    for category in CATEGORIES:
        each = _given(category, values, getattr(weights, category.name) / 100)
        totals[category.name] = sum(one.points for one in each)
        given += each
    known = sum(values.get(feature) is not None for feature in SCORED_FEATURES)
    return RuleScore(sum(totals.values()), Breakdown(**totals), tuple(given), known / len(SCORED_FEATURES))


class RuleScorer:
    """The rules as a yardstick beside models: one number of a row's values."""

    def __init__(self, weights: CategoryWeights) -> None:
        self._weights = weights

    @property
    def features(self) -> Sequence[str]:
        """References that the tables read."""
        return SCORED_FEATURES

    def points(self, values: dict[str, object]) -> float:
        """0 to 100."""
        return rule_score(values, self._weights).score


def _given(category: Category, values: Mapping[str, Any], weight_rate: float) -> list[Given]:
    return [
        Given(each.feature, value, weight_rate * _points(each, value))
        for each in category.scored
        if (value := values.get(each.feature)) is not None
    ]


def _points(scored: Scored, value: Any) -> float:
    for comparison, operand, points in scored.lines:
        if compared(value, comparison, operand):
            return points
    return 0.0
