"""Appends that wait for a commit: a bounded queue that gives them out a batch at a time.

While one commit runs, the appends behind it gather; the next commit takes as many of them as fit. Order is
kept. A cancelled append stays in its place: it may have been written, and is whole either way.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from eventstore.event import NewEvent
from eventstore.store import Outcome
from kernel.errors import EventStoreError


class Call(NamedTuple):
    """The events of one append."""

    events: Sequence[NewEvent]
    is_atomic: bool


class Pending(NamedTuple):
    """A call and whoever waits for its outcomes."""

    call: Call
    future: asyncio.Future[list[Outcome]]


class Gathering:
    """The queue between appends and commits.

    Parameters
    ----------
    batch_events : events of one batch, unless a single call has more.
    pending_events : events that may wait; calls wait for room beyond that.
    """

    def __init__(self, *, batch_events: int, pending_events: int) -> None:
        self._batch_events = batch_events
        self._pending_events_max = pending_events
        self._pending: deque[Pending] = deque()
        self._pending_events = 0
        self._has_work = asyncio.Event()
        self._has_room = asyncio.Event()
        self._end: EventStoreError | None = None

    async def put(self, call: Call) -> list[Outcome]:
        """Wait for room, then for the call's outcomes. Raises what ``end`` was told once it was."""
        self._check_open()
        while self._pending_events >= self._pending_events_max:
            self._has_room.clear()
            await self._has_room.wait()
            self._check_open()
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._pending.append(Pending(call, future))
        self._pending_events += len(call.events)
        self._has_work.set()
        return await future

    async def take(self) -> list[Pending]:
        """Wait for calls, and take a batch of them; empty when it was ended and everything is taken."""
        while not self._pending and self._end is None:
            self._has_work.clear()
            await self._has_work.wait()
        batch: list[Pending] = []
        size = 0
        while self._pending and (not batch or size + len(self._pending[0].call.events) <= self._batch_events):
            pending = self._pending.popleft()
            size += len(pending.call.events)
            batch.append(pending)
        self._pending_events -= size
        self._has_room.set()
        return batch

    def refuse_waiting(self, error: EventStoreError) -> None:
        """Give ``error`` to those that wait; later calls are taken as before."""
        refuse(self._pending, error)
        self._pending.clear()
        self._pending_events = 0
        self._has_room.set()

    def end(self, error: EventStoreError) -> None:
        """Take no more calls: they get ``error``. Those that wait already are still given out."""
        self._end = error
        self._has_work.set()
        self._has_room.set()

    def abandon(self, error: EventStoreError) -> None:
        """End, and give ``error`` to those that wait, too: nobody will commit them."""
        self.end(error)
        self.refuse_waiting(error)

    def _check_open(self) -> None:
        if self._end is not None:
            raise self._end.with_traceback(None)


def answer(batch: Iterable[Pending], outcomes: Iterable[list[Outcome]]) -> None:
    """Hand out the outcomes of a commit."""
    for pending, found in zip(batch, outcomes, strict=True):
        if not pending.future.done():  # else its wait was cancelled
            pending.future.set_result(found)


def refuse(batch: Iterable[Pending], error: Exception) -> None:
    """Tell every call of a batch that nothing of it was stored."""
    for pending in batch:
        if not pending.future.done():
            pending.future.set_exception(error)
