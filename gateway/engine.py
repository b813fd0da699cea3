"""The engine of a service: the log, the entities that are awake on it, and time.

What parts of a service work with, and what knows none of them. Enters: streams and times. Leaves: entities that were read, or None for
a lead nobody has heard of.
"""

from collections.abc import Sequence
from typing import cast

from actors.host import ActorHost
from actors.ingest import Ingest
from eventstore.event import Stream
from eventstore.store import EventStore
from gateway.orgs import Orgs
from gateway.sharing import Part
from kernel.clock import Clock
from kernel.ids import IdSource
from kernel.settings import Settings
from kernel.steps import finish_politely, releasing
from projections.entity import FoldedEntity
from projections.refolding import refolding


class Engine:
    """What parts of a service work with. Used from one event loop.

    Parameters
    ----------
    part : of the leads, which ones it has.
    is_leading : its process writes the log.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        ids: IdSource,
        orgs: Orgs,
        store: EventStore,
        host: ActorHost,
        ingest: Ingest,
        part: Part,
        is_leading: bool,
    ) -> None:
        self.settings, self.clock, self.ids, self.orgs = settings, clock, ids, orgs
        self.store, self.host, self.ingest = store, host, ingest
        self.part, self.is_leading = part, is_leading

    def awake(self, stream: Stream) -> FoldedEntity | None:
        """The entity, if it is in memory and idle. A dictionary look-up."""
        return cast("FoldedEntity | None", self.host.awake(stream))

    async def wake(self, streams: Sequence[Stream]) -> list[FoldedEntity | None]:
        """Entities in memory, in the order asked; None for a stream without events."""
        return cast("list[FoldedEntity | None]", await self.host.entities(streams))

    async def read(self, stream: Stream) -> FoldedEntity | None:
        """A known entity with its values as of now; None for one that is not known."""
        return (await self.read_many([stream]))[0]

    async def read_many(self, streams: Sequence[Stream]) -> list[FoldedEntity | None]:
        """Known entities with their values as of one instant, in the order asked."""
        found = await self.wake(streams)
        now_us = self.clock.now_us()
        for place, entity in enumerate(found):
            if entity is None or not entity.has_outside_event:
                found[place] = None
            else:
                entity.read(now_us)
        return found

    async def read_at(self, stream: Stream, at_us: int, known_at_us: int | None) -> FoldedEntity | None:
        """A known entity as of another time, folded from the log: a copy that nobody else holds."""
        (info,) = await self.store.info([stream])
        if info is None or not info.is_known:
            return None
        if known_at_us is None and at_us >= self.clock.now_us():
            return await self._read_ahead(stream, at_us)
        events = await self.store.read(stream)
        catalogue = self.orgs.catalogue_of(stream.org)
        steps = refolding(stream, info.number, catalogue, events, until_us=at_us, known_at_us=known_at_us)
        entity = await finish_politely(steps)
        await finish_politely(releasing(events))
        entity.read(at_us)
        return entity

    async def _read_ahead(self, stream: Stream, at_us: int) -> FoldedEntity | None:
        """The values if nothing more happens, from the live state."""
        live = cast("FoldedEntity | None", await self.host.entity(stream))
        if live is None:
            return None
        copy = live.copy()
        copy.read(at_us)
        return copy

    def empty(self, stream: Stream) -> FoldedEntity:
        """A lead without events."""
        return FoldedEntity(stream, 0, self.orgs.catalogue_of(stream.org))
