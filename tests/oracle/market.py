"""The market features of one subject, row by row."""

from fractions import Fraction

from tests.oracle.exact import mean, number, ratio, served
from tests.oracle.facts import Fact, Log, Value, given
from tests.oracle.vocabulary import WITH_TUTOR


def _available_tutors(log: Log) -> int:
    latest: dict[str, str] = {}
    for fact in log.of("tutor_available", "tutor_unavailable"):
        latest[fact.data["tutor_id"]] = fact.type
    return sum(1 for event_type in latest.values() if event_type == "tutor_available")


def _pending_requests(log: Log) -> int:
    requested = {fact.data["request_id"] for fact in log.within(30, log.of("match_requested"))}
    settled = {fact.data["request_id"] for fact in log.of("match_made", "match_abandoned")}
    return len(requested - settled)


def _hours(events: list[Fact]) -> Fraction:
    return sum((number(fact.data["hours"]) for fact in events), Fraction(0))


def market(log: Log) -> dict[str, Value]:
    minutes = given(log.within(30, log.of("match_made")), "minutes_to_match")
    booked, offered = (_hours(log.within(7, log.of(name))) for name in ("hours_booked", "tutor_available"))
    return {
        "supply_demand_ratio": served(ratio(_available_tutors(log), _pending_requests(log))),
        "avg_match_time": served(mean([number(value) for value in minutes])),
        "utilization_rate": served(ratio(booked, offered)),
        "tutor_count": len({fact.data["tutor_id"] for fact in log.within(30, log.of(*WITH_TUTOR))}),
    }
