"""What waits for an actor that is busy. An actor that is not busy has none."""

import asyncio

from actors.entity import Entity
from eventstore.event import Event


class Mailbox:
    """A bounded queue of appended events, and the future of everyone who waits for the actor.

    An event that finds no room is not lost, since it stands in the log: the mailbox only remembers that it
    overflowed, and the actor reads what it missed. So a full mailbox costs a read and never memory.

    Parameters
    ----------
    limit : events kept.
    """

    __slots__ = ("_events", "_limit", "done", "is_overflowed")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: list[Event] = []
        self.is_overflowed = False
        #: Resolves when the actor is idle again: its entity, None when its stream has no events.
        self.done: asyncio.Future[Entity | None] = asyncio.get_running_loop().create_future()

    def __len__(self) -> int:
        return len(self._events)

    def has_room(self, count: int) -> bool:
        """Whether so many more events would be kept."""
        return not self.is_overflowed and len(self._events) + count <= self._limit

    def put(self, event: Event) -> None:
        """Keep the event, or remember that it was not."""
        if len(self._events) < self._limit:
            self._events.append(event)
        else:
            self.is_overflowed = True

    def take(self) -> tuple[list[Event], bool]:
        """The events kept and whether some were not; empty afterwards."""
        events, is_overflowed = self._events, self.is_overflowed
        self._events, self.is_overflowed = [], False
        return events, is_overflowed
