"""The one way into the log: append, then fold, as one step that nobody can cut in two.

Bounded by the events and bytes under way: past them a request is refused whole, before anything of it is stored.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from actors.host import ActorHost
from eventstore.event import Event, NewEvent
from eventstore.store import EventStore, Outcome, Stored
from kernel.errors import IntakeFull, StoreClosed, StoreUnavailable

#: What an event takes in memory beside its payload, roughly.
_EVENT_BYTES = 500


class Receipt(NamedTuple):
    """What became of a request: an outcome per event, and how many of the newly stored ones are dead."""

    outcomes: list[Outcome]
    dead: int


class IntakeStatistics(msgspec.Struct, frozen=True):
    """The intake now, and its refusals since start."""

    events: int
    size_bytes: int
    full: int


class Ingest:
    """Appends events and folds them.

    Parameters
    ----------
    max_events, max_bytes : accepted and not folded yet, of all requests together. A request larger than that
        is taken when nothing else is under way.
    """

    def __init__(
        self, *, store: EventStore, host: ActorHost, max_events: int = 100_000, max_bytes: int = 256 * 1024**2
    ) -> None:
        self._store = store
        self._host = host
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events = 0
        self._bytes = 0
        self._full = 0
        self._tasks: set[asyncio.Task[Receipt]] = set()

    async def submit(self, events: Sequence[NewEvent], *, is_atomic: bool = False) -> Receipt:
        """Store events and fold them; returns when both are done, duplicates' first occurrences included.

        Raises
        ------
        IntakeFull, MailboxFull, StoreUnavailable
            Nothing of this call was stored.
        """
        if not events:
            return Receipt([], 0)
        size_bytes = sum(len(event.data) for event in events) + _EVENT_BYTES * len(events)
        if self._host.is_congested or not self._has_room(len(events), size_bytes):
            self._full += 1
            raise IntakeFull(f"{self._events} events of {self._bytes} bytes are under way")
        self._host.admit(events)
        self._events += len(events)
        self._bytes += size_bytes
        try:
            return await self.record(events, is_atomic=is_atomic)
        finally:
            self._events -= len(events)
            self._bytes -= size_bytes

    async def record(self, events: Sequence[NewEvent], *, is_atomic: bool = False) -> Receipt:
        """Store and fold without a bound: for events of the system itself, which bounds them in its own way."""
        task = asyncio.get_running_loop().create_task(self._store_and_fold(events, is_atomic), name="ingest")
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        # Shielded: between append and fold a cancelled request would leave an event stored that no entity
        # has, until something else makes its stream read the log.
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def statistics(self) -> IntakeStatistics:
        return IntakeStatistics(events=self._events, size_bytes=self._bytes, full=self._full)

    def _has_room(self, events: int, size_bytes: int) -> bool:
        if self._events == 0:
            return True
        return self._events + events <= self._max_events and self._bytes + size_bytes <= self._max_bytes

    def _finished(self, task: asyncio.Task[Receipt]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its waiter may be gone

    async def _store_and_fold(self, events: Sequence[NewEvent], is_atomic: bool) -> Receipt:
        host = self._host
        token = host.begin_append()
        is_settled = False
        try:
            try:
                outcomes = await self._store.append(events, is_atomic=is_atomic)
            except (StoreUnavailable, StoreClosed):
                is_settled = True  # the contract: nothing was stored
                raise
            new, old = _stored(outcomes)
            dead = await host.deliver(new)
            await host.wait_folded(old)
            is_settled = True
            return Receipt(outcomes, dead)
        finally:
            if is_settled:
                host.end_append(token)
            else:
                host.doubt(token)


def _stored(outcomes: Sequence[Outcome]) -> tuple[list[Event], list[Event]]:
    """The events that are new in the log, and those that were there before."""
    new: list[Event] = []
    old: list[Event] = []
    for outcome in outcomes:
        if isinstance(outcome, Stored) and outcome.event.version:  # version 0: refused with its atomic batch
            (old if outcome.is_duplicate else new).append(outcome.event)
    return new, old
