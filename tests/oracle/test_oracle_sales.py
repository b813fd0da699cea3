"""The yardstick's own examples for the sales rows, worked by hand."""

from typing import Any

import pytest

from tests.oracle.facts import Fact, Settings
from tests.oracle.writing import NOW, ago, fact, value


def profile(at: int = NOW, **data: Any) -> Fact:
    return fact("profile_updated", at, **data)


def test_a_profile_field_counts_if_its_latest_value_shows() -> None:
    facts = [
        profile(ago(days=3), company="Acme", title="x", phone="1"),
        profile(ago(days=2), company=None, title=" \t"),
    ]
    assert [value(f"demographic:has_{name}", *facts) for name in ("company", "title", "phone")] == [0, 0, 1]
    assert value("demographic:has_company", *facts, profile(company="Acme")) == 1


@pytest.mark.parametrize(
    ("email", "kind"),
    [
        ("a@gmail.com", "free"),
        ("a@ GMail.com. ", "free"),
        ("a@x@web.de", "free"),
        ("a@sub.gmail.com", "corporate"),
        ("a@mit.edu", "edu"),
        ("a@.edu", "corporate"),
        ("a@edu", "corporate"),
        ("a@ox.ac.uk", "edu"),
        ("a@ac.uk", "corporate"),
        ("a@anu.edu.au", "edu"),
        ("a@edu.au", "corporate"),
        ("a@x.ac.com", "corporate"),
        ("a@x.edu.a1", "corporate"),
        ("no at", None),
        ("a@", None),
        ("a@  ", None),
        ("a@.", None),
        ("", None),
        (None, None),
    ],
)
def test_an_email_has_a_kind_of_domain(email: str | None, kind: str | None) -> None:
    assert value("demographic:email_domain_type", profile(email=email)) == kind


def test_the_latest_email_counts_even_if_it_is_none() -> None:
    assert value("demographic:email_domain_type", profile(ago(days=1), email="a@b.c"), profile(email="gone")) is None


def test_the_list_of_free_domains_can_be_replaced() -> None:
    settings = Settings(free_email_domains=frozenset({"acme.com"}))
    kinds = [
        value("demographic:email_domain_type", profile(email=f"a@{d}.com"), settings=settings)
        for d in ("acme", "gmail")
    ]
    assert kinds == ["free", "corporate"]


@pytest.mark.parametrize(
    ("title", "level"),
    [
        ("Chief of Staff", "c_level"),
        ("Co-Founder", "c_level"),
        ("President", "c_level"),
        ("Vice President, Sales", "vp"),
        ("Vice-President", "vp"),
        ("President and Vice President", "c_level"),
        ("Vice Chair, President", "c_level"),
        ("Assistant to the CEO", "c_level"),
        ("VP", "vp"),
        ("Vice", "individual"),
        ("Head of Growth, SVP", "vp"),
        ("Managing Director", "director"),
        ("Manager and head", "director"),
        ("Shift-Supervisor", "manager"),
        ("Headmaster", "individual"),
        ("C.E.O.", "individual"),
        ("Product Management", "individual"),
        ("— !", None),
        ("", None),
        (None, None),
    ],
)
def test_a_title_has_a_seniority(title: str | None, level: str | None) -> None:
    assert value("demographic:title_seniority", profile(title=title)) == level


@pytest.mark.parametrize(
    ("data", "size"),
    [
        ({"company_size": 1}, "micro"),
        ({"company_size": 10}, "micro"),
        ({"company_size": 11}, "small"),
        ({"company_size": 50}, "small"),
        ({"company_size": 250}, "medium"),
        ({"company_size": 1000, "email": "a@gmail.com"}, "large"),
        ({"company_size": 1001}, "enterprise"),
        ({"email": "a@gmail.com"}, "individual"),
        ({"email": "a@mit.edu"}, "large"),
        ({"email": "a@acme.com"}, "medium"),
        ({"name": "A"}, None),
    ],
)
def test_a_company_has_a_size(data: dict[str, Any], size: str | None) -> None:
    assert value("demographic:company_size_estimate", profile(**data)) == size


def test_clearing_the_company_size_falls_back_to_the_domain() -> None:
    facts = [profile(ago(days=1), company_size=9, email="a@acme.com"), profile(company_size=None)]
    assert value("demographic:company_size_estimate", *facts) == "medium"


def test_meetings_are_counted_by_id_and_without_one_one_by_one() -> None:
    facts = [
        fact("meeting_scheduled", meeting_id="m1"),
        fact("meeting_held", meeting_id="m1"),
        fact("meeting_held", meeting_id="m2"),
        fact("meeting_held"),
        fact("meeting_scheduled", meeting_id=None),
    ]
    assert value("activity:meeting_count", *facts) == 4
    calls = [fact("call_made"), fact("inbound_call", duration_seconds=1), fact("form_submitted")]
    assert value("activity:call_count", *calls) == 2
    assert value("activity:high_value_action_count", *facts, *calls) == 7


def test_activities_are_counted_by_type() -> None:
    facts = [
        fact("email_opened", email_id="m"),
        fact("email_opened", email_id="m"),
        fact("email_clicked", email_id="m"),
    ]
    facts += [fact("page_viewed"), fact("login"), fact("deal_won"), fact("email_sent", email_id="m")]
    names = ("email_open_count", "email_click_count", "page_view_count", "channel_diversity")
    assert [value(f"activity:{name}", *facts) for name in names] == [2, 1, 1, 3]


def test_an_inbound_call_is_an_activity_too_while_its_pack_is_on() -> None:
    called = fact("inbound_call", ago(days=2), duration_seconds=1)
    assert value("timing:days_since_last_activity", called) == 2
    assert value("timing:days_since_last_activity", called, settings=Settings(packs=("sales",))) is None


def test_velocity_divides_by_days_since_created_at_least_one() -> None:
    views = [fact("page_viewed", ago(days=days)) for days in (0, 1, 4)]
    assert value("activity:activity_velocity", *views) == 0.75
    assert value("activity:activity_velocity", views[0]) == 1.0
    assert value("activity:activity_velocity", fact("login")) == 0.0
    assert value("activity:activity_velocity") is None
    assert value("activity:activity_velocity", *views, fact("lead_created", ago(days=2))) == 1.5


def test_a_lead_is_created_by_its_first_lead_created_else_by_its_first_event() -> None:
    seen = fact("campaign_received", ago(days=50), campaign_id="k")
    assert value("timing:days_since_created", seen, fact("login")) == 50
    created = [fact("lead_created", ago(days=days)) for days in (10, 20)]
    assert value("timing:days_since_created", seen, *created) == 20
    assert value("timing:days_since_created", fact("decision_made", ago(days=9))) is None


def test_recency_halves_each_week_by_whole_days() -> None:
    assert value("timing:recency_score", fact("call_made", ago(days=7, hours=23))) == 0.5
    assert value("timing:recency_score", fact("page_viewed")) == 1.0
    assert value("timing:recency_score", fact("login")) == 0.0
    assert value("timing:recency_score", fact("page_viewed", ago(days=1))) == 2 ** (-1 / 7)


def test_three_activities_in_a_day_are_a_burst() -> None:
    facts = [fact("page_viewed"), fact("page_viewed"), fact("page_viewed", ago(hours=24))]
    assert value("timing:activity_burst", *facts) == 0
    assert value("timing:activity_burst", *facts[:2], fact("page_viewed", ago(hours=24) + 1)) == 1


def test_patterns_want_more_than_half_for_weekends_and_half_for_business_hours() -> None:
    saturday, wednesday = fact("page_viewed", "2024-06-08T12:00:00Z"), fact("page_viewed", "2024-06-05T12:00:00Z")
    assert value("timing:day_pattern", saturday, wednesday) == "weekday"
    assert value("timing:day_pattern", saturday) == "weekend"
    assert value("timing:time_pattern", saturday, wednesday) == "business_hours"
    assert value("timing:time_pattern", saturday) == "off_hours"
    assert value("timing:time_pattern", wednesday, settings=Settings(business_hours=(13, 17))) == "off_hours"
    assert value("timing:day_pattern", fact("login")) is None


def test_email_rates_are_over_distinct_sent_emails() -> None:
    facts = [
        fact("email_sent", email_id="m1"),
        fact("email_sent", email_id="m1"),
        fact("email_sent", email_id="m2"),
        fact("email_opened", ago(days=9), email_id="m1"),
        fact("email_opened", email_id="unsent"),
    ]
    assert value("outreach:email_open_rate", *facts) == 0.5
    assert value("outreach:email_click_rate", *facts) == 0.0
    assert value("outreach:email_open_rate", facts[-1]) is None


def test_sequence_engagement_is_the_highest_step_of_the_latest_sequence() -> None:
    facts = [
        fact("sequence_enrolled", ago(days=9), sequence_id="q1", steps=2),
        fact("sequence_step_completed", ago(days=9), sequence_id="q2", step=3),  # before its enrolment
        fact("sequence_enrolled", ago(days=8), sequence_id="q2", steps=4),
        fact("sequence_step_completed", ago(days=7), sequence_id="q2", step=1),
        fact("sequence_step_completed", ago(days=7), sequence_id="q1", step=9),
    ]
    assert value("outreach:sequence_engagement", *facts) == 0.75
    assert value("outreach:sequence_engagement", facts[0], facts[4]) == 1.0
    assert value("outreach:sequence_engagement", facts[0]) == 0.0
    assert value("outreach:sequence_engagement", facts[1]) is None


def test_a_response_is_the_first_reply_at_or_after_the_first_sending() -> None:
    facts = [
        fact("email_replied", ago(minutes=90), email_id="m1"),  # before it was sent
        fact("email_sent", ago(minutes=60), email_id="m1"),
        fact("email_sent", ago(minutes=50), email_id="m1"),
        fact("email_replied", ago(minutes=40), email_id="m1"),  # 20 minutes
        fact("email_replied", ago(minutes=30), email_id="m1"),
        fact("email_sent", ago(minutes=60), email_id="m2"),  # no reply
        fact("email_sent", ago(minutes=60), "b", email_id="m3"),
        fact("email_replied", ago(minutes=60), "a", email_id="m3"),  # at that time, whatever its id
    ]
    assert value("outreach:avg_response_time", *facts) == 600.0
    assert value("outreach:avg_response_time", facts[5]) is None


def test_a_sequence_is_active_until_its_end_follows() -> None:
    enrolled = fact("sequence_enrolled", ago(days=5), "m", sequence_id="q", steps=3)
    other = fact("sequence_finished", ago(days=4), sequence_id="p", outcome="stopped")
    same_time = {
        name: fact("sequence_finished", ago(days=5), name, sequence_id="q", outcome="replied") for name in ("a", "z")
    }
    assert value("outreach:is_in_active_sequence", enrolled, other) == 1
    assert value("outreach:is_in_active_sequence", enrolled, same_time["a"]) == 1
    assert value("outreach:is_in_active_sequence", enrolled, same_time["z"]) == 0
    assert value("outreach:is_in_active_sequence", other) == 0
