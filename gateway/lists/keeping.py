"""Keeping one org's table current: who got an event, or whose values ran out, is looked at again.

A refresh brings all rows to one instant: what it cannot see of later time is in no row. Marks are taken off before a lead
is looked at, so an event that comes while it is being read marks it anew.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from actors.host import ActorHost
from eventstore.event import Stream
from eventstore.store import EventStore
from projections.catalogue import Catalogue
from projections.entity import FoldedEntity
from projections.ranking.glance import Glance, identity_of
from projections.ranking.table import Table

_CHUNK = 100  # leads between two turns of the loop: a few milliseconds
_PAGE = 1_000
_ROUNDS = 10


class Kept:
    """A table with certain features, and the leads in it that are behind.

    Parameters
    ----------
    features : references, in the order of the columns.
    """

    def __init__(self, *, catalogue: Catalogue, store: EventStore, host: ActorHost, features: Sequence[str]) -> None:
        self.table = Table([(each, catalogue.feature(each).dtype) for each in features])
        self.refreshed = 0  #: rows put since it was made
        self._org = catalogue.org
        self._store, self._host = store, host
        self._glance = Glance(catalogue, features)
        self._marked: set[Stream] = set()

    @property
    def behind(self) -> int:
        """Leads that got an event and are not in the table as they are now."""
        return len(self._marked)

    def mark(self, streams: Iterable[Stream]) -> None:
        """These leads got an event."""
        self._marked.update(streams)

    def is_behind(self, now_us: int) -> bool:
        return bool(self._marked) or self.table.next_change_us() <= now_us

    async def refresh(self, now_us: int) -> None:
        """Bring every row to one instant. When it returns none is marked: select without waiting in between.

        Raises
        ------
        StoreUnavailable
            The leads that were not read stay marked.
        """
        for round_ in range(_ROUNDS + 1):
            streams = self._take(now_us)
            if not streams:
                return
            # Under a steady load every pause lets new ones in: the last round makes none for those awake.
            await self._put_all(streams, now_us, is_pausing=round_ < _ROUNDS)

    async def fill(self, now_us: Callable[[], int], report: Callable[[int, int], None]) -> None:
        """Put every lead of the org there is. ``report`` is told how many streams were seen, of about how many."""
        total = await self._count()
        seen = after_number = 0
        while page := await self._store.list_streams(after_number=after_number, limit=_PAGE):
            mine = [each.stream for each in page if each.is_known and self._is_mine(each.stream)]
            await self._put_all(mine, now_us(), is_pausing=True)
            after_number = page[-1].number
            seen += len(page)
            report(seen, max(seen, total))

    def _take(self, now_us: int) -> list[Stream]:
        """The leads to look at, whose marks are taken off."""
        marked, self._marked = self._marked, set()
        mine = {stream for stream in marked if self._is_mine(stream)}
        mine.update(Stream(self._org, "lead", lead) for _, lead in self.table.due(now_us))
        return list(mine)

    async def _put_all(self, streams: Sequence[Stream], now_us: int, *, is_pausing: bool) -> None:
        done = 0
        try:
            while done < len(streams):
                chunk = streams[done : done + _CHUNK]
                for entity in await self._host.look(chunk):
                    if entity is not None:
                        self._put(cast("FoldedEntity", entity), now_us)
                done += len(chunk)
                if is_pausing and done < len(streams):
                    await asyncio.sleep(0)
        finally:
            self._marked.update(streams[done:])

    def _put(self, entity: FoldedEntity, now_us: int) -> None:
        if entity.has_outside_event:
            values, change_us = self._glance.values(entity, now_us)
            self.table.put(entity.number, entity.stream.id, identity_of(entity), values, change_us)
            self.refreshed += 1

    def _is_mine(self, stream: Stream) -> bool:
        return stream.kind == "lead" and stream.org == self._org

    async def _count(self) -> int:
        count = after_number = 0
        while page := await self._store.list_streams(after_number=after_number, limit=10 * _PAGE):
            count += len(page)
            after_number = page[-1].number
        return count
