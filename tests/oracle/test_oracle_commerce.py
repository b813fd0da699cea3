"""The yardstick's own examples for the commerce rows, worked by hand."""

import pytest

from tests.oracle.facts import Settings
from tests.oracle.writing import NOW, ago, fact, value


@pytest.mark.parametrize(("at", "days"), [(ago(days=3), 3), (ago(days=3) + 1, 2), (NOW, 0)])
def test_recency_is_whole_days_since_the_last_interaction(at: int, days: int) -> None:
    assert (
        value("rfm:recency_days", fact("interaction", at, action="view"), fact("message_sent", conversation_id="c"))
        == days
    )


def test_an_event_exactly_a_window_old_is_out() -> None:
    edge, inside = (fact("conversation_started", ago(days=30) + us, conversation_id="c") for us in (0, 1))
    assert value("rfm:frequency_conversations_30d", edge) == 0
    assert value("rfm:frequency_conversations_30d", edge, inside) == 1
    assert value("rfm:frequency_purchases_90d", fact("purchase_completed", ago(days=90) + 1, amount=1)) == 1


def test_money_is_a_lifetime_sum_and_the_ticket_its_mean_over_purchases() -> None:
    purchases = [fact("purchase_completed", ago(days=900), amount="10.01"), fact("purchase_completed", amount=20)]
    assert value("rfm:monetary_total", *purchases) == 30.01
    assert value("rfm:monetary_avg_ticket", *purchases) == 15.005
    assert value("rfm:monetary_avg_ticket") is None


def test_only_a_reply_right_after_our_message_of_the_same_conversation_has_a_gap() -> None:
    messages = [
        fact("message_received", ago(minutes=60), conversation_id="c"),  # nothing before it
        fact("message_sent", ago(minutes=50), conversation_id="c"),
        fact("message_sent", ago(minutes=40), conversation_id="c"),
        fact("message_received", ago(minutes=35), conversation_id="d"),  # another conversation
        fact("message_received", ago(minutes=30), conversation_id="c"),  # 10 minutes after the latest of ours
        fact("message_received", ago(minutes=20), conversation_id="c"),  # follows a message of the lead's
        fact("message_sent", ago(minutes=10), conversation_id="d"),
        fact("message_received", ago(minutes=8), conversation_id="d"),  # 2 minutes
    ]
    assert value("engagement:avg_response_time_seconds", *messages) == 360.0
    assert value("engagement:avg_messages_per_conversation", *messages) == 4.0


def test_messages_of_one_instant_are_ordered_by_id() -> None:
    sent, received = ("message_sent", "message_received")
    in_order = [fact(sent, NOW, "a", conversation_id="c"), fact(received, NOW, "b", conversation_id="c")]
    swapped = [fact(sent, NOW, "b", conversation_id="c"), fact(received, NOW, "a", conversation_id="c")]
    assert value("engagement:avg_response_time_seconds", *in_order) == 0.0
    assert value("engagement:avg_response_time_seconds", *swapped) is None


def test_code_point_order_decides_not_utf_16_order() -> None:
    # U+FF5E sorts after U+10400 as UTF-16 units do, before it as code points do.
    facts = [
        fact("message_sent", NOW, "\uff5e", conversation_id="c"),
        fact("message_received", NOW, "\U00010400", conversation_id="c"),
    ]
    assert value("engagement:avg_response_time_seconds", *facts) == 0.0


def test_sentiment_is_averaged_where_given() -> None:
    messages = [
        fact("message_received", conversation_id="c", sentiment=0.2),
        fact("message_received", conversation_id="c", sentiment=0.9),
        fact("message_received", conversation_id="c", sentiment=None),
        fact("message_received", conversation_id="c"),
        fact("message_received", ago(days=30), conversation_id="c", sentiment=0),
    ]
    assert value("engagement:sentiment_avg_30d", *messages) == 0.55
    assert value("engagement:sentiment_avg_30d", messages[2]) is None


def test_conversations_are_known_from_any_event_that_declares_one() -> None:
    facts = [
        fact("conversation_started", conversation_id="c1"),
        fact("discount_requested", conversation_id="c2"),
        fact("discount_requested", conversation_id="c2"),
        fact("message_sent", conversation_id="c3"),
        fact("purchase_completed", amount=1, conversation_id="c4"),
        fact("purchase_completed", amount=1),
        fact("support_ticket_opened", ticket_id="t", conversation_id="c5"),  # an undeclared extra field
    ]
    assert value("behavior:discount_request_rate", *facts) == 0.25
    assert value("behavior:conversion_rate", *facts) == 0.25
    assert value("behavior:conversion_rate", fact("purchase_completed", amount=1)) is None


def test_support_tickets_are_a_count() -> None:
    tickets = [fact("support_ticket_opened", ago(days=days), ticket_id="t") for days in (0, 29, 30)]
    assert value("behavior:support_ticket_rate_30d", *tickets) == 2


def test_a_purchase_sets_the_flag_and_the_days() -> None:
    purchase = fact("purchase_completed", ago(days=100, hours=23), amount=0)
    assert value("behavior:has_purchased", purchase) == 1
    assert value("behavior:days_since_last_purchase", purchase) == 100


def test_engagement_score_weighs_recency_frequency_campaigns_and_sentiment() -> None:
    facts = [
        fact("conversation_started", ago(days=14), conversation_id="c"),  # R = 2^-1, F = 1/4
        fact("campaign_received", ago(days=20), campaign_id="k"),
        fact("campaign_received", ago(days=20), campaign_id="l"),
        fact("campaign_opened", ago(days=19), campaign_id="k"),  # C = 1/2
    ]
    # 0.35·0.5 + 0.25·0.25 + 0.20·0.5 + 0.20·0.5 = 0.175 + 0.0625 + 0.1 + 0.1
    assert value("behavior:engagement_score", *facts) == 0.4375


def test_engagement_score_caps_frequency_at_four_conversations() -> None:
    facts = [fact("conversation_started", conversation_id=f"c{n}") for n in range(9)]
    assert value("behavior:engagement_score", *facts) == 0.7  # 0.35 + 0.25 + 0 + 0.1


def test_modes_of_hour_and_weekday_tie_to_the_smaller_number() -> None:
    logins = [fact("login", ago(hours=1)), fact("login", ago(hours=3)), fact("message_sent", conversation_id="c")]
    assert value("temporal:preferred_hour_of_day", *logins) == 9
    week = [fact("login", ago(days=days)) for days in (0, 3, 2)]  # Wednesday, Sunday, Monday
    assert value("temporal:preferred_day_of_week", *week) == 0


def test_hours_and_weekdays_are_local() -> None:
    login = fact("login", "2024-06-12T23:30:00Z")
    berlin = Settings(timezone="Europe/Berlin")
    assert value("temporal:preferred_hour_of_day", login, at=NOW * 2, settings=berlin) == 1
    assert value("temporal:preferred_day_of_week", login, at=NOW * 2, settings=berlin) == 3


def test_channels_are_distinct_as_written_without_that_of_signing_up() -> None:
    facts = [
        fact("message_sent", conversation_id="c", channel="email"),
        fact("message_received", conversation_id="c", channel="Email"),
        fact("campaign_received", campaign_id="k", channel="email"),
        fact("signed_up", channel="organic"),
        fact("login", channel="web"),  # login declares none
    ]
    assert value("temporal:channel_diversity", *facts) == 2


def test_open_rate_counts_distinct_received_campaigns_opened_at_any_time() -> None:
    facts = [
        fact("campaign_opened", ago(days=50), campaign_id="k"),  # before its receipt
        fact("campaign_received", ago(days=40), campaign_id="k"),
        fact("campaign_received", ago(days=30), campaign_id="k"),
        fact("campaign_received", ago(days=20), campaign_id="l"),
        fact("campaign_opened", ago(days=10), campaign_id="never received"),
        fact("campaign_clicked", ago(days=10), campaign_id="l"),
    ]
    assert value("campaign:campaign_open_rate", *facts) == 0.5
    assert value("campaign:campaign_click_rate", *facts) == 0.5
    assert value("campaign:campaigns_received_30d", *facts) == 1
    assert value("campaign:campaign_open_rate", facts[0]) is None


@pytest.mark.parametrize(
    ("reaction_at", "ignored"),
    [
        (ago(days=10), 0),  # at r itself
        (ago(days=10) - 1, 1),  # before r
        (ago(days=3) - 1, 0),  # the last instant before r + 7 d
        (ago(days=3), 1),  # r + 7 d is too late
    ],
)
@pytest.mark.parametrize("reaction", ["campaign_opened", "campaign_clicked"])
def test_a_campaign_is_ignored_without_a_reaction_in_seven_days(reaction: str, reaction_at: int, ignored: int) -> None:
    received = fact("campaign_received", ago(days=10), campaign_id="k")
    assert value("campaign:campaign_ignored", received, fact(reaction, reaction_at, campaign_id="k")) == ignored


def test_a_campaign_is_ignored_from_the_instant_that_its_seven_days_end() -> None:
    received = fact("campaign_received", ago(days=7), campaign_id="k")
    assert value("campaign:campaign_ignored", received) == 1
    assert value("campaign:campaign_ignored", received, at=NOW - 1) == 0


def test_only_the_first_receipt_starts_the_seven_days() -> None:
    facts = [
        fact("campaign_received", ago(days=20), campaign_id="k"),
        fact("campaign_received", ago(days=5), campaign_id="k"),
        fact("campaign_opened", ago(days=4), campaign_id="k"),
    ]
    assert value("campaign:campaign_ignored", *facts) == 1
