"""After a start: which entities have events that no snapshot contains, and the way back, in bounded batches.

Two ways. Normally the log after the cache's applied position names them: they are marked in the ledger. When the cache
is empty, or so much is missing that the marks would not fit in memory, every stream of the store is looked at
instead, page by page, its version compared with that of its snapshot; until that is done the claim of what
is applied stands still. Reads are right in both, since every activation compares these versions for itself.
"""

import asyncio

from actors.activation import Activator
from actors.ledger import Ledger
from actors.limits import ActorLimits
from eventstore.event import Stream
from eventstore.store import EventStore
from kernel.ids import Position

_LOG_PAGE = 10_000
_STREAM_PAGE = 1_000


class Recovery:
    """The work that a start leaves behind; ``done`` of ``total`` streams are looked at."""

    def __init__(self, *, store: EventStore, activator: Activator, ledger: Ledger, limits: ActorLimits) -> None:
        self._store = store
        self._activator = activator
        self._ledger = ledger
        self._limits = limits
        self._token: int | None = None
        self._queue: list[Stream] = []  # next ones last
        self._after_number: int | None = None
        self.is_active = False
        self.done = 0
        self.total = 0

    async def mark(self) -> Position:
        """Mark what the cache lacks; returns the position of the log's last event. Raises ``StoreUnavailable``."""
        snapshots = self._activator.snapshots
        last = await self._store.last_position()
        if snapshots.applied() > last:  # an older log than the one the cache was folded from
            await snapshots.clear()
        applied = snapshots.applied()
        self.is_active = applied < last
        if not self.is_active:
            return last
        if applied == 0 or not await self._mark_tail(applied, last):
            self._token = self._ledger.begin(applied)
            self._after_number = 0
        else:
            self._queue = self._ledger.noted(up_to=last)[::-1]
            self.total = len(self._queue)
        return last

    async def _mark_tail(self, applied: Position, last: Position) -> bool:
        """Note the streams of the log's tail; False, with none noted, when there are too many."""
        after = applied
        while after < last:
            events = await self._store.read_log(after=after, limit=_LOG_PAGE)
            if not events:
                break
            for event in events:
                self._ledger.note(event.stream, event.position)
            if len(self._ledger) > self._limits.stale_max:
                self._ledger.replace(Ledger())
                return False
            after = events[-1].position
        return True

    async def next_batch(self) -> list[Stream]:
        """Streams to bring up to date next; empty when all are."""
        if self._after_number == 0 and not self.total:
            self.total = await self._count_streams()
        while not self._queue and self._after_number is not None:
            await self._read_page(self._after_number)
            await asyncio.sleep(0)
        limit = self._limits.recovery_batch
        batch = self._queue[-limit:][::-1]
        del self._queue[-limit:]
        self.done += len(batch)
        return batch

    def retry(self, batch: list[Stream]) -> None:
        """The batch could not be read: it comes again."""
        self._queue.extend(reversed(batch))
        self.done -= len(batch)

    def end(self) -> None:
        """All is up to date: the claim of what is applied moves again."""
        self.is_active = False
        self.done = self.total
        if self._token is not None:
            self._ledger.end(self._token)
            self._token = None

    async def _read_page(self, after_number: int) -> None:
        page = await self._store.list_streams(after_number=after_number, limit=_STREAM_PAGE)
        self._after_number = page[-1].number if page else None
        for info in page:
            if info.version == 0 or self._activator.saved_version(info.number) == info.version:
                self.done += 1
            else:
                self._queue.append(info.stream)
        self._queue.reverse()

    async def _count_streams(self) -> int:
        count, after_number = 0, 0
        while page := await self._store.list_streams(after_number=after_number, limit=10 * _STREAM_PAGE):
            count += len(page)
            after_number = page[-1].number
        return count
