"""Following leads: delivered events and passing time, turned into changes in order, for one org.

A lead that is followed has a shadow, a private copy of its state; the wheel holds the instant at which each may change
next. Shadows over the bound are dropped and made again when their lead is touched or due, from snapshot and log,
as of the instant before. To follow all leads is to survey each of them once: what changed between the beginning and
its survey is told late, with its right instant.

One worker does it all, so that each lead's changes are in order. An event finds its lead as of the event before it,
whatever the actors have folded meanwhile.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from actors.host import ActorHost
from actors.wheel import TimerWheel
from eventstore.event import Event, Stream
from eventstore.store import EventStore
from kernel.clock import Clock
from kernel.errors import SnapshotError
from kernel.ids import Position
from kernel.times import MAX_US, SECOND_US
from projections.catalogue import Catalogue
from projections.changes import Change, Shadow
from projections.entity import FoldedEntity
from projections.refolding import refolded

Publish = Callable[[str, Change], None]
#: Told of each event of a followed lead, in order, once, after the changes that came before it.
Passed = Callable[[Event], None]

_CHANGE = "change"
_TIMERS = 50  # worked off in one go
_SURVEY_PAGE = 500
_SLICE = 20  # leads between two turns of the loop: a millisecond or two
_QUEUE_MAX = 50_000  # events that wait to be followed; past it everybody is reset


class Following:
    """Which leads are followed, and the work of it.

    Parameters
    ----------
    publish : told every change, with its lead.
    passed : told every event of a followed lead, in its place among the changes.
    leads_max : shadows in memory.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        store: EventStore,
        host: ActorHost,
        clock: Clock,
        publish: Publish,
        passed: Passed,
        leads_max: int,
        tick_s: float,
    ) -> None:
        self._catalogue = catalogue
        self._store, self._host, self._clock = store, host, clock
        self._publish, self._passed = publish, passed
        self._leads_max = leads_max
        self._tick_us = round(tick_s * SECOND_US)
        self._leads: dict[str, tuple[int, Position]] = {}  # followed one by one: since when, after what
        self._numbers: dict[str, int] = {}  # of those, once they are known
        self._all_since: tuple[int, Position] | None = None
        self._surveyed = 0  # numbers up to this one have been
        self._shadows: OrderedDict[Stream, Shadow] = OrderedDict()
        self._dropped: dict[Stream, tuple[int, int]] = {}  # number and version of those that had to give way
        self._queue: dict[Stream, list[Event]] = {}
        self._queued = 0
        self._wheel = self._new_wheel()
        self._begun: dict[str, asyncio.Event] = {}
        self.is_overrun = False  #: too many events waited: changes are missing
        self.is_surveying = False
        self.bell = asyncio.Event()  #: rings when there is work

    @property
    def shadows(self) -> int:
        """Leads in memory a second time."""
        return len(self._shadows)

    # Whom to follow.

    def follow(self, lead: str) -> None:
        """Follow one lead from now on."""
        if lead not in self._leads:
            self._leads[lead] = self._now()
            if self._all_since is None:
                self._begun[lead] = asyncio.Event()
                self.bell.set()

    def leave(self, lead: str) -> None:
        """Follow it no more, unless all are followed."""
        self._leads.pop(lead, None)
        number = self._numbers.pop(lead, 0)
        if begun := self._begun.pop(lead, None):
            begun.set()
        if self._all_since is None:
            stream = Stream(self._catalogue.org, "lead", lead)
            self._shadows.pop(stream, None)
            self._dropped.pop(stream, None)
            self._queued -= len(self._queue.pop(stream, ()))
            self._wheel.cancel(number, _CHANGE)

    def follow_all(self, since: tuple[int, Position] | None = None) -> None:
        """Follow every lead from now on, or from an instant that has been and the position after which events are told."""
        if self._all_since is None:
            self._all_since = since or self._now()
            self._surveyed, self.is_surveying = 0, True
            self.bell.set()

    def leave_all(self) -> None:
        """Follow only those that are followed one by one; the others' shadows and timers go."""
        self._all_since, self.is_surveying = None, False
        self._shadows = OrderedDict((s, shadow) for s, shadow in self._shadows.items() if s.id in self._leads)
        self._dropped = {s: version for s, version in self._dropped.items() if s.id in self._leads}
        self._queue = {s: events for s, events in self._queue.items() if s.id in self._leads}
        self._queued = sum(map(len, self._queue.values()))
        old, self._wheel = self._wheel, self._new_wheel()
        for number in self._numbers.values():
            if (due_us := old.due_us(number, _CHANGE)) is not None:
                self._wheel.schedule(number, _CHANGE, due_us)

    async def wait_begun(self, lead: str) -> None:
        """Until the state of a lead is at hand: nothing that changes from then on waits for it to be read."""
        begun = self._begun.get(lead)
        if begun is not None:
            await begun.wait()

    # What happens.

    def deliver(self, events: Iterable[Event]) -> None:
        """Note events of this org, in the order of their delivery. Never waits."""
        for event in events:
            stream = event.stream
            if stream.kind == "lead" and (self._all_since is not None or stream.id in self._leads):
                self._queue.setdefault(stream, []).append(event)
                self._queued += 1
        if self._queued > _QUEUE_MAX:
            self.is_overrun = True
        if self._queued:
            self.bell.set()

    async def work(self) -> None:
        """Follow what happened until now. Raises ``StoreUnavailable``; nothing is lost by that."""
        await self._begin()
        await self._take_events()
        await self._let_time_pass()
        if self.is_surveying:
            await self._survey()

    async def _begin(self) -> None:
        for lead, begun in list(self._begun.items()):
            stream = Stream(self._catalogue.org, "lead", lead)
            if stream not in self._shadows:
                await self._shadow(stream)
                (info,) = await self._store.info([stream])
                await self._catch_up(stream, 0 if info is None else info.version)
                self._settle(stream)
            begun.set()
            self._begun.pop(lead, None)

    async def _take_events(self) -> None:
        count = 0
        while self._queue:
            stream = next(iter(self._queue))
            events = sorted(self._queue[stream], key=lambda event: event.version)
            await self._take(stream, events)
            taken = self._queue.pop(stream)
            self._queued -= len(taken)
            late = [event for event in taken if event.version > events[-1].version]  # came while these were taken
            if late:
                self._queue[stream] = late
                self._queued += len(late)
            count += 1
            if count % _SLICE == 0:
                await asyncio.sleep(0)

    async def _take(self, stream: Stream, events: Sequence[Event]) -> None:
        last = events[-1].version
        shadow = await self._shadow(stream, events[0])
        news = {event.version: event for event in events if event.version > shadow.version}
        if len(news) < last - shadow.version:  # a delivery that began earlier is still under way
            log = await self._store.read(stream, after_version=shadow.version, limit=last - shadow.version)
            news = {event.version: event for event in log}
        for event in news.values():
            if event.version > shadow.version:  # else it was folded anew together with an earlier one
                self._tell(stream, shadow.advance(max(event.recorded_us, shadow.at_us)))
                changes = shadow.take(event)
                if changes is None:
                    cause = _with_it(event, news.values())
                    log = await self._store.read(stream, limit=cause.version)
                    changes = shadow.replace(refolded(stream, event.number, self._catalogue, log), cause)
                self._tell(stream, changes)
            self._passed(event)
        self._settle(stream, events[0].number)

    async def _catch_up(self, stream: Stream, version: int) -> None:
        """Take what is to be told of a lead that is new here and was delivered before it was followed.

        The position since which a lead is followed errs on the early side while appends are under way.
        """
        shadow = self._shadows[stream]
        if shadow.version < version and stream not in self._queue:
            newest = self._host.newest_position
            log = await self._store.read(stream, after_version=shadow.version, limit=version - shadow.version)
            if delivered := _until(log, newest):
                await self._take(stream, delivered)

    async def _let_time_pass(self) -> None:
        now_us = self._clock.now_us()
        while True:
            timers = self._wheel.advance(now_us, _TIMERS)
            if not timers and not self._wheel.is_behind(now_us):
                return
            infos = await self._store.streams_of([timer.entity for timer in timers])
            for timer, info in zip(timers, infos, strict=True):
                if info is not None and self._is_followed(info.stream):
                    shadow = await self._shadow(info.stream, due_us=timer.due_us)
                    self._tell(info.stream, shadow.advance(now_us))
                    self._settle(info.stream, timer.entity)
            await asyncio.sleep(0)

    async def _survey(self) -> None:
        """Look at some leads for the first time: how they changed since all are followed, and when they do next."""
        page = await self._store.list_streams(after_number=self._surveyed, limit=_SURVEY_PAGE)
        self.is_surveying = bool(page)
        for count, info in enumerate(page, start=1):
            stream = info.stream
            is_new = self._wheel.due_us(info.number, _CHANGE) is None
            if stream.kind == "lead" and stream.org == self._catalogue.org and is_new and stream not in self._queue:
                shadow = await self._shadow(stream)
                await self._catch_up(stream, info.version)
                self._tell(stream, shadow.advance(self._clock.now_us()))
                self._settle(stream, info.number)
                if len(self._shadows) > self._leads_max // 2:  # the rest of the room is for those that change
                    self._shadows.pop(stream, None)
            self._surveyed = info.number
            if count % _SLICE == 0:
                await asyncio.sleep(0)
        self.bell.set()

    # Shadows.

    async def _shadow(self, stream: Stream, event: Event | None = None, due_us: int | None = None) -> Shadow:
        """The lead as it was followed last: before an event that waits, or before it was due."""
        shadow = self._shadows.get(stream)
        if shadow is None:
            known = self._dropped.get(stream)
            number, version = known or await self._version(stream)
            if due_us is None:
                due_us = self._wheel.due_us(number, _CHANGE)
            at_us, up_to = self._since(stream)
            if due_us is not None:  # it changed at no instant before this one
                at_us = due_us - 1 if event is None else min(due_us - 1, event.recorded_us)
            # One that was never followed may have events already that are to be told: delivered later, or not yet.
            entity = await self._entity(stream, number, version, at_us, None if known else up_to)
            self._dropped.pop(stream, None)
            shadow = self._shadows[stream] = Shadow(entity, at_us)
        self._shadows.move_to_end(stream)
        return shadow

    async def _version(self, stream: Stream) -> tuple[int, int]:
        """The number of a lead, and its version without what waits."""
        if stream in self._queue:
            first = min(self._queue[stream], key=lambda each: each.version)
            return first.number, first.version - 1
        (info,) = await self._store.info([stream])
        return (0, 0) if info is None else (info.number, info.version)

    async def _entity(
        self, stream: Stream, number: int, version: int, at_us: int, up_to: Position | None
    ) -> FoldedEntity:
        """A lead's state as of an instant, at a version, or at an earlier one that ends at a position.

        From the snapshot if that is not newer, else from the log.
        """
        entity = self._saved(stream, number, version)
        # A snapshot may hold events whose time had not come at the instant: then it is of no use.
        if entity is not None and entity.folded_us <= at_us and (up_to is None or entity.position <= up_to):
            rest = version - entity.version
            tail = await self._store.read(stream, after_version=entity.version, limit=rest) if rest else []
            if all(entity.fold(event) for event in _until(tail, up_to)):
                return entity
        log = await self._store.read(stream, limit=version) if version else []
        return refolded(stream, number, self._catalogue, _until(log, up_to), until_us=at_us)

    def _saved(self, stream: Stream, number: int, version: int) -> FoldedEntity | None:
        try:
            snapshot = self._host.snapshots.get(number)
            if snapshot is None or snapshot.version > version:
                return None
            return FoldedEntity.load(stream, snapshot, self._catalogue)
        except SnapshotError:
            return None

    def _settle(self, stream: Stream, number: int | None = None) -> None:
        """Set the lead's timer to its next change, and make room."""
        shadow = self._shadows[stream]
        number = shadow.number if number is None else number
        if number:
            if stream.id in self._leads:
                self._numbers[stream.id] = number
            next_us = shadow.next_change_us
            # One that never changes has a timer, too: it says that it was followed until now.
            self._wheel.schedule(number, _CHANGE, MAX_US if next_us is None else next_us)
        while len(self._shadows) > self._leads_max:
            dropped, old = self._shadows.popitem(last=False)
            self._dropped[dropped] = old.number, old.version

    def _tell(self, stream: Stream, changes: Iterable[Change]) -> None:
        for change in changes:
            self._publish(stream.id, change)

    def end(self) -> None:
        """Let go of everybody who waits."""
        for begun in self._begun.values():
            begun.set()
        self._begun.clear()

    def _is_followed(self, stream: Stream) -> bool:
        return self._all_since is not None or stream.id in self._leads

    def _since(self, stream: Stream) -> tuple[int, Position]:
        """Since when a lead is followed, and the position after which its events are told."""
        begins = [each for each in (self._leads.get(stream.id), self._all_since) if each is not None]
        return min(begins, default=self._now())

    def _now(self) -> tuple[int, Position]:
        return self._clock.now_us(), self._host.delivered_position

    def _new_wheel(self) -> TimerWheel:
        return TimerWheel(start_us=self._clock.now_us(), tick_us=self._tick_us)


def _with_it(event: Event, events: Iterable[Event]) -> Event:
    """The last event that was recorded together with another: one fold anew does for all of them."""
    return [each for each in events if each.recorded_us == event.recorded_us][-1]


def _until(events: Sequence[Event], up_to: Position | None) -> Sequence[Event]:
    return events if up_to is None else [event for event in events if event.position <= up_to]
