"""One listener: what it wants, and what waits for it. It never holds up whoever tells it."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from gateway.feed.entries import Entry, frame, reset
from gateway.feed.ring import Ring

_AT_ONCE = 100  # entries encoded in one go, a millisecond or two


class Listener:
    """The end of the feed that a stream is written from.

    Parameters
    ----------
    lead : the only lead it wants; None for all.
    names : the only features it wants; None for all.
    waiting_max : entries that may wait for it. Past them it is lost: its entries are dropped, and it is told so.
    ring : of its org.
    prefix : of the ids of that org's entries.

    Attributes
    ----------
    interrupt : breaks off a write that waits for the other side; None while none does.
    """

    def __init__(
        self, *, lead: str | None, names: frozenset[str] | None, waiting_max: int, ring: Ring, prefix: str
    ) -> None:
        self.lead, self.names = lead, names
        self.is_lost = False
        self.is_closed = False
        self.interrupt: Callable[[], None] | None = None
        self._waiting_max = waiting_max
        self._ring = ring
        self._prefix = prefix
        self._missed: deque[Entry] = deque()
        self._waiting: deque[Entry] = deque()
        self._sent = ring.last
        self._bell = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        return self.is_lost or self.is_closed

    def resume(self, missed: Sequence[Entry]) -> None:
        """Begin with what it missed, however much that is: the ring bounds it. Until it is sent, it has none of it."""
        self._sent = missed[0].sequence - 1
        self._missed.extend(entry for entry in missed if self.lead is None or entry.lead == self.lead)
        self._bell.set()

    def offer(self, entry: Entry) -> bool:
        """Let it have an entry. False: it did not keep up, and is lost by this one."""
        if self.has_ended:
            return True
        if len(self._waiting) >= self._waiting_max:
            self.lose()
            return False
        self._waiting.append(entry)
        self._bell.set()
        return True

    def lose(self) -> None:
        """It missed something: drop what waits, tell it so, end it."""
        self.is_lost = True
        self._missed.clear()
        self._waiting.clear()
        self._bell.set()

    def close(self) -> None:
        """End it without a word: it may come back and resume."""
        self.is_closed = True
        self._bell.set()
        if self.interrupt is not None:
            self.interrupt()

    async def wait(self) -> None:
        """Until there is something to write, or it has ended."""
        await self._bell.wait()

    def take(self) -> bytes:
        """What is to be written next; empty when nothing is."""
        entries: list[Entry] = []
        for queue in (self._missed, self._waiting):
            while queue and len(entries) < _AT_ONCE:
                entries.append(queue.popleft())
        if not self._missed and not self._waiting and not self.has_ended:
            self._bell.clear()
        if entries:
            self._sent = entries[-1].sequence
        return b"".join(frame(entry, self._id(entry.sequence), self.names) for entry in entries)

    def mark(self) -> bytes:
        """A line that tells up to where it has everything: what was left out for it is nothing it missed."""
        is_idle = not self._missed and not self._waiting and not self.is_lost
        return b"id: %b\n\n" % self._id(self._ring.last if is_idle else self._sent).encode()

    def reset(self, reason: str) -> bytes:
        """Tells it that it missed something, and from where on it does not."""
        return reset(self._id(self._ring.last), reason)

    def _id(self, sequence: int) -> str:
        return f"{self._prefix}{sequence:012x}"
