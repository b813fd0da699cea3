"""A small service without HTTP: log, actors, lists and feed on a virtual clock, for laws over random lives of leads."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from hypothesis import strategies as st

from actors.host import ActorHost
from actors.ingest import Ingest
from actors.limits import ActorLimits
from actors.wheel import TimerWheel
from eventstore.event import Event, NewEvent, Stream
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots
from gateway.feed.following import Following
from gateway.lists.org_lists import OrgLists
from kernel.clock import VirtualClock
from kernel.ids import IdSource, Position
from kernel.settings import ListsSettings
from kernel.times import DAY_US, MAX_US, MIN_US, format_time, parse_time
from projections.catalogue import Catalogue
from projections.changes import Change
from projections.entity import FoldedEntity
from projections.refolding import FoldedEntities, refolded
from tests.property.folding import TYPES, admitted
from tests.property.moments import as_of_times
from tests.property.strategies import History, histories

#: Seconds that pass in one step: nothing much, across a second, an hour, days, out of every window.
PAUSES_S = st.sampled_from([0.000001, 0.5, 1.0, 3600.0, 86_400.0, 86_400.0 * 7, 86_400.0 * 33]) | st.floats(0, 1e6)
LEADS = ("ann", "bob", "cleo", "ann/b")
_LIVES = histories(12, ahead_us=2 * DAY_US)


def _moved(time: str | float, by_us: int) -> str | float:
    """A time so much later, if it can be written."""
    at_us = parse_time(time) + by_us
    return format_time(at_us) if MIN_US <= at_us < MAX_US else time


class Life:
    """One org's service, and what its feed said."""

    def __init__(self, catalogue: Catalogue, at_us: int, *, max_awake: int, leads_max: int) -> None:
        self.catalogue = catalogue
        self.clock = VirtualClock(at_us)
        self.store = MemoryEventStore(types=TYPES, clock=self.clock)
        self.host = ActorHost(
            store=self.store,
            snapshots=MemorySnapshots(),
            folds=FoldedEntities(lambda org: catalogue, self.clock),
            clock=self.clock,
            wheel=TimerWheel(start_us=at_us),
            limits=ActorLimits(max_awake=max_awake),
        )
        self.ingest = Ingest(store=self.store, host=self.host)
        self._marked: list[Event] = []
        self.lists = OrgLists(
            catalogue=catalogue,
            store=self.store,
            host=self.host,
            clock=self.clock,
            ids=IdSource(self.clock, 1),
            settings=ListsSettings(build_wait_s=30),
            pinned=(),
            drain=self._drain,
        )
        self.told: list[tuple[str, Change]] = []
        self.passed: list[Event] = []
        self.begun = Position(0)  #: events after it are to be told
        self.following = Following(
            catalogue=catalogue,
            store=self.store,
            host=self.host,
            clock=self.clock,
            publish=lambda lead, change: self.told.append((lead, change)),
            passed=self.passed.append,
            leads_max=leads_max,
            tick_s=1e-6,  # a timer fires at most a tick late: here never
        )
        self.host.tap(self._marked.extend)
        self.host.tap(self.following.deliver)

    def _drain(self) -> None:
        self.lists.mark([event.stream for event in self._marked])
        self._marked.clear()

    async def post(self, lead: str, envelopes: Sequence[dict[str, Any]]) -> None:
        await self.ingest.submit([new_event(lead, each) for each in envelopes])

    async def follow(self) -> None:
        """Let the feed catch up with what happened until now."""
        while True:
            self.following.bell.clear()
            await self.following.work()
            if not self.following.bell.is_set():
                return

    async def read(self) -> None:
        """Read every lead, as somebody might at any time: what waited for its time is folded by that, and put to sleep."""
        for lead in LEADS:
            entity = await self.host.entity(Stream("default", "lead", lead))
            if entity is not None:
                cast("FoldedEntity", entity).read(self.clock.now_us())

    async def log(self, lead: str) -> list[Event]:
        return await self.store.read(Stream("default", "lead", lead))

    async def truth(self, lead: str, at_us: int | None = None, *, before_us: int | None = None) -> dict[str, Any]:
        """A lead's values from its whole log, as of now or of a time; of what was recorded before a time."""
        log = await self.log(lead)
        events = [event for event in log if before_us is None or event.recorded_us < before_us]
        return values_of(self.catalogue, lead, events, self.clock.now_us() if at_us is None else at_us)


def values_of(catalogue: Catalogue, lead: str, events: Sequence[Event], at_us: int) -> dict[str, Any]:
    stream = Stream("default", "lead", lead)
    entity: FoldedEntity = refolded(stream, 1, catalogue, events, until_us=at_us)
    entity.read(at_us)
    everything = catalogue.everything
    return dict(zip(everything.names, entity.values(everything), strict=True))


def new_event(lead: str, envelope: dict[str, Any]) -> NewEvent:
    """The event as it comes out of the door."""
    data = admitted(envelope["type"], envelope.get("data") or {})
    payload = TYPES.decoders[envelope["type"]].decode(data)
    return NewEvent(
        Stream("default", "lead", lead), envelope["id"], envelope["type"], parse_time(envelope["time"]), data, payload
    )


Envelopes = list[dict[str, Any]]
#: A lead, and events of it that arrive together, or seconds that pass.
Step = tuple[str, Envelopes | float]


class Plan(NamedTuple):
    """What happens from an instant on."""

    start_us: int
    steps: list[Step]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """The lives of one to three leads, one after another or mixed."""
    start_us = draw(as_of_times())
    leads = draw(st.lists(st.sampled_from(LEADS), min_size=1, max_size=3, unique=True))
    parts = [[(lead, step) for step in _steps(draw, draw(_LIVES), start_us)] for lead in leads]
    if draw(st.booleans()):
        return Plan(start_us, [step for part in parts for step in part])
    mixed: list[Step] = []
    while any(parts):
        mixed.append(draw(st.sampled_from([part for part in parts if part])).pop(0))
    return Plan(start_us, mixed)


def _steps(draw: st.DrawFn, history: History, start_us: int) -> list[Envelopes | float]:
    """A history in the order it arrives, in groups, with pauses between them."""
    drawn: list[Envelopes | float] = []
    rest = [each | {"time": _moved(each["time"], start_us - history.tau_us)} for each in history.events]
    while rest:
        count = draw(st.sampled_from([1, 1, 1, 2, 5, len(rest)]))
        drawn.append(rest[:count])
        rest = rest[count:]
        if draw(st.booleans()):
            drawn.append(draw(PAUSES_S))
    drawn.append(draw(PAUSES_S))
    return drawn
