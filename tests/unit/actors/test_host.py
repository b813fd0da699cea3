"""The host: folding in place, waking, refolding, sleeping, and what each of them reads."""

import asyncio
from collections.abc import Sequence

import pytest

from actors.limits import ActorLimits
from eventstore.event import Event, Stream
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots, SnapshotMedium
from eventstore.snapshots import Snapshot
from kernel.clock import VirtualClock
from kernel.errors import ActorStopped, MailboxFull, StoreUnavailable
from kernel.times import DAY_US, HOUR_US, SECOND_US
from tests.simulation.toy import TYPES, ToyFolds, World, content, note, stream

T0 = 1_700_000_000 * SECOND_US
DISTANT_PAST = (-(1 << 63), 0)


class Spy(MemoryEventStore):
    """Counts reads, holds them back, or lets them fail."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(types=TYPES, clock=clock)
        self.reads: list[Stream] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_away = False

    async def _pass(self, streams: Sequence[Stream]) -> None:
        self.reads += streams
        await self.gate.wait()
        if self.is_away:
            raise StoreUnavailable("away")

    async def read(self, stream: Stream, *, after_version: int = 0, limit: int | None = None) -> list[Event]:
        await self._pass([stream])
        return await super().read(stream, after_version=after_version, limit=limit)

    async def read_many(self, streams: Sequence[Stream]) -> list[list[Event]]:
        await self._pass(streams)
        return await super().read_many(streams)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(T0)


@pytest.fixture
def store(clock: VirtualClock) -> Spy:
    return Spy(clock)


@pytest.fixture
def medium() -> SnapshotMedium:
    return SnapshotMedium()


def world(clock: VirtualClock, store: MemoryEventStore, medium: SnapshotMedium, **limits: float) -> World:
    return World(
        clock=clock,
        store=store,
        snapshots=MemorySnapshots(medium),
        limits=ActorLimits(**limits),  # type: ignore[arg-type]
    )


@pytest.fixture
def one(clock: VirtualClock, store: Spy, medium: SnapshotMedium) -> World:
    return world(clock, store, medium)


async def put_to_sleep(world: World, *names: str) -> None:
    for name in names:
        actor = world.host._actors[stream(name)]
        world.host._seats.passivate(stream(name), actor)
    await world.host.snapshots.flush()


async def test_events_of_an_awake_entity_fold_without_a_read(one: World, store: Spy) -> None:
    events = await one.append(*(note("a", f"e{i}", T0 + i) for i in range(10)))
    assert await one.host.deliver(events) == []
    assert content(one.host.awake(stream("a"))) == await one.truth("a")
    assert store.reads == [stream("a")]  # the oracle's own
    assert one.host.statistics().counts.folded == 10


async def test_a_stream_that_does_not_exist_has_no_entity(one: World) -> None:
    assert await one.host.entity(stream("nobody")) is None
    assert one.host.awake(stream("nobody")) is None
    assert one.host.statistics().awake == one.host.statistics().busy == 0


async def test_a_sleeper_wakes_for_its_next_event_without_reading_the_log(one: World, store: Spy) -> None:
    await one.host.deliver(await one.append(note("a", "e1", T0)))
    await put_to_sleep(one, "a")
    await one.host.deliver(await one.append(note("a", "e2", T0 + 1)))
    assert store.reads == []
    assert one.folds.loads == 1
    assert await one.state("a") == await one.truth("a")


async def test_a_sleeper_asked_for_comes_from_its_snapshot(one: World, store: Spy) -> None:
    await one.host.deliver(await one.append(note("a", "e1", T0)))
    await put_to_sleep(one, "a")
    assert one.host.awake(stream("a")) is None
    state = await one.state("a")
    assert store.reads == []
    assert state == await one.truth("a")
    assert one.host.awake(stream("a")) is not None


async def test_a_snapshot_behind_the_log_is_completed_from_its_tail(one: World, store: Spy) -> None:
    await one.host.deliver(await one.append(note("a", "e1", T0)))
    await put_to_sleep(one, "a")
    await one.append(*(note("a", f"t{i}", T0 + i) for i in range(1, 600)))
    assert await one.state("a") == await one.truth("a")
    assert one.folds.refolds == 0


async def test_a_late_event_refolds_once_for_a_whole_delivery(one: World) -> None:
    await one.host.deliver(await one.append(note("a", "e5", T0 + 50)))
    late = await one.append(*(note("a", f"l{i}", T0 + i) for i in range(20, 0, -1)))
    await one.host.deliver(late)
    assert one.folds.refolds == 1
    assert await one.state("a") == await one.truth("a")


async def test_poison_is_counted_and_stops_nobody(one: World) -> None:
    events = await one.append(
        note("a", "e1", T0), note("a", "p1", T0 + 1, is_poison=True), note("a", "e2", T0 + 2), note("b", "e1", T0)
    )
    assert [each.id for each in await one.host.deliver(events)] == ["p1"]
    assert await one.state("a") == await one.truth("a")
    assert await one.state("b") == await one.truth("b")
    assert len(await one.host.deliver(events)) == 1  # delivered again: still dead, and nothing else happens


async def test_a_fold_that_raises_is_counted_and_folded_anew(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await one.host.deliver(await one.append(note("a", "e1", T0)))
    entity = one.host.awake(stream("a"))

    def broken(event: Event) -> bool:
        raise RuntimeError("a fault of the fold")

    monkeypatch.setattr(entity, "fold", broken)
    await one.host.deliver(await one.append(note("a", "e2", T0 + 1)))
    assert one.host.statistics().counts.fold_failures == 1
    assert await one.state("a") == await one.truth("a")


async def test_a_gap_is_read_from_the_log(one: World) -> None:
    events = await one.append(*(note("a", f"e{i}", T0 + i) for i in range(5)))
    await one.host.deliver(events[:1])
    await one.host.deliver(events[4:])
    assert one.host.statistics().counts.gaps == 1
    assert await one.state("a") == await one.truth("a")
    await one.host.deliver(events[1:4])
    assert one.host.statistics().counts.skipped == 3


async def test_a_busy_entity_is_not_given_out_and_its_events_wait(one: World, store: Spy) -> None:
    await one.host.deliver(await one.append(note("a", "e5", T0 + 50)))
    store.gate.clear()
    first = asyncio.ensure_future(one.host.deliver(await one.append(note("a", "e1", T0 + 10))))
    await asyncio.sleep(0)
    assert one.host.awake(stream("a")) is None
    second = asyncio.ensure_future(one.host.deliver(await one.append(note("a", "e6", T0 + 60))))
    question = asyncio.ensure_future(one.host.entity(stream("a")))
    for _ in range(5):
        await asyncio.sleep(0)
    assert [task.done() for task in (first, second, question)] == [False] * 3
    store.gate.set()
    assert await first == await second == []
    assert content(await question) == await one.truth("a")


async def test_a_waiter_that_is_cancelled_does_not_take_the_others_along(one: World, store: Spy) -> None:
    await one.append(note("a", "e1", T0))
    store.gate.clear()
    gone, staying = (asyncio.ensure_future(one.host.entity(stream("a"))) for _ in range(2))
    for _ in range(3):
        await asyncio.sleep(0)
    gone.cancel()
    store.gate.set()
    assert content(await staying) == await one.truth("a")


async def test_a_full_mailbox_refuses_before_the_append_and_loses_nothing_after_it(
    clock: VirtualClock, store: Spy, medium: SnapshotMedium
) -> None:
    one = world(clock, store, medium, mailbox_events=2)
    await one.host.deliver(await one.append(note("a", "e5", T0 + 50)))
    store.gate.clear()
    waiting = [asyncio.ensure_future(one.host.deliver(await one.append(note("a", "late", T0 + 10))))]
    await asyncio.sleep(0)
    for i in range(4):
        waiting.append(asyncio.ensure_future(one.host.deliver(await one.append(note("a", f"m{i}", T0 + 60 + i)))))
        await asyncio.sleep(0)
    with pytest.raises(MailboxFull):
        one.host.admit([note("a", "x", T0)])
    one.host.admit([note("b", "x", T0)])
    store.gate.set()
    assert await asyncio.gather(*waiting) == [[]] * 5
    assert await one.state("a") == await one.truth("a")


async def test_a_log_that_is_away_fails_the_question_and_not_the_next_one(one: World, store: Spy) -> None:
    await one.append(note("a", "e1", T0))
    store.is_away = True
    with pytest.raises(StoreUnavailable):
        await one.host.entity(stream("a"))
    assert one.host.statistics().busy == 0
    store.is_away = False
    assert await one.state("a") == await one.truth("a")


async def test_what_could_not_be_folded_is_not_claimed_as_applied(
    one: World, store: Spy, medium: SnapshotMedium
) -> None:
    await one.host.deliver(await one.append(note("a", "e5", T0 + 50)))
    await one.host.snapshot()
    store.is_away = True
    with pytest.raises(StoreUnavailable):
        await one.host.deliver(await one.append(note("a", "late", T0)))
    await one.host.deliver(await one.append(note("b", "e1", T0)))
    await one.host.snapshot()
    await one.host.snapshots.flush()
    assert medium.applied < 2
    store.is_away = False
    await one.host.entity(stream("a"))
    await one.host.snapshot()
    await one.host.snapshots.flush()
    assert medium.applied == 3


async def test_an_append_under_way_holds_the_claim_back(one: World, medium: SnapshotMedium) -> None:
    await one.host.deliver(await one.append(note("a", "e1", T0)))
    token = one.host.begin_append()
    unfolded = await one.append(note("a", "e2", T0 + 1))
    await one.host.deliver(await one.append(note("b", "e1", T0)))
    await one.host.snapshot()
    await one.host.snapshots.flush()
    assert medium.applied == 1
    await one.host.deliver(unfolded)
    one.host.end_append(token)
    await one.host.snapshot()
    await one.host.snapshots.flush()
    assert medium.applied == 3


async def test_a_delivery_under_way_holds_the_claim_back(one: World, medium: SnapshotMedium) -> None:
    events = await one.append(*(note(i, "e1", T0) for i in range(600)))
    delivery = asyncio.ensure_future(one.host.deliver(events))
    await asyncio.sleep(0)
    folded = one.host.statistics().counts.folded
    assert 0 < folded < 600
    for each in list(one.host._ledger.first):  # what is folded is snapshotted, the rest not folded yet
        one.host._seats.put(each, one.host._actors[each].entity)  # type: ignore[arg-type]
    assert one.host.safe_position == 0
    await delivery
    await one.host.snapshot()
    await one.host.snapshots.flush()
    assert medium.applied == 600


async def test_a_long_delivery_lets_others_run(one: World) -> None:
    events = await one.append(*(note(i % 10, f"e{i}", T0 + i) for i in range(2_000)))
    delivery, turns = asyncio.ensure_future(one.host.deliver(events)), 0
    while not delivery.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 7


async def test_more_entities_than_the_ceiling_sleep_and_keep_their_state(
    clock: VirtualClock, store: Spy, medium: SnapshotMedium
) -> None:
    one = world(clock, store, medium, max_awake=5)
    for i in range(40):
        await one.host.deliver(await one.append(note(i, "e1", T0), note(i % 7, f"r{i}", T0 + i)))
        assert one.host.statistics().awake <= 5
    entities = await one.host.entities([stream(i) for i in range(40)])
    assert [content(entity) for entity in entities] == [await one.truth(i) for i in range(40)]
    assert one.host.statistics().awake <= 5


async def test_the_ceiling_spares_what_is_used(clock: VirtualClock, store: Spy, medium: SnapshotMedium) -> None:
    one = world(clock, store, medium, max_awake=3)
    await one.host.deliver(await one.append(*(note(name, "e1", T0) for name in "abc")))
    clock.advance(10)
    await one.host.keep()
    one.host.awake(stream("a"))
    await one.host.deliver(await one.append(note("d", "e1", T0), note("e", "e1", T0)))
    assert one.host.awake(stream("a")) is not None
    assert one.host.awake(stream("b")) is None


async def test_an_idle_entity_sleeps_and_a_clean_one_is_not_written_again(
    clock: VirtualClock, store: Spy, medium: SnapshotMedium
) -> None:
    one = world(clock, store, medium, idle_timeout_s=60)
    await one.host.deliver(await one.append(note("a", "e1", T0)))
    clock.advance(59)
    await one.host.keep()
    assert one.host.statistics().awake == 1
    clock.advance(2)
    await one.host.keep()
    assert (one.host.statistics().awake, one.host.statistics().counts.snapshots_put) == (0, 1)
    await one.host.entity(stream("a"))
    clock.advance(61)
    await one.host.keep()
    assert (one.host.statistics().awake, one.host.statistics().counts.snapshots_put) == (0, 1)


async def test_changed_entities_are_written_at_the_interval_and_the_claim_moves(
    clock: VirtualClock, store: Spy, medium: SnapshotMedium
) -> None:
    one = world(clock, store, medium, snapshot_interval_s=5)
    await one.host.deliver(await one.append(note("a", "e1", T0), note("b", "e1", T0)))
    clock.advance(4)
    await one.host.keep()
    await asyncio.sleep(0)
    assert medium.applied == 0
    clock.advance(1)
    await one.host.keep()
    await one.host.snapshots.flush()
    assert (medium.applied, len(medium.rows), one.host.statistics().behind) == (2, 2, 0)
    assert one.host.awake(stream("a")) is not None


async def test_a_rotten_snapshot_is_folded_again_and_counted(one: World, medium: SnapshotMedium) -> None:
    await one.host.deliver(await one.append(note("a", "e1", T0, timer_s=60)))
    await put_to_sleep(one, "a")
    (number,) = medium.rows
    medium.rows[number] = medium.rows[number][:-1] + b"?"
    assert await one.state("a") == await one.truth("a")
    assert one.host.statistics().activations.snapshot_errors == 1
    await put_to_sleep(one, "a")  # and is written again, though nothing was delivered
    assert isinstance(MemorySnapshots(medium).get(number), Snapshot)


async def test_a_snapshot_of_another_catalogue_is_folded_again(
    clock: VirtualClock, store: Spy, medium: SnapshotMedium
) -> None:
    one = world(clock, store, medium)
    await one.host.deliver(await one.append(note("a", "e1", T0)))
    await one.host.stop()
    other = World(clock=clock, store=store, snapshots=MemorySnapshots(medium), folds=ToyFolds("other"))
    await other.host.start()
    assert await other.state("a") == await other.truth("a")
    await other.host.deliver(await other.append(note("a", "e2", T0 + 1)))
    assert await other.state("a") == await other.truth("a")
    assert other.host.statistics().activations.snapshot_errors == 1


async def test_refolding_on_request_replaces_the_snapshot(one: World, medium: SnapshotMedium) -> None:
    await one.host.deliver(await one.append(note("a", "e1", T0)))
    await put_to_sleep(one, "a")
    for _ in range(2):  # asleep, then awake
        assert content(await one.host.refold(stream("a"))) == await one.truth("a")
    assert one.folds.refolds == 2
    await put_to_sleep(one, "a")
    assert one.host.statistics().counts.snapshots_put == 2
    assert await one.host.refold(stream("nobody")) is None


async def test_forgetting_leaves_no_trace(one: World, medium: SnapshotMedium) -> None:
    await one.host.deliver(await one.append(note("a", "e1", T0, timer_s=60)))
    await one.host.snapshot()
    await one.host.forget(stream("a"))
    await one.host.snapshots.flush()
    assert (medium.rows, medium.deadlines, len(one.wheel), one.host.statistics().behind) == ({}, set(), 0, 0)
    assert one.host.awake(stream("a")) is None


async def test_a_far_deadline_of_a_sleeper_is_in_the_index_alone(one: World, medium: SnapshotMedium) -> None:
    one.host.keep_timers_until(T0 + HOUR_US)
    await one.host.deliver(await one.append(note("near", "e1", T0, timer_s=60), note("far", "e1", T0, timer_s=86_400)))
    assert len(one.wheel) == 2
    await put_to_sleep(one, "near", "far")
    assert len(one.wheel) == 1
    due = MemorySnapshots(medium).due(after=DISTANT_PAST, until_us=T0 + 2 * DAY_US, limit=9)
    assert [due_us - T0 for due_us, _ in due] == [60 * SECOND_US, DAY_US]


async def test_stopping_writes_everything_and_takes_nothing_more(
    one: World, medium: SnapshotMedium, clock: VirtualClock, store: Spy
) -> None:
    events = await one.append(*(note(i, "e1", T0 + i) for i in range(200)))
    await one.host.deliver(events)
    await one.host.stop()
    await one.host.stop()
    assert (len(medium.rows), medium.applied) == (200, 200)
    with pytest.raises(ActorStopped):
        await one.host.deliver(events)
    again = world(clock, store, medium)
    await again.host.start()
    assert not again.host.is_recovering
    assert await again.state(7) == await again.truth(7)


async def test_stopping_is_bounded_when_the_log_does_not_answer(one: World, store: Spy) -> None:
    await one.append(note("a", "e1", T0))
    store.gate.clear()
    question = asyncio.ensure_future(one.host.entity(stream("a")))
    await asyncio.sleep(0)
    await one.host.stop(timeout_s=0.01)
    await asyncio.wait([question])
    assert question.cancelled()


async def test_snapshots_that_cannot_be_written_congest_the_intake(
    clock: VirtualClock, store: Spy, medium: SnapshotMedium
) -> None:
    one = world(clock, store, medium, max_awake=1, backlog_max=5)
    medium.is_full = True
    for i in range(20):
        await one.host.deliver(await one.append(note(i, "e1", T0)))
    assert one.host.is_congested
    medium.is_full = False
    await one.host.snapshots.flush()
    assert not one.host.is_congested
    assert [await one.state(i) for i in range(20)] == [await one.truth(i) for i in range(20)]


async def test_an_activation_under_way_is_done_again_from_an_adopted_cache(
    one: World, store: Spy, medium: SnapshotMedium
) -> None:
    await one.host.deliver(await one.append(note("a", "e1", T0)))
    await put_to_sleep(one, "a")
    await one.append(note("a", "e2", T0 + 1))  # so that its activation has to read
    store.gate.clear()
    question = asyncio.ensure_future(one.host.entity(stream("a")))
    for _ in range(3):
        await asyncio.sleep(0)
    other = MemorySnapshots()
    one.host.begin_swap()
    assert one.host.adopt(other) is not other
    store.gate.set()
    assert content(await question) == await one.truth("a")
    assert one.folds.refolds == 1  # the new cache is empty


async def test_adopting_drops_what_was_built_before_and_notes_what_came_since(one: World) -> None:
    await one.host.deliver(await one.append(note("a", "e1", T0), note("b", "e1", T0)))
    with pytest.raises(ValueError, match="begin_swap"):
        one.host.adopt(MemorySnapshots())
    one.host.begin_swap()
    await one.host.deliver(await one.append(note("a", "e2", T0 + 1)))
    one.host.adopt(MemorySnapshots())
    assert (one.host.awake(stream("a")), one.host.awake(stream("b"))) == (None, None)
    assert dict(one.host._ledger.first) == {stream("a"): 3}
    assert await one.state("a") == await one.truth("a")


async def test_a_swap_that_is_called_off_changes_nothing(one: World) -> None:
    await one.host.deliver(await one.append(note("a", "e1", T0)))
    one.host.begin_swap()
    one.host.cancel_swap()
    assert one.host.awake(stream("a")) is not None
