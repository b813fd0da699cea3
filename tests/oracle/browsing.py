"""The browsing pack, row by row."""

from decimal import Decimal
from fractions import Fraction

from tests.oracle.exact import DAY_US, HOUR_US, MINUTE_US, mean, median, mode, served
from tests.oracle.facts import Fact, Log, Value

ACTIONS = ("view", "click", "inquiry", "message", "schedule")
NAMES = (
    "total_interactions",
    "unique_action_types",
    "days_since_first",
    "days_since_last",
    "interaction_timespan_days",
    *(f"{action}_frequency" for action in ACTIONS),
    "peak_hour",
    "peak_day",
    "weekend_ratio",
    "business_hours_ratio",
    "engagement_score_total",
    "engagement_score_avg",
    "engagement_score_median",
    "total_sessions",
    "avg_session_length_minutes",
    "avg_actions_per_session",
)


def _setting(x: float) -> Fraction:
    """A number of the settings, as it is written there."""
    return Fraction(Decimal(str(x)))


def _sessions(events: list[Fact], gap_us: Fraction) -> list[list[Fact]]:
    sessions: list[list[Fact]] = []
    for fact in events:
        if sessions and fact.at_us - sessions[-1][-1].at_us <= gap_us:
            sessions[-1].append(fact)
        else:
            sessions.append([fact])
    return sessions


def interaction(log: Log) -> dict[str, Value]:
    events = log.of("interaction")
    if not events or len(events) < log.settings.min_interactions:
        return dict.fromkeys(NAMES)
    total = len(events)
    actions = [fact.data["action"] for fact in events]
    moments = [log.local(fact) for fact in events]
    opens, closes = log.settings.business_hours
    in_hours = [moment for moment in moments if opens <= moment.hour < closes]
    weights = [_setting(log.settings.engagement_weights[action]) for action in actions]
    sessions = _sessions(events, _setting(log.settings.max_interaction_gap_hours) * HOUR_US)
    lengths = [Fraction(session[-1].at_us - session[0].at_us, MINUTE_US) for session in sessions]
    return {
        "total_interactions": total,
        "unique_action_types": len(set(actions)),
        "days_since_first": log.days_since(events[0]),
        "days_since_last": log.days_since(events[-1]),
        "interaction_timespan_days": (events[-1].at_us - events[0].at_us) // DAY_US,
        **{f"{action}_frequency": served(Fraction(actions.count(action), total)) for action in ACTIONS},
        "peak_hour": mode(moment.hour for moment in moments),
        "peak_day": mode(moment.weekday for moment in moments),
        "weekend_ratio": served(Fraction(sum(moment.is_weekend for moment in moments), total)),
        "business_hours_ratio": served(Fraction(len(in_hours), total)),
        "engagement_score_total": served(sum(weights, Fraction(0))),
        "engagement_score_avg": served(mean(weights)),
        "engagement_score_median": served(median(weights)),
        "total_sessions": len(sessions),
        "avg_session_length_minutes": served(mean(lengths)),
        "avg_actions_per_session": served(Fraction(total, len(sessions))),
    }
