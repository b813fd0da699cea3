"""The in-process twin of the snapshot cache: same contract, no thread, so that a run repeats from its seed.

``SnapshotMedium`` is what outlives a crash: the rows that were written, in their written form. A store opened on a
medium that another one left without ``close`` sees exactly the batches that were written by then.
"""

import asyncio
from collections.abc import Sequence

from eventstore.snapshot_codec import dead_count, decode, encode
from eventstore.snapshots import Snapshot
from eventstore.write_behind import Batch, WriteBehind
from kernel.errors import SnapshotCorrupt
from kernel.ids import Position


class SnapshotMedium:
    """Written rows. ``is_full`` makes every write fail; ``rows`` may be damaged at will by a test."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}
        self.dead: dict[tuple[int, int], bytes] = {}
        self.deadlines: set[tuple[int, int]] = set()
        self.applied = Position(0)
        self.is_full = False

    def copy(self) -> "SnapshotMedium":
        """The medium as it is now, cut off from the store that still writes to this one."""
        twin = SnapshotMedium()
        twin.rows, twin.dead, twin.deadlines = dict(self.rows), dict(self.dead), set(self.deadlines)
        twin.applied = self.applied
        return twin

    def write(self, batch: Batch) -> None:
        """All of a batch. Raises ``OSError`` when full, with nothing written."""
        if self.is_full:
            raise OSError("no room")
        for number, change in batch.changes.items():
            self._take_out(number)
            if change.snapshot is not None:
                self._put_in(change.snapshot)
        if batch.mark is not None:
            self.applied = batch.mark.position

    def read(self, number: int) -> Snapshot | None:
        """A written snapshot. Raises ``SnapshotCorrupt``."""
        row = self.rows.get(number)
        if row is None:
            return None
        keys = [(number, index) for index in range(min(dead_count(row), len(self.dead)))]
        return decode(number, row, [self.dead[key] for key in keys if key in self.dead])

    def _take_out(self, number: int) -> None:
        if number not in self.rows:
            return
        try:
            old = self.read(number)
        except SnapshotCorrupt:
            # What the row said of its deadline is lost: look at all of them.
            self.deadlines = {each for each in self.deadlines if each[1] != number}
        else:
            if old is not None and old.due_us is not None:
                self.deadlines.discard((old.due_us, number))
        del self.rows[number]
        for key in [key for key in self.dead if key[0] == number]:
            del self.dead[key]

    def _put_in(self, snapshot: Snapshot) -> None:
        self.rows[snapshot.number] = encode(snapshot)
        if snapshot.due_us is not None:
            self.deadlines.add((snapshot.due_us, snapshot.number))
        for index, letter in enumerate(snapshot.dead):
            self.dead[snapshot.number, index] = letter


class MemorySnapshots:
    """``SnapshotStore`` in memory.

    Parameters
    ----------
    medium : what to open; a new one by default.
    batch_limit : changes in one batch.
    is_eager : batches are written at the loop's next turn; else in ``flush`` and ``close`` only.
    """

    def __init__(self, medium: SnapshotMedium | None = None, *, batch_limit: int = 1000, is_eager: bool = True) -> None:
        self.medium = medium if medium is not None else SnapshotMedium()
        self._queue = WriteBehind()
        self._queue.clear(self.medium.applied)
        self._batch_limit = batch_limit
        self._is_eager = is_eager
        self._is_called = False
        self._failed_batches = 0

    def get(self, number: int) -> Snapshot | None:
        change = self._queue.find(number)
        if change is not None:
            return change.snapshot
        return self.medium.read(number)

    def put(self, snapshot: Snapshot) -> None:
        self._queue.put(snapshot.number, snapshot)
        self._call()

    def remove(self, number: int) -> None:
        self._queue.put(number, None)
        self._call()

    def note_applied(self, position: Position) -> None:
        self._queue.note_applied(position)
        self._call()

    def applied(self) -> Position:
        return self.medium.applied

    @property
    def backlog(self) -> int:
        return self._queue.backlog

    @property
    def failed_batches(self) -> int:
        """Batches that could not be written and went back to the queue."""
        return self._failed_batches

    async def flush(self) -> bool:
        goal = self._queue.count
        await asyncio.sleep(0)
        while not self._queue.is_written(goal):
            if not self._write_batch():
                return False
            await asyncio.sleep(0)
        return True

    def due(self, *, after: tuple[int, int], until_us: int, limit: int) -> list[tuple[int, int]]:
        found = sorted(each for each in self.medium.deadlines if after < each and each[0] <= until_us)
        return found[:limit]

    def dead(self, *, after: tuple[int, int] = (0, 0), limit: int = 1000) -> Sequence[tuple[int, int, bytes]]:
        keys = sorted(key for key in self.medium.dead if key > after)
        return [(*key, self.medium.dead[key]) for key in keys[:limit]]

    async def clear(self) -> None:
        medium = self.medium
        medium.rows.clear()
        medium.dead.clear()
        medium.deadlines.clear()
        medium.applied = Position(0)
        self._queue.clear(Position(0))

    async def close(self) -> None:
        await self.flush()

    def _call(self) -> None:
        if self._is_eager and not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._is_called = False
        while not self._queue.is_written(self._queue.count) and self._write_batch():
            pass

    def _write_batch(self) -> bool:
        batch = self._queue.take(self._batch_limit)
        try:
            self.medium.write(batch)
        except OSError:
            self._queue.failed()
            self._failed_batches += 1
            return False
        self._queue.written()
        return True
