"""The commerce pack, row by row."""

from fractions import Fraction
from itertools import pairwise

from tests.oracle.exact import DAY_US, SECOND_US, mean, mode, money, number, power_of_two, ratio, served
from tests.oracle.facts import Log, Value, given, last
from tests.oracle.vocabulary import WITH_CHANNEL, WITH_CONVERSATION


def rfm(log: Log) -> dict[str, Value]:
    purchases = log.of("purchase_completed")
    total = sum((money(fact.data["amount"]) for fact in purchases), Fraction(0))
    return {
        "recency_days": log.days_since(last(log.interactions())),
        "frequency_conversations_30d": len(log.within(30, log.of("conversation_started"))),
        "frequency_purchases_90d": len(log.within(90, purchases)),
        "monetary_total": served(total),
        "monetary_avg_ticket": served(ratio(total, len(purchases))),
    }


def _response_gaps(log: Log) -> list[Fraction]:
    messages = log.of("message_received", "message_sent")
    gaps = []
    for conversation in {fact.data["conversation_id"] for fact in messages}:
        inside = [fact for fact in messages if fact.data["conversation_id"] == conversation]
        for previous, message in pairwise(inside):
            if previous.type == "message_sent" and message.type == "message_received":
                gaps.append(Fraction(message.at_us - previous.at_us, SECOND_US))
    return gaps


def _sentiment_30d(log: Log) -> Fraction | None:
    received = log.within(30, log.of("message_received"))
    return mean([number(value) for value in given(received, "sentiment")])


def engagement(log: Log) -> dict[str, Value]:
    messages = log.of("message_received", "message_sent")
    conversations = {fact.data["conversation_id"] for fact in messages}
    return {
        "avg_response_time_seconds": served(mean(_response_gaps(log))),
        "avg_messages_per_conversation": served(ratio(len(messages), len(conversations))),
        "sentiment_avg_30d": served(_sentiment_30d(log)),
    }


def _share_of_conversations(log: Log, event_type: str) -> Fraction | None:
    known = set(given(log.of(*WITH_CONVERSATION), "conversation_id"))
    having = set(given(log.of(event_type), "conversation_id"))
    return ratio(len(known & having), len(known))


def _engagement_score(log: Log) -> Fraction:
    recency_days = log.days_since(last(log.interactions()))
    recency = Fraction(0) if recency_days is None else power_of_two(Fraction(-recency_days, 14))
    frequency = min(Fraction(1), Fraction(len(log.within(30, log.of("conversation_started"))), 4))
    open_rate = _campaign_rate(log, "campaign_opened")
    sentiment = _sentiment_30d(log)
    return (
        Fraction(35, 100) * recency
        + Fraction(25, 100) * frequency
        + Fraction(20, 100) * (Fraction(0) if open_rate is None else open_rate)
        + Fraction(20, 100) * (Fraction(1, 2) if sentiment is None else sentiment)
    )


def behavior(log: Log) -> dict[str, Value]:
    purchases = log.of("purchase_completed")
    return {
        "discount_request_rate": served(_share_of_conversations(log, "discount_requested")),
        "conversion_rate": served(_share_of_conversations(log, "purchase_completed")),
        "support_ticket_rate_30d": len(log.within(30, log.of("support_ticket_opened"))),
        "days_since_last_purchase": log.days_since(last(purchases)),
        "has_purchased": 1 if purchases else 0,
        "engagement_score": served(_engagement_score(log)),
    }


def temporal(log: Log) -> dict[str, Value]:
    moments = [log.local(fact) for fact in log.interactions()]
    return {
        "preferred_hour_of_day": mode(moment.hour for moment in moments),
        "preferred_day_of_week": mode(moment.weekday for moment in moments),
        "channel_diversity": len(set(given(log.of(*WITH_CHANNEL), "channel"))),
    }


def _campaign_rate(log: Log, reaction: str) -> Fraction | None:
    received = {fact.data["campaign_id"] for fact in log.of("campaign_received")}
    reacted = {fact.data["campaign_id"] for fact in log.of(reaction)}
    return ratio(len(received & reacted), len(received))


def ignored(log: Log) -> dict[str, int]:
    """Each ignored campaign with its r + 7 d."""
    due_of: dict[str, int] = {}
    for campaign in {fact.data["campaign_id"] for fact in log.of("campaign_received")}:
        first_us = min(fact.at_us for fact in log.of("campaign_received") if fact.data["campaign_id"] == campaign)
        due_us = first_us + 7 * DAY_US
        reactions = [
            fact
            for fact in log.of("campaign_opened", "campaign_clicked")
            if fact.data["campaign_id"] == campaign and first_us <= fact.at_us < due_us
        ]
        if due_us <= log.tau_us and not reactions:
            due_of[campaign] = due_us
    return due_of


def campaign(log: Log) -> dict[str, Value]:
    return {
        "campaign_open_rate": served(_campaign_rate(log, "campaign_opened")),
        "campaign_click_rate": served(_campaign_rate(log, "campaign_clicked")),
        "campaigns_received_30d": len(log.within(30, log.of("campaign_received"))),
        "campaign_ignored": len(ignored(log)),
    }
