"""Whole lives of a host under a seed: appends, duplicates, late events, poison, crashes, slow and failing media, time.

After each step: every entity equals the oracle of its log, no more are awake than may be, and what the cache
claims to contain it contains. At the end every deadline has had its effect exactly once. A failing seed is
in the test's name; ``SEEDS`` repeats it.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from actors.limits import ActorLimits
from actors.rebuild import Rebuild
from eventstore.event import Event, NewEvent, Stream, StreamInfo
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots, SnapshotMedium
from eventstore.store import Outcome
from kernel.clock import VirtualClock
from kernel.errors import LeadwheelError, StoreFailed, StoreUnavailable
from kernel.ids import Position
from kernel.times import SECOND_US
from tests.simulation.toy import TYPES, ToyState, World, content, note, oracle, stream

T0 = 1_700_000_000 * SECOND_US
NAMES = 12
SEEDS = range(40)


class SlowStore(MemoryEventStore):
    """Answers after a random number of turns of the loop, so that calls overtake each other; reads fail now and then."""

    def __init__(self, clock: VirtualClock, chance: random.Random) -> None:
        super().__init__(types=TYPES, clock=clock)
        self.chance = chance
        self.failure_share = 0.0

    async def lag(self) -> None:
        for _ in range(self.chance.choice((0, 0, 0, 1, 2, 5))):
            await asyncio.sleep(0)

    async def _read_lag(self) -> None:
        await self.lag()
        if self.chance.random() < self.failure_share:
            raise StoreUnavailable("away")

    async def append(self, events: Sequence[NewEvent], *, is_atomic: bool = False) -> list[Outcome]:
        await self.lag()
        outcomes = await super().append(events, is_atomic=is_atomic)
        await self.lag()
        return outcomes

    async def read(self, stream: Stream, *, after_version: int = 0, limit: int | None = None) -> list[Event]:
        await self._read_lag()
        events = await super().read(stream, after_version=after_version, limit=limit)
        await self.lag()
        return events

    async def read_many(self, streams: Sequence[Stream]) -> list[list[Event]]:
        await self._read_lag()
        logs = await super().read_many(streams)
        await self.lag()
        return logs

    async def info(self, streams: Sequence[Stream]) -> list[StreamInfo | None]:
        await self._read_lag()
        return await super().info(streams)


class Life:
    """One seed's story."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = VirtualClock(T0)
        self.store = SlowStore(self.clock, random.Random(seed + 1))
        self.medium = SnapshotMedium()
        self.limits = ActorLimits(
            max_awake=self.chance.choice((1, 3, 50)),
            idle_timeout_s=self.chance.choice((5, 1000)),
            snapshot_interval_s=self.chance.choice((1, 30)),
            snapshot_slice=2,
            mailbox_events=self.chance.choice((1, 4, 100)),
            backlog_max=self.chance.choice((2, 100)),
            recovery_batch=2,
            stale_max=self.chance.choice((3, 100)),
        )
        self.sent: list[NewEvent] = []
        self.world: World

    async def begin(self) -> None:
        self.world = World(
            clock=self.clock,
            store=self.store,
            snapshots=MemorySnapshots(self.medium, batch_limit=3, is_eager=self.chance.random() < 0.7),
            limits=self.limits,
            budget=self.chance.choice((2, 100)),
            horizon_s=self.chance.choice((10.0, 3600.0)),
        )
        await self.reliably(self.world.host.start)

    async def reliably(self, call: Any) -> Any:
        """The call with a store that answers."""
        share, self.store.failure_share = self.store.failure_share, 0.0
        try:
            return await call()
        finally:
            self.store.failure_share = share

    def new_event(self) -> NewEvent:
        chance = self.chance
        if self.sent and chance.random() < 0.15:
            return chance.choice(self.sent)
        at_us = self.clock.now_us() + chance.choice((0, 0, 1, -1, -SECOND_US, -600 * SECOND_US))
        event = note(
            chance.randrange(NAMES),
            f"e{len(self.sent)}",
            at_us,
            timer_s=chance.choice((None, None, 1, 30, 4000)),
            is_poison=chance.random() < 0.05,
        )
        self.sent.append(event)
        return event

    async def submit(self) -> None:
        requests = [
            asyncio.ensure_future(
                self.world.ingest.submit([self.new_event() for _ in range(self.chance.choice((1, 1, 3, 20)))])
            )
            for _ in range(self.chance.choice((1, 1, 4)))
        ]
        questions = [
            asyncio.ensure_future(self.world.host.entity(stream(self.chance.randrange(NAMES)))) for _ in range(2)
        ]
        if self.chance.random() < 0.1:
            await asyncio.sleep(0)
            requests[0].cancel()
        for answer in await asyncio.gather(*requests, *questions, return_exceptions=True):
            if isinstance(answer, BaseException) and not isinstance(answer, LeadwheelError | asyncio.CancelledError):
                raise answer
        await self.world.ingest.drain()

    async def pass_time(self) -> None:
        self.clock.advance(self.chance.choice((0.5, 1, 7, 100, 5000)))
        await self.world.ticker.tick()

    async def keep(self) -> None:
        await self.world.host.keep()

    async def fault(self) -> None:
        kind = self.chance.randrange(4)
        if kind == 0:
            self.store.fail_next(StoreUnavailable("away"))
        elif kind == 1:
            self.store.fail_next(StoreFailed("lost"), is_stored=True)
        elif kind == 2:
            self.medium.is_full = not self.medium.is_full
        else:
            self.store.failure_share = self.chance.choice((0.0, 0.2))

    async def rot(self) -> None:
        if self.medium.rows:
            number = self.chance.choice(sorted(self.medium.rows))
            row = bytearray(self.medium.rows[number])
            row[self.chance.randrange(len(row))] ^= 1 << self.chance.randrange(8)
            self.medium.rows[number] = bytes(row)

    async def crash(self) -> None:
        await asyncio.wait(
            [asyncio.ensure_future(self.submit()), asyncio.ensure_future(asyncio.sleep(0))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        self.medium = self.medium.copy()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self.chance.random() < 0.1:
            self.medium = SnapshotMedium()
        await self.begin()

    async def restart(self) -> None:
        self.medium.is_full = False
        await self.world.host.stop()
        await self.begin()

    async def recover(self) -> None:
        await self.reliably(self.world.host.recover)

    async def replace_cache(self) -> None:
        medium = SnapshotMedium()
        rebuild = Rebuild(
            store=self.store,
            folds=self.world.folds,
            target=MemorySnapshots(medium, batch_limit=3),
            clock=self.clock,
            max_entities=self.chance.choice((1, 3, 100)),
        )
        await self.reliably(rebuild.run)
        await self.submit()
        adopting = asyncio.ensure_future(self.reliably(lambda: rebuild.adopt(self.world.host)))
        await self.submit()
        await adopting
        self.medium = medium

    async def check(self) -> None:
        host, store = self.world.host, self.store
        await self.world.ingest.drain()  # a request that is refused may leave others of its append on their way
        await self.reliably(host.keep)  # looks up what is in doubt
        assert host.statistics().doubts == 0
        assert host.statistics().awake <= self.limits.max_awake
        assert host.statistics().busy == 0
        for name in range(NAMES):
            events = await MemoryEventStore.read(store, stream(name))
            entity = host.awake(stream(name))
            if entity is not None:
                assert content(entity) == content(oracle(stream(name), 0, events)), name
            self.check_claim(events)
        name = self.chance.randrange(NAMES)
        events = await MemoryEventStore.read(store, stream(name))
        entity = await self.reliably(lambda: host.entity(stream(name)))
        assert content(entity) == (content(oracle(stream(name), 0, events)) if events else None), name
        assert len(self.world.wheel) <= NAMES

    def check_claim(self, events: Sequence[Event]) -> None:
        """A snapshot, unless it is rotten, has all events up to the applied position."""
        claimed = [event.version for event in events if event.position <= self.medium.applied]
        if claimed:
            try:
                snapshot = self.medium.read(events[0].number)
            except LeadwheelError:
                return
            assert snapshot is not None
            assert msgspec.msgpack.decode(snapshot.state, type=ToyState).version >= max(claimed)

    async def end(self) -> None:
        """Let everything heal: then each deadline has had its effect exactly once."""
        self.store._faults.clear()
        self.store.failure_share, self.medium.is_full = 0.0, False
        await self.world.host.recover()
        for _ in range(60):
            self.clock.advance(600)
            while True:
                await self.world.ticker.tick()
                if not self.world.ticker.is_behind(self.clock.now_us()):
                    break
            await self.world.host.keep()
        log = await self.store.read_log(after=Position(0), limit=10**6)
        causes = Counter((event.stream, event.id) for event in log if event.type == "toy_fired")
        wanted = {
            (event.stream, f"~fired:{event.id}")
            for event in log
            if event.type == "toy_note"
            and TYPES.payload_of(event).timer_s is not None
            and not TYPES.payload_of(event).is_poison
        }
        assert set(causes) == wanted
        assert set(causes.values()) <= {1}
        await self.check()
        await self.world.host.stop()
        assert self.world.host.snapshots.applied() == len(log)


async def live(seed: int, steps: int) -> Life:
    life = Life(seed)
    await life.begin()
    weights = {
        life.submit: 40,
        life.pass_time: 15,
        life.keep: 10,
        life.fault: 4,
        life.rot: 1,
        life.crash: 4,
        life.restart: 2,
        life.recover: 3,
        life.replace_cache: 2,
    }
    for _ in range(steps):
        (step,) = life.chance.choices(list(weights), list(weights.values()))
        await step()
        await life.check()
    await life.end()
    return life


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_life_of_faults_leaves_every_entity_as_its_log_says(seed: int) -> None:
    life = await live(seed, steps=80)
    assert len(life.sent) > 50


async def test_a_seed_tells_the_same_story_twice() -> None:
    logs = []
    for _ in range(2):
        life = await live(7, steps=60)
        log = await life.store.read_log(after=Position(0), limit=10**6)
        logs.append([(event.stream, event.id, event.at_us) for event in log])
    assert logs[0] == logs[1]


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(1000, 1400))
async def test_many_lives_of_faults(seed: int) -> None:
    await live(seed, steps=300)
