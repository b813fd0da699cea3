"""The in-process twin of the log: same contract, nothing on disk, no threads, so that a run repeats from its seed.

Appends suspend once before they take effect and once before they return, as a real store's do; between the
two a cancelled append has happened. Faults can be laid in its way.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from itertools import islice
from typing import NamedTuple

from eventstore.event import Event, NewEvent, Stream, StreamInfo
from eventstore.staging import Head, Staging
from eventstore.store import Outcome, StoreStatistics
from eventstore.subscription import Bell, follow
from eventstore.system import is_system_id
from eventstore.types import EventTypes
from kernel.clock import Clock
from kernel.errors import StoreClosed
from kernel.ids import Position


class _Fault(NamedTuple):
    error: Exception
    is_stored: bool


class MemoryEventStore:
    """``EventStore`` in memory.

    Parameters
    ----------
    types : decodes payloads to compare events of one id.
    clock : gives the recorded time.
    """

    def __init__(self, *, types: EventTypes, clock: Clock) -> None:
        self._types = types
        self._clock = clock
        self._log: list[Event] = []
        self._streams: dict[Stream, list[Event]] = {}
        self._heads: dict[Stream, Head] = {}
        self._names: list[Stream] = []
        self._by_id: dict[tuple[Stream, str], Event] = {}
        self._system_by_id: dict[tuple[str, str], Event] = {}
        self._system_by_type: dict[tuple[str, str], list[Event]] = {}
        self._bell = Bell()
        self._faults: deque[_Fault] = deque()
        self._commits = self._duplicates = self._refused = 0

    def fail_next(self, error: Exception, *, is_stored: bool = False) -> None:
        """Let the next append raise; with ``is_stored`` only its acknowledgement is lost. Calls queue up."""
        self._faults.append(_Fault(error, is_stored))

    async def append(self, events: Sequence[NewEvent], *, is_atomic: bool = False) -> list[Outcome]:
        self._check_open()
        await asyncio.sleep(0)
        self._check_open()
        fault = self._faults.popleft() if self._faults else None
        if fault is not None and not fault.is_stored:
            raise fault.error
        outcomes = self._commit(events, is_atomic)
        await asyncio.sleep(0)
        if fault is not None:
            raise fault.error
        return outcomes

    async def read(self, stream: Stream, *, after_version: int = 0, limit: int | None = None) -> list[Event]:
        self._check_open()
        events = self._streams.get(stream, [])
        return events[after_version : None if limit is None else after_version + limit]

    async def read_many(self, streams: Sequence[Stream]) -> list[list[Event]]:
        self._check_open()
        return [list(self._streams.get(stream, ())) for stream in streams]

    async def read_log(self, *, after: Position = Position(0), limit: int = 1000) -> list[Event]:  # noqa: B008 - an int
        self._check_open()
        return self._log[after : after + limit]

    async def find(self, org: str, event_id: str) -> Event | None:
        self._check_open()
        return self._system_by_id.get((org, event_id))

    async def read_type(
        self, org: str, event_type: str, *, before: Position | None = None, limit: int = 100
    ) -> list[Event]:
        self._check_open()
        of_type = self._system_by_type.get((org, event_type), [])
        older = (event for event in reversed(of_type) if before is None or event.position < before)
        return list(islice(older, limit))

    def subscribe(self, *, after: Position) -> AsyncIterator[list[Event]]:
        self._check_open()
        return follow(lambda at, limit: self.read_log(after=at, limit=limit), self._bell, after=after)

    async def info(self, streams: Sequence[Stream]) -> list[StreamInfo | None]:
        self._check_open()
        return [self._info(stream) for stream in streams]

    async def streams_of(self, numbers: Sequence[int]) -> list[StreamInfo | None]:
        self._check_open()
        last = len(self._names)
        return [self._info(self._names[number - 1]) if 0 < number <= last else None for number in numbers]

    async def list_streams(self, *, after_number: int = 0, limit: int = 1000) -> list[StreamInfo]:
        self._check_open()
        page = self._names[after_number : after_number + limit]
        return [info for stream in page if (info := self._info(stream)) is not None]

    async def last_position(self) -> Position:
        self._check_open()
        return Position(len(self._log))

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(
            events=len(self._log),
            commits=self._commits,
            duplicates=self._duplicates,
            refused=self._refused,
            streams_cached=len(self._heads),
        )

    async def close(self) -> None:
        self._bell.close()

    def head(self, stream: Stream) -> Head:
        head = self._heads.get(stream)
        if head is None:
            self._names.append(stream)
            head = self._heads[stream] = Head(len(self._names), 0, False)
        return head

    def stored(self, stream: Stream, event_id: str) -> Event | None:
        return self._by_id.get((stream, event_id))

    def _commit(self, events: Sequence[NewEvent], is_atomic: bool) -> list[Outcome]:
        last_us = self._log[-1].recorded_us if self._log else 0
        staging = Staging(self, self._types, len(self._log), max(self._clock.now_us(), last_us))
        outcomes = staging.add(events, is_atomic=is_atomic)
        for event in staging.events:
            self._log.append(event)
            self._streams.setdefault(event.stream, []).append(event)
            self._by_id[event.stream, event.id] = event
            if is_system_id(event.id):
                self._system_by_id.setdefault((event.stream.org, event.id), event)
                self._system_by_type.setdefault((event.stream.org, event.type), []).append(event)
        self._duplicates += staging.duplicates
        self._refused += staging.refused
        if staging.events:
            self._commits += 1
            self._bell.ring()
        return outcomes

    def _info(self, stream: Stream) -> StreamInfo | None:
        head = self._heads.get(stream)
        return None if head is None else StreamInfo(stream, head.number, head.version, head.is_known)

    def _check_open(self) -> None:
        if self._bell.is_closed:
            raise StoreClosed("the store is closed")
