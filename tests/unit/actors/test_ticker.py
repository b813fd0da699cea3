"""What time does: near and far deadlines, sleepers, downtime, failures, restarts."""

import asyncio

import pytest

from actors.limits import ActorLimits
from actors.seats import DUE
from eventstore.event import NewEvent
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots, SnapshotMedium
from kernel.clock import VirtualClock
from kernel.errors import StoreUnavailable
from kernel.times import DAY_US, SECOND_US
from tests.simulation.toy import Fired, World, new_store, note, stream

T0 = 1_700_000_000 * SECOND_US
DAY_S = 86_400


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(T0)


@pytest.fixture
def store(clock: VirtualClock) -> MemoryEventStore:
    return new_store(clock)


@pytest.fixture
def medium() -> SnapshotMedium:
    return SnapshotMedium()


async def world(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium, *, budget: int = 100, **limits: int
) -> World:
    one = World(
        clock=clock, store=store, snapshots=MemorySnapshots(medium), limits=ActorLimits(**limits), budget=budget
    )
    await one.host.start()
    return one


async def fired(world: World, name: str | int) -> list[str]:
    return [event.id for event in await world.store.read(stream(name)) if event.type == "toy_fired"]


async def tick_until_done(world: World) -> int:
    count = 0
    while True:
        count += 1
        await world.ticker.tick()
        if not world.ticker.is_behind(world.clock.now_us()):
            return count


async def test_a_deadline_has_its_effect_once_and_not_before(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium
) -> None:
    one = await world(clock, store, medium)
    await one.ingest.submit([note("a", "e1", T0, timer_s=10)])
    clock.advance(9.999999)
    assert await one.ticker.tick() == 0
    clock.advance(0.000001)
    assert await one.ticker.tick() == 1
    clock.advance(100)
    assert await one.ticker.tick() == 0
    assert await fired(one, "a") == ["~fired:e1"]
    assert await one.state("a") == await one.truth("a")


async def test_who_ticks_during_a_tick_waits_for_what_that_one_does(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium
) -> None:
    one = await world(clock, store, medium)
    await one.ingest.submit([note("a", "e1", T0, timer_s=10)])
    clock.advance(10)
    first = asyncio.create_task(one.ticker.tick())
    await asyncio.sleep(0)
    assert await one.ticker.tick() == 0
    assert await fired(one, "a") == ["~fired:e1"]
    assert await first == 1


async def test_sleepers_are_aged_on_time(clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium) -> None:
    one = await world(clock, store, medium, max_awake=2)
    await one.ingest.submit([note(i, "e1", T0, timer_s=DAY_S + i) for i in range(50)])
    for _ in range(26):
        clock.advance(3600)
        await tick_until_done(one)
        due = [i for i in range(50) if T0 + DAY_US + i * SECOND_US <= clock.now_us()]
        assert [i for i in range(50) if await fired(one, i)] == due
    assert len(due) == 50
    assert len(one.wheel) == 0


async def test_after_downtime_missed_deadlines_are_worked_off_by_budget(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium
) -> None:
    first = await world(clock, store, medium)
    await first.ingest.submit([note(i, "e1", T0, timer_s=i) for i in range(100)])
    await first.host.stop()
    clock.advance(30 * DAY_S)
    again = await world(clock, store, medium, budget=7, max_awake=10)
    assert await again.ticker.tick() == 7
    assert again.ticker.statistics().lag_us > 29 * DAY_US
    assert await tick_until_done(again) >= 13
    assert all([await fired(again, i) == ["~fired:e1"] for i in range(100)])


async def test_a_restart_between_append_and_snapshot_fires_nothing_twice(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium
) -> None:
    one = await world(clock, store, medium)
    await one.ingest.submit([note("a", "e1", T0, timer_s=10)])
    await one.host.snapshot()
    await one.host.snapshots.flush()
    before = medium.copy()
    clock.advance(20)
    await one.ticker.tick()
    again = await world(clock, store, before)
    assert await again.ticker.tick() == 1  # the index still has it
    assert await fired(again, "a") == ["~fired:e1"]


async def test_a_store_that_is_away_delays_the_effect(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium
) -> None:
    one = await world(clock, store, medium)
    await one.ingest.submit([note("a", "e1", T0, timer_s=10)])
    clock.advance(10)
    store.fail_next(StoreUnavailable("away"))
    await one.ticker.tick()
    assert await fired(one, "a") == []
    assert one.ticker.statistics().failures == 1
    clock.advance(60)
    await one.ticker.tick()
    assert await fired(one, "a") == ["~fired:e1"]


async def test_an_index_that_cannot_be_written_is_read_later(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium
) -> None:
    one = await world(clock, store, medium, max_awake=1)
    medium.is_full = True
    await one.ingest.submit([note(i, "e1", T0, timer_s=7200) for i in range(5)])
    await one.ticker.tick()
    assert one.ticker.statistics().failures == 1
    medium.is_full = False
    clock.advance(7200)
    await tick_until_done(one)
    assert [await fired(one, i) for i in range(5)] == [["~fired:e1"]] * 5


async def test_an_entity_that_is_due_with_nothing_to_append_is_not_asked_all_the_time(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await world(clock, store, medium)
    await one.ingest.submit([note("a", "e1", T0, timer_s=10)])
    asked: list[int] = []
    monkeypatch.setattr(one.host.awake(stream("a")), "effects", lambda now_us: asked.append(now_us) or [])
    for _ in range(200):
        clock.advance(1)
        await one.ticker.tick()
    assert len(asked) == 4


async def test_an_entity_whose_effects_raise_does_not_stop_the_others(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await world(clock, store, medium)
    await one.ingest.submit([note("a", "e1", T0, timer_s=10), note("b", "e1", T0, timer_s=10)])

    def broken(now_us: int) -> list[object]:
        raise RuntimeError("a fault")

    monkeypatch.setattr(one.host.awake(stream("a")), "effects", broken)
    clock.advance(10)
    await one.ticker.tick()
    assert (await fired(one, "a"), await fired(one, "b")) == ([], ["~fired:e1"])
    assert one.ticker.statistics().failures == 1


async def test_another_cache_brings_other_deadlines(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium
) -> None:
    one = await world(clock, store, medium)
    await one.ticker.tick()
    other = SnapshotMedium()
    writer = await world(clock, store, other)
    await writer.ingest.submit([note("a", "e1", T0, timer_s=10)])
    await writer.host.stop()
    one.host.begin_swap()
    one.host.adopt(MemorySnapshots(other))
    clock.advance(10)
    await one.ticker.tick()
    assert await fired(one, "a") == ["~fired:e1"]


async def test_running_ticks_once_a_second(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium
) -> None:
    one = await world(clock, store, medium)
    await one.ingest.submit([note("a", "e1", T0, timer_s=2)])
    running = asyncio.ensure_future(one.ticker.run())
    for second in range(4):
        for _ in range(20):
            await asyncio.sleep(0)
        assert one.ticker.statistics().ticks == second + 1
        clock.advance(1)
    assert await fired(one, "a") == ["~fired:e1"]
    running.cancel()
    await asyncio.wait([running])


async def test_a_year_of_daily_deadlines_fires_each_exactly_once(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium
) -> None:
    one = await world(clock, store, medium, max_awake=10)
    await one.ingest.submit([note(day % 25, f"e{day}", T0 + day, timer_s=(day + 1) * DAY_S) for day in range(365)])
    for _ in range(366):
        clock.advance(DAY_S)
        await tick_until_done(one)
        await one.host.keep()
    assert sum([len(await fired(one, i)) for i in range(25)]) == 365
    assert one.host.statistics().awake <= 10


async def test_a_timer_that_has_become_too_early_finds_nothing_and_is_set_anew(
    clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium
) -> None:
    one = await world(clock, store, medium)
    await one.ingest.submit([note("a", "e1", T0, timer_s=10), note("a", "e2", T0, timer_s=600)])
    fired = NewEvent(stream("a"), "~fired:e1", "toy_fired", T0, b'{"cause":"e1"}', Fired("e1"))
    await one.ingest.record([fired])
    number = one.host.awake(stream("a")).number  # type: ignore[union-attr]
    assert one.wheel.due_us(number, DUE) == T0 + 10 * SECOND_US
    clock.advance(11)
    assert (await one.ticker.tick(), one.ticker.statistics().effects) == (1, 0)
    assert one.wheel.due_us(number, DUE) == T0 + 600 * SECOND_US
