"""Waiting for a handover instead of telling the caller to come back: so many requests at most, each for so long at most.

Who waits is woken by what it waits for: a layout, a partition that was taken or given back. Nothing is looked at again and again.
"""

import asyncio


class Changes:
    """Tells everybody who waits that who answers for what has changed."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def tell(self) -> None:
        told, self._next = self._next, asyncio.Event()
        told.set()

    def next(self) -> asyncio.Event:
        """Set by the next change. To be asked for before one looks how things are."""
        return self._next


class Patience:
    """How long one request may wait, from now on, whatever it waits for."""

    __slots__ = ("_room", "_until_s")

    def __init__(self, room: "WaitingRoom", limit_s: float) -> None:
        self._room = room
        self._until_s = asyncio.get_running_loop().time() + limit_s

    @property
    def is_over(self) -> bool:
        return self._until_s <= asyncio.get_running_loop().time()

    def at_most(self, limit_s: float) -> "Patience":
        """The same, from now on for so long at most."""
        left_s = self._until_s - asyncio.get_running_loop().time()
        return Patience(self._room, min(left_s, limit_s))

    async def wait(self, change: asyncio.Event) -> bool:
        """Wait for a change. False: there was none in time, or nobody is to wait now."""
        room = self._room
        left_s = self._until_s - asyncio.get_running_loop().time()
        if left_s <= 0 or room.is_closed or room.waiting >= room.most:
            return False
        room.waiting += 1
        try:
            async with asyncio.timeout(left_s):
                await change.wait()
        except TimeoutError:
            return False
        finally:
            room.waiting -= 1
        return not room.is_closed


class WaitingRoom:
    """The requests of a node that wait.

    Parameters
    ----------
    limit_s : for one request; 0: nobody waits.
    most : requests at a time; who comes then is answered at once.
    """

    def __init__(self, limit_s: float, most: int, changes: Changes) -> None:
        self._limit_s, self._changes = limit_s, changes
        self.most, self.waiting = most, 0
        self.is_closed = False

    def patience(self, *, waits: bool = True) -> Patience:
        return Patience(self, self._limit_s if waits else 0.0)

    def close(self) -> None:
        """Answer who waits now, and let nobody wait any more: the node stops."""
        self.is_closed = True
        self._changes.tell()
