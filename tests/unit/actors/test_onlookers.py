"""Looking at entities without waking them."""

import asyncio

import msgspec

from actors.limits import ActorLimits
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots
from kernel.clock import VirtualClock
from kernel.times import SECOND_US
from tests.simulation.toy import TYPES, World, note, stream

T0 = 1_700_000_000 * SECOND_US


def world_of(limits: ActorLimits | None = None) -> World:
    clock = VirtualClock(T0)
    store = MemoryEventStore(types=TYPES, clock=clock)
    return World(clock=clock, store=store, snapshots=MemorySnapshots(), limits=limits)


async def test_who_sleeps_is_shown_and_goes_on_sleeping() -> None:
    world = world_of(ActorLimits(max_awake=2))
    await world.ingest.submit([note(name, "1", T0) for name in range(6)])
    awake = world.host.statistics().awake
    activations = world.host.statistics().activations.from_snapshot
    shown = await world.host.look([stream(name) for name in range(6)])
    assert [entity.version if entity else None for entity in shown] == [1] * 6
    assert world.host.statistics().awake == awake == 2
    assert world.host.statistics().activations.from_snapshot == activations


async def test_who_is_awake_is_shown_itself_and_nobody_without_events() -> None:
    world = world_of()
    await world.ingest.submit([note("a", "1", T0)])
    assert await world.host.look([stream("a"), stream("b")]) == [world.host.awake(stream("a")), None]


async def test_who_is_busy_is_waited_for() -> None:
    world = world_of()
    await world.ingest.submit([note("a", "1", T0)])
    late = asyncio.create_task(world.ingest.submit([note("a", "0", T0 - 1)]))
    versions = set()
    while not late.done():
        (shown,) = await world.host.look([stream("a")])
        assert shown is not None
        versions.add(shown.version)
        await asyncio.sleep(0)
    (shown,) = await world.host.look([stream("a")])
    assert shown is not None
    assert versions <= {1, 2}
    assert shown.version == 2


async def test_a_tap_hears_every_event_after_it_was_folded_until_it_is_taken_off() -> None:
    world = world_of()
    heard: list[tuple[str, int]] = []

    def tap(events: object) -> None:
        for event in events:  # type: ignore[attr-defined]
            entity = world.host.awake(event.stream)
            heard.append((event.id, entity.version if entity else -1))

    world.host.tap(tap)
    await world.ingest.submit([note("a", str(number), T0 + number) for number in range(200)])
    assert [event_id for event_id, _ in heard] == [str(number) for number in range(200)]
    assert all(version >= place for place, (_, version) in enumerate(heard, start=1))
    world.host.untap(tap)
    await world.ingest.submit([note("a", "more", T0 + 1000)])
    assert len(heard) == 200


async def test_a_state_is_dumped_as_it_is_whoever_sleeps_or_is_busy_and_never_a_spoilt_one() -> None:
    world = world_of(ActorLimits(max_awake=2))
    await world.ingest.submit([note(name, "1", T0) for name in range(6)])
    for name in (0, 5):  # asleep and awake
        dumped = await world.host.dump(stream(name), name + 1, 1)
        assert dumped is not None
        assert (dumped.version, dumped.snapshot.version, dumped.snapshot.number) == (1, 1, name + 1)
    assert await world.host.dump(stream("nobody"), 99, 0) is None
    late = asyncio.create_task(world.ingest.submit([note(5, "0", T0 - 1)]))
    versions = []
    while not late.done():
        dumped = await world.host.dump(stream(5), 6, 1)
        assert dumped is not None
        assert b"spoilt" not in dumped.snapshot.state
        versions.append(dumped.snapshot.version)
        await asyncio.sleep(0)
    assert versions == sorted(versions)
    assert versions[-1] == 2
    assert world.host.statistics().awake == 2


async def test_the_state_of_who_sleeps_comes_from_the_cache_if_it_is_of_today() -> None:
    world = world_of(ActorLimits(max_awake=1))
    await world.ingest.submit([note(name, "1", T0) for name in range(4)])
    first = await world.host.dump(stream(0), 1, 1)
    assert first is not None
    loads = world.folds.loads
    assert await world.host.dump(stream(0), 1, 1) == first
    assert world.folds.loads == loads, "the first time tells which definitions are today's"
    world.host.snapshots.put(msgspec.structs.replace(first.snapshot, fingerprint="yesterday"))
    refolds = world.folds.refolds
    assert await world.host.dump(stream(0), 1, 1) == first, "what was folded under other ones is folded again"
    assert world.folds.refolds == refolds + 1
    behind = msgspec.structs.replace(first.snapshot, version=0)
    world.host.snapshots.put(behind)
    dumped = await world.host.dump(stream(0), 1, 1)
    assert dumped is not None
    assert dumped.snapshot.version == 1
