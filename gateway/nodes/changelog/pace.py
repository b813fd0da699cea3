"""How much of the loop's time work of no hurry may take: all who work at one pace together get a share of it."""

from kernel.clock import Clock
from kernel.times import SECOND_US


class Pace:
    """Makes whoever has worked rest for longer than that.

    Parameters
    ----------
    share_ratio : of the time, at most, for all of them.
    """

    def __init__(self, clock: Clock, *, share_ratio: float) -> None:
        self._clock = clock
        self._rest_ratio = 1 / share_ratio - 1
        self._until_us = 0

    async def rest(self, worked_us: int) -> None:
        """Rest after so much work, and until those have rested who worked before."""
        now_us = self._clock.monotonic_us()
        self._until_us = max(now_us, self._until_us) + round(worked_us * self._rest_ratio)
        await self._clock.sleep((self._until_us - now_us) / SECOND_US)
