"""The rules' points: what each feature of a lead is worth, category by category.

Each feature gives the points of the first of its lines that holds, and none where none does. The best lines of a
category add up to 100, so a category needs no cap; its weight in the configuration says how many of the score's 100
points that is. Null, and a feature that the organisation does not have, give nothing.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

from scoring.claims import Claim, Comparison

CategoryName = Literal["demographic", "behavioral", "temporal", "engagement"]
CATEGORY_NAMES: tuple[CategoryName, ...] = get_args(CategoryName)


class Line(NamedTuple):
    """So many points where the feature compares so."""

    comparison: Comparison
    operand: float | str
    points: float


class Scored(NamedTuple):
    """One feature and its lines, best first."""

    feature: str
    lines: tuple[Line, ...]

    @property
    def best(self) -> float:
        return max(line.points for line in self.lines)

    def claims(self) -> Iterator[tuple[Claim, float]]:
        return ((Claim(self.feature, line.comparison, line.operand), line.points) for line in self.lines)


class Category(NamedTuple):
    """The features of one category: those of one view of the sales pack."""

    name: CategoryName
    question: str
    scored: tuple[Scored, ...]


def _at_least(feature: str, *steps: tuple[float, float]) -> Scored:
    return Scored(feature, tuple(Line(">=", operand, points) for operand, points in steps))


def _at_most(feature: str, *steps: tuple[float, float]) -> Scored:
    return Scored(feature, tuple(Line("<=", operand, points) for operand, points in steps))


def _one_of(feature: str, *steps: tuple[float | str, float]) -> Scored:
    return Scored(feature, tuple(Line("=", operand, points) for operand, points in steps))


DEMOGRAPHIC = Category(
    "demographic",
    "Who is it?",
    (
        _one_of("demographic:has_company", (1, 15)),
        _one_of("demographic:has_title", (1, 10)),
        _one_of("demographic:has_phone", (1, 10)),
        _one_of("demographic:email_domain_type", ("corporate", 20), ("edu", 10), ("free", 5)),
        _one_of(
            "demographic:title_seniority",
            ("c_level", 25),
            ("vp", 22),
            ("director", 18),
            ("manager", 12),
            ("individual", 6),
        ),
        _one_of(
            "demographic:company_size_estimate",
            ("enterprise", 20),
            ("large", 18),
            ("medium", 15),
            ("small", 10),
            ("micro", 6),
            ("individual", 2),
        ),
    ),
)

BEHAVIORAL = Category(
    "behavioral",
    "What did it do?",
    (
        _at_least("activity:email_open_count", (10, 8), (3, 5), (1, 2)),
        _at_least("activity:email_click_count", (5, 12), (2, 8), (1, 4)),
        _at_least("activity:page_view_count", (20, 12), (5, 7), (1, 3)),
        _at_least("activity:form_submit_count", (3, 14), (1, 10)),
        _at_least("activity:meeting_count", (2, 20), (1, 15)),
        _at_least("activity:call_count", (3, 10), (1, 6)),
        _at_least("activity:activity_velocity", (1, 10), (0.3, 6), (0.1, 3)),
        _at_least("activity:channel_diversity", (5, 7), (3, 5), (2, 2)),
        _at_least("activity:high_value_action_count", (5, 7), (2, 4), (1, 2)),
    ),
)

TEMPORAL = Category(
    "temporal",
    "When did it do it?",
    (
        _at_most("timing:days_since_created", (30, 15), (90, 10), (180, 5)),
        _at_most("timing:days_since_last_activity", (1, 35), (3, 28), (7, 20), (14, 10), (30, 4)),
        _at_least("timing:recency_score", (0.9, 20), (0.5, 14), (0.25, 7), (0.05, 2)),
        _one_of("timing:activity_burst", (1, 20)),
        _one_of("timing:day_pattern", ("weekday", 5), ("weekend", 2)),
        _one_of("timing:time_pattern", ("business_hours", 5), ("off_hours", 2)),
    ),
)

ENGAGEMENT = Category(
    "engagement",
    "How does it answer outreach?",
    (
        _at_least("outreach:email_open_rate", (0.6, 20), (0.3, 14), (0.1, 6)),
        _at_least("outreach:email_click_rate", (0.3, 25), (0.1, 15), (0.01, 6)),
        _at_least("outreach:sequence_engagement", (0.75, 20), (0.4, 12), (0.1, 5)),
        _at_most("outreach:avg_response_time", (3_600, 25), (86_400, 15), (259_200, 8)),
        _one_of("outreach:is_in_active_sequence", (1, 10)),
    ),
)

CATEGORIES: tuple[Category, ...] = (DEMOGRAPHIC, BEHAVIORAL, TEMPORAL, ENGAGEMENT)

#: The features that the rules read, in the order of the tables.
SCORED_FEATURES: tuple[str, ...] = tuple(each.feature for category in CATEGORIES for each in category.scored)

#: Feature → its category; what the rules do not score has none.
CATEGORY_OF: dict[str, CategoryName] = {
    each.feature: category.name for category in CATEGORIES for each in category.scored
}
