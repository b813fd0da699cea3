"""Where snapshots are kept, and how a fresh cache takes the place of the one in use."""

import shutil
from pathlib import Path
from typing import Protocol

from eventstore.lmdb_snapshots import LmdbSnapshots
from eventstore.memory_snapshots import MemorySnapshots
from eventstore.snapshots import SnapshotStore
from kernel.clock import Clock
from kernel.fatal import OnFatal


class Caches(Protocol):
    """Opens caches of one service."""

    async def open(self) -> SnapshotStore:
        """The cache that was in use last."""

    async def fresh(self) -> SnapshotStore:
        """An empty one beside it."""

    async def replace(self, old: SnapshotStore, new: SnapshotStore) -> None:
        """``new`` is in use: it takes the name of ``old``, which is closed."""

    async def discard(self, fresh: SnapshotStore) -> None:
        """``fresh`` will not be used."""


class MemoryCaches:
    """Caches that end with the process."""

    async def open(self) -> SnapshotStore:
        return MemorySnapshots()

    async def fresh(self) -> SnapshotStore:
        return MemorySnapshots()

    async def replace(self, old: SnapshotStore, new: SnapshotStore) -> None:
        await old.close()

    async def discard(self, fresh: SnapshotStore) -> None:
        await fresh.close()


class LmdbCaches:
    """Caches in directories beside each other: ``snapshots``, and ``snapshots.new`` while one is rebuilt.

    Parameters
    ----------
    fingerprint : of all catalogues; a cache that was made under another one begins empty.
    """

    def __init__(
        self, directory: Path, *, clock: Clock, on_fatal: OnFatal, fingerprint: str, map_size_bytes: int
    ) -> None:
        self._path = directory / "snapshots"
        self._fresh_path = directory / "snapshots.new"
        self._clock = clock
        self._on_fatal = on_fatal
        self._fingerprint = fingerprint
        self._map_size_bytes = map_size_bytes

    async def open(self) -> SnapshotStore:
        return await self._open(self._path)

    async def fresh(self) -> SnapshotStore:
        shutil.rmtree(self._fresh_path, ignore_errors=True)  # of a rebuild that was cut short
        return await self._open(self._fresh_path)

    async def replace(self, old: SnapshotStore, new: SnapshotStore) -> None:
        await old.close()
        if isinstance(new, LmdbSnapshots):
            new.move(self._path)

    async def discard(self, fresh: SnapshotStore) -> None:
        await fresh.close()
        shutil.rmtree(self._fresh_path, ignore_errors=True)

    async def _open(self, path: Path) -> SnapshotStore:
        return await LmdbSnapshots.open(
            path,
            clock=self._clock,
            on_fatal=self._on_fatal,
            fingerprint=self._fingerprint,
            map_size_bytes=self._map_size_bytes,
        )
