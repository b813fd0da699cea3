"""The LMDB snapshot cache fulfils the contract, and trusts its file no further than it may."""

import os
import shutil
from pathlib import Path

import lmdb
import pytest

from eventstore.lmdb_environment import Environment, read_boot_id
from eventstore.lmdb_snapshots import LmdbSnapshots
from eventstore.snapshot_codec import number_key
from eventstore.snapshots import SnapshotStore
from kernel.clock import VirtualClock
from kernel.ids import Position
from tests.contract.snapshot_suite import DISTANT_PAST, SnapshotSuite, snapshot

MAP_BYTES = 64 * 1024**2


def fail_test(error: Exception) -> None:
    raise AssertionError(f"a sync failed: {error}")


class LmdbBackend:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock()
        self.opened: list[LmdbSnapshots] = []

    async def open(
        self, *, boot_id: str = "boot-1", fingerprint: str = "", map_size_bytes: int = MAP_BYTES
    ) -> LmdbSnapshots:
        store = await LmdbSnapshots.open(
            self.path,
            clock=self.clock,
            on_fatal=fail_test,
            boot_id=boot_id,
            fingerprint=fingerprint,
            map_size_bytes=map_size_bytes,
        )
        self.opened.append(store)
        return store

    async def kill(self, store: SnapshotStore) -> None:
        # What a killed process leaves is the page cache's content; a copy is the same, and the lock is free.
        copy = self.path.with_name(self.path.name + "-killed")
        shutil.copytree(self.path, copy)
        self.path = copy

    def flip(self, number: int, bit: int) -> int:
        environment = Environment(self.path, MAP_BYTES)
        with environment.lmdb.begin(write=True) as txn:
            row = bytearray(txn.get(number_key(number), db=environment.snapshots) or b"")
            row[bit // 8 % len(row)] ^= 1 << bit % 8
            txn.put(number_key(number), bytes(row), db=environment.snapshots)
        environment.close()
        return len(row) * 8

    def fill(self, is_full: bool) -> None:
        self.opened[-1]._environment.lmdb.set_mapsize(400_000 if is_full else MAP_BYTES)

    async def end(self) -> None:
        for store in self.opened:
            await store.abandon()


@pytest.fixture
async def backend(tmp_path: Path):
    backend = LmdbBackend(tmp_path / "snapshots")
    yield backend
    await backend.end()


class TestLmdbSnapshots(SnapshotSuite):
    pass


async def put_one(backend: LmdbBackend, **how: str) -> LmdbSnapshots:
    store = await backend.open(**how)
    store.put(snapshot(1, due_us=10))
    store.note_applied(Position(3))
    await store.flush()
    return store


async def test_after_a_kill_on_the_same_boot_the_cache_is_kept(backend: LmdbBackend) -> None:
    await backend.kill(await put_one(backend))
    again = await backend.open(boot_id="boot-1")
    assert (again.get(1), again.applied()) == (snapshot(1, due_us=10), 3)
    assert again.statistics().discarded == 0


async def test_after_a_restart_of_the_machine_without_a_clean_stop_the_cache_is_discarded(backend: LmdbBackend) -> None:
    await backend.kill(await put_one(backend))
    again = await backend.open(boot_id="boot-2")
    assert (again.get(1), again.applied()) == (None, 0)
    assert again.due(after=DISTANT_PAST, until_us=99, limit=9) == []
    assert again.statistics().discard_reason == "the machine was restarted without a clean stop"


async def test_after_a_clean_stop_the_machine_may_be_restarted(backend: LmdbBackend) -> None:
    await (await put_one(backend)).close()
    again = await backend.open(boot_id="boot-2")
    assert (again.get(1), again.applied()) == (snapshot(1, due_us=10), 3)


async def test_an_unknown_boot_id_is_never_trusted_after_a_kill(backend: LmdbBackend) -> None:
    await backend.kill(await put_one(backend, boot_id=""))
    assert (await backend.open(boot_id="")).get(1) is None


async def test_opening_takes_back_the_mark_of_a_clean_stop(backend: LmdbBackend) -> None:
    await (await put_one(backend, boot_id="boot-1")).close()
    await backend.kill(await backend.open(boot_id="boot-2"))
    assert (await backend.open(boot_id="boot-3")).get(1) is None


async def test_snapshots_of_another_catalogue_are_discarded(backend: LmdbBackend) -> None:
    await (await put_one(backend, fingerprint="a")).close()
    again = await backend.open(fingerprint="b")
    assert again.get(1) is None
    assert again.statistics().discard_reason == "folded under another catalogue"


async def test_an_unreadable_meta_record_discards_the_cache(backend: LmdbBackend) -> None:
    await (await put_one(backend)).close()
    environment = Environment(backend.path, MAP_BYTES)
    with environment.lmdb.begin(write=True) as txn:
        row = txn.get(b"meta", db=environment.meta)
        assert row is not None
        txn.put(b"meta", row[:-1] + bytes([row[-1] ^ 1]), db=environment.meta)
    environment.close()
    again = await backend.open()
    assert again.get(1) is None
    assert "checksum" in again.statistics().discard_reason


async def test_a_missing_meta_record_beside_snapshots_discards_the_cache(backend: LmdbBackend) -> None:
    await (await put_one(backend)).close()
    environment = Environment(backend.path, MAP_BYTES)
    with environment.lmdb.begin(write=True) as txn:
        txn.delete(b"meta", db=environment.meta)
    environment.close()
    assert (await backend.open()).get(1) is None


@pytest.mark.parametrize("size", [0, 10, 5_000])
async def test_a_torn_file_discards_the_cache(backend: LmdbBackend, size: int) -> None:
    store = await put_one(backend)
    for number in range(2, 200):
        store.put(snapshot(number, state=bytes(1000)))
    await store.close()
    os.truncate(backend.path / "data.mdb", size)
    again = await backend.open()
    assert (again.get(1), again.applied()) == (None, 0)
    again.put(snapshot(2))
    assert await again.flush()


async def test_a_file_of_something_else_discards_the_cache(backend: LmdbBackend) -> None:
    backend.path.mkdir()
    (backend.path / "data.mdb").write_bytes(b"not a database" * 1000)
    store = await backend.open()
    assert store.statistics().discarded == 1
    store.put(snapshot(2))
    assert await store.flush()


async def test_a_failed_write_is_not_tried_again_at_once(backend: LmdbBackend) -> None:
    store = await backend.open()
    backend.fill(True)
    store.put(snapshot(1, state=bytes(500_000)))
    assert not await store.flush()
    backend.fill(False)
    store.put(snapshot(2))
    assert store.statistics().failed_batches == 1
    assert store._writer is not None
    assert store._writer.done()
    backend.clock.advance(5)
    store.put(snapshot(3))
    assert not store._writer.done()
    assert await store.flush()


async def test_a_failed_sync_at_close_is_fatal_and_leaves_no_mark(backend: LmdbBackend) -> None:
    told: list[Exception] = []
    store = await LmdbSnapshots.open(backend.path, clock=backend.clock, on_fatal=told.append, boot_id="boot-1")

    class BrokenDisk:
        def sync(self, force: bool) -> None:
            raise lmdb.DiskError("Input/output error")

        def close(self) -> None:
            environment.close()

    environment, store._environment.lmdb = store._environment.lmdb, BrokenDisk()  # type: ignore[assignment]
    await store.close()
    assert [type(each) for each in told] == [lmdb.DiskError]
    again = await backend.open(boot_id="boot-2")
    assert again.statistics().discarded == 1


async def test_the_fill_of_the_map_is_told(backend: LmdbBackend) -> None:
    store = await backend.open(map_size_bytes=4 * 1024**2)
    empty = store.statistics()
    for number in range(100):
        store.put(snapshot(number, state=bytes(10_000), due_us=5))
    await store.flush()
    full = store.statistics()
    assert empty.fill_ratio < 0.1 < 0.2 < full.fill_ratio < 0.6
    assert (full.snapshots, full.deadlines, full.map_size_bytes) == (100, 100, 4 * 1024**2)


async def test_an_open_cache_can_take_the_place_of_another(backend: LmdbBackend, tmp_path: Path) -> None:
    live = await put_one(backend)
    beside = LmdbBackend(tmp_path / "beside")
    new = await beside.open()
    new.put(snapshot(1, version=2))
    new.note_applied(Position(8))
    await new.flush()
    await live.abandon()
    new.move(backend.path)
    new.put(snapshot(2))
    await new.close()
    again = await backend.open()
    assert (again.get(1), again.get(2), again.applied()) == (snapshot(1, version=2), snapshot(2), 8)
    assert os.listdir(tmp_path) == ["snapshots"]


def test_the_boot_id_is_that_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "boot_id").write_text("b3-9\n")
    assert read_boot_id(tmp_path / "boot_id") == "b3-9"
    assert read_boot_id(tmp_path / "missing") == ""
