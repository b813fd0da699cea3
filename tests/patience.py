"""Waiting for what becomes true elsewhere: at a broker, in another process, in a task of somebody's.

A condition and a deadline, never a pause: ``tests/architecture`` lets nobody else sleep. What happens by a clock of ours
is waited for with ``VirtualClock.advance``.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

PATIENCE_S = 30.0


async def eventually(
    holds: Callable[[], bool | Awaitable[bool]], within_s: float = PATIENCE_S, *, every_s: float = 0.01
) -> None:
    """Wait until it holds. Raises ``TimeoutError``."""
    async with asyncio.timeout(within_s):
        while not await _said(holds()):  # noqa: ASYNC110 - what tells of it differs, where anything does
            await asyncio.sleep(every_s)


async def _said(answer: bool | Awaitable[bool]) -> bool:
    return answer if isinstance(answer, bool) else await answer


def comes_true(holds: Callable[[], bool], within_s: float = PATIENCE_S, *, every_s: float = 0.05) -> bool:
    """Whether it holds in time; for tests that have no loop."""
    end = time.monotonic() + within_s
    while not (is_held := holds()) and time.monotonic() < end:
        time.sleep(every_s)
    return is_held


@asynccontextmanager
async def all_the_while(does: Callable[[], object], *, every_s: float) -> AsyncIterator[None]:
    """Do it again and again until the block is left; what it raises fails the block."""

    async def repeat() -> None:
        while True:
            does()
            await asyncio.sleep(every_s)

    task = asyncio.create_task(repeat(), name="all the while")
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait([task])
