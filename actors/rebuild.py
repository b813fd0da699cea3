"""Folding the whole log anew, beside the cache that is in use, and taking its place.

Two ways through the log. One scan in log order (``scan``), all entities growing side by side, as long as they fit in memory:
each event is read once and in the cheapest order; a stream whose events came late is left to the end. Otherwise
stream by stream, a few thousand events at a time, each stream sorted before it is folded. Both write to a fresh cache.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

import msgspec

from actors.activation import READ_EVENTS, SLICE_EVENTS, Activator, chunks
from actors.entity import Entity, Folds
from actors.host import ActorHost
from actors.scan import Scan
from eventstore.event import Stream, StreamInfo
from eventstore.snapshots import SnapshotStore
from eventstore.store import EventStore
from kernel.clock import Clock
from kernel.garbage import no_full_collections
from kernel.ids import Position
from kernel.steps import finish_politely
from kernel.times import SECOND_US

_STREAM_PAGE = 10_000
#: Events read in one hop by a scan: enough for a stream that is written to often to have several among them.
_SCAN_EVENTS = 32_768
_BACKLOG_MAX = 5_000


class Progress(msgspec.Struct, frozen=True):
    """Events folded, of how many, and the mean rate since the start. ``remaining_s`` is None before there is a rate."""

    done: int
    total: int
    events_per_s: float
    remaining_s: float | None


class Rebuild:
    """One replay of the log into a fresh cache.

    Parameters
    ----------
    target : an empty cache.
    max_entities : streams that are folded side by side; with more of them the log is read stream by stream.
    on_progress : told after every few thousand events.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        folds: Folds,
        target: SnapshotStore,
        clock: Clock,
        max_entities: int = 50_000,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.target = target
        self._store = store
        self._folds = folds
        self._clock = clock
        self._max_entities = max_entities
        self._on_progress = on_progress
        self._activator = Activator(store=store, snapshots=target, folds=folds)
        self._began_us = clock.monotonic_us()
        self._after = Position(0)
        self._done = self._total = 0

    async def run(self) -> Progress:
        """Fold everything that is in the log now, then what came meanwhile. ``catch_up`` adds what comes later."""
        self._began_us = self._clock.monotonic_us()
        # Before the streams are listed: one that begins in between is caught up with, and not forgotten.
        self._after = await self._store.last_position()
        infos = [info async for info in _all_streams(self._store)]
        self._total = sum(info.version for info in infos)
        if len(infos) <= self._max_entities:
            with no_full_collections():
                await self._scan()
        else:
            await self._fold_streams(infos)
        await self.catch_up()
        return self._tell(0)

    async def fold_selected(self, streams: Sequence[Stream]) -> Progress:
        """Fold these streams only, into a cache that has the others."""
        infos = [info for info in await self._store.info(streams) if info is not None]
        self._total = sum(info.version for info in infos)
        await self._fold_streams(infos)
        await self.target.flush()
        return self._tell(0)

    async def catch_up(self) -> None:
        """Fold the rest of the log, until its end is reached, and write everything."""
        while tail := await self._store.read_log(after=self._after, limit=READ_EVENTS):
            entities = await self._activator.load(list(dict.fromkeys(event.stream for event in tail)))
            await self._put_all(entity for entity in entities.values() if entity is not None)
            self._after = tail[-1].position
        self.target.note_applied(self._after)
        await self.target.flush()

    async def adopt(self, host: ActorHost) -> SnapshotStore:
        """Let a running host use the new cache from now on. Returns the old one, for its owner to close.

        No stale state is served: the host drops every entity in the same turn of the loop.
        """
        host.begin_swap()
        try:
            await self.catch_up()
        except BaseException:
            host.cancel_swap()
            raise
        return host.adopt(self.target)

    async def _scan(self) -> None:
        scan = Scan(self._folds, max_entities=self._max_entities)
        self._after = Position(0)
        # One after the other: a thread that reads rows while this one folds fights it for the interpreter at each row.
        while page := await self._store.read_log(after=self._after, limit=_SCAN_EVENTS):
            self._after, count = page[-1].position, len(page)
            await finish_politely(scan.take(page))
            self._tell(count)
        await finish_politely(scan.finish())
        await self._put_all(_taken(scan.entities))
        infos = await self._store.info(list(scan.late.values()))
        await self._fold_streams([info for info in infos if info is not None], is_counted=False)

    async def _fold_streams(self, infos: Iterable[StreamInfo], *, is_counted: bool = True) -> None:
        whole: list[StreamInfo] = []
        for info in infos:
            if self._activator.is_sliced(info):
                self.target.put((await self._activator.in_slices(info, info.version)).dump())
                self._tell(info.version if is_counted else 0)
            else:
                whole.append(info)
        for chunk in chunks(whole):
            logs = await self._store.read_many([info.stream for info in chunk])
            since = 0
            for info, events in zip(chunk, logs, strict=True):
                if events:
                    entity = await finish_politely(self._folds.refold(info.stream, info.number, events))
                    self.target.put(entity.dump())
                since += len(events)
                if since >= SLICE_EVENTS:
                    since = 0
                    await asyncio.sleep(0)
            await self._relieve()
            self._tell(sum(map(len, logs)) if is_counted else 0)

    async def _put_all(self, entities: Iterable[Entity]) -> None:
        for count, entity in enumerate(entities, start=1):
            self.target.put(entity.dump())
            if count % SLICE_EVENTS == 0:
                await asyncio.sleep(0)
                await self._relieve()

    async def _relieve(self) -> None:
        if self.target.backlog > _BACKLOG_MAX:
            await self.target.flush()

    def _tell(self, count: int) -> Progress:
        self._done += count
        self._total = max(self._total, self._done)  # what came meanwhile is folded too
        elapsed_s = (self._clock.monotonic_us() - self._began_us) / SECOND_US
        rate = self._done / elapsed_s if elapsed_s > 0 else 0.0
        progress = Progress(self._done, self._total, rate, (self._total - self._done) / rate if rate else None)
        if self._on_progress is not None:
            self._on_progress(progress)
        return progress


def _taken(entities: dict[int, Entity]) -> Iterator[Entity]:
    """Each entity once, in the order of the cache's keys, given up by the dictionary: they go one by one."""
    for number in sorted(entities):
        yield entities.pop(number)


async def _all_streams(store: EventStore) -> AsyncIterator[StreamInfo]:
    after_number = 0
    while page := await store.list_streams(after_number=after_number, limit=_STREAM_PAGE):
        for info in page:
            yield info
        after_number = page[-1].number
