"""Following the log: read what is there, then wait for the next commit."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from eventstore.event import Event
from kernel.errors import StoreClosed
from kernel.ids import Position

#: Reads a page of the log after a position.
ReadLog = Callable[[Position, int], Awaitable[list[Event]]]


class Bell:
    """Wakes everybody who waits for the log to grow. Whoever fetches ``next`` before reading misses no ring."""

    def __init__(self) -> None:
        self.next = asyncio.Event()
        self.is_closed = False

    def ring(self) -> None:
        self.next.set()
        self.next = asyncio.Event()

    def close(self) -> None:
        """End every subscription."""
        self.is_closed = True
        self.next.set()


async def follow(read_log: ReadLog, bell: Bell, *, after: Position, limit: int = 1000) -> AsyncIterator[list[Event]]:
    """Batches of events in log order from a position on; ends when the store is closed."""
    while not bell.is_closed:
        rung = bell.next
        try:
            events = await read_log(after, limit)
        except StoreClosed:
            return
        if events:
            after = events[-1].position
            yield events
        else:
            await rung.wait()
