"""The tutoring pack, row by row; its market features are in ``market``."""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction

from tests.oracle.exact import DAY_US, mean, money, number, ratio, served
from tests.oracle.facts import Fact, Log, Value, first, given, last

WINDOWS = (7, 14, 30)
RESOLVED = ("session_completed", "session_cancelled", "session_no_show")
_TIERS = {"budget": 0, "standard": 1, "premium": 2}


def _count(log: Log, days: int, *types: str) -> int:
    return len(log.within(days, log.of(*types)))


def _mean(events: list[Fact], name: str) -> Fraction | None:
    return mean([number(value) for value in given(events, name)])


def _rating(log: Log, days: int) -> Fraction | None:
    return _mean(log.within(days, log.of("session_completed")), "student_rating")


def _paid(log: Log, days: int) -> Fraction:
    payments = log.within(days, log.of("payment_succeeded"))
    return sum((money(fact.data["amount"]) for fact in payments), Fraction(0))


def _share_of_resolved(log: Log, days: int, event_type: str) -> float | None:
    return served(ratio(_count(log, days, event_type), _count(log, days, *RESOLVED)))


def _negative_calls(log: Log, days: int) -> int:
    scores = given(log.within(days, log.of("inbound_call")), "sentiment_score")
    return sum(1 for score in scores if number(score) < Fraction(-3, 10))


def _escalations(log: Log, days: int) -> int:
    return sum(1 for fact in log.within(days, log.of("inbound_call")) if fact.get("escalated") is True)


def _days_active(log: Log, days: int) -> int:
    return len({log.local(fact).day for fact in log.within(days, log.interactions())})


def _payment_success(log: Log, days: int) -> float | None:
    succeeded = _count(log, days, "payment_succeeded")
    return served(ratio(succeeded, succeeded + _count(log, days, "payment_failed")))


def _average(log: Log, days: int, event_type: str, name: str) -> float | None:
    return served(_mean(log.within(days, log.of(event_type)), name))


_WINDOW_ROWS: dict[str, Callable[[Log, int], Value]] = {
    "session_count": lambda log, days: _count(log, days, "session_completed"),
    "session_frequency": lambda log, days: served(Fraction(_count(log, days, "session_completed"), days)),
    "avg_session_rating": lambda log, days: served(_rating(log, days)),
    "session_completion_rate": lambda log, days: _share_of_resolved(log, days, "session_completed"),
    "cancellation_rate": lambda log, days: _share_of_resolved(log, days, "session_cancelled"),
    "no_show_rate": lambda log, days: _share_of_resolved(log, days, "session_no_show"),
    "avg_session_duration": lambda log, days: _average(log, days, "session_completed", "duration_minutes"),
    "ib_call_count": lambda log, days: _count(log, days, "inbound_call"),
    "avg_call_duration": lambda log, days: _average(log, days, "inbound_call", "duration_seconds"),
    "negative_sentiment_calls": _negative_calls,
    "escalation_count": _escalations,
    "login_count": lambda log, days: _count(log, days, "login"),
    "message_count": lambda log, days: _count(log, days, "message_received", "message_sent"),
    "days_active": _days_active,
    "payment_success_rate": _payment_success,
    "payment_amount": lambda log, days: served(_paid(log, days)),
}


def window(log: Log) -> dict[str, Value]:
    return {f"{name}_{days}d": row(log, days) for name, row in _WINDOW_ROWS.items() for days in WINDOWS}


def recency(log: Log) -> dict[str, Value]:
    return {
        "days_since_last_session": log.days_since(last(log.of("session_completed"))),
        "days_since_last_login": log.days_since(last(log.of("login"))),
        "days_since_last_payment": log.days_since(last(log.of("payment_succeeded"))),
        "days_since_last_ib_call": log.days_since(last(log.of("inbound_call"))),
        "days_since_signup": log.days_since(first(log.of("signed_up"))),
    }


def _tenure_days(log: Log) -> int | None:
    signup = first(log.of("signed_up"))
    if signup is None:
        return None
    history = log.of("signed_up", "subscription_changed", "subscription_cancelled")
    latest = history[history.index(signup) :][-1]
    end_us = latest.at_us if latest.type == "subscription_cancelled" else log.tau_us
    return (end_us - signup.at_us) // DAY_US


def _tier(log: Log) -> int | None:
    tiers = given(log.of("signed_up", "subscription_changed"), "tier")
    return _TIERS[tiers[-1]] if tiers else None


def _first_session_success(log: Log) -> int | None:
    session = first(log.of("session_completed"))
    if session is None:
        return None
    rating = session.get("student_rating")
    return 1 if rating is not None and number(rating) > 4 else 0


def lifetime(log: Log) -> dict[str, Value]:
    sessions, payments = log.of("session_completed"), log.of("payment_succeeded")
    return {
        "total_sessions_lifetime": len(sessions),
        "total_spend_lifetime": served(sum((money(fact.data["amount"]) for fact in payments), Fraction(0))),
        "customer_tenure_days": _tenure_days(log),
        "subscription_tier": _tier(log),
        "first_session_was_success": _first_session_success(log),
        "referral_count": len(log.of("referral_made")),
        "avg_lifetime_rating": served(_mean(sessions, "student_rating")),
    }


def _primary_tutor(recent: list[Fact]) -> str | None:
    """The most frequent tutor of these sessions, a tie to the one seen latest."""
    tutors = [fact.data["tutor_id"] for fact in recent]
    counts = Counter(tutors)
    latest_place = {tutor: place for place, tutor in enumerate(tutors)}
    return max(counts, key=lambda tutor: (counts[tutor], latest_place[tutor])) if counts else None


def tutor(log: Log) -> dict[str, Value]:
    sessions = log.of("session_completed")
    recent = sessions[-20:]
    primary = _primary_tutor(recent)
    with_primary = [fact for fact in sessions if fact.data["tutor_id"] == primary]
    recent_with_primary = [fact for fact in recent if fact.data["tutor_id"] == primary]
    cancelled_by_tutor = [fact for fact in log.of("session_cancelled") if fact.data["cancelled_by"] == "tutor"]
    return {
        "primary_tutor_rating": served(_mean(with_primary, "student_rating")),
        "tutor_consistency_score": served(ratio(len(recent_with_primary), len(recent))),
        "tutor_switch_count_30d": len({fact.data["tutor_id"] for fact in log.within(30, sessions)}),
        "avg_tutor_response_time": served(_mean(log.of("tutor_responded"), "response_seconds")),
        "tutor_cancellation_rate": served(ratio(len(cancelled_by_tutor), len(log.of(*RESOLVED)))),
    }


def segment(log: Log) -> dict[str, Value]:
    signups = log.of("signed_up")
    grade = (given(signups, "grade_level") or [None])[-1]
    return {
        "acquisition_channel": (given(signups, "channel") or [None])[0],
        "student_grade_level": 13 if grade == "college" else grade,
        "primary_subject_category": (given(signups, "subject_category") or [None])[-1],
        "geographic_region": (given(signups, "region") or [None])[-1],
    }


def trend(log: Log) -> dict[str, Value]:
    week, month = _rating(log, 7), _rating(log, 30)
    sessions_7d, sessions_30d = (_count(log, days, "session_completed") for days in (7, 30))
    return {
        "session_velocity_change": served(Fraction(sessions_7d, 7) - Fraction(sessions_30d, 30)),
        "rating_trend": None if week is None or month is None else served(week - month),
        "engagement_trend": _count(log, 7, "login") - _count(log, 14, "login"),
        "spend_acceleration": served(_paid(log, 7) / 7 - _paid(log, 30) / 30),
    }
