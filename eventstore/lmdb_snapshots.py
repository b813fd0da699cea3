"""The snapshot cache in LMDB: reads on the loop in short transactions, writes in batches in one thread.

The format and the rule of validity are in ``lmdb_environment``. A snapshot, its deadline and its dead letters are
replaced together, and the applied position is written in the transaction that completes what it claims.
A write that fails (map or disk full) is counted, stays queued and is tried again; only a failed sync at the
end is fatal.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import lmdb
import msgspec
import structlog

from eventstore.lmdb_environment import Environment, Meta, close_clean, open_valid, read_boot_id
from eventstore.snapshot_codec import dead_count, decode, encode, number_key
from eventstore.snapshots import Snapshot
from eventstore.write_behind import Batch, WriteBehind
from kernel.clock import Clock
from kernel.errors import SnapshotCorrupt
from kernel.ids import Position
from kernel.threads import Worker
from kernel.times import SECOND_US

_DUE_OFFSET = 1 << 63

log = structlog.get_logger(__name__)


class LmdbStatistics(msgspec.Struct, frozen=True):
    """State of the cache, and counters since start. ``fill_ratio`` is the used share of the map: alert at 0.8."""

    snapshots: int
    deadlines: int
    dead: int
    used_bytes: int
    map_size_bytes: int
    fill_ratio: float
    backlog: int
    batches: int
    failed_batches: int
    discarded: int
    discard_reason: str


class LmdbSnapshots:
    """``SnapshotStore`` in a directory that one process owns. Made by ``open``; used from one event loop."""

    def __init__(
        self,
        environment: Environment,
        meta: Meta,
        *,
        clock: Clock,
        on_fatal: Callable[[Exception], None],
        discard_reason: str = "",
        batch_limit: int = 1000,
        retry_s: float = 5.0,
    ) -> None:
        self._environment = environment
        self._meta = meta
        self._clock = clock
        self._on_fatal = on_fatal
        self._discard_reason = discard_reason
        self._batch_limit = batch_limit
        self._retry_us = round(retry_s * SECOND_US)
        self._retry_at_us = 0
        self._queue = WriteBehind()
        self._queue.clear(Position(meta.applied))
        self._worker = Worker("snapshots")
        self._writer: asyncio.Task[None] | None = None
        self._batches = 0
        self._failed_batches = 0
        self._is_closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        on_fatal: Callable[[Exception], None],
        fingerprint: str = "",
        map_size_bytes: int = 64 * 1024**3,
        batch_limit: int = 1000,
        retry_s: float = 5.0,
        boot_id: str | None = None,
    ) -> Self:
        """Open the cache, or begin an empty one in place of one that cannot be trusted.

        Parameters
        ----------
        on_fatal : told that a sync failed; what is on the disk is unknown, and the process should end.
        fingerprint : of the catalogue; snapshots of another one are discarded.
        map_size_bytes : address space, not memory or disk; the cache can never be larger.
        batch_limit : snapshots in one transaction.
        retry_s : the pause after a failed write.
        boot_id : for tests; the machine's by default.
        """
        boot_id = read_boot_id() if boot_id is None else boot_id
        environment, meta, reason = open_valid(
            path, map_size_bytes=map_size_bytes, boot_id=boot_id, fingerprint=fingerprint
        )
        return cls(
            environment,
            meta,
            clock=clock,
            on_fatal=on_fatal,
            discard_reason=reason,
            batch_limit=batch_limit,
            retry_s=retry_s,
        )

    @property
    def path(self) -> Path:
        """The directory that holds the cache now."""
        return self._environment.path

    def get(self, number: int) -> Snapshot | None:
        change = self._queue.find(number)
        if change is not None:
            return change.snapshot
        try:
            with self._environment.lmdb.begin() as txn:
                return self._read(txn, number)
        except lmdb.Error as error:
            raise SnapshotCorrupt(f"snapshot {number}: {error}") from error

    def put(self, snapshot: Snapshot) -> None:
        self._queue.put(snapshot.number, snapshot)
        self._call_writer()

    def remove(self, number: int) -> None:
        self._queue.put(number, None)
        self._call_writer()

    def note_applied(self, position: Position) -> None:
        self._queue.note_applied(position)
        self._call_writer()

    def applied(self) -> Position:
        return Position(self._meta.applied)

    @property
    def backlog(self) -> int:
        return self._queue.backlog

    async def flush(self) -> bool:
        goal = self._queue.count
        failed = self._failed_batches
        while not self._queue.is_written(goal):
            # Shielded: a waiter that is cancelled must not stop the writer.
            await asyncio.shield(self._start_writer())
            if self._failed_batches != failed:
                return False
        return True

    def due(self, *, after: tuple[int, int], until_us: int, limit: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        start = _deadline_key(*after)
        with self._environment.lmdb.begin() as txn, txn.cursor(self._environment.deadlines) as cursor:
            if not cursor.set_range(start):
                return found
            for key in cursor.iternext(keys=True, values=False):
                due_us, number = _deadline_of(key)
                if due_us > until_us or len(found) >= limit:
                    break
                if key != start:
                    found.append((due_us, number))
        return found

    def dead(self, *, after: tuple[int, int] = (0, 0), limit: int = 1000) -> Sequence[tuple[int, int, bytes]]:
        found: list[tuple[int, int, bytes]] = []
        start = _letter_key(*after)
        with self._environment.lmdb.begin() as txn, txn.cursor(self._environment.dead) as cursor:
            if not cursor.set_range(start):
                return found
            for key, letter in cursor.iternext():
                if len(found) >= limit:
                    break
                if key != start:
                    found.append((int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big"), letter))
        return found

    async def clear(self) -> None:
        await self._finish_writer()
        await self._worker.run(self._drop_all)
        self._queue.clear(Position(0))

    def move(self, path: Path) -> None:
        """Give the open cache another directory name, in place of whatever is there. Atomic for who opens it next."""
        if path.exists():
            aside = path.with_name(path.name + ".old")
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(path, aside)
            os.rename(self.path, path)
            shutil.rmtree(aside)
        else:
            os.rename(self.path, path)
        self._environment.path = path

    def statistics(self) -> LmdbStatistics:
        environment = self._environment
        with environment.lmdb.begin() as txn:
            counts = [
                txn.stat(each)["entries"] for each in (environment.snapshots, environment.deadlines, environment.dead)
            ]
        used_bytes, map_size_bytes = environment.used_bytes(), environment.lmdb.info()["map_size"]
        return LmdbStatistics(
            snapshots=counts[0],
            deadlines=counts[1],
            dead=counts[2],
            used_bytes=used_bytes,
            map_size_bytes=map_size_bytes,
            fill_ratio=used_bytes / map_size_bytes,
            backlog=self.backlog,
            batches=self._batches,
            failed_batches=self._failed_batches,
            discarded=int(bool(self._discard_reason)),
            discard_reason=self._discard_reason,
        )

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await self.flush()
        await self._finish_writer()
        await self._worker.run(lambda: close_clean(self._environment, self._meta, self._on_fatal))
        await self._worker.close()

    async def abandon(self) -> None:
        """Close without the mark of a clean stop, and without what is queued: for a cache that is to be deleted."""
        if self._is_closed:
            return
        self._is_closed = True
        self._queue.clear(Position(0))
        await self._finish_writer()
        await self._worker.run(self._environment.close)
        await self._worker.close()

    def _call_writer(self) -> None:
        if (self._writer is None or self._writer.done()) and self._clock.monotonic_us() >= self._retry_at_us:
            self._start_writer()

    def _start_writer(self) -> asyncio.Task[None]:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_all(), name="snapshot-writer")
        return self._writer

    async def _finish_writer(self) -> None:
        if self._writer is not None:
            await self._writer

    async def _write_all(self) -> None:
        """Write batches until nothing is queued or one fails. What is put in the same turn of the loop is one batch."""
        while not self._queue.is_written(self._queue.count):
            batch = self._queue.take(self._batch_limit)
            try:
                self._meta = await self._worker.run(lambda batch=batch: self._write(batch))  # type: ignore[misc]
            except lmdb.Error as error:
                self._queue.failed()
                self._failed_batches += 1
                self._retry_at_us = self._clock.monotonic_us() + self._retry_us
                log.error("snapshot_batch_failed", error=str(error), changes=len(batch.changes))
                return
            self._queue.written()
            self._batches += 1
            self._retry_at_us = 0

    def _write(self, batch: Batch) -> Meta:
        meta = self._meta
        with self._environment.lmdb.begin(write=True) as txn:
            for number, change in batch.changes.items():
                self._take_out(txn, number)
                if change.snapshot is not None:
                    self._put_in(txn, change.snapshot)
            if batch.mark is not None:
                meta = msgspec.structs.replace(meta, applied=batch.mark.position)
                self._environment.write_meta(txn, meta)
        return meta

    def _read(self, txn: "lmdb.Transaction[bytes]", number: int) -> Snapshot | None:
        row = txn.get(number_key(number), db=self._environment.snapshots)
        if row is None:
            return None
        letters = (txn.get(_letter_key(number, index), db=self._environment.dead) for index in range(dead_count(row)))
        dead: list[bytes] = []
        for letter in letters:
            if letter is None:
                raise SnapshotCorrupt(f"snapshot {number}: dead letter {len(dead)} is missing")
            dead.append(letter)
        return decode(number, row, dead)

    def _put_in(self, txn: "lmdb.Transaction[bytes]", snapshot: Snapshot) -> None:
        environment = self._environment
        txn.put(number_key(snapshot.number), encode(snapshot), db=environment.snapshots)
        if snapshot.due_us is not None:
            txn.put(_deadline_key(snapshot.due_us, snapshot.number), b"", db=environment.deadlines)
        for index, letter in enumerate(snapshot.dead):
            txn.put(_letter_key(snapshot.number, index), letter, db=environment.dead)

    def _take_out(self, txn: "lmdb.Transaction[bytes]", number: int) -> None:
        environment = self._environment
        try:
            old = self._read(txn, number)
        except SnapshotCorrupt:
            self._take_out_blindly(txn, number)
            return
        if old is None:
            return
        txn.delete(number_key(number), db=environment.snapshots)
        if old.due_us is not None:
            txn.delete(_deadline_key(old.due_us, number), db=environment.deadlines)
        for index in range(len(old.dead)):
            txn.delete(_letter_key(number, index), db=environment.dead)

    def _take_out_blindly(self, txn: "lmdb.Transaction[bytes]", number: int) -> None:
        # What the row said of its deadline and letters is lost: look at all of them. O(n), and as rare as rot.
        environment, suffix = self._environment, number_key(number)
        txn.delete(suffix, db=environment.snapshots)
        with txn.cursor(environment.deadlines) as cursor:
            keys = [key for key in cursor.iternext(keys=True, values=False) if key.endswith(suffix)]
        for key in keys:
            txn.delete(key, db=environment.deadlines)
        with txn.cursor(environment.dead) as cursor:
            keys = [key for key in cursor.iternext(keys=True, values=False) if key.startswith(suffix)]
        for key in keys:
            txn.delete(key, db=environment.dead)

    def _drop_all(self) -> None:
        environment = self._environment
        meta = msgspec.structs.replace(self._meta, applied=0)
        with environment.lmdb.begin(write=True) as txn:
            for table in (environment.snapshots, environment.deadlines, environment.dead):
                txn.drop(table, delete=False)
            environment.write_meta(txn, meta)
        self._meta = meta


def _deadline_key(due_us: int, number: int) -> bytes:
    return (max(due_us + _DUE_OFFSET, 0)).to_bytes(8, "big") + number_key(number)


def _deadline_of(key: bytes) -> tuple[int, int]:
    return int.from_bytes(key[:8], "big") - _DUE_OFFSET, int.from_bytes(key[8:], "big")


def _letter_key(number: int, index: int) -> bytes:
    return number_key(number) + index.to_bytes(4, "big")
