"""The intake: its bounds, its receipts, and what a cancelled request leaves behind."""

import asyncio

import pytest

from eventstore.memory_snapshots import MemorySnapshots
from eventstore.store import Refused, Stored
from kernel.clock import VirtualClock
from kernel.errors import IntakeFull, StoreUnavailable
from kernel.times import SECOND_US
from tests.simulation.toy import World, content, new_store, note, stream

T0 = 1_700_000_000 * SECOND_US


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
    assert await one.ingest.submit([]) == ([], 0)


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
