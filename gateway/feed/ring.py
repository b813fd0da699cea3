"""The newest entries of an org's feed, for those who come back: so long, and so many changes, whichever is less."""

from collections import deque
from itertools import islice

from gateway.feed.entries import Entry
from kernel.times import SECOND_US


class Ring:
    """Entries in order of their sequence, without gaps.

    Parameters
    ----------
    keep_s : how long an entry is kept.
    keep_changes : how many single changes are kept; an entry may hold many.
    """

    def __init__(self, *, keep_s: float, keep_changes: int) -> None:
        self._keep_us = round(keep_s * SECOND_US)
        self._keep_changes = keep_changes
        self._entries: deque[Entry] = deque()
        self._changes = 0
        self.last = 0  #: sequence of the newest entry there ever was

    def append(self, entry: Entry) -> None:
        """Add the next entry; the oldest ones go."""
        self._entries.append(entry)
        self._changes += entry.size
        self.last = entry.sequence
        self.trim(entry.emitted_us)

    def trim(self, monotonic_us: int) -> None:
        """Drop what is too old, or too much."""
        entries = self._entries
        while entries and (self._changes > self._keep_changes or entries[0].emitted_us + self._keep_us < monotonic_us):
            self._changes -= entries.popleft().size

    def after(self, sequence: int) -> list[Entry] | None:
        """Everything after an entry; None where some of it is gone, or it never was."""
        first = self.last - len(self._entries) + 1
        if not first - 1 <= sequence <= self.last:
            return None
        return list(islice(self._entries, sequence - first + 1, None))
