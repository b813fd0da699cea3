import asyncio
import threading

import pytest

from kernel.threads import Worker


async def test_a_call_runs_in_the_named_thread_and_its_result_comes_back() -> None:
    worker = Worker("writer")
    assert await worker.run(lambda: threading.current_thread().name) == "writer"
    await worker.close()


async def test_what_a_call_raises_is_raised_to_its_caller_and_the_worker_lives_on() -> None:
    worker = Worker("writer")

    def fail() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        await worker.run(fail)
    assert await worker.run(lambda: 1) == 1
    await worker.close()


async def test_calls_run_in_order_and_a_full_inbox_makes_the_sender_wait() -> None:
    worker = Worker("writer", maxsize=2)
    gate = threading.Event()
    seen: list[int] = []
    tasks = [asyncio.create_task(worker.run(gate.wait))]
    tasks += [asyncio.create_task(worker.run(lambda n=n: seen.append(n))) for n in range(5)]
    while worker.backlog < 2:  # noqa: ASYNC110 - the worker offers no event to wait for
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert worker.backlog == 2
    gate.set()
    await asyncio.gather(*tasks)
    assert seen == [0, 1, 2, 3, 4]
    assert worker.backlog == 0
    await worker.close()


async def test_a_cancelled_wait_leaves_the_call_running_and_gives_its_room_back() -> None:
    worker = Worker("writer", maxsize=1)
    gate, done = threading.Event(), threading.Event()
    task = asyncio.create_task(worker.run(lambda: (gate.wait(), done.set())))
    while worker.backlog < 1:  # noqa: ASYNC110 - the worker offers no event to wait for
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    assert await worker.run(done.is_set)
    await worker.close()


async def test_close_runs_what_was_sent_and_refuses_what_comes_after() -> None:
    worker = Worker("writer")
    seen: list[int] = []
    task = asyncio.create_task(worker.run(lambda: seen.append(1)))
    await asyncio.sleep(0)
    await worker.close()
    await worker.close()
    await task
    assert seen == [1]
    with pytest.raises(RuntimeError, match="closed"):
        await worker.run(lambda: None)


def test_a_worker_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="maxsize"):
        Worker("writer", maxsize=0)
