"""A door to try events at."""

from typing import Any

import msgspec

from eventstore.admission import Admission, Refusal
from eventstore.bodies import DEFAULT_LIMITS, Limits
from eventstore.event import NewEvent
from kernel.clock import VirtualClock
from kernel.ids import IdSource
from tests.contract.store_events import T0, TYPES

JSON = "application/json"
NDJSON = "application/x-ndjson"


def door(limits: Limits = DEFAULT_LIMITS) -> Admission:
    clock = VirtualClock(T0)
    return Admission(
        org="default",
        types=TYPES,
        subjects={"algebra", "sat_prep"},
        currency="EUR",
        max_clock_skew_s=300,
        clock=clock,
        ids=IdSource(clock, seed=1),
        limits=limits,
    )


def event(**keys: Any) -> dict[str, Any]:
    """A login of ann's, with keys replaced; one given as ``...`` is left out."""
    base = {"id": "e1", "lead": "ann", "type": "login", "time": "2023-11-14T22:00:00Z"} | keys
    return {key: value for key, value in base.items() if value is not ...}


def let_in(sent: dict[str, Any] | bytes, **options: Any) -> NewEvent:
    raw = sent if isinstance(sent, bytes) else msgspec.json.encode(sent)
    admitted = door().admit(raw, **options)
    assert isinstance(admitted, NewEvent), admitted
    return admitted


def turned_away(sent: dict[str, Any] | bytes, **options: Any) -> Refusal:
    raw = sent if isinstance(sent, bytes) else msgspec.json.encode(sent)
    refused = door().admit(raw, **options)
    assert isinstance(refused, Refusal), refused
    return refused


def told(refusal: Refusal) -> tuple[str, str, str, str]:
    return refusal.code, refusal.path, refusal.expected, refusal.actual
