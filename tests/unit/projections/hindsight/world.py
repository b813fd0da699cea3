"""A pack with an event that may poison the fold and a node that names too few events; and stored events to look back on."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import msgspec

from eventstore.event import Event, Stream
from eventstore.fields import Number
from eventstore.types import EventTypes, Payload
from kernel.ids import Position
from kernel.settings import OrgSettings
from kernel.steps import Steps
from kernel.times import DAY_US, parse_rfc3339
from projections.aggregators.base import Aggregate
from projections.catalogue import Catalogue
from projections.expressions import Dtype, Operand
from projections.hindsight.behind import behind
from projections.hindsight.explain import Explainer
from projections.hindsight.sieves import Past
from projections.language import Pack, days, events
from projections.plan import Plan
from projections.signals import Computed, Signal
from projections.source import ViewWriter

NOW = parse_rfc3339("2026-11-21T10:00:00Z")
LEAD = Stream("default", "lead", "ann")

pack = Pack("hindsight", "Shots that may misfire")


@pack.event(by="lead")
class Shot(Payload, frozen=True):
    n: Number = 0.0


def worth(shot: Shot) -> float:
    """Raises for 13."""
    if shot.n == 13:
        raise LookupError("unlucky")
    return shot.n


@dataclass(frozen=True)
class Careless(Aggregate):
    """A count whose author forgot that every event counts."""

    signal: Signal

    @property
    def dtype(self) -> Dtype:
        return "int"

    def signals(self) -> tuple[Signal, ...]:
        return (self.signal,)

    def register(self, plan: Plan) -> str:
        slot = plan.slot("careless", "int", "0")
        plan.on(self.signal, lambda: [f"{slot} += 1"])
        return slot

    def emit(self, w: ViewWriter) -> Operand:
        return Operand(self.kept(w.plan), False)


@behind.register
def _(node: Careless, past: Past) -> Iterable[Event]:
    return past.of(node.signal)[:1]


shots = events(Shot)
own = pack.view("own", "Shots")
own["shots"] = shots.count().doc("shots fired", unit="shots")
own["shots_7d"] = shots.count().over(days(7)).doc("shots fired in 7 days", unit="shots")
own["worth"] = shots.sum(Computed(worth)).doc("worth of all shots", unit="currency")
own["careless"] = Careless(shots.signal).doc("shots counted without care")


@cache
def catalogue_of(*packs: str) -> Catalogue:
    return Catalogue("default", OrgSettings(packs=packs) if packs else OrgSettings())


OWN = f"{__name__}"


@cache
def explainer_of(catalogue: Catalogue) -> Explainer:
    return Explainer(catalogue, catalogue.event_types, "EUR")


def most_at_once(steps: Steps[Any]) -> int:
    """The most payloads that are looked at between two of the steps."""
    looked = most = 0
    payload_of = EventTypes.payload_of

    def counted(types: EventTypes, event: Event) -> Any:
        nonlocal looked
        looked += 1
        return payload_of(types, event)

    with mock.patch.object(EventTypes, "payload_of", counted):
        for _ in steps:
            most, looked = max(most, looked), 0
    return max(most, looked)


def stored(*happened: tuple[str, float, dict[str, Any]]) -> list[Event]:
    """Events by type, days before ``NOW``, and data; in order of time, ids from ``e1`` on."""
    ordered = sorted(happened, key=lambda each: -each[1])
    return [
        Event(LEAD, 7, v, Position(v), f"e{v}", kind, NOW - round(ago * DAY_US), NOW, msgspec.json.encode(data))
        for v, (kind, ago, data) in enumerate(ordered, 1)
    ]
