"""The sales pack, row by row."""

from fractions import Fraction

from tests.oracle.exact import SECOND_US, mean, power_of_two, ratio, served
from tests.oracle.facts import Fact, Log, Value, first, given, last
from tests.oracle.profile import domain_of, domain_type, has_text, latest_profile, seniority, size_estimate


def demographic(log: Log) -> dict[str, Value]:
    profile = latest_profile(log)
    email_type = domain_type(domain_of(profile.get("email")), log.settings.free_email_domains)
    return {
        "has_company": has_text(profile.get("company")),
        "has_title": has_text(profile.get("title")),
        "has_phone": has_text(profile.get("phone")),
        "email_domain_type": email_type,
        "title_seniority": seniority(profile.get("title")),
        "company_size_estimate": size_estimate(profile.get("company_size"), email_type),
    }


def _meeting_count(log: Log) -> int:
    meetings = log.of("meeting_scheduled", "meeting_held")
    identified = given(meetings, "meeting_id")
    return len(set(identified)) + len(meetings) - len(identified)


def _created(log: Log) -> Fact | None:
    return first(log.of("lead_created")) or first(log.events)


def _velocity(log: Log) -> Fraction | None:
    days = log.days_since(_created(log))
    return None if days is None else Fraction(len(log.activities()), max(1, days))


def activity(log: Log) -> dict[str, Value]:
    forms, calls = len(log.of("form_submitted")), len(log.of("call_made", "inbound_call"))
    return {
        "email_open_count": len(log.of("email_opened")),
        "email_click_count": len(log.of("email_clicked")),
        "page_view_count": len(log.of("page_viewed")),
        "form_submit_count": forms,
        "meeting_count": _meeting_count(log),
        "call_count": calls,
        "activity_velocity": served(_velocity(log)),
        "channel_diversity": len({fact.type for fact in log.activities()}),
        "high_value_action_count": _meeting_count(log) + calls + forms,
    }


def _day_pattern(log: Log) -> str | None:
    activities = log.activities()
    if not activities:
        return None
    weekend = sum(log.local(fact).is_weekend for fact in activities)
    return "weekend" if 2 * weekend > len(activities) else "weekday"


def _time_pattern(log: Log) -> str | None:
    activities = log.activities()
    if not activities:
        return None
    opens, closes = log.settings.business_hours
    moments = [log.local(fact) for fact in activities]
    inside = sum(not moment.is_weekend and opens <= moment.hour < closes for moment in moments)
    return "business_hours" if 2 * inside >= len(activities) else "off_hours"


def timing(log: Log) -> dict[str, Value]:
    since_last = log.days_since(last(log.activities()))
    return {
        "days_since_created": log.days_since(_created(log)),
        "days_since_last_activity": since_last,
        "recency_score": 0.0 if since_last is None else served(power_of_two(Fraction(-since_last, 7))),
        "activity_burst": 1 if len(log.within(1, log.activities())) >= 3 else 0,
        "day_pattern": _day_pattern(log),
        "time_pattern": _time_pattern(log),
    }


def _email_rate(log: Log, reaction: str) -> float | None:
    sent = {fact.data["email_id"] for fact in log.of("email_sent")}
    reacted = {fact.data["email_id"] for fact in log.of(reaction)}
    return served(ratio(len(sent & reacted), len(sent)))


def _sequence_engagement(log: Log) -> Fraction | None:
    enrolled = last(log.of("sequence_enrolled"))
    if enrolled is None:
        return None
    steps = [
        fact.data["step"]
        for fact in log.of("sequence_step_completed")
        if fact.data["sequence_id"] == enrolled.data["sequence_id"]
    ]
    return min(Fraction(1), Fraction(max(steps, default=0), enrolled.data["steps"]))


def _response_times(log: Log) -> list[Fraction]:
    times = []
    for email in {fact.data["email_id"] for fact in log.of("email_sent")}:
        sent_us = min(fact.at_us for fact in log.of("email_sent") if fact.data["email_id"] == email)
        replies_us = [
            fact.at_us for fact in log.of("email_replied") if fact.data["email_id"] == email and fact.at_us >= sent_us
        ]
        if replies_us:
            times.append(Fraction(min(replies_us) - sent_us, SECOND_US))
    return times


def _is_in_active_sequence(log: Log) -> int:
    enrolled = last(log.of("sequence_enrolled"))
    if enrolled is None:
        return 0
    following = log.events[log.events.index(enrolled) :]
    finished = [
        fact
        for fact in following
        if fact.type == "sequence_finished" and fact.data["sequence_id"] == enrolled.data["sequence_id"]
    ]
    return 0 if finished else 1


def outreach(log: Log) -> dict[str, Value]:
    return {
        "email_open_rate": _email_rate(log, "email_opened"),
        "email_click_rate": _email_rate(log, "email_clicked"),
        "sequence_engagement": served(_sequence_engagement(log)),
        "avg_response_time": served(mean(_response_times(log))),
        "is_in_active_sequence": _is_in_active_sequence(log),
    }
