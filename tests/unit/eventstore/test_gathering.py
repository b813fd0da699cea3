import asyncio

import pytest

from eventstore.gathering import Call, Gathering, answer, refuse
from eventstore.store import Outcome
from kernel.errors import StoreClosed, StoreFailed
from tests.contract.store_events import lead, new_event


def call(size: int) -> Call:
    return Call([new_event(lead("ann"), f"e{number}") for number in range(size)], False)


def putting(gathering: Gathering, *sizes: int) -> list[asyncio.Task[list[Outcome]]]:
    return [asyncio.create_task(gathering.put(call(size))) for size in sizes]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_calls_are_given_out_in_order_a_batch_at_a_time() -> None:
    gathering = Gathering(batch_events=5, pending_events=100)
    tasks = putting(gathering, 2, 3, 1, 7, 1)
    await settle()
    batches = [await gathering.take() for _ in range(4)]
    assert [[len(pending.call.events) for pending in batch] for batch in batches] == [[2, 3], [1], [7], [1]]
    for batch in batches:
        answer(batch, [[] for _ in batch])
    assert await asyncio.gather(*tasks) == [[]] * 5


async def test_calls_wait_for_room() -> None:
    gathering = Gathering(batch_events=4, pending_events=4)
    tasks = putting(gathering, 4, 2, 2)
    await settle()
    first = await gathering.take()
    assert [len(pending.call.events) for pending in first] == [4]
    await settle()
    second = await gathering.take()
    assert [len(pending.call.events) for pending in second] == [2, 2]
    answer([*first, *second], [[], [], []])
    await asyncio.gather(*tasks)


async def test_what_waited_before_the_end_is_still_given_out_and_nothing_after_it() -> None:
    gathering = Gathering(batch_events=5, pending_events=2)
    waiting, without_room = putting(gathering, 2, 1)
    await settle()
    gathering.end(StoreClosed("closed"))
    batch = await gathering.take()
    answer(batch, [[]])
    assert await waiting == []
    assert await gathering.take() == []
    for late in (without_room, gathering.put(call(1))):
        with pytest.raises(StoreClosed):
            await late


async def test_an_abandoned_queue_tells_everybody() -> None:
    gathering = Gathering(batch_events=5, pending_events=9)
    tasks = putting(gathering, 1, 1)
    await settle()
    gathering.abandon(StoreFailed("disk"))
    for task in tasks:
        with pytest.raises(StoreFailed):
            await task
    assert await gathering.take() == []


async def test_a_cancelled_wait_keeps_its_place_and_is_not_answered() -> None:
    gathering = Gathering(batch_events=5, pending_events=9)
    cancelled, waiting = putting(gathering, 1, 1)
    await settle()
    cancelled.cancel()
    await settle()
    batch = await gathering.take()
    assert len(batch) == 2
    answer(batch, [[], []])
    assert await waiting == []
    refuse(batch, StoreFailed("too late to matter"))
    with pytest.raises(asyncio.CancelledError):
        await cancelled
