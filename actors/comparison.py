"""Comparing two logs that are to be one: every stream, event by event, and what it folds to.

Enter: two stores, each with folds of its own, so that nothing is shared between them but the code. Leave: the streams that
differ. Nothing is written, and nobody's entities are touched.
"""

from collections.abc import Callable, Sequence

import msgspec

from actors.activation import Activator, chunks
from actors.entity import Entity, Folds
from eventstore.event import Event, Stream, StreamInfo
from eventstore.memory_snapshots import MemorySnapshots
from eventstore.store import EventStore

_STREAM_PAGE = 1_000
#: Events of a stream that are compared at once.
_EVENTS_PAGE = 2_000


class Compared(msgspec.Struct, frozen=True):
    """How many streams there are in either log, how many entities were folded on both sides, and which streams differ."""

    streams: int
    folded: int
    differing: tuple[Stream, ...]


class Side:
    """One of the two logs."""

    def __init__(self, store: EventStore, folds: Folds) -> None:
        self.store = store
        self.activator = Activator(store=store, snapshots=MemorySnapshots(), folds=folds)


class Comparison:
    """Compares ``old`` with ``new``.

    Parameters
    ----------
    differs : whether two entities of one stream, folded on either side, say different things.
    on_progress : told (looked at, of how many so far) after every page of streams.
    """

    def __init__(
        self,
        old: Side,
        new: Side,
        *,
        differs: Callable[[Entity, Entity], bool],
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._old, self._new = old, new
        self._differs = differs
        self._on_progress = on_progress
        self._folded = 0
        self._differing: list[Stream] = []

    async def run(self) -> Compared:
        """Look at every stream of both."""
        infos = await _streams(self._old.store)
        known = {info.stream for info in infos}
        self._differing += [info.stream for info in await _streams(self._new.store) if info.stream not in known]
        looked_at = 0
        for chunk in chunks(infos):
            await self._compare(chunk)
            looked_at += len(chunk)
            self._on_progress(looked_at, len(infos))
        return Compared(len(infos), self._folded, tuple(self._differing))

    async def _compare(self, infos: Sequence[StreamInfo]) -> None:
        streams = [info.stream for info in infos]
        others = await self._new.store.info(streams)
        same: list[Stream] = []
        for info, other in zip(infos, others, strict=True):
            is_same = other is not None and (other.version, other.is_known) == (info.version, info.is_known)
            if is_same and await self._has_same_events(info.stream):
                same.append(info.stream)
            else:
                self._differing.append(info.stream)
        old, new = await self._old.activator.refold(same), await self._new.activator.refold(same)
        for stream in same:
            mine, other_entity = old[stream], new[stream]
            if mine is None or other_entity is None or self._differs(mine, other_entity):
                self._differing.append(stream)
            else:
                self._folded += 1

    async def _has_same_events(self, stream: Stream) -> bool:
        after = 0
        while page := await self._old.store.read(stream, after_version=after, limit=_EVENTS_PAGE):
            others = await self._new.store.read(stream, after_version=after, limit=_EVENTS_PAGE)
            if list(map(_content, page)) != list(map(_content, others)):
                return False
            after = page[-1].version
        return True


async def _streams(store: EventStore) -> list[StreamInfo]:
    infos: list[StreamInfo] = []
    after_number = 0
    while page := await store.list_streams(after_number=after_number, limit=_STREAM_PAGE):
        infos += [info for info in page if info.version]
        after_number = page[-1].number
    return infos


def _content(event: Event) -> tuple[object, ...]:
    """All of an event but where its log keeps it."""
    return event.version, event.id, event.type, event.at_us, event.recorded_us, event.source, event.data
