"""Clocks: the one place where time comes from.

``now_us`` is the wall clock, by which things mean; ``monotonic_us`` drives waiting. A clock handed to
a component is a parameter like any other, so a year passes in a test by ``VirtualClock.advance``.
"""

import asyncio
import heapq
import itertools
import time
from typing import Protocol

from kernel.times import SECOND_US


class Clock(Protocol):
    """Wall time that never runs backwards, monotonic time, and waiting."""

    def now_us(self) -> int:
        """UTC microseconds since the epoch; never less than an earlier answer of this clock."""

    def monotonic_us(self) -> int:
        """Microseconds from an arbitrary start, unmoved by corrections of the wall clock."""

    def boot_us(self) -> int:
        """As ``monotonic_us``, and going on while the machine sleeps: what others count meanwhile, it counts, too."""

    async def sleep(self, seconds: float) -> None:
        """Wait on the monotonic clock."""


#: Elsewhere than on Linux the monotonic clock is the nearest to it.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clock. A step backwards of the wall clock is held until it has caught up."""

    def __init__(self) -> None:
        self._last_us = 0

    def now_us(self) -> int:
        now_us = time.time_ns() // 1000
        if now_us > self._last_us:
            self._last_us = now_us
        return self._last_us

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1000

    def boot_us(self) -> int:
        return time.clock_gettime_ns(_BOOT_CLOCK) // 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock that stands still until ``advance``; sleepers wake in order of their deadlines.

    Examples
    --------
    >>> clock = VirtualClock(at_us=0)
    >>> clock.advance(2.5)
    >>> clock.now_us()
    2500000
    """

    def __init__(self, at_us: int = 1_700_000_000 * SECOND_US) -> None:
        self._now_us = at_us
        self._start_us = at_us
        self._order = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_us(self) -> int:
        return self._now_us

    def monotonic_us(self) -> int:
        return self._now_us - self._start_us

    def boot_us(self) -> int:
        return self._now_us - self._start_us

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due_us = self._now_us + round(seconds * SECOND_US)
        heapq.heappush(self._sleepers, (due_us, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Let time pass; wakes every sleeper whose deadline is reached."""
        self.set(self._now_us + round(seconds * SECOND_US))

    def set(self, at_us: int) -> None:
        """Move to a time not before now."""
        if at_us < self._now_us:
            raise ValueError("a clock never runs backwards")
        self._now_us = at_us
        while self._sleepers and self._sleepers[0][0] <= at_us:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
