"""Named worker threads with a bounded inbox, for the few calls that may block.

Enters: plain callables. Leaves: their results, awaited on the loop that sent them. Calls of one worker
run one at a time, in the order they were sent. A cancelled wait does not call anything back: what was sent
still runs, as with every thread.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class _Call(NamedTuple):
    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class Worker:
    """One daemon thread that runs what it is sent.

    Parameters
    ----------
    name : the thread's name.
    maxsize : calls that may wait or run at once; ``run`` waits for room beyond that.

    Notes
    -----
    All calls come from one event loop. The bound is kept on the loop's side, so that a full inbox makes the
    sender wait and never blocks the loop.
    """

    def __init__(self, name: str, maxsize: int = 16) -> None:
        if maxsize < 1:
            raise ValueError("maxsize must be at least 1")
        self.name = name
        self._room = asyncio.Semaphore(maxsize)
        self._inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._is_closed = False
        self._backlog = 0
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Calls sent and not finished."""
        return self._backlog

    async def run(self, function: Callable[[], T]) -> T:
        """The result of ``function()``, run in the thread; what it raises is raised here.

        Raises
        ------
        RuntimeError
            The worker is closed.
        """
        await self._room.acquire()
        if self._is_closed:
            self._room.release()
            raise RuntimeError(f"worker {self.name} is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._backlog += 1
        self._inbox.put(_Call(function, loop, future))
        return await future

    async def close(self) -> None:
        """Run what was sent, then end the thread. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._inbox.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _serve(self) -> None:
        while (call := self._inbox.get()) is not None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = call.function()
            except BaseException as raised:  # noqa: BLE001 - handed to the caller, whatever it is
                error = raised
            try:
                call.loop.call_soon_threadsafe(self._finish, call.future, result, error)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                pass
            del call, result, error  # an idle thread keeps nothing alive

    def _finish(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._backlog -= 1
        self._room.release()
        if future.done():  # the wait was cancelled
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
