"""Changes of snapshots on their way to the medium: seen by readers at once, written in batches.

Invariants: a batch takes changes in the order in which their entities were first queued, so an applied position is
written with the batch that completes everything put before it, never earlier. A batch that failed goes back to
the front of the queue; what was put meanwhile wins over it.
"""

from collections import deque
from itertools import islice
from math import inf
from typing import NamedTuple

from eventstore.snapshots import Snapshot
from kernel.ids import Position


class Change(NamedTuple):
    """A snapshot to write, or None to remove; ``order`` is that of its entity's first change in the queue."""

    order: int
    snapshot: Snapshot | None


class Mark(NamedTuple):
    """An applied position, behind everything put before it."""

    order: int
    position: Position


class Batch(NamedTuple):
    """What one transaction writes."""

    changes: dict[int, Change]
    mark: Mark | None

    @property
    def first_order(self) -> float:
        """The order of the first change or mark; infinity without any."""
        for change in self.changes.values():
            return change.order
        return self.mark.order if self.mark is not None else inf


_EMPTY = Batch({}, None)


class WriteBehind:
    """The queue of changes. At most one batch is being written at a time."""

    def __init__(self) -> None:
        self._queued: dict[int, Change] = {}
        self._writing = _EMPTY
        self._marks: deque[Mark] = deque()
        self._noted = Position(0)
        self._count = 0

    @property
    def backlog(self) -> int:
        """Changes not written yet."""
        return len(self._queued) + len(self._writing.changes)

    @property
    def count(self) -> int:
        """Orders given so far, marks included: what ``is_written`` asks about."""
        return self._count

    def put(self, number: int, snapshot: Snapshot | None) -> None:
        """Queue a snapshot, or a removal."""
        queued = self._queued.get(number)
        if queued is None:
            self._count += 1
            self._queued[number] = Change(self._count, snapshot)
        else:
            self._queued[number] = Change(queued.order, snapshot)

    def note_applied(self, position: Position) -> None:
        """Queue an applied position behind everything put so far. One that goes back is ignored."""
        if position > self._noted:
            self._noted = position
            self._count += 1
            self._marks.append(Mark(self._count, position))

    def find(self, number: int) -> Change | None:
        """The newest unwritten change of an entity."""
        return self._queued.get(number) or self._writing.changes.get(number)

    def is_written(self, count: int) -> bool:
        """Whether all orders up to that count are written."""
        first_mark = self._marks[0].order if self._marks else inf
        return min(self._writing.first_order, self._first_order(), first_mark) > count

    def take(self, limit: int) -> Batch:
        """The next batch, of at most ``limit`` changes; empty when nothing is queued."""
        changes = dict(islice(self._queued.items(), limit))
        for number in changes:
            del self._queued[number]
        first_left = self._first_order()
        mark = None
        while self._marks and self._marks[0].order < first_left:
            mark = self._marks.popleft()
        self._writing = Batch(changes, mark)
        return self._writing

    def written(self) -> None:
        """The batch taken last is on the medium."""
        self._writing = _EMPTY

    def failed(self) -> None:
        """The batch taken last is not on the medium; it goes back to the front."""
        changes, mark = self._writing
        self._writing = _EMPTY
        for number, change in self._queued.items():
            older = changes.get(number)
            changes[number] = change if older is None else Change(older.order, change.snapshot)
        self._queued = changes
        if mark is not None:
            self._marks.appendleft(mark)

    def clear(self, applied: Position) -> None:
        """Forget what is queued."""
        self._queued.clear()
        self._marks.clear()
        self._noted = applied

    def _first_order(self) -> float:
        for change in self._queued.values():
            return change.order
        return inf
