"""One subject's values at any time, read from the log with the help of its zone map and checkpoints."""

import asyncio
from typing import Any

import msgspec

from eventstore.event import Event
from eventstore.store import EventStore
from kernel.ids import Position
from kernel.steps import finish_politely
from projections.aggregators.runtime import NEVER
from projections.checkpoints import Checkpoints
from projections.entity import FoldedEntity

_PAGE = 2000  # events read from the log in one hop


class Fragment(msgspec.Struct, gc=False):
    """One subject's values, and for each form that somebody asked for a piece per feature.

    ``seen`` is how many of its events had been told when the values were read: with more it is out of date.
    """

    values: list[Any]
    as_of_us: int
    next_change_us: int | None
    version: int
    position: Position
    seen: int = 0
    pieces: dict[str, tuple[bytes, ...]] = {}

    def holds(self, now_us: int) -> bool:
        return self.next_change_us is None or now_us < self.next_change_us


def fragment_of(entity: FoldedEntity, at_us: int, seen: int, *, before_us: int = NEVER) -> Fragment:
    """The values of an entity as of a time. ``before_us``: an event that the entity lacks may change them then."""
    everything = entity.entities.everything
    entity.read(at_us)
    changes = [at for at in (entity.next_change_us(everything), before_us) if at is not None and at < NEVER]
    values = entity.values(everything)
    return Fragment(values, entity.as_of_us, min(changes, default=None), entity.version, entity.position, seen)


class PastReader:
    """Reads for a ``Checkpoints`` what it asks for; one reading at a time, so that no checkpoint is made twice."""

    def __init__(self, past: Checkpoints, store: EventStore) -> None:
        self.past = past
        self._store = store
        self._lock = asyncio.Lock()

    async def read(self, at_us: int, known_at_us: int | None) -> Fragment:
        async with self._lock:
            await self._extend()
            version, later = await self._known(known_at_us)
            past = self.past
            while True:
                step = past.step(at_us, version)
                events = [event for start, stop in step.ranges for event in await self._versions(start, stop)]
                entity = await finish_politely(past.folding(step, events, at_us, version, later))
                if step.until_us == at_us:
                    break
        return fragment_of(entity, at_us, 0, before_us=past.next_us(at_us, version))

    async def _extend(self) -> None:
        """Bring the map to the end of the stream."""
        past = self.past
        while events := await self._store.read(past.stream, after_version=past.version, limit=_PAGE):
            past.note(events)
            if len(events) < _PAGE:
                break

    async def _known(self, known_at_us: int | None) -> tuple[int, list[Event]]:
        """The last version recorded by a time, and the events that follow it in its zone."""
        past = self.past
        if known_at_us is None:
            return past.version, []
        start, length = past.zone_known(known_at_us)
        zone = await self._store.read(past.stream, after_version=start, limit=length)
        zone = [event for event in zone if event.version <= past.version]
        count = sum(event.recorded_us <= known_at_us for event in zone)
        return min(start + count, past.version), zone[count:]

    async def _versions(self, start: int, stop: int) -> list[Event]:
        events: list[Event] = []
        for after in range(start - 1, stop - 1, _PAGE):
            events += await self._store.read(self.past.stream, after_version=after, limit=min(_PAGE, stop - 1 - after))
        return events
