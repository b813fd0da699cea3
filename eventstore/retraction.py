"""Which events count: retractions take events of their stream out of every fold, whenever they arrive.

A retraction always stands. One that names a retraction is inert (the store refuses it when it can, but the
named event may come later and turn out to be one), and so is one that names a system event. A retraction
counts from when it was recorded, so a reader of what was known earlier still sees the event.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from eventstore.event import Event, order_key
from eventstore.system import EVENT_RETRACTED, EventRetracted, is_system_id
from kernel.steps import STEP_ITEMS, Steps, finish, ordering

_DECODER = msgspec.json.Decoder(EventRetracted)


class Effective(NamedTuple):
    """What is left of a stream, each list in fold order: events from outside, and the system's own."""

    events: list[Event]
    system: list[Event]


def retracted_by(retraction: Event) -> str:
    """The id that an ``event_retracted`` names."""
    payload: EventRetracted = retraction.payload or _DECODER.decode(retraction.data)
    return payload.event_id


def retracted_ids(events: Iterable[Event], *, known_at_us: int | None = None) -> frozenset[str]:
    """Ids of one stream that are out of every fold, whether or not their events have come yet.

    Parameters
    ----------
    events : of one stream, in any order.
    known_at_us : only what was recorded by then; None for everything.
    """
    retractions = {
        event.id: retracted_by(event)
        for event in events
        if event.type == EVENT_RETRACTED and (known_at_us is None or event.recorded_us <= known_at_us)
    }
    return frozenset(name for name in retractions.values() if name not in retractions and not is_system_id(name))


def effective(events: Sequence[Event], *, known_at_us: int | None = None) -> Effective:
    """The events of one stream that count, in the order in which they do: by time, then by id."""
    return finish(effecting(events, known_at_us=known_at_us))


def effecting(events: Sequence[Event], *, known_at_us: int | None = None) -> Steps[Effective]:
    """``effective`` in steps: a stream may be long."""
    known: list[Event] = []
    retractions: list[Event] = []
    for start in range(0, len(events), STEP_ITEMS):
        part = events[start : start + STEP_ITEMS]
        part = part if known_at_us is None else [event for event in part if event.recorded_us <= known_at_us]
        known += part
        retractions += [event for event in part if event.type == EVENT_RETRACTED]
        yield
    retracted = retracted_ids(retractions)
    known = yield from ordering(known, order_key)
    found = Effective([], [])
    for start in range(0, len(known), STEP_ITEMS):
        for event in known[start : start + STEP_ITEMS]:
            if is_system_id(event.id):
                found.system.append(event)
            elif event.type != EVENT_RETRACTED and event.id not in retracted:
                found.events.append(event)
        yield
    return found
