"""Commerce: conversations, purchases, support and campaigns."""

from eventstore.fields import Amount, Id, Text, Unit
from eventstore.types import Payload
from projections.absence import Absence
from projections.expressions import Halving, if_null, least, when
from projections.instants import since
from projections.language import Pack, days, events
from projections.signals import HOUR, INTERACTIONS, WEEKDAY, declaring

pack = Pack("commerce", "Conversations, purchases, support and campaigns")


@pack.event(by="lead")
class ConversationStarted(Payload, frozen=True):
    conversation_id: Id
    channel: Id | None = None


@pack.event(by="lead")
class MessageReceived(Payload, frozen=True):
    conversation_id: Id
    channel: Id | None = None
    sentiment: Unit | None = None


@pack.event(by="org")
class MessageSent(Payload, frozen=True):
    conversation_id: Id
    channel: Id | None = None
    agent: Text | None = None


@pack.event(by="lead")
class DiscountRequested(Payload, frozen=True):
    conversation_id: Id


@pack.event(by="lead")
class PurchaseCompleted(Payload, frozen=True):
    amount: Amount
    order_id: Id | None = None
    conversation_id: Id | None = None
    currency: Text | None = None
    channel: Id | None = None


@pack.event(by="lead")
class SupportTicketOpened(Payload, frozen=True):
    ticket_id: Id
    channel: Id | None = None


@pack.event(by="org")
class CampaignReceived(Payload, frozen=True):
    campaign_id: Id
    channel: Id | None = None


@pack.event(by="lead")
class CampaignOpened(Payload, frozen=True):
    campaign_id: Id
    channel: Id | None = None


@pack.event(by="lead")
class CampaignClicked(Payload, frozen=True):
    campaign_id: Id
    channel: Id | None = None


interactions = events(INTERACTIONS)
started, purchases, tickets = events(ConversationStarted), events(PurchaseCompleted), events(SupportTicketOpened)
received, sent = events(MessageReceived), events(MessageSent)
messages = events(MessageReceived, MessageSent, name="message")
conversations = events(declaring("conversation_id")).distinct("conversation_id")
campaigns = events(CampaignReceived).distinct("campaign_id")
month, quarter, week = days(30), days(90), days(7)

rfm = pack.view("rfm", "Recency, frequency, monetary value")
rfm["recency_days"] = since(interactions.last_time()).doc(
    "whole days since the last interaction, of any pack", unit="days", null="no interaction yet"
)
rfm["frequency_conversations_30d"] = (
    started.count().over(month).doc("conversations started in 30 days", unit="conversations")
)
rfm["frequency_purchases_90d"] = purchases.count().over(quarter).doc("purchases in 90 days", unit="purchases")
rfm["monetary_total"] = purchases.sum("amount").doc("sum of all purchases", unit="currency")
rfm["monetary_avg_ticket"] = purchases.mean("amount").doc(
    "mean amount of a purchase", unit="currency", null="no purchase yet"
)

engagement = pack.view("engagement", "How the lead converses")
engagement["avg_response_time_seconds"] = (
    sent.then(received, by="conversation_id")
    .mean_seconds()
    .doc(
        "mean time the lead takes to answer a message of ours in the same conversation",
        unit="seconds",
        null="never answered",
    )
)
engagement["avg_messages_per_conversation"] = (messages.count() / messages.distinct("conversation_id")).doc(
    "messages in both directions per conversation that has any", unit="messages", null="no message yet"
)
engagement["sentiment_avg_30d"] = (
    received.mean("sentiment")
    .over(month)
    .doc("mean sentiment of the lead's messages in 30 days, where given", range="0 to 1", null="none given in 30 days")
)

behavior = pack.view("behavior", "What the lead does")
behavior["discount_request_rate"] = (conversations.having(events(DiscountRequested)) / conversations).doc(
    "share of known conversations in which a discount was requested", range="0 to 1", null="no conversation known"
)
behavior["conversion_rate"] = (conversations.having(purchases) / conversations).doc(
    "share of known conversations with a purchase", range="0 to 1", null="no conversation known"
)
behavior["support_ticket_rate_30d"] = (
    tickets.count().over(month).doc("support tickets opened in 30 days", unit="tickets")
)
behavior["days_since_last_purchase"] = since(purchases.last_time()).doc(
    "whole days since the last purchase", unit="days", null="no purchase yet"
)
behavior["has_purchased"] = when(purchases.count() > 0, 1, 0).doc("1 if there was any purchase, else 0", range="0 or 1")

open_rate = campaigns.having(events(CampaignOpened)) / campaigns
behavior["engagement_score"] = (
    0.35 * if_null(Halving(rfm["recency_days"], 14.0), 0.0)
    + 0.25 * least(1.0, rfm["frequency_conversations_30d"] / 4)
    + 0.20 * if_null(open_rate, 0.0)
    + 0.20 * if_null(engagement["sentiment_avg_30d"], 0.5)
).doc("0.35 recency (half-life 14 days) + 0.25 conversations + 0.20 campaign opens + 0.20 sentiment", range="0 to 1")

temporal = pack.view("temporal", "When and where the lead is active")
temporal["preferred_hour_of_day"] = interactions.mode(HOUR).doc(
    "most frequent local hour of interactions", unit="hour", range="0 to 23", null="no interaction yet"
)
temporal["preferred_day_of_week"] = interactions.mode(WEEKDAY).doc(
    "most frequent local weekday of interactions, 0 = Monday", unit="weekday", range="0 to 6", null="no interaction yet"
)
temporal["channel_diversity"] = (
    events(declaring("channel", but_not=("signed_up",)))
    .distinct("channel")
    .doc("distinct channels used", unit="channels")
)

campaign = pack.view("campaign", "How the lead takes campaigns")
campaign["campaign_open_rate"] = open_rate.doc(
    "share of the campaigns received that were opened, at any time", range="0 to 1", null="no campaign received"
)
campaign["campaign_click_rate"] = (campaigns.having(events(CampaignClicked)) / campaigns).doc(
    "share of the campaigns received that were clicked, at any time", range="0 to 1", null="no campaign received"
)
campaign["campaigns_received_30d"] = (
    events(CampaignReceived).count().over(month).doc("campaigns received in 30 days", unit="campaigns")
)
campaign["campaign_ignored"] = (
    events(CampaignReceived)
    .answered(events(CampaignOpened, CampaignClicked), by="campaign_id")
    .missing_after(week)
    .doc("campaigns neither opened nor clicked within 7 days of their first receipt", unit="campaigns")
)

pack.absence(
    Absence(
        event_type="campaign_ignored",
        id_prefix="~ci:",
        cause="campaign_received",
        answers=("campaign_opened", "campaign_clicked"),
        key="campaign_id",
        within_us=week.us,
    )
)
