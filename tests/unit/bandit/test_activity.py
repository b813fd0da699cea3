"""Decisions in the air: budgets of the day and open decisions, however often and in whatever order they are told."""

import msgspec

from bandit.activity import Activity, PolicyKey
from bandit.events import DecisionMade, policy_stream, settlement_event
from bandit.settling import settlement
from eventstore.event import Event
from kernel.times import DAY_US, HOUR_US
from projections.local_time import LocalTime
from tests.unit.bandit.logs import NOON, POLICY, Log, a_decision

KEY = PolicyKey("acme", "offers")


def an_activity(zone: str = "UTC") -> Activity:
    local = LocalTime(zone)
    return Activity(lambda org: local)


def made(*decisions: DecisionMade, at_us: int = NOON) -> list[Event]:
    log = Log()
    return [log.decision(each, at_us) for each in decisions]


def settled(decision: DecisionMade, kind: str = "final", policy: str = "offers") -> Event:
    stream = policy_stream("acme", policy)
    found = settlement(decision, kind, decided_us=NOON, settled_us=NOON + 1, values=[])  # type: ignore[arg-type]
    return Log(stream).append(settlement_event(stream, found), NOON + 1)


def call(decision_id: str) -> DecisionMade:
    return msgspec.structs.replace(a_decision(decision_id), arm="call")


def test_a_decision_is_open_until_it_settles_and_counts_for_its_day() -> None:
    activity = an_activity()
    for event in made(a_decision("d1"), call("d2")):
        activity.fold(event)
    assert activity.pending(KEY) == {"mail": 1, "call": 1}
    activity.fold(settled(a_decision("d1")))
    assert activity.pending(KEY) == {"call": 1}
    assert activity.today(KEY, NOON) == {"mail": 1, "call": 1}


def test_what_is_told_again_changes_nothing() -> None:
    activity = an_activity()
    events = [*made(a_decision("d1"), call("d2")), settled(a_decision("d1"))]
    for event in [*events, *events, events[0]]:
        activity.fold(event)
    assert activity.pending(KEY) == {"call": 1}
    assert activity.today(KEY, NOON) == {"mail": 1, "call": 1}


def test_a_provisional_settlement_leaves_it_open_and_an_expired_one_closes_it() -> None:
    activity = an_activity()
    for event in made(a_decision("d1")):
        activity.fold(event)
    activity.fold(settled(a_decision("d1"), "provisional"))
    assert activity.pending(KEY) == {"mail": 1}
    activity.fold(settled(a_decision("d1"), "expired"))
    assert activity.pending(KEY) == {}


def test_at_start_it_is_read_back_in_any_order() -> None:
    activity = an_activity()
    decisions = made(a_decision("d1"), call("d2"), call("d3"))
    activity.restore(reversed(decisions), [settled(call("d3"))])
    assert activity.pending(KEY) == {"mail": 1, "call": 1}
    assert activity.today(KEY, NOON) == {"mail": 1, "call": 2}
    activity.fold(decisions[0])
    assert activity.pending(KEY) == {"mail": 1, "call": 1}


def test_a_new_day_begins_at_local_midnight() -> None:
    midnight_us = NOON // DAY_US * DAY_US - 2 * HOUR_US  # of Berlin in summer
    activity = an_activity("Europe/Berlin")
    for event in made(a_decision("d1"), at_us=midnight_us - 1):
        activity.fold(event)
    assert activity.today(KEY, midnight_us - 1) == {"mail": 1}
    assert activity.today(KEY, midnight_us) == {}


def test_a_decision_of_an_earlier_day_is_open_and_counts_not_today() -> None:
    activity = an_activity()
    activity.restore([*made(a_decision("d1")), *made(a_decision("d2"), at_us=NOON - DAY_US)], [])
    assert activity.today(KEY, NOON) == {"mail": 1}
    assert activity.pending(KEY) == {"mail": 2}


def test_a_reservation_is_counted_once_and_given_back_if_nothing_was_written() -> None:
    activity = an_activity()
    activity.reserve(KEY, "d1", "mail", NOON)
    for event in made(a_decision("d1")):
        activity.fold(event)
    assert activity.today(KEY, NOON) == {"mail": 1}
    activity.reserve(KEY, "d2", "mail", NOON)
    activity.release(KEY, "d2")
    activity.release(KEY, "never")
    assert activity.today(KEY, NOON)["mail"] == 1
    assert activity.pending(KEY) == {"mail": 1}


def test_policies_and_organisations_are_told_apart() -> None:
    activity = an_activity()
    for event in made(a_decision("d1", policy="tone")):
        activity.fold(event)
    activity.fold(settled(a_decision("d1"), policy="offers"))
    assert activity.pending(PolicyKey("acme", "tone")) == {"mail": 1}
    assert activity.pending(KEY) == {}
    assert activity.today(PolicyKey("other", "tone"), NOON) == {}


def test_events_that_cannot_be_read_and_others_are_passed_over() -> None:
    activity = an_activity()
    (event,) = made(a_decision("d1"))
    event.data, event.payload = b"{}", None
    activity.fold(event)
    activity.fold(Log(POLICY).outside("login", "l", NOON))
    assert activity.pending(KEY) == {}
