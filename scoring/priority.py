"""Priority: whom to turn to first. How likely, and how urgent.

``priority = round(100 · (0.8 · probability + 0.2 · urgency))``, half to even. ``urgency`` is 0 to 1::

    urgency = 0.5 · recency + 0.2 · burst + 0.3 · closeness
    recency   = 2^(−d / 7), with d the days since the lead last did something: the least of days since the last
                activity, the last interaction and the last look at a listing that is known; 0 where none is
    burst     = 1 with at least three activities in the last 24 hours, else 0
    closeness = 2^(−e / 30), with e the expected days to close; 0 without an expectation
"""

from collections.abc import Mapping
from typing import Any, Literal

from kernel.settings_scoring import ThresholdSettings

Tier = Literal["top", "high", "medium", "low"]
TIERS: tuple[Tier, ...] = ("top", "high", "medium", "low")

PROBABILITY_WEIGHT = 0.8
URGENCY_WEIGHT = 0.2
RECENCY_HALF_DAYS = 7.0
CLOSENESS_HALF_DAYS = 30.0

#: Each says, in whole days, how long ago the lead last did something.
SINCE_FEATURES = ("timing:days_since_last_activity", "rfm:recency_days", "interaction:days_since_last")
BURST_FEATURE = "timing:activity_burst"


def urgency(values: Mapping[str, Any], expected_days: float | None) -> float:
    """How soon somebody should act, 0 to 1.

    Examples
    --------
    >>> urgency({"rfm:recency_days": 7, "timing:activity_burst": 1}, 30.0)
    0.6
    >>> urgency({}, None)
    0.0
    """
    since = [days for name in SINCE_FEATURES if (days := values.get(name)) is not None]
    recency = 2.0 ** (-max(0, min(since)) / RECENCY_HALF_DAYS) if since else 0.0
    burst = 1.0 if values.get(BURST_FEATURE) else 0.0
    closeness = 0.0 if expected_days is None else 2.0 ** (-max(0.0, expected_days) / CLOSENESS_HALF_DAYS)
    return 0.5 * recency + 0.2 * burst + 0.3 * closeness


def priority(probability: float, urgency: float) -> int:
    """0 to 100.

    Examples
    --------
    >>> priority(1.0, 1.0), priority(0.5, 0.0), priority(0.0, 0.0)
    (100, 40, 0)
    """
    return round(100 * (PROBABILITY_WEIGHT * probability + URGENCY_WEIGHT * urgency))


def least_of(score: float) -> int:
    """The least priority that reaches a score.

    Examples
    --------
    >>> least_of(79.5), least_of(80)
    (80, 80)
    """
    return -int(-score // 1)


def tier(priority: int, thresholds: ThresholdSettings) -> Tier:
    """The tier of a priority.

    Examples
    --------
    >>> [tier(each, ThresholdSettings()) for each in (80, 79, 50, 20, 19)]
    ['top', 'high', 'high', 'medium', 'low']
    """
    if priority >= thresholds.hot:
        return "top"
    if priority >= thresholds.warm:
        return "high"
    return "medium" if priority >= thresholds.cold else "low"
