"""Replay beside the live cache, its adoption, and verification."""

import asyncio
from collections.abc import Callable

import pytest

from actors.entity import Entity
from actors.limits import ActorLimits
from actors.rebuild import Progress, Rebuild
from actors.verification import Verdict, Verification
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots, SnapshotMedium
from kernel.clock import VirtualClock
from kernel.errors import StoreUnavailable
from kernel.ids import Position
from kernel.times import SECOND_US
from tests.simulation.toy import ToyEntity, World, content, new_store, note, stream

T0 = 1_700_000_000 * SECOND_US
DISTANT_PAST = (-(1 << 63), 0)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(T0)


@pytest.fixture
def store(clock: VirtualClock) -> MemoryEventStore:
    return new_store(clock)


@pytest.fixture
async def one(clock: VirtualClock, store: MemoryEventStore) -> World:
    """Twenty streams; every third one had a late event, every seventh a poisonous one."""
    one = World(clock=clock, store=store, snapshots=MemorySnapshots(), limits=ActorLimits(max_awake=8))
    for i in range(20):
        await one.ingest.submit([note(i, f"e{k}", T0 + k, timer_s=3600) for k in range(5)])
    await one.ingest.submit([note(i, "late", T0 + 1) for i in range(0, 20, 3)])
    await one.ingest.submit([note(i, "poison", T0 + 9, is_poison=True) for i in range(0, 20, 7)])
    return one


def differs(served: Entity, folded: Entity) -> bool:
    return content(served) != content(folded)


def rebuild(one: World, *, max_entities: int = 100, on_progress: Callable[[Progress], None] | None = None) -> Rebuild:
    return Rebuild(
        store=one.store,
        folds=one.folds,
        target=MemorySnapshots(),
        clock=one.clock,
        max_entities=max_entities,
        on_progress=on_progress,
    )


async def verify(one: World, *, sample: int | None = None) -> Verdict:
    return await Verification(store=one.store, folds=one.folds, differs=differs, host=one.host).run(sample=sample)


def snapshots_of(target: MemorySnapshots) -> dict[int, object]:
    return {number: target.medium.read(number) for number in target.medium.rows}


@pytest.mark.parametrize("max_entities", [100, 3])
async def test_a_replay_contains_the_whole_log(one: World, max_entities: int) -> None:
    work = rebuild(one, max_entities=max_entities)
    await work.run()
    target = work.target
    last = await one.store.last_position()
    assert target.applied() == last
    assert len(target.due(after=DISTANT_PAST, until_us=T0 + 10**12, limit=99)) == 20
    again = World(clock=one.clock, store=one.store, snapshots=target)
    await again.host.start()
    assert not again.host.is_recovering
    assert [await again.state(i) for i in range(20)] == [await again.truth(i) for i in range(20)]
    assert again.folds.refolds == 0


async def test_both_ways_through_the_log_write_the_same_bytes(one: World) -> None:
    scanned, by_stream = rebuild(one), rebuild(one, max_entities=1)
    await scanned.run()
    await by_stream.run()
    assert isinstance(scanned.target, MemorySnapshots)
    assert isinstance(by_stream.target, MemorySnapshots)
    assert snapshots_of(scanned.target) == snapshots_of(by_stream.target)


async def test_progress_counts_every_event_once_and_tells_the_rate(one: World, clock: VirtualClock) -> None:
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        told.append(progress)
        clock.advance(1)

    done = await rebuild(one, on_progress=tell).run()
    total = await one.store.last_position()
    assert (done.done, done.total, done.remaining_s) == (total, total, 0.0)
    assert done.events_per_s == total / (len(told) - 1)
    assert [each.done for each in told] == sorted(each.done for each in told)


async def test_an_empty_log_is_replayed_at_once(clock: VirtualClock, store: MemoryEventStore) -> None:
    empty = World(clock=clock, store=store, snapshots=MemorySnapshots())
    assert (await rebuild(empty).run()).done == 0


async def test_selected_streams_are_folded_into_a_cache_that_has_the_others(one: World) -> None:
    work = rebuild(one)
    await work.fold_selected([stream(3), stream(4), stream("nobody")])
    assert isinstance(work.target, MemorySnapshots)
    assert len(work.target.medium.rows) == 2


async def test_adoption_under_load_serves_nothing_stale_and_loses_nothing(one: World) -> None:
    work = rebuild(one)
    await work.run()
    await one.ingest.submit([note(i, "later", T0 + 20) for i in range(5)])
    adopting = asyncio.ensure_future(work.adopt(one.host))
    await one.ingest.submit([note(i, "meanwhile", T0 + 30) for i in range(3, 9)])
    old = await adopting
    assert old is not one.host.snapshots
    assert one.host.snapshots is work.target
    assert [await one.state(i) for i in range(20)] == [await one.truth(i) for i in range(20)]
    await one.host.stop()
    assert one.host.snapshots.applied() == await one.store.last_position()
    again = World(clock=one.clock, store=one.store, snapshots=one.host.snapshots)
    await again.host.start()
    assert [await again.state(i) for i in range(20)] == [await again.truth(i) for i in range(20)]
    assert again.folds.refolds == 0


async def test_an_adoption_that_fails_leaves_the_live_cache(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    work, live = rebuild(one), one.host.snapshots
    await work.run()

    async def away(*, after: Position, limit: int) -> list[object]:
        raise StoreUnavailable("away")

    monkeypatch.setattr(one.store, "read_log", away)
    with pytest.raises(StoreUnavailable):
        await work.adopt(one.host)
    assert one.host.snapshots is live
    with pytest.raises(ValueError, match="begin_swap"):
        one.host.adopt(work.target)


async def test_verification_finds_nothing_where_nothing_differs(one: World) -> None:
    assert await verify(one) == Verdict(20, 0, ())


async def test_verification_names_what_differs_awake_and_asleep(one: World) -> None:
    await one.host.snapshots.flush()
    awake = next(i for i in range(20) if one.host.awake(stream(i)) is not None)
    entity = one.host.awake(stream(awake))
    assert isinstance(entity, ToyEntity)
    entity.state.chain = b"wrong"
    asleep = next(i for i in range(20) if one.host.awake(stream(i)) is None)
    wrong = await one.host.entity(stream(asleep))
    assert isinstance(wrong, ToyEntity)
    wrong.state.fired.append("never")
    one.host.snapshots.put(wrong.dump())
    one.host._seats.roster.drop(stream(asleep))
    verdict = await verify(one)
    assert set(verdict.differing) == {stream(awake), stream(asleep)}
    assert verdict.checked + verdict.unsaved == 20


@pytest.mark.parametrize("sample", [1, 5, 7, 19, 20, 1000])
async def test_a_sample_is_as_many_streams_as_asked_for_or_all(one: World, sample: int) -> None:
    verdict = await verify(one, sample=sample)
    assert verdict.checked == min(sample, 20)


async def test_a_stopped_service_is_verified_from_its_cache(one: World) -> None:
    await one.host.stop()
    verification = Verification(store=one.store, folds=one.folds, differs=differs, snapshots=one.host.snapshots)
    assert await verification.run() == Verdict(20, 0, ())
    empty = Verification(store=one.store, folds=one.folds, differs=differs, snapshots=MemorySnapshots(SnapshotMedium()))
    assert await empty.run() == Verdict(0, 20, ())
    with pytest.raises(ValueError, match="host or a cache"):
        Verification(store=one.store, folds=one.folds, differs=differs)
