"""Effects in other streams: appended once, confirmed to whom they belong, and harmless when named again."""

from collections.abc import Sequence

from actors.host import ActorHost
from actors.ingest import Ingest
from actors.limits import ActorLimits
from actors.ticker import Ticker
from actors.wheel import TimerWheel
from eventstore.event import NewEvent, Stream
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots, SnapshotMedium
from eventstore.store import Stored
from eventstore.types import EventType, EventTypes, Payload
from kernel.clock import VirtualClock
from kernel.errors import StoreUnavailable
from projections.refolding import FoldedEntities
from tests.unit.projections.test_companion import ANN, CATALOGUE, KINDS, T0

POLICY = Stream("default", "policy", "p")


class Empty(Payload, frozen=True):
    """Nothing."""


TYPES = EventTypes([EventType(name, Empty, pack="system", by="system") for name in ("decision_made", "reward_settled")])


class World:
    def __init__(self, clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium) -> None:
        self.store = store
        wheel = TimerWheel(start_us=clock.now_us())
        self.host = ActorHost(
            store=store,
            snapshots=MemorySnapshots(medium),
            folds=FoldedEntities(lambda org: CATALOGUE, clock, lambda org: KINDS),
            clock=clock,
            wheel=wheel,
            limits=ActorLimits(),
        )
        self.ingest = Ingest(store=store, host=self.host)
        self.ticker = Ticker(store=store, host=self.host, ingest=self.ingest, wheel=wheel, clock=clock)

    async def settled(self) -> int:
        return len(await self.store.read(POLICY))


async def world(clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium) -> World:
    one = World(clock, store, medium)
    await one.host.start()
    await one.host.recover()
    return one


def decision() -> Sequence[NewEvent]:
    return [NewEvent(ANN, "~dm:1", "decision_made", T0 - 100, b"{}", Empty())]


async def test_an_effect_in_another_stream_is_appended_when_due_and_never_again() -> None:
    clock = VirtualClock(T0 - 100)
    store, medium = MemoryEventStore(types=TYPES, clock=clock), SnapshotMedium()
    one = await world(clock, store, medium)
    await one.ingest.record(decision())
    assert await one.ticker.tick() == 0
    clock.advance(1)
    assert await one.ticker.tick() == 1
    assert await one.settled() == 1
    clock.advance(3600)
    assert await one.ticker.tick() == 0, "it was confirmed, so nothing is due"
    await one.host.stop()
    assert store.statistics().duplicates == 0

    again = await world(clock, store, medium)
    await again.ticker.tick()
    assert store.statistics().duplicates == 0, "the snapshot knows that it was written"


async def test_without_a_snapshot_it_is_named_again_and_is_a_duplicate() -> None:
    clock = VirtualClock(T0)
    store = MemoryEventStore(types=TYPES, clock=clock)
    one = await world(clock, store, SnapshotMedium())
    await one.ingest.record(decision())
    await one.ticker.fire([ANN])
    again = await world(clock, store, SnapshotMedium())
    await again.ticker.fire([ANN])
    assert (await again.settled(), store.statistics().duplicates) == (1, 1)


async def test_an_append_that_failed_is_tried_again_by_the_wheel() -> None:
    clock = VirtualClock(T0)
    store = MemoryEventStore(types=TYPES, clock=clock)
    one = await world(clock, store, SnapshotMedium())
    outcomes = (await one.ingest.record(decision())).outcomes
    assert isinstance(outcomes[0], Stored)
    store.fail_next(StoreUnavailable("full"))
    await one.ticker.tick()
    assert await one.settled() == 0
    clock.advance(61)
    await one.ticker.tick()
    assert await one.settled() == 1
