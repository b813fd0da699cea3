"""The intake: its bounds, its receipts, and what a cancelled request leaves behind."""

import asyncio
from collections.abc import Sequence

import pytest

from actors.ingest import Receipt
from eventstore.event import Event, NewEvent, Stream
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots
from eventstore.store import Outcome, Refused, Stored
from kernel.clock import VirtualClock
from kernel.errors import IntakeFull, LogIncomplete, StoreUnavailable
from kernel.times import SECOND_US
from tests.simulation.toy import TYPES, World, content, new_store, note, stream

T0 = 1_700_000_000 * SECOND_US


class Slow(MemoryEventStore):
    """Notes the size of each append, chokes on one id, and lets reads of whole streams wait or fail."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(types=TYPES, clock=clock)
        self.appends: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_away = self.is_incomplete = False

    async def append(self, events: Sequence[NewEvent], *, is_atomic: bool = False) -> list[Outcome]:
        self.appends.append(len(events))
        if any(event.id == "odd" for event in events):
            raise ValueError("what no store can hold")
        if any(event.id == "unsure" for event in events):
            raise LogIncomplete(0.5)
        return await super().append(events, is_atomic=is_atomic)

    async def read_many(self, streams: Sequence[Stream]) -> list[list[Event]]:
        await self.gate.wait()
        if self.is_away:
            raise StoreUnavailable("away")
        if self.is_incomplete:
            raise LogIncomplete(0.5)
        return await super().read_many(streams)


@pytest.fixture
def slow() -> World:
    clock = VirtualClock(T0)
    return World(clock=clock, store=Slow(clock), snapshots=MemorySnapshots())


@pytest.fixture
def one() -> World:
    clock = VirtualClock(T0)
    return World(clock=clock, store=new_store(clock), snapshots=MemorySnapshots(), max_events=10)


async def test_a_receipt_tells_each_outcome_and_the_dead(one: World) -> None:
    receipt = await one.ingest.submit([note("a", "e1", T0), note("a", "p", T0, is_poison=True), note("a", "e1", T0)])
    assert [isinstance(each, Stored) and each.is_duplicate for each in receipt.outcomes] == [False, False, True]
    assert receipt.dead == 1
    again = await one.ingest.submit([note("a", "p", T0, is_poison=True), note("a", "e1", T0, text="other")])
    assert isinstance(again.outcomes[1], Refused)
    assert again.dead == 0  # dead counts among the newly stored
    assert content(one.host.awake(stream("a"))) == await one.truth("a")


async def test_nothing_submitted_is_nothing_done(one: World) -> None:
    assert await one.ingest.submit([]) == ([], 0, 0, True)


async def test_an_atomic_refusal_folds_nothing(one: World) -> None:
    await one.ingest.submit([note("a", "e1", T0)])
    receipt = await one.ingest.submit([note("a", "e2", T0), note("a", "e1", T0, text="other")], is_atomic=True)
    assert isinstance(receipt.outcomes[1], Refused)
    assert one.host.awake(stream("a")).version == 1  # type: ignore[union-attr]


async def test_a_full_intake_refuses_whole_requests_and_stores_nothing(one: World) -> None:
    first = asyncio.ensure_future(one.ingest.submit([note("a", f"e{i}", T0 + i) for i in range(8)]))
    await asyncio.sleep(0)
    with pytest.raises(IntakeFull):
        await one.ingest.submit([note("b", f"e{i}", T0 + i) for i in range(3)])
    await one.ingest.submit([note("c", "e1", T0), note("c", "e2", T0 + 1)])
    await first
    assert await one.truth("b") is None
    await one.ingest.submit([note("b", f"e{i}", T0 + i) for i in range(30)])  # larger than the bound, but alone
    statistics = one.ingest.statistics()
    assert (statistics.events, statistics.size_bytes, statistics.full) == (0, 0, 1)


async def test_the_intake_is_bounded_in_bytes() -> None:
    clock = VirtualClock(T0)
    one = World(clock=clock, store=new_store(clock), snapshots=MemorySnapshots())
    one.ingest._max_bytes = 10_000
    first = asyncio.ensure_future(one.ingest.submit([note("a", "e1", T0, text="x" * 9_000)]))
    await asyncio.sleep(0)
    with pytest.raises(IntakeFull):
        await one.ingest.submit([note("b", "e1", T0, text="x" * 1_000)])
    await first


async def test_a_cancelled_request_is_stored_and_folded_or_neither(one: World) -> None:
    for turns in range(6):
        request = asyncio.ensure_future(one.ingest.submit([note("a", f"e{turns}", T0 + turns)]))
        for _ in range(turns):
            await asyncio.sleep(0)
        request.cancel()
        await asyncio.wait([request])
        await one.ingest.drain()
        assert content(one.host.awake(stream("a"))) == await one.truth("a")
    assert one.ingest.statistics().events == 0


async def test_a_store_that_is_away_refuses_and_the_claim_moves_on(one: World) -> None:
    one.store.fail_next(StoreUnavailable("away"))  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailable):
        await one.ingest.submit([note("a", "e1", T0)])
    assert one.host.statistics().doubts == 0
    await one.ingest.submit([note("a", "e1", T0)])
    await one.host.snapshot()
    await one.host.snapshots.flush()
    assert one.host.snapshots.applied() == 1


async def test_a_duplicate_waits_until_its_first_is_folded(one: World) -> None:
    stored = await one.append(note("a", "e0", T0))
    await one.host.deliver(stored)
    await one.append(note("a", "e1", T0 + 1))  # stored, and not folded yet
    await one.ingest.submit([note("a", "e1", T0 + 1)])
    assert content(one.host.awake(stream("a"))) == await one.truth("a")


async def test_requests_that_come_together_are_appended_together_and_answered_one_by_one(slow: World) -> None:
    requests = [[note(n, f"e{k}", T0 + k, is_poison=n == 7 and k == 1) for k in range(n % 3 + 1)] for n in range(100)]
    receipts = await asyncio.gather(*map(slow.ingest.submit, requests))
    assert slow.store.appends == [199]  # type: ignore[attr-defined]
    assert [[outcome.event.id for outcome in each.outcomes] for each in receipts] == [  # type: ignore[union-attr]
        [event.id for event in request] for request in requests
    ]
    assert [each.new for each in receipts] == [len(request) for request in requests]
    assert [n for n, each in enumerate(receipts) if each.dead] == [7]


async def test_what_joins_goes_with_the_next_append_and_not_before(slow: World) -> None:
    store = slow.store
    assert isinstance(store, Slow)
    joined: list[asyncio.Task[Receipt]] = []

    def join() -> None:
        joined.append(asyncio.create_task(slow.ingest.submit([note("b", "joined", T0)])))

    assert not slow.ingest.join_next(join)
    under_way = asyncio.create_task(slow.ingest.submit([note("a", "e1", T0)]))
    await asyncio.sleep(0)
    assert slow.ingest.join_next(join)
    assert not joined
    assert (await under_way).new == 1
    assert (await joined[0]).new == 1
    assert store.appends == [1, 1]
    assert not slow.ingest.join_next(join)  # and what joined once is not asked again
    assert len(joined) == 1


@pytest.mark.parametrize("event_id", ["odd", "unsure"])
async def test_what_joins_is_asked_though_the_append_under_way_fails(slow: World, event_id: str) -> None:
    asked: list[None] = []
    under_way = asyncio.create_task(slow.ingest.submit([note("a", event_id, T0)]))
    await asyncio.sleep(0)
    assert slow.ingest.join_next(lambda: asked.append(None))
    with pytest.raises((ValueError, LogIncomplete)):
        await under_way
    assert len(asked) == 1


async def test_a_batch_is_bounded_unless_one_request_is_larger(slow: World) -> None:
    slow.ingest._batch_events = 5
    await asyncio.gather(
        *(slow.ingest.submit([note(n, f"e{k}", T0 + k) for k in range(size)]) for n, size in enumerate((3, 2, 1, 9, 4)))
    )
    assert slow.store.appends == [5, 1, 9, 4]  # type: ignore[attr-defined]


async def test_an_atomic_request_is_an_append_by_itself(slow: World) -> None:
    await slow.ingest.submit([note("a", "e1", T0)])
    others = [slow.ingest.submit([note(n, "e1", T0)]) for n in range(3)]
    atomic = slow.ingest.submit([note("b", "e1", T0), note("a", "e1", T0, text="other")], is_atomic=True)
    receipts = await asyncio.gather(atomic, *others)
    assert [each.new for each in receipts] == [0, 1, 1, 1]
    assert await slow.truth("b") is None


async def test_a_request_that_no_store_can_hold_fails_alone(slow: World) -> None:
    requests = [slow.ingest.submit([note(n, "odd" if n == 2 else "e1", T0)]) for n in range(5)]
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert [n for n, each in enumerate(answers) if isinstance(each, ValueError)] == [2]
    for n in (0, 1, 3, 4):
        assert content(slow.host.awake(stream(n))) == await slow.truth(n)
    assert slow.ingest.statistics().events == 0


async def test_a_cancelled_request_keeps_its_room_until_it_is_folded_and_takes_nobody_along(one: World) -> None:
    requests = [asyncio.ensure_future(one.ingest.submit([note(n, "e1", T0)])) for n in range(10)]
    await asyncio.sleep(0)
    for request in requests[::2]:
        request.cancel()
    await asyncio.wait(requests[::2])
    with pytest.raises(IntakeFull):
        await one.ingest.submit([note("late", "e1", T0)])
    assert [(await request).new for request in requests[1::2]] == [1] * 5
    await one.ingest.drain()
    for n in range(10):
        assert content(one.host.awake(stream(n))) == await one.truth(n)
    assert one.ingest.statistics().events == 0


async def test_who_waits_for_a_busy_actor_delays_nobody_else(slow: World) -> None:
    await slow.ingest.submit([note("a", "e5", T0 + 50)])
    slow.store.gate.clear()  # type: ignore[attr-defined]
    late = asyncio.ensure_future(slow.ingest.submit([note("a", "e1", T0)]))  # a refold, which reads the log
    await slow.ingest.submit([note("b", "e1", T0)])
    assert not late.done()
    slow.store.gate.set()  # type: ignore[attr-defined]
    assert (await late).new == 1
    assert content(slow.host.awake(stream("a"))) == await slow.truth("a")


async def test_an_actor_that_cannot_be_read_fails_its_own_request_and_is_looked_up_later(slow: World) -> None:
    await slow.ingest.submit([note("a", "e5", T0 + 50)])
    slow.store.is_away = True  # type: ignore[attr-defined]
    answers = await asyncio.gather(
        slow.ingest.submit([note("a", "e1", T0)]), slow.ingest.submit([note("b", "e1", T0)]), return_exceptions=True
    )
    assert isinstance(answers[0], StoreUnavailable)
    assert not isinstance(answers[1], BaseException)
    assert slow.host.statistics().doubts == 1
    slow.store.is_away = False  # type: ignore[attr-defined]
    await slow.host.keep()
    assert slow.host.statistics().doubts == 0
    assert await slow.state("a") == await slow.truth("a")


async def test_appends_are_folded_in_the_order_of_the_log(slow: World) -> None:
    for first in range(0, 600, 200):  # each one's fold takes several turns of the loop, and the next append fewer
        await asyncio.gather(
            *(slow.ingest.submit([note(n, f"e{first + k}", T0 + first + k) for n in range(100)]) for k in range(4))
        )
    assert slow.host.statistics().counts.gaps == 0


async def test_a_request_that_must_wait_for_the_copy_is_refused_alone(slow: World) -> None:
    requests = [slow.ingest.submit([note(n, "unsure" if n == 2 else "e1", T0)]) for n in range(5)]
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert [n for n, each in enumerate(answers) if isinstance(each, LogIncomplete)] == [2]
    for n in (0, 1, 3, 4):
        assert content(slow.host.awake(stream(n))) == await slow.truth(n)
    assert slow.ingest.statistics().events == 0
    assert slow.host.statistics().doubts == 0


async def test_a_late_event_that_must_wait_for_the_copy_is_stored_and_said_not_to_be_folded(slow: World) -> None:
    await slow.ingest.submit([note("a", "e5", T0 + 50)])
    slow.store.is_incomplete = True  # type: ignore[attr-defined]
    receipt = await slow.ingest.submit([note("a", "e1", T0)], fold_timeout_s=60)
    assert (receipt.new, receipt.is_folded) == (1, False)
    with pytest.raises(LogIncomplete):
        await slow.ingest.submit([note("a", "e2", T0)])
    await slow.ingest.drain()
    slow.store.is_incomplete = False  # type: ignore[attr-defined]
    await slow.host.keep()
    assert slow.host.statistics().doubts == 0
    assert await slow.state("a") == await slow.truth("a")
