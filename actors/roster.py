"""Who is in memory, and who has to go: actors in the order of a clock (second chance).

An exact LRU would move an entry at every read, at twice the cost of the read itself. Here a read writes one
integer; the order is repaired when somebody has to go. Whoever was used since it was queued is queued
again, so an idle actor leaves between one and two idle times after its last use.
"""

from collections import OrderedDict

from actors.entity import Entity
from actors.mailbox import Mailbox
from eventstore.event import Stream


class Actor:
    """The owner of one stream's state. Exactly one of ``entity`` and ``mailbox`` is set: idle, or busy.

    ``used`` and ``queued`` are turns of the host's housekeeping; ``due_us`` is the deadline in the wheel.
    """

    __slots__ = ("due_us", "entity", "mailbox", "queued", "used")

    def __init__(self, turn: int) -> None:
        self.entity: Entity | None = None
        self.mailbox: Mailbox | None = None
        self.used = turn
        self.queued = turn
        self.due_us: int | None = None


class Roster:
    """Actors by stream."""

    def __init__(self) -> None:
        self.actors: OrderedDict[Stream, Actor] = OrderedDict()
        self.busy = 0  #: how many of them have a mailbox; kept by ``occupy`` and ``release``

    @property
    def awake(self) -> int:
        """How many hold an entity."""
        return len(self.actors) - self.busy

    def occupy(self, actor: Actor, mailbox: Mailbox) -> None:
        """The actor is busy from now on: nobody sees its entity."""
        actor.entity = None
        actor.mailbox = mailbox
        self.busy += 1

    def release(self, actor: Actor, entity: Entity) -> None:
        """The actor is idle again."""
        actor.entity = entity
        actor.mailbox = None
        self.busy -= 1

    def drop(self, stream: Stream) -> None:
        """Forget the actor."""
        if self.actors.pop(stream).mailbox is not None:
            self.busy -= 1

    def pick(self, *, before: int | None = None) -> tuple[Stream, Actor] | None:
        """The idle actor to go next, if one may. Amortised O(1).

        Parameters
        ----------
        before : only one that was last used before this turn; any one by default.
        """
        for _ in range(len(self.actors)):
            stream, actor = next(iter(self.actors.items()))
            if actor.entity is None or actor.used > actor.queued:
                actor.queued = actor.used
                self.actors.move_to_end(stream)
            elif before is not None and actor.used >= before:
                return None
            else:
                return stream, actor
        # All were used since they were queued, and are in order now.
        for stream, actor in self.actors.items():
            if actor.entity is not None:
                return None if before is not None and actor.used >= before else (stream, actor)
        return None
