"""Days to close: how long until the deal, and what lengthens or shortens it.

The table says both in words. A trained model gives the days themselves; without one the rules multiply: 45 days, times
the factor of each line that holds, from a third to three times that as optimistic and pessimistic, all within 1 and 365.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from scoring.claims import Claim, Claims, all_hold, names_of

BASE_DAYS = 45.0
LEAST_DAYS = 1.0
MOST_DAYS = 365.0
SPREAD = 3.0


class DaysToClose(msgspec.Struct, frozen=True, gc=False):
    """Days from the prediction on. ``factors`` lengthen them, ``accelerators`` shorten them."""

    expected: float
    optimistic: float
    pessimistic: float
    factors: tuple[str, ...]
    accelerators: tuple[str, ...]


class Pace(NamedTuple):
    """A line of the table: a factor above 1 lengthens the wait. ``{0}`` in the text is the value of the first claim."""

    claims: Claims
    factor: float
    text: str


PACES: tuple[Pace, ...] = (
    Pace((Claim("activity:meeting_count", ">=", 1),), 0.6, "A meeting is held or scheduled"),
    Pace((Claim("timing:activity_burst", "=", 1),), 0.7, "Three or more activities in the last 24 hours"),
    Pace((Claim("activity:form_submit_count", ">=", 1),), 0.8, "A form was submitted"),
    Pace((Claim("outreach:avg_response_time", "<=", 86_400),), 0.8, "Answers e-mails within a day"),
    Pace((Claim("demographic:title_seniority", "=", "c_level"),), 0.85, "Speaks for the whole company"),
    Pace((Claim("outreach:email_click_rate", ">=", 0.2),), 0.9, "Clicks every fifth e-mail or more"),
    Pace((Claim("demographic:company_size_estimate", "=", "enterprise"),), 1.5, "Enterprises take longer to decide"),
    Pace((Claim("demographic:company_size_estimate", "=", "large"),), 1.25, "Large companies take longer to decide"),
    Pace((Claim("timing:days_since_last_activity", ">=", 14),), 1.5, "Silent for {0:g} days"),
    Pace((Claim("activity:activity_velocity", "<", 0.1),), 1.3, "Only {0:.2g} activities a day"),
    Pace((Claim("demographic:title_seniority", "=", "individual"),), 1.2, "Needs somebody else's decision"),
    Pace((Claim("outreach:avg_response_time", ">", 259_200),), 1.2, "Takes more than three days to answer"),
)

#: The features that the table reads.
PACE_FEATURES: frozenset[str] = frozenset(name for pace in PACES for name in names_of(pace.claims))


def days_by_rules(values: Mapping[str, Any]) -> DaysToClose:
    """The rules' days, from a lead's features by reference.

    Examples
    --------
    >>> days_by_rules({"activity:meeting_count": 1}).expected
    27.0
    """
    expected = BASE_DAYS
    holding = _holding(values)
    for pace in holding:
        expected *= pace.factor
    return _days(values, holding, expected, expected / SPREAD, expected * SPREAD)


def days_to_close(values: Mapping[str, Any], expected: float, optimistic: float, pessimistic: float) -> DaysToClose:
    """Given days, in order and within bounds, with what the table says about them."""
    return _days(values, _holding(values), expected, optimistic, pessimistic)


def _days(values: Mapping[str, Any], holding: list[Pace], *days: float) -> DaysToClose:
    low, middle, high = sorted(min(MOST_DAYS, max(LEAST_DAYS, each)) for each in days)
    return DaysToClose(
        middle,
        low,
        high,
        tuple(_text(pace, values) for pace in holding if pace.factor > 1),
        tuple(_text(pace, values) for pace in holding if pace.factor < 1),
    )


def _holding(values: Mapping[str, Any]) -> list[Pace]:
    return [pace for pace in PACES if all_hold(pace.claims, values)]


def _text(pace: Pace, values: Mapping[str, Any]) -> str:
    return pace.text.format(values[pace.claims[0].name])
