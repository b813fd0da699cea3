"""The service pack, row by row."""

from fractions import Fraction
from typing import Any

from tests.oracle.exact import mean, number, served, utc_text
from tests.oracle.facts import Fact, Log, Value, first, given, last

PROPERTY_FIELDS = ("city", "state", "zip", "property_type", "square_feet", "year_built", "pest_issues")
_TOLERANCE = Fraction(1, 10**9)


def _satisfaction(log: Log) -> Fraction:
    scores = given(log.of("service_completed"), "satisfaction_score")
    average = mean([number(score) for score in scores])
    return Fraction(7, 2) if average is None else average


def _service_count(log: Log) -> int:
    services = log.of("service_completed")
    carried = given(services, "services_count")
    return max(len(services), carried[-1]) if carried else len(services)


def _lifetime_value(count: int, average: Fraction) -> str:
    if count >= 6 and average >= 4 - _TOLERANCE:
        return "high"
    if count >= 3 or average >= Fraction(7, 2) - _TOLERANCE:
        return "medium"
    return "low"


def _time_of(fact: Fact | None) -> str | None:
    return None if fact is None else utc_text(fact.at_us)


def customer(log: Log) -> dict[str, Value]:
    count, average = _service_count(log), _satisfaction(log)
    return {
        "satisfaction_avg": served(average),
        "service_count": count,
        "lifetime_value": _lifetime_value(count, average),
        "first_seen": _time_of(first(log.of("service_completed"))),
        "last_updated": _time_of(last(log.of("service_completed", "property_updated"))),
    }


def property_(log: Log) -> dict[str, Value]:
    latest: dict[str, Any] = dict.fromkeys(PROPERTY_FIELDS)
    for fact in log.of("service_completed", "property_updated"):
        carried = fact.data if fact.type == "property_updated" else fact.get("property") or {}
        for name in PROPERTY_FIELDS:
            if carried.get(name) is not None:
                latest[name] = carried[name]
    return latest
