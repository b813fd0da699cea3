"""One subject's values at any time, or at many, read from the log with the help of its zone map and checkpoints."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from eventstore.event import Event
from eventstore.store import EventStore
from kernel.ids import Position
from kernel.steps import finish_politely
from projections.aggregators.runtime import NEVER
from projections.checkpoints import Checkpoints, Step
from projections.entity import FoldedEntity
from projections.hindsight.walk import Walk

_PAGE = 2000  # events read from the log in one hop
_STEP_ROWS = 50  # between two turns of the loop: a millisecond or two


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
        """The values as of a time."""
        entity, version = await self._entity(at_us, known_at_us)
        return fragment_of(entity, at_us, 0, before_us=self.past.next_us(at_us, version))

    async def rows(
        self, instants: Sequence[int], known_at_us: int | None, picks: Sequence[tuple[int, int]]
    ) -> list[list[Any]]:
        """The values picked at many rising instants, each event between them folded once; equal ones are one list."""
        entity, version = await self._entity(instants[0], known_at_us)
        entities, types = entity.entities, self.past.catalogue.event_types
        walk = Walk(entities.compiled, types, (), picks, start=lambda: entity.state)
        rows = [walk.values(instants[0])]
        after_us = instants[0]
        while len(rows) < len(instants):
            step = self.past.stretch(after_us, instants[-1], version)
            events = self.past.counting(await self._events(step), after_us, version)
            walk = Walk(entities.compiled, types, events, picks, start=walk.here())
            while len(rows) < len(instants) and instants[len(rows)] <= step.until_us:
                await finish_politely(walk.advance(instants[len(rows)]))
                values = walk.values(instants[len(rows)])
                rows.append(rows[-1] if values == rows[-1] else values)
                if len(rows) % _STEP_ROWS == 0:
                    await asyncio.sleep(0)
            await finish_politely(walk.advance(step.until_us))
            after_us = step.until_us
        return rows

    async def _entity(self, at_us: int, known_at_us: int | None) -> tuple[FoldedEntity, int]:
        """The subject as of a time, a copy of the caller's own, and the last version that was known."""
        async with self._lock:
            await self._extend()
            version, later = await self._known(known_at_us)
            while True:
                step = self.past.step(at_us, version)
                steps = self.past.folding(step, await self._events(step), at_us, version, later)
                entity = await finish_politely(steps)
                if step.until_us == at_us:
                    return entity, version

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

    async def _events(self, step: Step) -> list[Event]:
        return [event for start, stop in step.ranges for event in await self._versions(start, stop)]

    async def _versions(self, start: int, stop: int) -> list[Event]:
        events: list[Event] = []
        for after in range(start - 1, stop - 1, _PAGE):
            events += await self._store.read(self.past.stream, after_version=after, limit=min(_PAGE, stop - 1 - after))
        return events
