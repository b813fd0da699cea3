"""Sales: a CRM's profiles, activities, outreach and deals."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from eventstore.fields import Amount, Id, Positive, Quantity, Text
from eventstore.types import Payload
from kernel.settings import OrgSettings
from projections.aggregators.progress import Reached, Running
from projections.expressions import Halving, apply, greatest, if_null, least, when
from projections.instants import FirstOf, since
from projections.language import Pack, View, events, hours
from projections.packs.profile import DomainKinds, has_text, size_of_company, size_of_domain, title_seniority
from projections.packs.tutoring import InboundCall
from projections.signals import ACTIVITIES, EVERY, HOUR, TYPE, WEEKDAY

pack = Pack("sales", "Profiles, activities, outreach and deals of a CRM")

CompanySize = Annotated[int, Meta(ge=1, le=10**12)]


@pack.event(by="org")
class LeadCreated(Payload, frozen=True):
    source: Text | None = None


@pack.event(by="org")
class ProfileUpdated(Payload, frozen=True):
    name: Text | UnsetType | None = UNSET
    email: Text | UnsetType | None = UNSET
    company: Text | UnsetType | None = UNSET
    title: Text | UnsetType | None = UNSET
    phone: Text | UnsetType | None = UNSET
    company_size: CompanySize | UnsetType | None = UNSET


@pack.event(by="org")
class EmailSent(Payload, frozen=True):
    email_id: Id
    sequence_id: Id | None = None


@pack.event(by="lead", is_activity=True)
class EmailOpened(Payload, frozen=True):
    email_id: Id


@pack.event(by="lead", is_activity=True)
class EmailClicked(Payload, frozen=True):
    email_id: Id


@pack.event(by="lead", is_activity=True)
class EmailReplied(Payload, frozen=True):
    email_id: Id


@pack.event(by="lead", is_activity=True)
class PageViewed(Payload, frozen=True):
    url: Text | None = None


@pack.event(by="lead", is_activity=True)
class FormSubmitted(Payload, frozen=True):
    form_id: Id | None = None


@pack.event(by="lead", is_activity=True)
class MeetingScheduled(Payload, frozen=True):
    meeting_id: Id | None = None


@pack.event(by="lead", is_activity=True)
class MeetingHeld(Payload, frozen=True):
    meeting_id: Id | None = None


@pack.event(by="org", is_activity=True)
class CallMade(Payload, frozen=True):
    duration_seconds: Quantity | None = None
    outcome: Text | None = None


@pack.event(by="org")
class SequenceEnrolled(Payload, frozen=True):
    sequence_id: Id
    steps: Positive


@pack.event(by="org")
class SequenceStepCompleted(Payload, frozen=True):
    sequence_id: Id
    step: Positive


@pack.event(by="org")
class SequenceFinished(Payload, frozen=True):
    sequence_id: Id
    outcome: Literal["completed", "replied", "unsubscribed", "stopped"] | None = None


@pack.event(by="lead")
class DealWon(Payload, frozen=True):
    amount: Amount | None = None


@pack.event(by="lead")
class DealLost(Payload, frozen=True):
    reason: Text | None = None


profile, activities, everything = events(ProfileUpdated), events(ACTIVITIES), events(EVERY)

pack.identify(name=profile.latest("name"), email=profile.latest("email"), company=profile.latest("company"))


@pack.configured("demographic", "Who the lead is, from the latest profile")
def demographic(view: View, settings: OrgSettings) -> None:
    email, title = profile.latest("email"), profile.latest("title")
    domain = apply(DomainKinds(settings.free_email_domains), email, returns="string")
    for field in ("company", "title", "phone"):
        view[f"has_{field}"] = if_null(apply(has_text, profile.latest(field), returns="int"), 0).doc(
            f"1 if the latest {field} is not blank, else 0", range="0 or 1"
        )
    view["email_domain_type"] = domain.doc(
        "kind of the e-mail's domain", null="no e-mail", vocabulary=("edu", "free", "corporate")
    )
    view["title_seniority"] = apply(title_seniority, title, returns="string").doc(
        "rank that the title's words name",
        null="no title",
        vocabulary=("c_level", "vp", "director", "manager", "individual"),
    )
    by_size = apply(size_of_company, profile.latest("company_size", returns="int"), returns="string")
    view["company_size_estimate"] = if_null(by_size, apply(size_of_domain, domain, returns="string")).doc(
        "class of the company's size, or a guess from the domain",
        null="neither size nor e-mail",
        vocabulary=("individual", "micro", "small", "medium", "large", "enterprise"),
    )


activity = pack.view("activity", "What the lead did")
created = FirstOf(events(LeadCreated).first_time(), everything.first_time())
meetings = events(MeetingScheduled, MeetingHeld)
forms, calls = events(FormSubmitted), events(CallMade, InboundCall)

activity["email_open_count"] = events(EmailOpened).count().doc("e-mails opened", unit="opens")
activity["email_click_count"] = events(EmailClicked).count().doc("e-mails clicked", unit="clicks")
activity["page_view_count"] = events(PageViewed).count().doc("pages viewed", unit="views")
activity["form_submit_count"] = forms.count().doc("forms submitted", unit="forms")
activity["meeting_count"] = (
    meetings.distinct("meeting_id").count() + meetings.where("meeting_id", given=False).count()
).doc("distinct meetings scheduled or held, those without an id one by one", unit="meetings")
activity["call_count"] = calls.count().doc("calls made to the lead or by it", unit="calls")
activity["activity_velocity"] = (activities.count() / greatest(1, since(created))).doc(
    "activities per day since the lead was created", unit="activities a day", null="no event yet"
)
activity["channel_diversity"] = activities.distinct(TYPE).count().doc("distinct types of activity", unit="types")
activity["high_value_action_count"] = (activity["meeting_count"] + calls.count() + forms.count()).doc(
    "meetings, calls and forms", unit="actions"
)


@pack.configured("timing", "When the lead acts")
def timing(view: View, settings: OrgSettings) -> None:
    opens, closes = settings.browsing.business_hours
    total = activities.count()
    weekend = activities.where(WEEKDAY, isin=(5, 6)).count()
    at_work = activities.where(WEEKDAY, isin=(0, 1, 2, 3, 4)).where(HOUR, ge=opens, lt=closes).count()

    view["days_since_created"] = since(created).doc(
        "whole days since the lead was created, or since its first event", unit="days", null="no event yet"
    )
    view["days_since_last_activity"] = since(activities.last_time()).doc(
        "whole days since the last activity", unit="days", null="no activity yet"
    )
    view["recency_score"] = if_null(Halving(view["days_since_last_activity"], 7.0), 0.0).doc(
        "2^(-days since the last activity / 7); 0 without activity", range="0 to 1"
    )
    view["activity_burst"] = when(activities.count().over(hours(24)) >= 3, 1, 0).doc(
        "1 if at least 3 activities in 24 hours, else 0", range="0 or 1"
    )
    view["day_pattern"] = when(total > 0, when(weekend * 2 > total, "weekend", "weekday")).doc(
        "weekend if more than half of the activities fall on one",
        null="no activity yet",
        vocabulary=("weekend", "weekday"),
    )
    view["time_pattern"] = when(total > 0, when(at_work * 2 >= total, "business_hours", "off_hours")).doc(
        f"business_hours if at least half of the activities fall on Monday to Friday, {opens}:00 to {closes}:00",
        null="no activity yet",
        vocabulary=("business_hours", "off_hours"),
    )


outreach = pack.view("outreach", "How the lead answers outreach")
emails = events(EmailSent).distinct("email_id")
enrolled, steps = events(SequenceEnrolled), events(SequenceStepCompleted)
outreach["email_open_rate"] = (emails.having(events(EmailOpened)) / emails).doc(
    "share of the e-mails sent that were opened, at any time", range="0 to 1", null="none sent"
)
outreach["email_click_rate"] = (emails.having(events(EmailClicked)) / emails).doc(
    "share of the e-mails sent that were clicked, at any time", range="0 to 1", null="none sent"
)
outreach["sequence_engagement"] = least(
    1.0,
    Reached(enrolled.signal, steps.signal, "sequence_id", "step") / enrolled.latest("steps", returns="int"),
).doc("highest step completed of the latest sequence / its steps", range="0 to 1", null="never enrolled")
outreach["avg_response_time"] = (
    events(EmailSent)
    .answered(events(EmailReplied), by="email_id")
    .mean_seconds()
    .doc("mean time from an e-mail's first sending to its first reply", unit="seconds", null="no reply yet")
)
outreach["is_in_active_sequence"] = Running(enrolled.signal, events(SequenceFinished).signal, "sequence_id").doc(
    "1 if the latest sequence is not finished, else 0", range="0 or 1"
)
