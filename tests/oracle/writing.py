"""Short words to write histories by hand with."""

from itertools import count
from typing import Any

from tests.oracle.exact import DAY_US, HOUR_US, MINUTE_US, SECOND_US, instant
from tests.oracle.facts import Fact, Settings, Value
from tests.oracle.features import lead_features, subject_features

#: A Wednesday noon.
NOW = instant("2024-06-12T12:00:00Z")

_numbers = count()


def ago(*, days: int = 0, hours: int = 0, minutes: int = 0, seconds: int = 0, us: int = 0) -> int:
    """That long before ``NOW``."""
    return NOW - days * DAY_US - hours * HOUR_US - minutes * MINUTE_US - seconds * SECOND_US - us


def fact(event_type: str, at: int | str = NOW, event_id: str | None = None, **data: Any) -> Fact:
    """An event at an instant or a written time; ids grow in order of writing when none is given."""
    at_us = instant(at) if isinstance(at, str) else at
    return Fact(f"e{next(_numbers):06d}" if event_id is None else event_id, event_type, at_us, data)


def value(reference: str, *facts: Fact, at: int | str = NOW, settings: Settings | None = None) -> Value:
    """One lead feature."""
    at_us = instant(at) if isinstance(at, str) else at
    return lead_features(facts, at_us, settings, views=[reference.split(":")[0]])[reference]


def market_value(name: str, *facts: Fact, at: int = NOW) -> Value:
    """One market feature of a subject."""
    return subject_features(facts, at)[f"market:{name}"]
