"""The host on the real media: SQLite as the log, LMDB as the cache, killed, damaged and replaced."""

import random
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from actors.limits import ActorLimits
from actors.rebuild import Rebuild
from eventstore.lmdb_snapshots import LmdbSnapshots
from eventstore.sqlite import SqliteEventStore
from kernel.clock import VirtualClock
from kernel.times import SECOND_US
from tests.simulation.toy import TYPES, World, note

T0 = 1_700_000_000 * SECOND_US
NAMES = range(40)


def fail_test(error: Exception) -> None:
    raise AssertionError(f"fatal: {error}")


class Machine:
    """A data directory, and the processes that come and go on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock(T0)
        self.stack = AsyncExitStack()
        self.kills = 0

    async def snapshots(self, name: str = "snapshots", boot_id: str = "boot-1") -> LmdbSnapshots:
        cache = await LmdbSnapshots.open(
            self.path / name, clock=self.clock, on_fatal=fail_test, boot_id=boot_id, map_size_bytes=64 * 1024**2
        )
        self.stack.push_async_callback(cache.abandon)
        return cache

    async def begin(self, boot_id: str = "boot-1") -> World:
        store = await SqliteEventStore.open(self.path, types=TYPES, clock=self.clock, on_fatal=fail_test)
        self.stack.push_async_callback(store.close)
        world = World(
            clock=self.clock,
            store=store,
            snapshots=await self.snapshots(boot_id=boot_id),
            limits=ActorLimits(max_awake=10, snapshot_interval_s=1),
        )
        await world.host.start()
        return world

    def kill(self) -> None:
        """What a killed process leaves: the files as they are. A copy, since this process still has them open."""
        self.kills += 1
        copy = self.path.with_name(f"killed-{self.kills}")
        shutil.copytree(self.path, copy)
        self.path = copy


@pytest.fixture
async def machine(tmp_path: Path):
    machine = Machine(tmp_path / "data")
    machine.path.mkdir()
    yield machine
    await machine.stack.aclose()


async def load(world: World, clock: VirtualClock, chance: random.Random) -> None:
    for _ in range(10):
        events = []
        for _ in range(20):
            at_us = clock.now_us() - chance.choice((0, 0, 5, 700)) * SECOND_US
            timer_s = chance.choice((None, 2, 5000))
            events.append(note(chance.choice(NAMES), f"e{chance.getrandbits(40)}", at_us, timer_s=timer_s))
        await world.ingest.submit(events)
        clock.advance(1)
        await world.ticker.tick()
        await world.host.keep()


async def check(world: World) -> None:
    assert [await world.state(name) for name in NAMES] == [await world.truth(name) for name in NAMES]
    assert world.host.statistics().awake <= 10


async def test_killed_again_and_again_every_entity_is_as_its_log_says(machine: Machine) -> None:
    chance = random.Random(3)
    for _ in range(5):
        world = await machine.begin()
        await check(world)
        await load(world, machine.clock, chance)
        await check(world)
        await load(world, machine.clock, chance)
        machine.kill()
    world = await machine.begin()
    assert world.host.snapshots.applied() > 0
    assert await world.store.last_position() - world.host.snapshots.applied() < 200  # not everything again
    await world.host.recover()
    await check(world)


async def test_after_a_power_cut_the_cache_is_built_again_with_its_deadlines(machine: Machine) -> None:
    world = await machine.begin()
    await load(world, machine.clock, random.Random(4))
    machine.kill()
    again = await machine.begin(boot_id="boot-2")
    assert again.host.snapshots.applied() == 0
    assert again.host.is_recovering
    await check(again)
    await again.host.recover()
    machine.clock.advance(6000)
    while again.ticker.is_behind(machine.clock.now_us()):
        await again.ticker.tick()
    await check(again)
    log = await again.store.read_log(limit=10**6)
    wanted = {
        f"~fired:{event.id}"
        for event in log
        if event.type == "toy_note" and TYPES.payload_of(event).timer_s is not None
    }
    fired = [event.id for event in log if event.type == "toy_fired"]
    assert sorted(fired) == sorted(wanted)


@pytest.mark.parametrize("max_entities", [1, 1000])
async def test_a_replay_takes_the_place_of_the_live_cache(machine: Machine, max_entities: int) -> None:
    world, chance = await machine.begin(), random.Random(5)
    await load(world, machine.clock, chance)
    live = world.host.snapshots
    assert isinstance(live, LmdbSnapshots)
    target = await machine.snapshots("snapshots.new")
    work = Rebuild(store=world.store, folds=world.folds, target=target, clock=machine.clock, max_entities=max_entities)
    await work.run()
    await load(world, machine.clock, chance)
    assert await work.adopt(world.host) is live
    await live.abandon()
    target.move(machine.path / "snapshots")
    await check(world)
    await load(world, machine.clock, chance)
    await world.host.stop()
    await target.close()
    assert [each.name for each in machine.path.glob("snapshots*")] == ["snapshots"]
    machine.kill()
    again = await machine.begin(boot_id="boot-2")
    assert not again.host.is_recovering
    await check(again)
