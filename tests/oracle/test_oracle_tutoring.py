"""The yardstick's own examples for the tutoring and market rows, worked by hand."""

from typing import Any

import pytest

from tests.oracle.facts import Fact, Settings
from tests.oracle.writing import NOW, ago, fact, market_value, value


def session(at: int = NOW, tutor: str = "t", rating: float | None = None, minutes: float = 60) -> Fact:
    rated: dict[str, Any] = {} if rating is None else {"student_rating": rating}
    return fact("session_completed", at, session_id="s", tutor_id=tutor, duration_minutes=minutes, **rated)


def cancelled(at: int = NOW, by: str = "student") -> Fact:
    return fact("session_cancelled", at, session_id="s", tutor_id="t", cancelled_by=by)


def missed(at: int = NOW) -> Fact:
    return fact("session_no_show", at, session_id="s", tutor_id="t", missed_by="tutor")


def call(at: int = NOW, **data: Any) -> Fact:
    return fact("inbound_call", at, **{"duration_seconds": 60, **data})


def test_sessions_are_counted_whatever_ids_they_carry_in_three_windows() -> None:
    sessions = [session(ago(days=days)) for days in (0, 7, 13, 14, 29, 30)]
    assert [value(f"window:session_count_{w}", *sessions) for w in ("7d", "14d", "30d")] == [1, 3, 5]
    assert value("window:session_frequency_14d", *sessions) == 3 / 14


def test_resolved_sessions_are_shared_out_among_three_outcomes() -> None:
    facts = [session(), session(), cancelled(), missed(), missed(ago(days=8))]
    names = ("session_completion_rate", "cancellation_rate", "no_show_rate")
    assert [value(f"window:{name}_7d", *facts) for name in names] == [0.5, 0.25, 0.25]
    assert [value(f"window:{name}_14d", *facts) for name in names] == [0.4, 0.2, 0.4]
    assert value("window:no_show_rate_7d", facts[-1]) is None


def test_means_of_sessions_take_what_is_given() -> None:
    facts = [session(rating=4, minutes=30), session(rating=5, minutes=60), session(minutes=45.5)]
    assert value("window:avg_session_rating_7d", *facts) == 4.5
    assert value("window:avg_session_duration_7d", *facts) == 135.5 / 3


def test_calls_are_counted_averaged_and_judged() -> None:
    facts = [
        call(sentiment_score=-0.3, duration_seconds=10),
        call(sentiment_score=-0.300001, escalated=True, duration_seconds=20),
        call(sentiment_score=-0.3000001, escalated=False, duration_seconds=60),  # −0.3 in millionths
        call(escalated=None, duration_seconds=30),
    ]
    assert value("window:ib_call_count_7d", *facts) == 4
    assert value("window:avg_call_duration_7d", *facts) == 30.0
    assert value("window:negative_sentiment_calls_7d", *facts) == 1
    assert value("window:escalation_count_7d", *facts) == 1


def test_messages_of_both_directions_count() -> None:
    facts = [fact("message_sent", conversation_id="c"), fact("message_received", conversation_id="c")]
    assert value("window:message_count_7d", *facts) == 2


def test_days_active_are_local_dates_of_interactions() -> None:
    facts = [
        fact("login", "2024-06-11T21:59:00Z"),  # the 11th in Berlin
        fact("login", "2024-06-11T22:00:00Z"),  # the 12th in Berlin
        fact("page_viewed", "2024-06-12T11:00:00Z"),
        fact("campaign_received", "2024-06-10T11:00:00Z", campaign_id="k"),  # not the lead's doing
    ]
    berlin = Settings(timezone="Europe/Berlin")
    assert value("window:days_active_7d", *facts, settings=berlin) == 2
    assert value("window:days_active_7d", *facts[:2], settings=berlin) == 2
    assert value("window:days_active_7d", *facts[:2]) == 1


def test_payments_have_a_rate_and_a_sum() -> None:
    facts = [
        fact("payment_succeeded", amount="0.10"),
        fact("payment_succeeded", amount="0.20"),
        fact("payment_failed", amount=99),
        fact("payment_succeeded", ago(days=7), amount=50),
    ]
    assert value("window:payment_success_rate_7d", *facts) == 2 / 3
    assert value("window:payment_amount_7d", *facts) == 0.3
    assert value("lifetime:total_spend_lifetime", *facts) == 50.3
    assert value("window:payment_success_rate_7d", facts[-1]) is None


def test_recency_rows_count_days_since_the_last_and_since_the_first_signup() -> None:
    facts = [
        session(ago(days=2)),
        fact("login", ago(days=3)),
        fact("payment_succeeded", ago(days=4), amount=1),
        fact("payment_failed", ago(days=1), amount=1),
        call(ago(days=5)),
        fact("signed_up", ago(days=60)),
        fact("signed_up", ago(days=6)),
    ]
    names = ("last_session", "last_login", "last_payment", "last_ib_call", "signup")
    assert [value(f"recency:days_since_{name}", *facts) for name in names] == [2, 3, 4, 5, 60]


@pytest.mark.parametrize(
    ("later", "tenure"),
    [
        ([], 50),
        ([("subscription_cancelled", 20)], 30),
        ([("subscription_cancelled", 20), ("subscription_changed", 10)], 50),
        ([("subscription_cancelled", 20), ("signed_up", 10)], 50),
        ([("subscription_cancelled", 20), ("subscription_cancelled", 10)], 40),
        ([("subscription_cancelled", 60)], 50),  # before the first signed_up
    ],
)
def test_tenure_ends_with_a_cancellation_that_nothing_follows(later: list[tuple[str, int]], tenure: int) -> None:
    facts = [fact("signed_up", ago(days=50))]
    facts += [fact(name, ago(days=days), tier="budget") for name, days in later]
    assert value("lifetime:customer_tenure_days", *facts) == tenure


def test_tenure_is_null_without_a_signup() -> None:
    assert value("lifetime:customer_tenure_days", fact("subscription_cancelled")) is None


def test_tenure_at_one_instant_goes_by_id() -> None:
    signed, gone = fact("signed_up", ago(days=9), "a"), fact("subscription_cancelled", ago(days=9), "b")
    assert value("lifetime:customer_tenure_days", signed, gone) == 0
    earlier = fact("subscription_cancelled", ago(days=9), "Z")
    assert value("lifetime:customer_tenure_days", signed, earlier) == 9


def test_the_tier_is_the_latest_that_is_carried() -> None:
    facts = [
        fact("signed_up", ago(days=9), tier="premium"),
        fact("subscription_changed", ago(days=8), tier="standard"),
        fact("signed_up", ago(days=7), tier=None),
    ]
    assert value("lifetime:subscription_tier", *facts) == 1
    assert value("lifetime:subscription_tier", facts[2]) is None


@pytest.mark.parametrize(("rating", "success"), [(4.0, 0), (4.0000004, 0), (4.000001, 1), (None, 0)])
def test_the_first_session_is_a_success_above_four(rating: float | None, success: int) -> None:
    facts = [session(ago(days=1), rating=rating), session(rating=5)]
    assert value("lifetime:first_session_was_success", *facts) == success


def test_the_first_sessions_success_is_null_without_a_session() -> None:
    assert value("lifetime:first_session_was_success", cancelled()) is None


def test_the_primary_tutor_is_the_most_frequent_of_the_last_twenty() -> None:
    # Ten old sessions with "a" fall out of the last twenty: 11 with "b", 9 with "a" are left.
    facts = [session(ago(days=100 - n), "a", rating=1) for n in range(10)]
    facts += [session(ago(days=80 - n), "b", rating=4) for n in range(11)]
    facts += [session(ago(days=60 - n), "a", rating=5) for n in range(9)]
    assert value("tutor:primary_tutor_rating", *facts) == 4.0
    assert value("tutor:tutor_consistency_score", *facts) == 0.55


def test_the_primary_tutors_rating_is_over_a_lifetime() -> None:
    facts = [session(ago(days=100 - n), "a", rating=2) for n in range(20)]
    facts += [session(ago(days=60 - n), "a", rating=5) for n in range(20)]
    assert value("tutor:primary_tutor_rating", *facts) == 3.5


def test_a_tie_of_tutors_goes_to_the_one_seen_latest() -> None:
    facts = [session(ago(days=3), "a", 1), session(ago(days=2), "b", 3), session(ago(days=1), "a", 2)]
    assert value("tutor:primary_tutor_rating", *facts, session(NOW, "b", 5)) == 4.0
    assert value("tutor:primary_tutor_rating", *facts[:2]) == 3.0
    assert value("tutor:primary_tutor_rating", *facts[1:]) == 2.0


def test_other_tutor_rows() -> None:
    facts = [
        session(ago(days=31), "a"),
        session(ago(days=2), "b"),
        session(ago(days=1), "b"),
        cancelled(by="tutor"),
        fact("tutor_responded", tutor_id="t", response_seconds=10),
        fact("tutor_responded", ago(days=999), tutor_id="t", response_seconds=21),
    ]
    assert value("tutor:tutor_switch_count_30d", *facts) == 1
    assert value("tutor:avg_tutor_response_time", *facts) == 15.5
    assert value("tutor:tutor_cancellation_rate", *facts) == 0.25


def test_the_segment_takes_the_first_channel_and_the_latest_of_the_rest() -> None:
    facts = [
        fact("signed_up", ago(days=4)),
        fact("signed_up", ago(days=3), channel="paid", grade_level=12, subject_category="STEM", region="north"),
        fact("signed_up", ago(days=2), channel="organic", grade_level="college", subject_category=None, region=""),
    ]
    names = ("acquisition_channel", "student_grade_level", "primary_subject_category", "geographic_region")
    assert [value(f"segment:{name}", *facts) for name in names] == ["paid", 13, "STEM", ""]
    assert value("segment:student_grade_level", *facts[:2]) == 12


def test_trends_compare_windows() -> None:
    facts = [
        session(ago(days=1), rating=5),
        session(ago(days=10), rating=2),
        fact("login", ago(days=1)),
        fact("login", ago(days=10)),
        fact("login", ago(days=11)),
        fact("payment_succeeded", ago(days=1), amount=7),
        fact("payment_succeeded", ago(days=10), amount=23),
    ]
    assert value("trend:session_velocity_change", *facts) == pytest.approx(1 / 7 - 2 / 30, abs=1e-15)
    assert value("trend:rating_trend", *facts) == 1.5
    assert value("trend:rating_trend", facts[1]) is None
    assert value("trend:engagement_trend", *facts) == -2
    assert value("trend:spend_acceleration", *facts) == 0.0  # 7/7 − 30/30


def test_supply_is_tutors_whose_latest_word_is_available_over_pending_requests() -> None:
    facts = [
        fact("tutor_available", ago(days=300), tutor_id="a", hours=1),
        fact("tutor_available", ago(days=3), tutor_id="b", hours=1),
        fact("tutor_unavailable", ago(days=2), tutor_id="b"),
        fact("tutor_unavailable", ago(days=2), tutor_id="c"),
        fact("tutor_available", ago(days=1), tutor_id="c", hours=1),
        fact("match_requested", ago(days=30), request_id="too old"),
        fact("match_requested", ago(days=9), request_id="r1"),
        fact("match_requested", ago(days=8), request_id="r1"),
        fact("match_requested", ago(days=7), request_id="r2"),
        fact("match_abandoned", ago(days=90), request_id="r2"),  # at any time
        fact("match_requested", ago(days=6), request_id="r3"),
        fact("match_made", ago(days=6), request_id="r3", tutor_id="d", minutes_to_match=4),
        fact("match_requested", ago(days=5), request_id="r4"),
        fact("match_requested", ago(days=5), request_id="r5"),
    ]
    assert market_value("supply_demand_ratio", *facts) == 2 / 3
    assert market_value("supply_demand_ratio", *facts[:6]) is None
    assert market_value("supply_demand_ratio", facts[6]) == 0.0
    assert market_value("tutor_count", *facts) == 3  # b, c, d


def test_match_times_and_utilisation_are_windowed() -> None:
    facts = [
        fact("match_made", ago(days=1), request_id="r", tutor_id="a", minutes_to_match=3),
        fact("match_made", ago(days=29), request_id="r", tutor_id="a", minutes_to_match=6),
        fact("match_made", ago(days=30), request_id="r", tutor_id="a", minutes_to_match=60),
        fact("hours_booked", ago(days=6), tutor_id="b", hours=3),
        fact("hours_booked", ago(days=7), tutor_id="b", hours=30),
        fact("tutor_available", ago(days=6), tutor_id="b", hours=4.5),
    ]
    assert market_value("avg_match_time", *facts) == 4.5
    assert market_value("utilization_rate", *facts) == 2 / 3
    assert market_value("utilization_rate", facts[3], fact("tutor_available", tutor_id="b", hours=0)) is None
