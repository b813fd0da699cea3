"""Places in memory: entities sit down, are armed in the wheel, and give way when there are too many.

Invariants: at most ``max_awake`` entities are seated; one that leaves is put into the cache first if the cache lacks
any of its events; the deadline of one that left stays in the wheel only if it is near, and is in the
cache's index in any case.
"""

from actors.activation import Activator
from actors.entity import Entity
from actors.ledger import Ledger
from actors.limits import ActorLimits, Counts
from actors.mailbox import Mailbox
from actors.roster import Actor, Roster
from actors.wheel import TimerWheel
from eventstore.event import Event, Stream

#: The one timer of an entity.
DUE = "due"


class Seats:
    """Who is in memory.

    Attributes
    ----------
    turn : the housekeeping's clock, in seconds; actors are stamped with it when they are used.
    keep_until_us : deadlines up to this time stay in the wheel when their entity goes to sleep.
    """

    def __init__(
        self, *, activator: Activator, wheel: TimerWheel, limits: ActorLimits, counts: Counts, turn: int, now_us: int
    ) -> None:
        self.roster = Roster()
        self.actors = self.roster.actors
        self.ledger = Ledger()
        self.turn = turn
        self.keep_until_us = now_us
        self._activator = activator
        self._wheel = wheel
        self._limits = limits
        self._counts = counts

    def add_busy(self, stream: Stream) -> tuple[Actor, Mailbox]:
        """A new actor that is busy from the start."""
        actor = self.actors[stream] = Actor(self.turn)
        return actor, self.interrupt(actor)

    def interrupt(self, actor: Actor) -> Mailbox:
        """Make an idle actor busy: its entity is not given out until it is seated again."""
        mailbox = Mailbox(self._limits.mailbox_events)
        self.roster.occupy(actor, mailbox)
        return mailbox

    def rouse(self, event: Event) -> Actor | None:
        """Wake a sleeping actor for its next event without reading the log; None when its snapshot is too old."""
        entity = self._activator.from_snapshot(event.stream, event.number)
        if entity is None and event.version == 1:
            entity = self._activator.new(event.stream, event.number)
        if entity is None or entity.version < event.version - 1:
            return None
        actor = self.actors[event.stream] = Actor(self.turn)
        self.seat(event.stream, actor, entity)
        return actor

    def seat(self, stream: Stream, actor: Actor, entity: Entity) -> None:
        """Give an actor its entity, arm its deadline, and make room."""
        if actor.mailbox is not None:
            self.roster.release(actor, entity)
        else:
            actor.entity = entity
        self.arm(actor, entity)
        while self.roster.awake > self._limits.max_awake:
            picked = self.roster.pick()
            if picked is not None and picked[0] == stream:  # its caller has not folded yet: whoever is next goes
                self.actors.move_to_end(stream)
                picked = self.roster.pick()
            if picked is None or picked[0] == stream:
                return
            self.passivate(*picked)

    def arm(self, actor: Actor, entity: Entity) -> None:
        """Set the timer to the entity's deadline."""
        due_us = actor.due_us = entity.due_us()
        if due_us is None:
            self._wheel.cancel(entity.number, DUE)
        else:
            self._wheel.schedule(entity.number, DUE, due_us)

    def postpone(self, stream: Stream, number: int, *, now_us: int, until_us: int) -> None:
        """After the timer has fired: set the next one, not before ``until_us`` if the entity is still due now."""
        actor = self.actors.get(stream)
        entity = None if actor is None else actor.entity
        due_us = self._wheel.due_us(number, DUE) if entity is None else entity.due_us()
        if due_us is not None and due_us <= now_us:
            due_us = until_us
        if due_us is None:
            self._wheel.cancel(number, DUE)
        else:
            self._wheel.schedule(number, DUE, due_us)
        if actor is not None:
            actor.due_us = due_us

    def put(self, stream: Stream, entity: Entity) -> None:
        """Put a snapshot, if the cache lacks anything of the entity."""
        if stream in self.ledger:
            self._activator.snapshots.put(entity.dump())
            self.ledger.settle(stream)
            self._counts.snapshots_put += 1

    def passivate(self, stream: Stream, actor: Actor) -> None:
        """Snapshot and unload an idle actor."""
        entity = actor.entity
        if entity is None:
            return
        self.put(stream, entity)
        if actor.due_us is not None and actor.due_us > self.keep_until_us:
            self._wheel.cancel(entity.number, DUE)
        self.roster.drop(stream)
        self._counts.passivated += 1

    def passivate_idle(self, limit: int) -> int:
        """Unload at most so many actors that nobody used for the idle time; how many there were."""
        before = self.turn - int(self._limits.idle_timeout_s)
        for count in range(limit):
            picked = self.roster.pick(before=before)
            if picked is None:
                return count
            self.passivate(*picked)
        return limit

    def forget(self, stream: Stream, number: int) -> None:
        """Drop the actor and every trace of it in memory."""
        if stream in self.actors:
            self.roster.drop(stream)
        self.ledger.settle(stream)
        self._wheel.cancel(number, DUE)

    def unseat_all(self) -> None:
        """Drop every idle actor without a snapshot: their state came from a cache that is given up."""
        for stream, actor in list(self.actors.items()):
            if actor.entity is not None:
                self.roster.drop(stream)
