"""Which events count: retractions take events of their stream out of every fold, whenever they arrive.

A retraction always stands. One that names a retraction is inert (the store refuses it when it can, but the
named event may come later and turn out to be one), and so is one that names a system event. A retraction
counts from when it was recorded, so a reader of what was known earlier still sees the event.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from eventstore.event import Event, order_key
from eventstore.system import EVENT_RETRACTED, EventRetracted, is_system_id

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


def effective(events: Iterable[Event], *, known_at_us: int | None = None) -> Effective:
    """The events of one stream that count, in the order in which they do: by time, then by id."""
    known = [event for event in events if known_at_us is None or event.recorded_us <= known_at_us]
    retracted = retracted_ids(known)
    known.sort(key=order_key)
    outside = [
        event
        for event in known
        if event.type != EVENT_RETRACTED and event.id not in retracted and not is_system_id(event.id)
    ]
    return Effective(outside, [event for event in known if is_system_id(event.id)])
