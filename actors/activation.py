"""From a stream's name to its entity: snapshot and tail, or the whole log.

A snapshot proves its own age by its version, so a stale or missing one is never wrong, only slower; one that cannot
be used is counted and folded again from the log.
"""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from actors.entity import Entity, Folds
from actors.slices import FoldsInSlices, fold_in_slices
from eventstore.event import Event, Stream, StreamInfo
from eventstore.snapshots import SnapshotStore
from eventstore.store import EventStore
from kernel.errors import SnapshotError
from kernel.steps import finish_politely, releasing

#: Folding so many events in one go blocks the loop for a few milliseconds.
SLICE_EVENTS = 256
#: Streams read in one hop hold at most about so many events together.
READ_EVENTS = 4096


class ActivationCounts(msgspec.Struct):
    """Counters since start."""

    from_snapshot: int = 0
    from_log: int = 0
    tails: int = 0
    snapshot_errors: int = 0


class Activator:
    """Makes entities; keeps none."""

    def __init__(self, *, store: EventStore, snapshots: SnapshotStore, folds: Folds) -> None:
        self._store = store
        self.snapshots = snapshots  #: replaced when another cache is adopted
        self._folds = folds
        self.counts = ActivationCounts()

    def from_snapshot(self, stream: Stream, number: int) -> Entity | None:
        """The entity as it was put last; None when there is no usable snapshot. Does not wait."""
        try:
            snapshot = self.snapshots.get(number)
            if snapshot is None:
                return None
            entity = self._folds.load(stream, snapshot)
        except SnapshotError:
            self.counts.snapshot_errors += 1
            return None
        self.counts.from_snapshot += 1
        return entity

    def saved_version(self, number: int) -> int | None:
        """The version of the snapshot in the cache; None without a usable one."""
        try:
            snapshot = self.snapshots.get(number)
        except SnapshotError:
            return None
        return None if snapshot is None else snapshot.version

    def new(self, stream: Stream, number: int) -> Entity:
        """The entity before its first event."""
        return self._folds.new(stream, number)

    async def load(self, streams: Sequence[Stream]) -> dict[Stream, Entity | None]:
        """Current entities of sleeping streams; None for one without events. Raises ``StoreUnavailable``."""
        found: dict[Stream, Entity | None] = dict.fromkeys(streams)
        whole: list[StreamInfo] = []
        behind: list[Entity] = []
        for count, info in enumerate(await self._store.info(streams), start=1):
            if info is None or info.version == 0:
                continue
            entity = self.from_snapshot(info.stream, info.number)
            if entity is None:
                whole.append(info)
            elif entity.version < info.version:
                behind.append(entity)
            else:
                found[info.stream] = entity
            if count % SLICE_EVENTS == 0:
                await asyncio.sleep(0)
        for entity in behind:
            found[entity.stream] = await self.extend(entity)
        found.update(await self._from_log(whole))
        return found

    def is_sliced(self, info: StreamInfo) -> bool:
        """Whether a stream is too long to be in memory at once, and need not be."""
        folds = self._folds
        return info.version > READ_EVENTS and isinstance(folds, FoldsInSlices) and bool(folds.foretold(info.stream))

    async def in_slices(self, info: StreamInfo, until: int) -> Entity:
        """The entity of such a stream, up to a version."""
        folds = self._folds
        if not isinstance(folds, FoldsInSlices):
            raise TypeError(f"{info.stream} is not folded in slices")
        return await fold_in_slices(self._store, folds, info.stream, info.number, until=until)

    async def extend(self, entity: Entity) -> Entity:
        """The entity with the rest of its log: the same one, or one refolded where it could not be continued."""
        self.counts.tails += 1
        while tail := await self._store.read(entity.stream, after_version=entity.version, limit=SLICE_EVENTS):
            if not fold_all(entity, tail):
                (refolded,) = (await self.refold([entity.stream])).values()
                if refolded is None:
                    raise AssertionError(f"{entity.stream} has events and has none")
                return refolded
            if len(tail) < SLICE_EVENTS:
                break
        return entity

    async def refold(self, streams: Sequence[Stream]) -> dict[Stream, Entity | None]:
        """Entities folded anew from their whole logs; None for a stream without events."""
        found: dict[Stream, Entity | None] = dict.fromkeys(streams)
        infos = await self._store.info(streams)
        found.update(await self._from_log([info for info in infos if info is not None and info.version]))
        return found

    async def _from_log(self, infos: Iterable[StreamInfo]) -> dict[Stream, Entity | None]:
        found: dict[Stream, Entity | None] = {}
        whole: list[StreamInfo] = []
        for info in infos:
            if self.is_sliced(info):
                found[info.stream] = await self.in_slices(info, info.version)
                self.counts.from_log += 1
            else:
                whole.append(info)
        for chunk in chunks(whole):
            logs = await self._store.read_many([info.stream for info in chunk])
            since = 0
            for info, events in zip(chunk, logs, strict=True):
                steps = self._folds.refold(info.stream, info.number, events) if events else None
                found[info.stream] = None if steps is None else await finish_politely(steps)
                self.counts.from_log += 1
                since += len(events)
                if len(events) > SLICE_EVENTS:
                    await finish_politely(releasing(events))
                if since >= SLICE_EVENTS:
                    since = 0
                    await asyncio.sleep(0)
        return found


def chunks(infos: Iterable[StreamInfo]) -> Iterable[list[StreamInfo]]:
    """Streams in groups of about ``READ_EVENTS`` events, so that no read grows with the number of streams."""
    chunk: list[StreamInfo] = []
    size = 0
    for info in infos:
        if chunk and size + info.version > READ_EVENTS:
            yield chunk
            chunk, size = [], 0
        chunk.append(info)
        size += info.version
    if chunk:
        yield chunk


def fold_all(entity: Entity, events: Sequence[Event]) -> bool:
    """Fold consecutive events; False as soon as one cannot be folded in place."""
    return all(entity.fold(event) for event in events)
