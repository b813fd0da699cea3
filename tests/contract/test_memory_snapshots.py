"""The in-process snapshot cache fulfils the contract."""

import pytest

from eventstore.memory_snapshots import MemorySnapshots, SnapshotMedium
from eventstore.snapshots import SnapshotStore
from tests.contract.snapshot_suite import SnapshotSuite, snapshot


class MemoryBackend:
    def __init__(self) -> None:
        self.medium = SnapshotMedium()

    async def open(self) -> SnapshotStore:
        return MemorySnapshots(self.medium)

    async def kill(self, store: SnapshotStore) -> None:
        self.medium = self.medium.copy()

    def flip(self, number: int, bit: int) -> int:
        row = bytearray(self.medium.rows[number])
        row[bit // 8 % len(row)] ^= 1 << bit % 8
        self.medium.rows[number] = bytes(row)
        return len(row) * 8

    def fill(self, is_full: bool) -> None:
        self.medium.is_full = is_full


class TestMemorySnapshots(SnapshotSuite):
    @pytest.fixture
    def backend(self) -> MemoryBackend:
        return MemoryBackend()


async def test_a_store_that_is_not_eager_writes_in_flush_only() -> None:
    medium = SnapshotMedium()
    store = MemorySnapshots(medium, is_eager=False)
    store.put(snapshot(1))
    assert medium.rows == {}
    await store.flush()
    assert list(medium.rows) == [1]
