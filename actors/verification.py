"""Comparing what is served with what the log says: every entity, or a sample, folded anew and compared."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from actors.activation import Activator, chunks
from actors.entity import Entity, Folds
from actors.host import ActorHost
from eventstore.event import Event, Stream, StreamInfo
from eventstore.snapshots import SnapshotStore
from eventstore.store import EventStore
from kernel.steps import finish_politely

_STREAM_PAGE = 1_000


class Verdict(msgspec.Struct, frozen=True):
    """What was found. ``unsaved``: streams that are folded from the log when asked for, so that nothing can differ."""

    checked: int
    unsaved: int
    differing: tuple[Stream, ...]


class Verification:
    """Folds streams anew and compares.

    Parameters
    ----------
    host : the running one, whose entities in memory are compared; None on a stopped service.
    snapshots : the cache of a stopped service; the host's own by default.
    differs : whether two entities of the same version say different things.
    on_progress : told (looked at, of how many) after every page of streams.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        folds: Folds,
        differs: Callable[[Entity, Entity], bool],
        host: ActorHost | None = None,
        snapshots: SnapshotStore | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        cache = snapshots if host is None else host.snapshots
        if cache is None:
            raise ValueError("a host or a cache is needed")
        self._store = store
        self._folds = folds
        self._differs = differs
        self._host = host
        self._activator = Activator(store=store, snapshots=cache, folds=folds)
        self._on_progress = on_progress
        self._checked = self._unsaved = 0
        self._differing: list[Stream] = []

    async def run(self, *, sample: int | None = None) -> Verdict:
        """Look at all streams, or at ``sample`` of them, evenly spaced by number."""
        infos: list[StreamInfo] = []
        after_number = 0
        while page := await self._store.list_streams(after_number=after_number, limit=_STREAM_PAGE):
            infos += [info for info in page if info.version]
            after_number = page[-1].number
        if sample is not None and sample < len(infos):
            infos = [infos[place * len(infos) // sample] for place in range(sample)]
        looked_at = 0
        for chunk in chunks(infos):
            await self._check_all([info for info in chunk if not self._activator.is_sliced(info)])
            for info in chunk:
                if self._activator.is_sliced(info):
                    await self._check(info, partial(self._activator.in_slices, info), info.version)
            looked_at += len(chunk)
            if self._on_progress is not None:
                self._on_progress(looked_at, len(infos))
        return Verdict(self._checked, self._unsaved, tuple(self._differing))

    async def _check_all(self, infos: Sequence[StreamInfo]) -> None:
        logs = await self._store.read_many([info.stream for info in infos])
        for info, events in zip(infos, logs, strict=True):
            await self._check(info, partial(self._refolded, info, events), len(events))
            await asyncio.sleep(0)

    async def _refolded(self, info: StreamInfo, events: Sequence[Event], until: int) -> Entity:
        return await finish_politely(self._folds.refold(info.stream, info.number, events[:until]))

    async def _check(self, info: StreamInfo, refold: Callable[[int], Awaitable[Entity]], newest: int) -> None:
        served = self._host.awake(info.stream) if self._host is not None else None
        if served is None:
            served = self._activator.from_snapshot(info.stream, info.number)
        if served is None or served.version > newest:  # it grew while its log was read: right by construction
            self._unsaved += 1
            return
        # The served entity may be of an older version than the log, or asleep and not brought up to date yet.
        version = served.version
        refolded = await refold(version)
        if served.version != version:  # it went on while its log was folded
            self._unsaved += 1
            return
        self._checked += 1
        if self._differs(served, refolded):
            self._differing.append(info.stream)
