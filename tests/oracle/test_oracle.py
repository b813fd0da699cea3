"""The yardstick's own examples: which events count, names, exactness, local time, changes."""

import hashlib
from fractions import Fraction

import pytest

from tests.oracle.changes import Change, changes_between, first_change, first_subject_change
from tests.oracle.exact import DAY_US, HOUR_US, SECOND_US, Local, instant, money, number, served, utc_text
from tests.oracle.facts import Fact, Settings, facts_from
from tests.oracle.features import campaigns_ignored, ignored_event_id, lead_features, market_features, subject_features
from tests.oracle.names import DTYPES, LEAD_FEATURES, MARKET_FEATURES, SUBJECTS
from tests.oracle.writing import NOW, ago, fact, value

PURCHASES = "rfm:monetary_total"


def test_the_tables_hold_152_lead_features_and_80_market_features() -> None:
    assert len(LEAD_FEATURES) == 152
    assert len(MARKET_FEATURES) == 80
    assert len(DTYPES) == 232


@pytest.mark.parametrize(
    ("pack", "count"), [("commerce", 21), ("tutoring", 73), ("service", 12), ("browsing", 20), ("sales", 26)]
)
def test_each_pack_has_its_rows(pack: str, count: int) -> None:
    assert sum(each.pack == pack for each in LEAD_FEATURES) == count


def test_the_oracle_answers_the_names_in_the_order_of_the_tables() -> None:
    assert list(lead_features([], NOW)) == [each.reference for each in LEAD_FEATURES]
    assert list(market_features({subject: [] for subject in SUBJECTS}, NOW)) == [
        each.reference for each in MARKET_FEATURES
    ]


def test_a_lead_without_events_has_the_stated_values() -> None:
    known = {name: value for name, value in lead_features([], NOW).items() if value is not None}
    zeros = [
        "rfm:frequency_conversations_30d rfm:frequency_purchases_90d rfm:monetary_total",
        "behavior:support_ticket_rate_30d behavior:has_purchased",
        "temporal:channel_diversity campaign:campaigns_received_30d campaign:campaign_ignored",
        *(
            f"window:session_count_{w} window:session_frequency_{w} window:ib_call_count_{w} "
            f"window:negative_sentiment_calls_{w} window:escalation_count_{w} window:login_count_{w} "
            f"window:message_count_{w} window:days_active_{w} window:payment_amount_{w}"
            for w in ("7d", "14d", "30d")
        ),
        "lifetime:total_sessions_lifetime lifetime:total_spend_lifetime lifetime:referral_count",
        "tutor:tutor_switch_count_30d",
        "trend:session_velocity_change trend:engagement_trend trend:spend_acceleration",
        "customer:service_count",
        "demographic:has_company demographic:has_title demographic:has_phone",
        "activity:email_open_count activity:email_click_count activity:page_view_count activity:form_submit_count",
        "activity:meeting_count activity:call_count activity:channel_diversity activity:high_value_action_count",
        "timing:recency_score timing:activity_burst outreach:is_in_active_sequence",
    ]
    expected: dict[str, object] = dict.fromkeys(" ".join(zeros).split(), 0)
    expected["behavior:engagement_score"] = 0.1  # 0.20 · 0.5, the sentiment of nobody.
    expected["customer:satisfaction_avg"] = 3.5
    expected["customer:lifetime_value"] = "medium"
    assert known == expected


def test_views_of_a_pack_that_is_off_are_left_out_and_its_events_feed_nothing() -> None:
    settings = Settings(packs=("commerce", "browsing"))
    values = lead_features([fact("login", ago(days=1)), fact("interaction", ago(days=3), action="view")], NOW, settings)
    assert len(values) == 41
    assert values["rfm:recency_days"] == 3


def test_of_two_events_with_one_id_the_first_counts() -> None:
    once = fact("purchase_completed", event_id="a", amount=5)
    assert value(PURCHASES, once, once, fact("purchase_completed", event_id="a", amount=7)) == 5.0


def test_an_event_after_the_as_of_time_does_not_count_and_one_at_it_does() -> None:
    assert value(PURCHASES, fact("purchase_completed", NOW + 1, amount=1), fact("purchase_completed", amount=2)) == 2.0


def test_system_events_feed_nothing() -> None:
    written = [fact("campaign_ignored", campaign_id="k"), fact("decision_made"), fact("lead_linked")]
    assert lead_features(written, NOW) == lead_features([], NOW)


def test_a_retracted_event_and_its_retraction_count_as_nothing() -> None:
    retraction = Fact("r", "event_retracted", ago(days=400), {"event_id": "p"})
    facts = [retraction, Fact("p", "purchase_completed", NOW, {"amount": 2})]
    assert lead_features(facts, NOW) == lead_features([], NOW)


def test_a_retraction_counts_at_whatever_as_of_time_even_before_its_own() -> None:
    facts = [
        Fact("p", "purchase_completed", ago(days=9), {"amount": 2}),
        Fact("r", "event_retracted", NOW, {"event_id": "p"}),
    ]
    assert value(PURCHASES, *facts, at=ago(days=5)) == 0.0


def test_a_retraction_that_names_a_retraction_is_inert() -> None:
    facts = [
        Fact("q", "event_retracted", NOW, {"event_id": "r"}),
        Fact("r", "event_retracted", NOW, {"event_id": "p"}),
        Fact("p", "purchase_completed", NOW, {"amount": 2}),
    ]
    assert value(PURCHASES, *facts) == 0.0


def test_a_retraction_of_an_unknown_id_is_no_event_of_the_lead() -> None:
    lonely = Fact("r", "event_retracted", ago(days=4), {"event_id": "nobody"})
    assert value("timing:days_since_created", lonely) is None
    assert value("activity:activity_velocity", lonely) is None


def test_an_earlier_known_at_sees_neither_later_events_nor_later_retractions() -> None:
    facts = [
        Fact("p", "purchase_completed", ago(days=9), {"amount": 2}, recorded_us=10),
        Fact("s", "purchase_completed", ago(days=9), {"amount": 3}, recorded_us=20),
        Fact("r", "event_retracted", ago(days=9), {"event_id": "p"}, recorded_us=30),
    ]
    totals = [lead_features(facts, NOW, known_us=known_us)[PURCHASES] for known_us in (9, 10, 20, 29, 30)]
    assert totals == [0.0, 2.0, 5.0, 5.0, 3.0]
    assert lead_features(facts, NOW)[PURCHASES] == 3.0


def test_envelopes_are_read_with_their_written_times() -> None:
    (one, two) = facts_from(
        [
            {"id": "a", "type": "login", "time": "2024-06-12T14:00:00.1234567+02:00"},
            {"id": "b", "type": "login", "time": 1.5, "data": {"extra": 1}},
        ]
    )
    assert one == Fact("a", "login", NOW + 123_456, {})
    assert two == Fact("b", "login", 1_500_000, {"extra": 1})


def test_payload_numbers_enter_as_the_nearest_millionth_half_to_even() -> None:
    # 2⁻⁷ = 0.0078125 is exact in binary, and so is 2⁻⁷·10⁶ = 7812.5: a true half.
    assert number(0.0078125) == Fraction(7812, 10**6)
    assert number(3 * 0.0078125) == Fraction(23438, 10**6)  # 23437.5 goes to the even 23438.
    assert number(-0.0078125) == Fraction(-7812, 10**6)
    assert number(4.0000004) == 4


def test_amounts_are_exact_decimals() -> None:
    tenths = [fact("purchase_completed", amount="0.1") for _ in range(10)]
    assert value(PURCHASES, *tenths) == 1.0
    assert money("999999999999.123456") == Fraction(999999999999123456, 10**6)


def test_a_mean_is_one_division_rounded_once() -> None:
    assert served(Fraction(1, 3)) == 1 / 3
    ratings = [fact("session_completed", tutor_id="t", session_id="s", student_rating=r) for r in (4.1, 4.2, 4.6)]
    assert value("lifetime:avg_lifetime_rating", *ratings) == 4.3  # 12.9 / 3, exact before rounding.


def test_local_time_follows_daylight_saving_both_ways() -> None:
    spring, autumn = instant("2024-03-31T01:00:00Z"), instant("2024-10-27T01:00:00Z")
    assert [Local(at, "Europe/Berlin").hour for at in (spring - 1, spring)] == [1, 3]
    assert [Local(at, "Europe/Berlin").hour for at in (autumn - 1, autumn)] == [2, 2]


def test_local_time_knows_half_hours() -> None:
    at = instant("2024-06-12T18:29:59.999999Z")
    india, next_day = Local(at, "Asia/Kolkata"), Local(at + 1, "Asia/Kolkata")
    assert (india.hour, india.weekday, next_day.hour, next_day.weekday) == (23, 2, 0, 3)
    assert next_day.day == india.day + 1


def test_lord_howe_saves_half_an_hour() -> None:
    # 2024-04-07 02:00 +11:00 becomes 01:30 +10:30, at 15:00 UTC of the 6th.
    change = instant("2024-04-06T15:00:00Z")
    assert [Local(at, "Australia/Lord_Howe").hour for at in (change - 1, change)] == [1, 1]
    assert Local(change + 30 * 60 * SECOND_US, "Australia/Lord_Howe").hour == 2


def test_local_time_reaches_the_ends_of_the_calendar() -> None:
    start, end = instant("0001-01-01T00:00:00Z"), instant("9999-12-31T23:59:59Z")
    assert Local(start, "UTC").weekday == 0  # Monday, 1 January of the year 1.
    assert Local(start, "America/New_York").weekday == 6
    assert Local(end, "UTC").weekday == 4
    assert Local(end, "Australia/Lord_Howe").hour == 10  # summer there: +11.


def test_times_are_written_in_utc_with_six_decimals() -> None:
    assert utc_text(NOW + 5) == "2024-06-12T12:00:00.000005Z"
    assert utc_text(instant("0033-04-03T00:00:00Z")) == "0033-04-03T00:00:00.000000Z"


def test_the_id_of_an_ignored_campaign_hashes_compact_json() -> None:
    assert ignored_event_id("7", "ü") == "~ci:" + hashlib.sha256('["7","ü"]'.encode()).hexdigest()


def test_ignored_campaigns_come_with_their_due_time() -> None:
    received = fact("campaign_received", ago(days=8), campaign_id="k")
    assert campaigns_ignored([received], NOW) == {"k": ago(days=1)}
    assert campaigns_ignored([received], ago(days=1, us=1)) == {}


def test_a_change_is_found_at_the_instant_an_event_leaves_its_window() -> None:
    facts = [fact("login", ago(days=6, hours=1))]
    changes = list(changes_between(facts, NOW, NOW + 2 * DAY_US, features=["window:login_count_7d"]))
    assert changes == [Change(NOW + 23 * HOUR_US, ("window:login_count_7d",))]


def test_changes_come_at_whole_days_at_due_campaigns_and_at_events_to_come() -> None:
    facts = [fact("campaign_received", ago(days=6), campaign_id="k"), fact("login", NOW + 5)]
    names = ["campaign:campaign_ignored", "recency:days_since_last_login"]
    changes = list(changes_between(facts, NOW, NOW + 2 * DAY_US, features=names))
    assert changes == [
        Change(NOW + 5, ("recency:days_since_last_login",)),
        Change(NOW + DAY_US, ("campaign:campaign_ignored",)),
        Change(NOW + DAY_US + 5, ("recency:days_since_last_login",)),
    ]


def test_a_change_at_the_start_is_past_and_one_at_the_end_is_seen() -> None:
    facts = [fact("login", NOW)]
    assert first_change(facts, NOW, NOW + DAY_US - 1, features=["recency:days_since_last_login"]) is None
    assert first_change(facts, NOW, NOW + DAY_US, features=["recency:days_since_last_login"]) == NOW + DAY_US
    assert first_change(facts, NOW - 1, NOW, features=["window:login_count_7d"]) == NOW


def test_a_subject_has_its_own_changes() -> None:
    requested = [fact("match_requested", ago(days=29), request_id="r"), fact("tutor_available", tutor_id="t", hours=1)]
    assert subject_features(requested, NOW)["market:supply_demand_ratio"] == 1.0
    assert first_subject_change(requested, NOW, NOW + 3 * DAY_US) == NOW + DAY_US
