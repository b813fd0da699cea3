"""Tutoring: a marketplace of tutors and students, and its market by subject."""

from typing import Annotated, Literal

from msgspec import Meta

from eventstore.fields import Amount, Id, Quantity, Text
from eventstore.types import Payload
from projections.aggregators.progress import Available, Open
from projections.expressions import apply, ratio, when
from projections.instants import days_between, since
from projections.language import Pack, days, events
from projections.packs.commerce import MessageReceived, MessageSent
from projections.signals import DATE, INTERACTIONS, TYPE, Computed, declaring

pack = Pack("tutoring", "Sessions, calls, payments and tutors of a marketplace")

Tier = Literal["budget", "standard", "premium"]
Party = Literal["student", "tutor"]
Grade = Annotated[int, Meta(ge=1, le=12)] | Literal["college"]


@pack.event(by="lead")
class SignedUp(Payload, frozen=True):
    channel: Literal["organic", "paid", "referral"] | None = None
    tier: Tier | None = None
    grade_level: Grade | None = None
    subject_category: Literal["STEM", "humanities", "test_prep"] | None = None
    region: Text | None = None


@pack.event(by="lead")
class SubscriptionChanged(Payload, frozen=True):
    tier: Tier


@pack.event(by="lead")
class SubscriptionCancelled(Payload, frozen=True):
    reason: Text | None = None


@pack.event(by="lead")
class SessionScheduled(Payload, frozen=True):
    session_id: Id
    tutor_id: Id
    subject: Text | None = None


@pack.event(by="lead")
class SessionCompleted(Payload, frozen=True):
    session_id: Id
    tutor_id: Id
    duration_minutes: Quantity
    student_rating: Annotated[float, Meta(ge=1, le=5)] | None = None
    subject: Text | None = None


@pack.event(by="org")
class SessionCancelled(Payload, frozen=True):
    session_id: Id
    tutor_id: Id
    cancelled_by: Party


@pack.event(by="org")
class SessionNoShow(Payload, frozen=True):
    session_id: Id
    tutor_id: Id
    missed_by: Party


@pack.event(by="lead", is_activity=True)
class InboundCall(Payload, frozen=True):
    duration_seconds: Quantity
    sentiment_score: Annotated[float, Meta(ge=-1, le=1)] | None = None
    issue_category: Text | None = None
    escalated: bool = False


@pack.event(by="lead")
class Login(Payload, frozen=True):
    pass


@pack.event(by="lead")
class PaymentSucceeded(Payload, frozen=True):
    amount: Amount


@pack.event(by="lead")
class PaymentFailed(Payload, frozen=True):
    amount: Amount
    reason: Text | None = None


@pack.event(by="lead")
class ReferralMade(Payload, frozen=True):
    referred: Text | None = None


@pack.event(by="lead")
class BookingRequest(Payload, frozen=True):
    subject: Text | None = None


@pack.event(by="org")
class TutorResponded(Payload, frozen=True):
    tutor_id: Id
    response_seconds: Quantity


@pack.event(about="subject")
class TutorAvailable(Payload, frozen=True):
    tutor_id: Id
    hours: Quantity


@pack.event(about="subject")
class TutorUnavailable(Payload, frozen=True):
    tutor_id: Id


@pack.event(about="subject")
class MatchRequested(Payload, frozen=True):
    request_id: Id


@pack.event(about="subject")
class MatchMade(Payload, frozen=True):
    request_id: Id
    tutor_id: Id
    minutes_to_match: Quantity


@pack.event(about="subject")
class MatchAbandoned(Payload, frozen=True):
    request_id: Id


@pack.event(about="subject")
class HoursBooked(Payload, frozen=True):
    tutor_id: Id
    hours: Quantity


signups, done, calls, logins = events(SignedUp), events(SessionCompleted), events(InboundCall), events(Login)
resolved = events(SessionCompleted, SessionCancelled, SessionNoShow, name="session_resolved")
cancelled, missed = events(SessionCancelled), events(SessionNoShow)
paid, payments = events(PaymentSucceeded), events(PaymentSucceeded, PaymentFailed, name="payment")
messages = events(MessageReceived, MessageSent, name="message")
interactions = events(INTERACTIONS)

window = pack.view("window", "What happened in the last 7, 14 and 30 days")
WINDOWS = (days(7), days(14), days(30))

window["session_count_{w}"] = done.count().over(*WINDOWS).doc("sessions completed in {w}", unit="sessions")
for w in WINDOWS:
    window[f"session_frequency_{w}"] = (done.count().over(w) / w.in_days).doc(
        f"sessions a day in {w}", unit="sessions a day"
    )
window["avg_session_rating_{w}"] = (
    done.mean("student_rating")
    .over(*WINDOWS)
    .doc("mean rating of sessions in {w}, where given", range="1 to 5", null="none rated in the window")
)
window["session_completion_rate_{w}"] = (
    ratio(done.count(), resolved.count())
    .over(*WINDOWS)
    .doc("share of resolved sessions in {w} that were completed", range="0 to 1", null="none resolved in the window")
)
window["cancellation_rate_{w}"] = (
    ratio(cancelled.count(), resolved.count())
    .over(*WINDOWS)
    .doc("share of resolved sessions in {w} that were cancelled", range="0 to 1", null="none resolved in the window")
)
window["no_show_rate_{w}"] = (
    ratio(missed.count(), resolved.count())
    .over(*WINDOWS)
    .doc("share of resolved sessions in {w} that somebody missed", range="0 to 1", null="none resolved in the window")
)
window["avg_session_duration_{w}"] = (
    done.mean("duration_minutes")
    .over(*WINDOWS)
    .doc("mean length of sessions in {w}", unit="minutes", null="no session in the window")
)
window["ib_call_count_{w}"] = calls.count().over(*WINDOWS).doc("inbound calls in {w}", unit="calls")
window["avg_call_duration_{w}"] = (
    calls.mean("duration_seconds")
    .over(*WINDOWS)
    .doc("mean length of inbound calls in {w}", unit="seconds", null="no call in the window")
)
window["negative_sentiment_calls_{w}"] = (
    calls.where("sentiment_score", lt=-0.3)
    .count()
    .over(*WINDOWS)
    .doc("inbound calls in {w} with a sentiment below -0.3", unit="calls")
)
window["escalation_count_{w}"] = (
    calls.where("escalated", eq=True)
    .count()
    .over(*WINDOWS)
    .doc("inbound calls in {w} that were escalated", unit="calls")
)
window["login_count_{w}"] = logins.count().over(*WINDOWS).doc("logins in {w}", unit="logins")
window["message_count_{w}"] = messages.count().over(*WINDOWS).doc("messages in both directions in {w}", unit="messages")
window["days_active_{w}"] = (
    interactions.distinct(DATE).over(*WINDOWS).doc("local dates with an interaction in {w}", unit="days")
)
window["payment_success_rate_{w}"] = (
    ratio(paid.count(), payments.count())
    .over(*WINDOWS)
    .doc("share of payments in {w} that succeeded", range="0 to 1", null="no payment in the window")
)
window["payment_amount_{w}"] = paid.sum("amount").over(*WINDOWS).doc("payments that succeeded in {w}", unit="currency")

recency = pack.view("recency", "How long ago")
for name, signal in {"session": done, "login": logins, "payment": paid, "ib_call": calls}.items():
    recency[f"days_since_last_{name}"] = since(signal.last_time()).doc(
        f"whole days since the last {name}", unit="days", null="there was none yet"
    )
recency["days_since_signup"] = since(signups.first_time()).doc(
    "whole days since the first sign-up", unit="days", null="never signed up"
)

TIERS = {"budget": 0, "standard": 1, "premium": 2}


def tier_rank(tier: str) -> int:
    return TIERS[tier]


def grade_number(grade: int | str) -> int:
    return 13 if grade == "college" else int(grade)


def rating_or_none_as_zero(session: SessionCompleted) -> float:
    return session.student_rating or 0.0


lifetime = pack.view("lifetime", "Since the beginning")
subscription = events(SignedUp, SubscriptionChanged, SubscriptionCancelled)
lifetime["total_sessions_lifetime"] = done.count().doc("sessions completed", unit="sessions")
lifetime["total_spend_lifetime"] = paid.sum("amount").doc("payments that succeeded", unit="currency")
lifetime["customer_tenure_days"] = when(
    subscription.latest(TYPE).equals("subscription_cancelled"),
    days_between(signups.first_time(), subscription.last_time()),
    since(signups.first_time()),
).doc(
    "whole days from the first sign-up to now, or to the cancellation in force",
    unit="days",
    range="0 or more",
    null="never signed up",
)
lifetime["subscription_tier"] = apply(
    tier_rank, events(SignedUp, SubscriptionChanged).latest("tier"), returns="int"
).doc("latest tier: budget 0, standard 1, premium 2", range="0 to 2", null="no tier given")
lifetime["first_session_was_success"] = when(
    done.count() > 0, when(done.first(Computed(rating_or_none_as_zero), returns="float") > 4.0, 1, 0)
).doc("1 if the first session was rated above 4, else 0", range="0 or 1", null="no session yet")
lifetime["referral_count"] = events(ReferralMade).count().doc("referrals made", unit="referrals")
lifetime["avg_lifetime_rating"] = done.mean("student_rating").doc(
    "mean rating of all sessions, where given", range="1 to 5", null="none rated"
)

tutor = pack.view("tutor", "Tutors of this lead")
primary = done.favourite("tutor_id", last=20)
tutor["primary_tutor_rating"] = primary.mean("student_rating").doc(
    "mean rating of the sessions with the most frequent tutor of the last 20", range="1 to 5", null="none rated"
)
tutor["tutor_consistency_score"] = primary.share().doc(
    "share of the most frequent tutor among the last 20 sessions", range="0 to 1", null="no session yet"
)
tutor["tutor_switch_count_30d"] = (
    done.distinct("tutor_id").over(days(30)).doc("distinct tutors in 30 days", unit="tutors")
)
tutor["avg_tutor_response_time"] = (
    events(TutorResponded)
    .mean("response_seconds")
    .doc("mean time that tutors take to respond", unit="seconds", null="no response yet")
)
tutor["tutor_cancellation_rate"] = (cancelled.where("cancelled_by", eq="tutor").count() / resolved.count()).doc(
    "share of resolved sessions that the tutor cancelled", range="0 to 1", null="none resolved"
)

segment = pack.view("segment", "Who the lead is")
segment["acquisition_channel"] = signups.first("channel").doc(
    "channel of the first sign-up that names one", null="none given", vocabulary=("organic", "paid", "referral")
)
segment["student_grade_level"] = apply(grade_number, signups.latest("grade_level"), returns="int").doc(
    "latest grade level, college is 13", range="1 to 13", null="none given"
)
segment["primary_subject_category"] = signups.latest("subject_category").doc(
    "latest subject category", null="none given", vocabulary=("STEM", "humanities", "test_prep")
)
segment["geographic_region"] = signups.latest("region").doc("latest region", null="none given")

trend = pack.view("trend", "Which way things go")
trend["session_velocity_change"] = (window["session_count_7d"] / 7 - window["session_count_30d"] / 30).doc(
    "sessions a day in 7 days less those in 30 days", unit="sessions a day"
)
trend["rating_trend"] = (window["avg_session_rating_7d"] - window["avg_session_rating_30d"]).doc(
    "mean rating in 7 days less that in 30 days", range="-4 to 4", null="none rated in 7 days"
)
trend["engagement_trend"] = (window["login_count_7d"] - window["login_count_14d"]).doc(
    "logins in 7 days less those in 14", unit="logins", range="0 or less"
)
trend["spend_acceleration"] = (window["payment_amount_7d"] / 7 - window["payment_amount_30d"] / 30).doc(
    "spend a day in 7 days less that in 30 days", unit="currency a day"
)

market = pack.view("market", "Supply and demand of a subject", about="subject")
market["supply_demand_ratio"] = (
    Available(events(TutorAvailable).signal, events(TutorUnavailable).signal, "tutor_id")
    / Open(events(MatchRequested).signal, events(MatchMade, MatchAbandoned).signal, "request_id", days(30).us)
).doc("available tutors per pending request", null="no pending request")
market["avg_match_time"] = (
    events(MatchMade)
    .mean("minutes_to_match")
    .over(days(30))
    .doc("mean time to a match in 30 days", unit="minutes", null="no match in 30 days")
)
market["utilization_rate"] = (
    events(HoursBooked).sum("hours").over(days(7)) / events(TutorAvailable).sum("hours").over(days(7))
).doc("hours booked per hour offered in 7 days", null="no hour offered in 7 days")
market["tutor_count"] = (
    events(declaring("tutor_id")).distinct("tutor_id").over(days(30)).doc("distinct tutors in 30 days", unit="tutors")
)
