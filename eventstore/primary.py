"""The seam of a log whose file is a copy: another log, the primary, takes each batch before the file commits it.

A batch is judged against the copy and inserted there without being committed; the primary takes it; then the copy
commits, together with how far it has followed. So nobody reads what the primary does not hold, and after a crash
between the two the copy follows the primary from where it stopped.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from eventstore.event import Event
from eventstore.restoring import Missing
from eventstore.sqlite_writer import Note, Told
from kernel.errors import StoreUnavailable

T = TypeVar("T")

#: Told by a primary that cannot be reached any longer: what waits for a commit is refused.
OnAway = Callable[[StoreUnavailable], None]


class Copy(Protocol):
    """What a primary may do with the file: while it starts, and while another process writes the log."""

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """The result of a function of the writing connection, outside any transaction."""

    async def adopt(self, told: Sequence[Told], note: Note) -> list[Event]:
        """``SqliteWriter.adopt``, and tell subscribers; waits for a batch that is under way."""

    async def lack(self, missing: Missing | None) -> None:
        """From now on the file lacks these events; None: it is whole."""

    async def fill(self, told: Sequence[Told], reached: int) -> None:
        """``SqliteWriter.fill``; waits for a batch that is under way."""


class Primary(Protocol):
    """The log that the file is a copy of. While it takes batches, this process is the only one that writes it."""

    async def start(self, copy: Copy, on_away: OnAway) -> None:
        """Become the one that writes, and bring the copy up to date."""

    def check(self) -> None:
        """Raises ``StoreUnavailable`` while the primary cannot be reached."""

    async def take(self, events: Sequence[Event]) -> Note:
        """Hold a batch durably before it returns; what it returns is written with the copy's commit.

        Waits until the fate of the batch is known, however long the primary is away.

        Raises
        ------
        StoreUnavailable
            Nothing of the batch is held, nor will be.
        RecordTooLarge
            Likewise, and trying again is in vain.
        NotLeading
            Another process writes the log. Whether the batch is held, the copy is told when it follows.
        OwnershipLost, StoreFailed
            For good: another process writes the log now, or this one stops while the batch's fate is unknown.
        """

    def hurry(self) -> None:
        """The store closes: a batch under way may end, but nobody waits any longer for a primary that is away."""

    async def close(self) -> None:
        """Give up the connections. Idempotent."""
