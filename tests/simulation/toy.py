"""A toy fold whose truth is obvious: a chain of hashes over the events in order, timers, and events that are poison."""

import hashlib
from collections.abc import Callable, Sequence

import msgspec

from actors.entity import Entity
from actors.host import ActorHost
from actors.ingest import Ingest
from actors.limits import ActorLimits
from actors.ticker import Ticker
from actors.wheel import TimerWheel
from eventstore.event import Event, NewEvent, Stream, order_key
from eventstore.memory import MemoryEventStore
from eventstore.snapshots import Snapshot, SnapshotStore
from eventstore.store import EventStore
from eventstore.system import BUILT_IN
from eventstore.types import EventType, EventTypes, Payload
from kernel.clock import VirtualClock
from kernel.errors import SnapshotSchemaMismatch
from kernel.ids import Position
from kernel.steps import Steps
from kernel.times import SECOND_US


class Note(Payload, frozen=True, gc=False):
    """``timer_s``: one ``toy_fired`` so long after the event's time. ``is_poison``: no fold survives it."""

    text: str = ""
    timer_s: int | None = None
    is_poison: bool = False


class Fired(Payload, frozen=True, gc=False):
    cause: str


TYPES = EventTypes(
    [*BUILT_IN, EventType("toy_note", Note, "toy", by="lead"), EventType("toy_fired", Fired, "toy", by="system")]
)


def stream(name: str | int) -> Stream:
    return Stream("o", "lead", str(name))


def note(
    name: str | int, event_id: str, at_us: int, *, timer_s: int | None = None, is_poison: bool = False, text: str = ""
) -> NewEvent:
    payload = Note(text, timer_s, is_poison)
    return NewEvent(stream(name), event_id, "toy_note", at_us, msgspec.json.encode(payload), payload)


class ToyState(msgspec.Struct):
    version: int = 0
    position: int = 0
    last: tuple[int, str] = (-(1 << 62), "")
    chain: bytes = b""
    timers: dict[str, int] = {}
    fired: list[str] = []
    dead: list[int] = []


class ToyEntity:
    def __init__(self, stream: Stream, number: int, state: ToyState, fingerprint: str) -> None:
        self.stream = stream
        self.number = number
        self.state = state
        self.fingerprint = fingerprint

    @property
    def version(self) -> int:
        return self.state.version

    @property
    def position(self) -> Position:
        return Position(self.state.position)

    def fold(self, event: Event) -> bool:
        assert event.version == self.state.version + 1, "the host folds in order"
        payload = TYPES.payload_of(event)
        if isinstance(payload, Note) and (payload.is_poison or order_key(event) < self.state.last):
            # Of no further use, and shows it: whoever still looks at it is wrong.
            self.state.version, self.state.position, self.state.chain = event.version, event.position, b"spoilt"
            return False
        self.take(event)
        return True

    def take(self, event: Event) -> None:
        state, payload = self.state, TYPES.payload_of(event)
        if isinstance(payload, Fired):
            state.fired.append(payload.cause)
            state.timers.pop(payload.cause, None)
        elif payload.is_poison:
            state.dead.append(event.version)
        else:
            state.last = order_key(event)
            state.chain = hashlib.blake2b(state.chain + event.id.encode(), digest_size=8).digest()
            if payload.timer_s is not None:
                state.timers[event.id] = event.at_us + payload.timer_s * SECOND_US
        state.version = max(state.version, event.version)
        state.position = max(state.position, event.position)

    def due_us(self) -> int | None:
        return min(self.state.timers.values(), default=None)

    def effects(self, now_us: int) -> list[NewEvent]:
        return [
            NewEvent(
                self.stream, f"~fired:{cause}", "toy_fired", due_us, msgspec.json.encode(Fired(cause)), Fired(cause)
            )
            for cause, due_us in sorted(self.state.timers.items())
            if due_us <= now_us
        ]

    def written(self, events: Sequence[NewEvent]) -> None:
        """Nothing: what fired comes back as an event of the stream."""

    def is_dead(self, version: int) -> bool:
        return version in self.state.dead

    def dump(self) -> Snapshot:
        dead = tuple(b"%d" % version for version in self.state.dead)
        return Snapshot(
            self.number, self.version, self.fingerprint, msgspec.msgpack.encode(self.state), self.due_us(), dead
        )


class ToyFolds:
    def __init__(self, fingerprint: str = "toy") -> None:
        self.fingerprint = fingerprint
        self.refolds = 0
        self.loads = 0

    def new(self, stream: Stream, number: int) -> Entity:
        return ToyEntity(stream, number, ToyState(), self.fingerprint)

    def load(self, stream: Stream, snapshot: Snapshot) -> Entity:
        if snapshot.fingerprint != self.fingerprint:
            raise SnapshotSchemaMismatch(snapshot.fingerprint)
        self.loads += 1
        return ToyEntity(
            stream, snapshot.number, msgspec.msgpack.decode(snapshot.state, type=ToyState), self.fingerprint
        )

    def refold(self, stream: Stream, number: int, events: Sequence[Event]) -> Steps[Entity]:
        self.refolds += 1
        yield
        return oracle(stream, number, events, self.fingerprint)


def oracle(stream: Stream, number: int, events: Sequence[Event], fingerprint: str = "toy") -> ToyEntity:
    """The truth: notes in order of time and id, then what has fired."""
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    entity = ToyEntity(stream, number, ToyState(), fingerprint)
    for event in sorted(events, key=lambda event: (event.type == "toy_fired", order_key(event))):
        entity.take(event)
    return entity


def content(entity: Entity | None) -> object:
    """Everything that two entities of one version must agree on."""
    if entity is None:
        return None
    assert isinstance(entity, ToyEntity)
    state = entity.state
    return state.version, state.position, state.chain, sorted(state.fired), sorted(state.dead), state.timers


class World:
    """One process: a host with everything around it, on media that outlive it."""

    def __init__(
        self,
        *,
        clock: VirtualClock,
        store: EventStore,
        snapshots: SnapshotStore,
        limits: ActorLimits | None = None,
        folds: ToyFolds | None = None,
        budget: int = 100,
        horizon_s: float = 3600.0,
        max_events: int = 100_000,
        wrap: Callable[[EventStore], EventStore] = lambda store: store,
    ) -> None:
        self.clock = clock
        self.store = store
        self.folds = folds or ToyFolds()
        self.wheel = TimerWheel(start_us=clock.now_us())
        self.host = ActorHost(
            store=wrap(store),
            snapshots=snapshots,
            folds=self.folds,
            clock=clock,
            wheel=self.wheel,
            limits=limits or ActorLimits(),
        )
        self.ingest = Ingest(store=wrap(store), host=self.host, max_events=max_events)
        self.ticker = Ticker(
            store=wrap(store),
            host=self.host,
            ingest=self.ingest,
            wheel=self.wheel,
            clock=clock,
            budget=budget,
            horizon_s=horizon_s,
        )

    async def append(self, *events: NewEvent) -> list[Event]:
        """Store without delivering."""
        return [outcome.event for outcome in await self.store.append(events)]  # type: ignore[union-attr]

    async def truth(self, name: str | int) -> object:
        events = await self.store.read(stream(name))
        return content(oracle(stream(name), 0, events)) if events else None

    async def state(self, name: str | int) -> object:
        return content(await self.host.entity(stream(name)))


def new_store(clock: VirtualClock) -> MemoryEventStore:
    return MemoryEventStore(types=TYPES, clock=clock)
