"""What every snapshot cache must do. A backend subclasses it and says how to open, kill and damage one."""

import asyncio
from typing import Protocol

import pytest

from eventstore.snapshots import Snapshot, SnapshotStore
from kernel.errors import SnapshotCorrupt
from kernel.ids import Position
from kernel.times import MAX_US, MIN_US

DISTANT_PAST = (-(1 << 63), 0)


class Backend(Protocol):
    """One medium: what is written to it outlives the stores opened on it."""

    async def open(self) -> SnapshotStore: ...

    async def kill(self, store: SnapshotStore) -> None:
        """The process ends without closing: the next ``open`` sees what was written."""

    def flip(self, number: int, bit: int) -> int:
        """Flip one bit of the written row of an entity (bit modulo its length); how many bits it has."""

    def fill(self, is_full: bool) -> None:
        """Whether writes fail from now on for want of room."""


def snapshot(number: int, version: int = 1, due_us: int | None = None, **more: object) -> Snapshot:
    state = more.pop("state", b"state of %d at %d" % (number, version))
    return Snapshot(number, version, "f1", state, due_us, **more)  # type: ignore[arg-type]


class SnapshotSuite:
    """Subclassed by each backend with a fixture ``backend``."""

    async def test_what_is_put_is_seen_at_once(self, backend: Backend) -> None:
        store = await backend.open()
        assert store.get(1) is None
        store.put(snapshot(1))
        assert store.get(1) == snapshot(1)
        assert store.backlog == 1
        store.put(snapshot(1, version=2))
        assert store.get(1) == snapshot(1, version=2)
        await store.close()

    async def test_what_is_flushed_is_there_after_a_kill(self, backend: Backend) -> None:
        store = await backend.open()
        for number in range(1, 51):
            store.put(snapshot(number, due_us=number * 10))
        store.note_applied(Position(77))
        assert store.applied() == 0
        assert await store.flush()
        assert (store.backlog, store.applied()) == (0, 77)
        await backend.kill(store)
        again = await backend.open()
        assert [again.get(number) for number in range(1, 51)] == [snapshot(n, due_us=n * 10) for n in range(1, 51)]
        assert again.applied() == 77
        assert again.due(after=DISTANT_PAST, until_us=500, limit=100) == [(n * 10, n) for n in range(1, 51)]
        await again.close()

    async def test_close_writes_what_is_queued_and_may_be_repeated(self, backend: Backend) -> None:
        store = await backend.open()
        store.put(snapshot(1, state=b""))
        store.note_applied(Position(5))
        await store.close()
        await store.close()
        again = await backend.open()
        assert (again.get(1), again.applied()) == (snapshot(1, state=b""), 5)
        await again.close()

    async def test_a_queue_longer_than_a_batch_is_written_whole(self, backend: Backend) -> None:
        store = await backend.open()
        for number in range(1, 3001):
            store.put(snapshot(number))
        store.note_applied(Position(9))
        await store.close()
        again = await backend.open()
        assert all(again.get(number) is not None for number in range(1, 3001))
        assert again.applied() == 9
        await again.close()

    async def test_an_applied_position_never_precedes_what_it_claims(self, backend: Backend) -> None:
        store = await backend.open()
        for number in range(1, 3001):
            store.put(snapshot(number))
        store.note_applied(Position(3000))
        for number in range(3001, 6001):
            store.put(snapshot(number))
        flushing = asyncio.ensure_future(store.flush())
        while not flushing.done():
            if store.applied() == 3000:
                break
            await asyncio.sleep(0)
        await backend.kill(store)
        await asyncio.wait([flushing])
        again = await backend.open()
        if again.applied():
            assert all(again.get(number) is not None for number in range(1, 3001))
        await again.close()

    async def test_an_applied_position_never_goes_back(self, backend: Backend) -> None:
        store = await backend.open()
        store.note_applied(Position(5))
        store.note_applied(Position(3))
        await store.flush()
        assert store.applied() == 5
        await store.close()

    async def test_a_snapshot_replaces_its_deadline(self, backend: Backend) -> None:
        store = await backend.open()
        for due_us in (300, 100, 200):
            store.put(snapshot(1, due_us=due_us))
            await store.flush()
            assert store.due(after=DISTANT_PAST, until_us=1000, limit=10) == [(due_us, 1)]
        store.put(snapshot(1))
        await store.flush()
        assert store.due(after=DISTANT_PAST, until_us=1000, limit=10) == []
        await store.close()

    async def test_deadlines_come_in_order_a_page_at_a_time(self, backend: Backend) -> None:
        store = await backend.open()
        pairs = sorted([(MIN_US, 3), (-5, 9), (-5, 2), (0, 1), (7, 8), (7, 300), (MAX_US, 4)])
        for due_us, number in pairs:
            store.put(snapshot(number, due_us=due_us))
        await store.flush()
        assert store.due(after=DISTANT_PAST, until_us=7, limit=100) == pairs[:-1]
        seen, after = [], DISTANT_PAST
        while page := store.due(after=after, until_us=MAX_US, limit=2):
            seen += page
            after = page[-1]
        assert seen == pairs
        await store.close()

    async def test_dead_letters_are_listed_and_replaced_with_their_snapshot(self, backend: Backend) -> None:
        store = await backend.open()
        store.put(snapshot(1, dead=(b"a", b"b")))
        store.put(snapshot(300, dead=(b"c",)))
        await store.flush()
        assert list(store.dead()) == [(1, 0, b"a"), (1, 1, b"b"), (300, 0, b"c")]
        assert list(store.dead(after=(1, 0), limit=1)) == [(1, 1, b"b")]
        assert store.get(1) == snapshot(1, dead=(b"a", b"b"))
        store.put(snapshot(1, version=2, dead=(b"d",)))
        await store.flush()
        assert list(store.dead()) == [(1, 0, b"d"), (300, 0, b"c")]
        await store.close()

    async def test_removal_leaves_no_trace(self, backend: Backend) -> None:
        store = await backend.open()
        store.put(snapshot(1, due_us=10, dead=(b"a",)))
        store.put(snapshot(2, due_us=20))
        await store.flush()
        store.remove(1)
        assert store.get(1) is None
        await store.close()
        again = await backend.open()
        assert again.get(1) is None
        assert again.due(after=DISTANT_PAST, until_us=99, limit=9) == [(20, 2)]
        assert list(again.dead()) == []
        await again.close()

    async def test_every_flipped_bit_is_noticed(self, backend: Backend) -> None:
        store = await backend.open()
        store.put(snapshot(1, version=300, due_us=10, state=b"abc"))
        await store.close()
        bits = backend.flip(1, 0)
        backend.flip(1, 0)
        for bit in range(bits):
            backend.flip(1, bit)
            damaged = await backend.open()
            with pytest.raises(SnapshotCorrupt):
                damaged.get(1)
            await damaged.close()
            backend.flip(1, bit)
        whole = await backend.open()
        assert whole.get(1) == snapshot(1, version=300, due_us=10, state=b"abc")
        await whole.close()

    async def test_a_rotten_row_is_replaced_with_its_deadline(self, backend: Backend) -> None:
        store = await backend.open()
        store.put(snapshot(1, due_us=10, dead=(b"a",)))
        store.put(snapshot(2, due_us=10))
        await store.close()
        backend.flip(1, 45)
        again = await backend.open()
        again.put(snapshot(1, version=2, due_us=30))
        await again.flush()
        assert again.due(after=DISTANT_PAST, until_us=99, limit=9) == [(10, 2), (30, 1)]
        assert (again.get(1), list(again.dead())) == (snapshot(1, version=2, due_us=30), [])
        await again.close()

    async def test_a_failed_write_is_kept_and_written_later(self, backend: Backend) -> None:
        store = await backend.open()
        backend.fill(True)
        for number in range(1, 400):
            store.put(snapshot(number, state=bytes(8000)))
        store.note_applied(Position(4))
        assert not await store.flush()
        assert store.get(1) == snapshot(1, state=bytes(8000))
        assert (store.backlog, store.applied()) == (399, 0)
        backend.fill(False)
        assert await store.flush()
        assert (store.backlog, store.applied()) == (0, 4)
        await store.close()

    async def test_clear_forgets_everything(self, backend: Backend) -> None:
        store = await backend.open()
        store.put(snapshot(1, due_us=10, dead=(b"a",)))
        store.note_applied(Position(4))
        await store.flush()
        await store.clear()
        assert (store.get(1), store.applied(), store.backlog) == (None, 0, 0)
        assert store.due(after=DISTANT_PAST, until_us=99, limit=9) == []
        store.note_applied(Position(2))
        await store.close()
        again = await backend.open()
        assert (again.get(1), again.applied(), list(again.dead())) == (None, 2, [])
        await again.close()
