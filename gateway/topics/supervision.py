"""Keeping the work on one topic going: what breaks it off is told once, and tried again after a pause that grows."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from kernel.clock import Clock
from kernel.errors import LeadwheelError

_PAUSE_S = 0.5
_PAUSE_MAX_S = 5.0
_CLOSE_S = 3.0

_log = structlog.get_logger(__name__)


class Endeavour:
    """Work on one topic, begun again for as long as the service runs.

    Parameters
    ----------
    work : goes on until it is cancelled or broken off; tells when it goes on (``succeed``), or is held up (``stumble``).

    Attributes
    ----------
    waits : it has not begun, or is broken off and will be tried again.
    """

    def __init__(self, name: str, work: Callable[["Endeavour"], Awaitable[None]], *, clock: Clock) -> None:
        self.name = name
        self.waits = True
        self._work = work
        self._clock = clock
        self._pause_s = _PAUSE_S
        self._said = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def close(self) -> None:
        """End it, and wait, though not for long for clients whose brokers are away. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            _, pending = await asyncio.wait({self._task}, timeout=_CLOSE_S)
            if pending:
                _log.warning("topic_not_ended_in_time", name=self.name)

    def succeed(self) -> None:
        """It goes on."""
        if self._said:
            _log.info("topic_goes_on", name=self.name)
        self.waits, self._pause_s, self._said = False, _PAUSE_S, ""

    def stumble(self, reason: str) -> None:
        """It cannot go on now; said once for each reason."""
        self.waits = True
        if reason != self._said:
            _log.error("topic_waits", name=self.name, reason=reason)
            self._said = reason

    async def _run(self) -> None:
        while True:
            try:
                await self._work(self)
                reason = "it ended"
            except LeadwheelError as error:
                reason = str(error)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                reason = "the client gave up"  # one of its tasks was cancelled, and told whoever waited for it
            except Exception:  # noqa: BLE001 - a supervision boundary: logged, and tried again
                _log.exception("topic_failed", name=self.name)
                reason = "an unforeseen error"
            self.stumble(reason)
            await self._clock.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _PAUSE_MAX_S)
