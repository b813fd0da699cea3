"""What is worth saying of a lead in a line each, the most important first: labels, features, and their words.

Features of the five packs that say the same at another length of window, or to a machine only, are not among them.
A pack of the user's own adds a line for each of its features, after these.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from projections.catalogue import BUILT_IN_PACKS, Entities
from projections.feature import Feature
from projections.hindsight import words

#: Called with the values of a line's features (None where unknown, never all) and the org's currency.
Write = Callable[[Sequence[Any], str], str]


@dataclass(frozen=True)
class Line:
    """One line: what it is called, of which features, and how their values read."""

    label: str
    features: tuple[str, ...]
    write: Write


def lines_of(entities: Entities) -> list[Line]:
    """The lines that a catalogue can fill."""
    known = set(entities.specs)
    built_in = [line for line in LINES if known.issuperset(line.features)]
    own = [_own(feature) for feature in entities.features if feature.pack not in BUILT_IN_PACKS]
    return built_in + own


def _own(feature: Feature) -> Line:
    label = feature.name.replace("_", " ")
    return Line(
        label[:1].upper() + label[1:],
        (feature.feature,),
        lambda values, currency: words.written(feature, values[0], currency),
    )


def _line(label: str, feature: str, write: Callable[[Any], str]) -> Line:
    return Line(label, (feature,), lambda values, currency: write(values[0]))


def _money(label: str, feature: str) -> Line:
    return Line(label, (feature,), lambda values, currency: words.money(values[0], currency))


def _counted(unit: str) -> Callable[[Any], str]:
    return lambda value: words.counted(value, unit)


def _of(most: int) -> Callable[[Any], str]:
    return lambda value: f"{words.number(value)} of {most}"


def _yes_or_no(value: int) -> str:
    return "yes" if value else "no"


def _ago(days: int) -> str:
    return f"{words.counted(days, 'days')} ago" if days else "less than a day ago"


def _listed(values: Sequence[str]) -> str:
    return ", ".join(map(words.text, values)) or "none"


def _date(time: str) -> str:
    return time[:10]


def _property(values: Sequence[Any], currency: str) -> str:
    kind, city, state, square_feet = values
    parts = [words.text(each) for each in (kind, city, state) if each is not None and words.text(each)]
    if square_feet is not None:
        parts.append(f"{square_feet} sq ft")
    return ", ".join(parts)


def _tier(rank: int) -> str:
    return ("budget", "standard", "premium")[rank]


def _grade(grade: int) -> str:
    return "college" if grade == 13 else str(grade)


def _hour(hour: int) -> str:
    return f"{hour:02d}:00 to {hour + 1:02d}:00"


def _weekday(day: int) -> str:
    return words.WEEKDAYS[day]


_number, _percent, _text = words.number, words.percent, words.text
_HOME = tuple(f"property:{name}" for name in ("property_type", "city", "state", "square_feet"))

LINES: tuple[Line, ...] = (
    # What the lead is worth, and how content it is.
    _line("Average satisfaction", "customer:satisfaction_avg", _of(5)),
    _line("Services completed", "customer:service_count", _number),
    _line("Lifetime value", "customer:lifetime_value", str.upper),
    Line("Property", _HOME, _property),
    _line("Known pest issues", "property:pest_issues", _listed),
    _money("Total of purchases", "rfm:monetary_total"),
    _money("Average purchase", "rfm:monetary_avg_ticket"),
    _money("Total of payments", "lifetime:total_spend_lifetime"),
    _line("Subscription tier", "lifetime:subscription_tier", _tier),
    _line("Customer for", "lifetime:customer_tenure_days", _counted("days")),
    _line("Average session rating", "lifetime:avg_lifetime_rating", _of(5)),
    _line("Sessions completed", "lifetime:total_sessions_lifetime", _number),
    # How recently.
    _line("Last interaction", "rfm:recency_days", _ago),
    _line("Last purchase", "behavior:days_since_last_purchase", _ago),
    _line("Last session", "recency:days_since_last_session", _ago),
    _line("Last payment", "recency:days_since_last_payment", _ago),
    _line("Last login", "recency:days_since_last_login", _ago),
    _line("Last activity", "timing:days_since_last_activity", _ago),
    # What may be wrong.
    _line("Inbound calls in 30 days", "window:ib_call_count_30d", _number),
    _line("Calls with negative sentiment in 30 days", "window:negative_sentiment_calls_30d", _number),
    _line("Escalated calls in 30 days", "window:escalation_count_30d", _number),
    _line("Support tickets in 30 days", "behavior:support_ticket_rate_30d", _number),
    _line("Payments that succeeded in 30 days", "window:payment_success_rate_30d", _percent),
    _line("Sessions cancelled in 30 days", "window:cancellation_rate_30d", _percent),
    _line("Sessions missed in 30 days", "window:no_show_rate_30d", _percent),
    _line("Average sentiment in 30 days", "engagement:sentiment_avg_30d", _of(1)),
    # Who the lead is.
    _line("Seniority", "demographic:title_seniority", _text),
    _line("Company size", "demographic:company_size_estimate", _text),
    _line("E-mail domain", "demographic:email_domain_type", _text),
    _line("Grade level", "segment:student_grade_level", _grade),
    _line("Subject category", "segment:primary_subject_category", _text),
    _line("Region", "segment:geographic_region", _text),
    _line("Acquired through", "segment:acquisition_channel", _text),
    _line("Year built", "property:year_built", str),
    _line("Postal code", "property:zip", _text),
    _line("First service", "customer:first_seen", _date),
    # What it does.
    _line("Purchases in 90 days", "rfm:frequency_purchases_90d", _number),
    _line("Sessions in 30 days", "window:session_count_30d", _number),
    _line("Average rating of the usual tutor", "tutor:primary_tutor_rating", _of(5)),
    _line("Tutors in 30 days", "tutor:tutor_switch_count_30d", _number),
    _line("Referrals made", "lifetime:referral_count", _number),
    _line("Meetings", "activity:meeting_count", _number),
    _line("Calls", "activity:call_count", _number),
    _line("Forms submitted", "activity:form_submit_count", _number),
    _line("Pages viewed", "activity:page_view_count", _number),
    _line("In an active sequence", "outreach:is_in_active_sequence", _yes_or_no),
    _line("Replies to e-mails within", "outreach:avg_response_time", words.duration),
    _line("E-mails opened of those sent", "outreach:email_open_rate", _percent),
    _line("E-mails clicked of those sent", "outreach:email_click_rate", _percent),
    _line("Answers messages within", "engagement:avg_response_time_seconds", words.duration),
    _line("Conversations in 30 days", "rfm:frequency_conversations_30d", _number),
    _line("Conversations with a purchase", "behavior:conversion_rate", _percent),
    _line("Conversations with a request for discount", "behavior:discount_request_rate", _percent),
    _line("Campaigns opened of those received", "campaign:campaign_open_rate", _percent),
    _line("Campaigns ignored", "campaign:campaign_ignored", _number),
    _line("Interactions with listings", "interaction:total_interactions", _number),
    _line("Last look at a listing", "interaction:days_since_last", _ago),
    _line("Usual hour of interactions", "temporal:preferred_hour_of_day", _hour),
    _line("Usual day of interactions", "temporal:preferred_day_of_week", _weekday),
)
