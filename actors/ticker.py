"""Drives the wheel: what is due is activated, and the events that time alone causes are appended.

The wheel holds the near horizon of all entities, awake or asleep; the cache's index holds every deadline, and is read
on a little ahead of time. A timer is only an occasion to look: what is to be appended is said by the entity, its ids
follow from its causes, and appending twice is a duplicate. So a timer may fire early, twice or for
nothing, and after a crash the index is simply read again from its beginning.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from actors.entity import Entity
from actors.host import ActorHost
from actors.seats import DUE
from actors.wheel import Timer, TimerWheel
from eventstore.event import NewEvent, Stream
from eventstore.snapshots import SnapshotStore
from eventstore.store import EventStore
from kernel.clock import Clock
from kernel.errors import LeadwheelError
from kernel.times import SECOND_US

_BEGINNING = (-(1 << 63), 0)


class Recorder(Protocol):
    """Where effects go: ``Ingest``, or what divides them among several logs."""

    async def record(self, events: Sequence[NewEvent], /) -> object:
        """Store and fold, durably before it returns; what stands there already is a duplicate. Raises ``LeadwheelError``."""


class TickerStatistics(msgspec.Struct, frozen=True):
    """Counters since start. ``lag_us``: how long the first timer that is due has been waiting, at the last tick."""

    ticks: int
    fired: int
    effects: int
    failures: int
    loaded: int
    lag_us: int


class Ticker:
    """The occasion for what time does.

    Parameters
    ----------
    wheel : the same one that the host arms.
    tick_s : between two ticks, on the monotonic clock.
    budget : timers per tick, so that missed deadlines after downtime are worked off without a stall.
    batch : timers whose entities are activated and whose events are appended together.
    horizon_s : how far ahead deadlines of sleeping entities are taken into the wheel.
    page : deadlines read from the index in one go.
    retry_s : the pause before an entity is looked at again that is due and has nothing to append, or could not.
    again_s : the pause where a log says that trying again is sensible.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        host: ActorHost,
        ingest: Recorder,
        wheel: TimerWheel,
        clock: Clock,
        tick_s: float = 1.0,
        budget: int = 500,
        batch: int = 100,
        horizon_s: float = 3600.0,
        page: int = 2_000,
        retry_s: float = 60.0,
        again_s: float = 5.0,
    ) -> None:
        self._store = store
        self._host = host
        self._ingest = ingest
        self._wheel = wheel
        self._clock = clock
        self._tick_s = tick_s
        self._budget = budget
        self._batch = batch
        self._horizon_us = round(horizon_s * SECOND_US)
        self._page = page
        self._retry_us = round(retry_s * SECOND_US)
        self._again_us = round(again_s * SECOND_US)
        self._ticking = asyncio.Lock()
        self._index: SnapshotStore | None = None
        self._after = _BEGINNING
        self._loaded_until_us = _BEGINNING[0]
        self._ticks = self._fired = self._effects = self._failures = self._loaded = self._lag_us = 0

    async def run(self) -> None:
        """Tick until cancelled: paced by the monotonic clock, meaning by the wall clock."""
        next_us = self._clock.monotonic_us()
        while True:
            await self.tick()
            # A tick that took too long is not made up for by shorter pauses.
            next_us = max(next_us + round(self._tick_s * SECOND_US), self._clock.monotonic_us())
            await self._clock.sleep((next_us - self._clock.monotonic_us()) / SECOND_US)

    async def tick(self, now_us: int | None = None) -> int:
        """Fire what is due, at most the budget; how many timers fired. ``is_behind`` says whether more are due.

        One at a time: who ticks while another tick is under way has waited for what that one does.
        """
        async with self._ticking:
            return await self._tick(self._clock.now_us() if now_us is None else now_us)

    async def _tick(self, now_us: int) -> int:
        self._ticks += 1
        await self._load(now_us)
        left = self._budget
        self._lag_us = 0
        while left > 0:
            timers = self._wheel.advance(now_us, min(left, self._batch))
            if timers:
                self._lag_us = max(self._lag_us, now_us - timers[0].due_us)
                left -= len(timers)
                await self._fire(timers, now_us)
            elif not self._wheel.is_behind(now_us):
                break
            await asyncio.sleep(0)
        return self._budget - left

    def is_behind(self, now_us: int) -> bool:
        """Whether timers are due, or deadlines that are due may still be in the index alone."""
        return (
            self._wheel.is_behind(now_us) or self._loaded_until_us < now_us or self._index is not self._host.snapshots
        )

    def statistics(self) -> TickerStatistics:
        return TickerStatistics(
            ticks=self._ticks,
            fired=self._fired,
            effects=self._effects,
            failures=self._failures,
            loaded=self._loaded,
            lag_us=self._lag_us,
        )

    async def _load(self, now_us: int) -> None:
        """Take the index's deadlines up to the horizon into the wheel, a page at a time."""
        index = self._host.snapshots
        if index is not self._index:  # another cache: its deadlines may be others
            self._index, self._after, self._loaded_until_us = index, _BEGINNING, _BEGINNING[0]
        if self._loaded_until_us >= now_us + self._horizon_us // 2:
            return
        if self._after[0] <= now_us and self._wheel.is_behind(now_us):
            return  # what was missed does not have to fit in memory: first what is in the wheel already
        # Before the index is read: what goes to sleep from now on keeps its timer, and what went before is written.
        until_us = now_us + self._horizon_us
        self._host.keep_timers_until(until_us)
        if not await index.flush():
            self._failures += 1
            return
        while page := index.due(after=self._after, until_us=until_us, limit=self._page):
            for due_us, number in page:
                if self._wheel.due_us(number, DUE) is None:
                    self._wheel.schedule(number, DUE, due_us)
            self._loaded += len(page)
            self._after = page[-1]
            if page[-1][0] <= now_us:
                return
            await asyncio.sleep(0)
        self._loaded_until_us = until_us
        self._after = max(self._after, (until_us, 0))

    async def _fire(self, timers: Sequence[Timer], now_us: int) -> None:
        self._fired += len(timers)
        streams: dict[int, Stream] = {}
        try:
            infos = await self._store.streams_of([timer.entity for timer in timers])
            streams = {info.number: info.stream for info in infos if info is not None}
            await self._act(list(streams.values()), now_us)
        except LeadwheelError as error:
            self._failures += 1
            pause_us = min(self._again_us, self._retry_us) if error.is_transient else self._retry_us
            for timer in timers:
                self._wheel.schedule(timer.entity, DUE, now_us + pause_us)
            return
        for number, stream in streams.items():
            self._host.postpone(stream, number, now_us=now_us, until_us=now_us + self._retry_us)

    async def fire(self, streams: Sequence[Stream]) -> None:
        """Append what is due of these streams without waiting for their timers. Raises ``LeadwheelError``."""
        await self._act(streams, self._clock.now_us())

    async def _act(self, streams: Sequence[Stream], now_us: int) -> None:
        entities = await self._host.entities(streams)
        due = {
            entity.stream: effects
            for entity in entities
            if entity is not None and (effects := self._effects_of(entity, now_us))
        }
        if due:
            events = [event for effects in due.values() for event in effects]
            await self._ingest.record(events)
            self._effects += len(events)
            for stream, effects in due.items():
                self._host.note_written(stream, effects)

    def _effects_of(self, entity: Entity, now_us: int) -> list[NewEvent]:
        try:
            return entity.effects(now_us)
        except Exception:  # noqa: BLE001 - counted; one entity's fault must not stop the time of the others
            self._failures += 1
            return []
