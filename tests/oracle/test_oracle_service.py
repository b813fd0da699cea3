"""The yardstick's own examples for the service and browsing rows, worked by hand."""

from typing import Any

import pytest

from tests.oracle.browsing import NAMES
from tests.oracle.facts import Fact, Settings
from tests.oracle.writing import NOW, ago, fact, value


def served(at: int = NOW, **data: Any) -> Fact:
    return fact("service_completed", at, **data)


def act(action: str, at: int | str = NOW) -> Fact:
    return fact("interaction", at, action=action)


def test_satisfaction_is_averaged_where_given_else_three_and_a_half() -> None:
    assert (
        value("customer:satisfaction_avg", served(satisfaction_score=5), served(), served(satisfaction_score=0)) == 2.5
    )
    assert value("customer:satisfaction_avg", served()) == 3.5


@pytest.mark.parametrize(
    ("carried", "count"), [([None, None], 2), ([9, None], 9), ([9, 1], 2), ([1, 7], 7), ([0, 0], 2)]
)
def test_the_service_count_is_the_larger_of_ours_and_the_latest_told(carried: list[int | None], count: int) -> None:
    facts = [served(ago(days=9 - n), services_count=told) for n, told in enumerate(carried)]
    assert value("customer:service_count", *facts) == count


@pytest.mark.parametrize(
    ("count", "score", "tier"),
    [
        (6, 4.0, "high"),
        (6, 3.999999, "medium"),
        (5, 5.0, "medium"),
        (3, 0.0, "medium"),
        (2, 3.5, "medium"),
        (2, 3.499999, "low"),
    ],
)
def test_lifetime_value_goes_by_count_and_satisfaction(count: int, score: float, tier: str) -> None:
    assert value("customer:lifetime_value", served(services_count=count, satisfaction_score=score)) == tier


def test_a_threshold_on_a_mean_holds_within_a_billionth() -> None:
    # 1,999 scores of 4 and one of 3.999999: the mean is 4 − 5·10⁻¹⁰.
    facts = [served(satisfaction_score=4) for _ in range(1999)] + [served(satisfaction_score=3.999999)]
    assert value("customer:lifetime_value", *facts) == "high"
    # Among 200 scores the same one makes 4 − 5·10⁻⁹.
    assert value("customer:lifetime_value", *facts[1800:]) == "medium"


def test_the_customers_times_are_of_the_first_service_and_the_latest_event() -> None:
    facts = [
        fact("property_updated", ago(days=3)),
        served(ago(days=2)),
        fact("property_updated", ago(days=1), city="X"),
    ]
    assert value("customer:first_seen", *facts) == "2024-06-10T12:00:00.000000Z"
    assert value("customer:last_updated", *facts) == "2024-06-11T12:00:00.000000Z"
    assert value("customer:first_seen", facts[0]) is None


def test_a_property_is_put_together_field_by_field() -> None:
    facts = [
        fact("property_updated", ago(days=3), city="Austin", square_feet=2500, pest_issues=["ants"]),
        served(ago(days=2), property={"city": "Dallas", "zip": "75001", "square_feet": None}, city="ignored"),
        fact("property_updated", ago(days=1), zip="", pest_issues=[]),
        served(ago(days=0), property=None),
    ]
    names = ("city", "zip", "square_feet", "pest_issues", "state")
    assert [value(f"property:{name}", *facts) for name in names] == ["Dallas", "", 2500, [], None]


def test_too_few_interactions_make_the_whole_view_null() -> None:
    settings = Settings(min_interactions=2)
    assert {value(f"interaction:{name}", act("view"), settings=settings) for name in NAMES} == {None}
    assert value("interaction:total_interactions", act("view"), act("view"), settings=settings) == 2
    assert value("interaction:total_interactions", fact("login"), settings=Settings(min_interactions=0)) is None


def test_interactions_are_counted_shared_and_dated() -> None:
    facts = [act("view", ago(days=9, hours=1)), act("view", ago(days=2, hours=12)), act("schedule", ago(days=2))]
    expected = {
        "total_interactions": 3,
        "unique_action_types": 2,
        "days_since_first": 9,
        "days_since_last": 2,
        "interaction_timespan_days": 7,
        "view_frequency": 2 / 3,
        "schedule_frequency": 1 / 3,
        "click_frequency": 0.0,
    }
    assert {name: value(f"interaction:{name}", *facts) for name in expected} == expected


def test_interactions_have_local_peaks_and_shares() -> None:
    facts = [
        act("view", "2024-06-08T07:00:00Z"),  # Saturday 9 h in Berlin
        act("view", "2024-06-10T14:59:59Z"),  # Monday 16 h
        act("view", "2024-06-10T15:00:00Z"),  # Monday 17 h
        act("view", "2024-06-09T22:30:00Z"),  # Monday 0 h
    ]
    berlin = Settings(timezone="Europe/Berlin")
    names = ("peak_hour", "peak_day", "weekend_ratio", "business_hours_ratio")
    assert [value(f"interaction:{name}", *facts, settings=berlin) for name in names] == [0, 0, 0.25, 0.5]


def test_weights_are_summed_averaged_and_halved() -> None:
    facts = [act("view"), act("message"), act("click"), act("schedule")]  # 1 4 2 5
    names = ("total", "avg", "median")
    assert [value(f"interaction:engagement_score_{name}", *facts) for name in names] == [12, 3, 3]
    assert value("interaction:engagement_score_median", *facts[:3]) == 2
    light = Settings(engagement_weights={"view": 0.1, "message": 0.2})
    assert value("interaction:engagement_score_total", act("view"), act("message"), settings=light) == 0.3


def test_only_a_gap_of_more_than_the_limit_starts_a_session() -> None:
    facts = [act("view", ago(hours=150)), act("view", ago(hours=78)), act("view", ago(hours=6) + 1), act("view")]
    # Gaps: 72 h exactly; 72 h and 1 µs; 6 h less 1 µs. Sessions of 72 h and of nearly 6 h.
    assert value("interaction:total_sessions", *facts) == 2
    assert value("interaction:avg_actions_per_session", *facts) == 2.0
    length = value("interaction:avg_session_length_minutes", *facts)
    assert length == (4320 * 60_000_000 + 360 * 60_000_000 - 1) / 120_000_000
