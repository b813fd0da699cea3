"""What a start finds out, and what it does in the background."""

import asyncio

import pytest

from actors.limits import ActorLimits
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots, SnapshotMedium
from kernel.clock import VirtualClock
from kernel.errors import StoreFailed, StoreUnavailable
from kernel.ids import Position
from kernel.times import SECOND_US
from tests.simulation.toy import World, new_store, note, stream

T0 = 1_700_000_000 * SECOND_US
DISTANT_PAST = (-(1 << 63), 0)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(T0)


@pytest.fixture
def store(clock: VirtualClock) -> MemoryEventStore:
    return new_store(clock)


def world(clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium, **limits: int) -> World:
    return World(clock=clock, store=store, snapshots=MemorySnapshots(medium), limits=ActorLimits(**limits))


async def fill(world: World, names: range, *, timer_s: int = 3600) -> None:
    await world.host.deliver(await world.append(*(note(i, "e1", T0 + i, timer_s=timer_s) for i in names)))


async def test_after_a_clean_stop_there_is_nothing_to_recover(clock: VirtualClock, store: MemoryEventStore) -> None:
    medium = SnapshotMedium()
    first = world(clock, store, medium)
    await first.host.start()
    await fill(first, range(50))
    await first.host.stop()
    again = world(clock, store, medium)
    await again.host.start()
    assert not again.host.is_recovering
    await again.host.recover()
    assert again.folds.loads == again.folds.refolds == 0


async def test_after_a_crash_the_tail_is_brought_into_the_cache_and_its_index(
    clock: VirtualClock, store: MemoryEventStore
) -> None:
    medium = SnapshotMedium()
    first = world(clock, store, medium)
    await first.host.start()
    await fill(first, range(50))
    await first.host.snapshot()
    await first.host.snapshots.flush()
    await first.append(*(note(i, "e2", T0 + 100, timer_s=60) for i in range(0, 50, 10)), note(99, "e1", T0, timer_s=5))
    again = world(clock, store, medium.copy())
    await again.host.start()
    assert again.host.is_recovering
    assert await again.state(10) == await again.truth(10)  # right before it is recovered
    await again.host.recover()
    statistics = again.host.statistics()
    assert (statistics.is_recovering, statistics.recovered, statistics.to_recover) == (False, 6, 6)
    await again.host.snapshot()
    await again.host.snapshots.flush()
    index = again.host.snapshots.due(after=DISTANT_PAST, until_us=T0 + 200 * SECOND_US, limit=99)
    assert len(index) == 6
    assert again.host.snapshots.applied() == 56
    assert again.folds.refolds == 1  # stream 99 alone had no snapshot


async def test_an_empty_cache_is_rebuilt_while_reads_are_right(clock: VirtualClock, store: MemoryEventStore) -> None:
    await fill(world(clock, store, SnapshotMedium()), range(300))
    again = world(clock, store, SnapshotMedium(), max_awake=20, recovery_batch=10)
    await again.host.start()
    assert again.host.is_recovering
    assert await again.state(7) == await again.truth(7)
    await again.host.snapshot()
    await again.host.snapshots.flush()
    assert again.host.snapshots.applied() == 0  # one lead is not all
    await again.host.recover()
    await again.host.snapshot()
    await again.host.snapshots.flush()
    assert again.host.snapshots.applied() == 300
    assert len(again.host.snapshots.due(after=DISTANT_PAST, until_us=T0 + 10**12, limit=999)) == 300
    assert again.host.statistics().awake <= 20


async def test_an_interrupted_rebuild_goes_on_where_it_was(clock: VirtualClock, store: MemoryEventStore) -> None:
    await fill(world(clock, store, SnapshotMedium()), range(100))
    medium = SnapshotMedium()
    first = world(clock, store, medium, recovery_batch=10)
    await first.host.start()
    for _ in range(4):
        await first.host._refresh(await first.host._recovery.next_batch())
    await first.host.snapshots.flush()
    again = world(clock, store, medium.copy())
    await again.host.start()
    await again.host.recover()
    assert again.folds.refolds == 60
    assert again.host.statistics().recovered == 100


async def test_too_long_a_tail_is_recovered_by_looking_at_every_stream(
    clock: VirtualClock, store: MemoryEventStore
) -> None:
    medium = SnapshotMedium()
    first = world(clock, store, medium)
    await fill(first, range(10))
    await first.host.stop()
    await first.append(*(note(i, "e2", T0 + 100) for i in range(100)))
    again = world(clock, store, medium, stale_max=50)
    await again.host.start()
    assert again.host.statistics().behind == 0
    assert again.host.is_recovering
    await again.host.recover()
    assert [await again.state(i) for i in range(100)] == [await again.truth(i) for i in range(100)]
    await again.host.snapshot()
    await again.host.snapshots.flush()
    assert (again.host.snapshots.applied(), again.host.statistics().recovered) == (110, 100)


async def test_a_cache_that_is_ahead_of_its_log_is_cleared(clock: VirtualClock, store: MemoryEventStore) -> None:
    medium = SnapshotMedium()
    snapshots = MemorySnapshots(medium)
    snapshots.note_applied(Position(1000))
    await snapshots.flush()
    one = world(clock, store, medium)
    await fill(one, range(3))
    again = world(clock, store, medium)
    await again.host.start()
    assert again.host.snapshots.applied() == 0
    assert await again.state(1) == await again.truth(1)


async def test_events_that_arrive_during_recovery_are_not_lost(clock: VirtualClock, store: MemoryEventStore) -> None:
    await fill(world(clock, store, SnapshotMedium()), range(60))
    again = world(clock, store, SnapshotMedium(), recovery_batch=7, max_awake=5)
    await again.host.start()
    for i in range(20):
        batch = await again.host._recovery.next_batch()
        await again.ingest.submit([note(i * 3, "live", T0 + 1000 + i), note(200 + i, "new", T0 + i)])
        await again.host._refresh([each for each in batch if each not in again.host._actors])
    await again.host.recover()
    await again.host.stop()
    final = world(clock, store, again.host.snapshots.medium)  # type: ignore[attr-defined]
    await final.host.start()
    assert not final.host.is_recovering
    names = [*range(60), *range(200, 220)]
    assert [await final.state(i) for i in names] == [await final.truth(i) for i in names]
    assert final.folds.refolds == 0


async def test_a_log_that_is_away_delays_recovery(
    clock: VirtualClock, store: MemoryEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(world(clock, store, SnapshotMedium()), range(20))
    again = world(clock, store, SnapshotMedium(), recovery_batch=10)
    await again.host.start()

    async def away(streams: object) -> list[object]:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "read_many", away)
        recovering = asyncio.ensure_future(again.host.recover())
        for _ in range(20):
            await asyncio.sleep(0)
    assert again.host.is_recovering
    clock.advance(1)
    await recovering
    assert not again.host.is_recovering
    assert again.host.statistics().counts.snapshots_put == 20


async def test_running_recovers_and_keeps_house_until_cancelled(clock: VirtualClock, store: MemoryEventStore) -> None:
    await fill(world(clock, store, SnapshotMedium()), range(20))
    again = world(clock, store, SnapshotMedium(), recovery_batch=10)
    await again.host.start()
    running = asyncio.ensure_future(again.host.run())
    for _ in range(10):
        for _ in range(20):
            await asyncio.sleep(0)
        clock.advance(1)
    assert not again.host.is_recovering
    assert again.host.snapshots.applied() == 20
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_an_append_of_unknown_outcome_is_looked_up(clock: VirtualClock, store: MemoryEventStore) -> None:
    one = world(clock, store, SnapshotMedium())
    await one.ingest.submit([note("a", "e1", T0)])
    store.fail_next(StoreFailed("lost"), is_stored=True)
    with pytest.raises(StoreFailed):
        await one.ingest.submit([note("a", "e2", T0 + 1)])
    assert one.host.statistics().doubts == 1
    await one.host.snapshot()
    await one.host.snapshots.flush()
    assert one.host.snapshots.applied() == 1
    await one.host.keep()
    assert one.host.statistics().doubts == 0
    assert one.host.awake(stream("a")).version == 2  # type: ignore[union-attr]
