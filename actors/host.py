"""The host of all actors: questions for entities, deliveries of events, and the life of both.

An actor that is awake and not busy folds on the loop, in the caller's turn: no task, no queue. Only what has to read
the log (a late event, a gap, a sleeping entity without a fresh snapshot) makes an actor busy.

The order of events within a stream is their version, and every fold checks it: what is folded already is skipped,
what is missing is read from the log. So nothing depends on the order in which deliveries arrive, and a
delivery may be repeated.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from actors.activation import Activator
from actors.delivery import Delivery
from actors.entity import Entity, Folds
from actors.jobs import Job, Jobs, Need
from actors.ledger import Ledger
from actors.limits import ActorLimits, Counts, HostStatistics
from actors.onlookers import Dumped, Onlooker
from actors.recovery import Recovery
from actors.restated import Restated
from actors.seats import Seats
from actors.wheel import TimerWheel
from eventstore.event import Event, NewEvent, Stream
from eventstore.snapshots import SnapshotStore
from eventstore.store import EventStore
from kernel.clock import Clock
from kernel.errors import ActorStopped, EventStoreError, LeadwheelError, MailboxFull
from kernel.ids import Position
from kernel.tally import SHORT_S, Tally
from kernel.times import SECOND_US

_KEEP_S = 1.0
# Each may wake a sleeper (tens of microseconds) before it is folded: a few milliseconds together.
_SLICE_EVENTS = 64
_LOG_PAGE = 2_000

#: Told of events that were delivered: folded, or on their way into an actor that is busy. Must not wait or raise.
Tap = Callable[[Sequence[Event]], None]


class ActorHost:
    """Virtual actors keyed by stream; used from one event loop.

    Parameters
    ----------
    wheel : gets the deadline of every entity that is awake.

    Attributes
    ----------
    restated : the streams that were folded anew without a further event.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        snapshots: SnapshotStore,
        folds: Folds,
        clock: Clock,
        wheel: TimerWheel,
        limits: ActorLimits,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wheel = wheel
        self._limits = limits
        self._counts = Counts()
        self._activator = Activator(store=store, snapshots=snapshots, folds=folds)
        self._seats = Seats(
            activator=self._activator,
            wheel=wheel,
            limits=limits,
            counts=self._counts,
            turn=clock.monotonic_us() // SECOND_US,
            now_us=clock.now_us(),
        )
        self._actors = self._seats.actors
        self._ledger = self._seats.ledger
        self._jobs = Jobs(seats=self._seats, activator=self._activator, counts=self._counts)
        self._recovery = Recovery(store=store, activator=self._activator, ledger=self._ledger, limits=limits)
        self._onlooker = Onlooker(
            actors=self._actors, activator=Activator(store=store, snapshots=snapshots, folds=folds)
        )
        self._taps: tuple[Tap, ...] = ()
        self._since_swap: Ledger | None = None
        self._appends: dict[int, Position] = {}
        self._doubts: set[int] = set()
        self._high = Position(0)
        self._snapshots_at_us = clock.monotonic_us()
        self._is_stopped = False
        self.restated = Restated()
        self.fold_times = Tally(SHORT_S)  #: of events in deliveries, each with the mean of its slice

    # Questions.

    def awake(self, stream: Stream) -> Entity | None:
        """The entity, if it is in memory and current. None while its actor is busy. O(1), never waits."""
        actor = self._actors.get(stream)
        if actor is None:
            return None
        actor.used = self._seats.turn
        return actor.entity

    async def entity(self, stream: Stream) -> Entity | None:
        """The entity, activated if need be; None when its stream has no events. Raises ``StoreUnavailable``."""
        entity = self.awake(stream)
        return entity if entity is not None else (await self.entities((stream,)))[0]

    async def entities(self, streams: Sequence[Stream]) -> list[Entity | None]:
        """Several entities at once, in the order asked; those asleep are read together.

        There may be more than ``max_awake``: those that went to sleep again meanwhile are as they were then.
        """
        self._check_running()
        found: dict[Stream, Entity | None] = {}
        waits: dict[Stream, asyncio.Future[Entity | None]] = {}
        jobs: dict[Stream, Job] = {}
        for stream in dict.fromkeys(streams):
            actor = self._actors.get(stream)
            if actor is None:
                actor, mailbox = self._seats.add_busy(stream)
                jobs[stream] = Job(actor, mailbox, Need.LOAD)
            actor.used = self._seats.turn
            if actor.mailbox is not None:
                waits[stream] = actor.mailbox.done
            else:
                found[stream] = actor.entity
        self._jobs.start(jobs)
        for stream, done in waits.items():
            found[stream] = await asyncio.shield(done)  # shared: one waiter's cancellation is not the others'
        await self._relieve()
        return [found[stream] for stream in streams]

    async def look(self, streams: Sequence[Stream]) -> list[Entity | None]:
        """Entities as they are now, in the order asked, without waking those that sleep: for read models."""
        self._check_running()
        return await self._onlooker.look(streams)

    async def dump(self, stream: Stream, number: int, version: int) -> Dumped | None:
        """The state of an entity as it is now, for whoever keeps it elsewhere; see ``Onlooker.dump``."""
        self._check_running()
        return await self._onlooker.dump(stream, number, version)

    async def refold(self, stream: Stream) -> Entity | None:
        """Fold the whole stream anew with the code of today; None when it has no events."""
        await self._wait_idle(stream)
        self._check_running()
        actor = self._actors.get(stream)
        if actor is None:
            actor, mailbox = self._seats.add_busy(stream)
        else:
            mailbox = self._seats.interrupt(actor)
        self._ledger.note(stream, Position(1))  # its snapshot, though of the same version, is to be replaced
        self._counts.refolded += 1
        self.restated.note(stream)
        self._jobs.start({stream: Job(actor, mailbox, Need.REFOLD)})
        return await asyncio.shield(mailbox.done)

    # Deliveries.

    def tap(self, tap: Tap) -> None:
        """Tell somebody of every event delivered from now on, in order within a stream, perhaps more than once."""
        self._taps = (*self._taps, tap)

    def untap(self, tap: Tap) -> None:
        """Tell it no more."""
        self._taps = tuple(each for each in self._taps if each != tap)

    def admit(self, events: Iterable[NewEvent]) -> None:
        """Refuse events, before they are appended, for actors that are behind. Raises ``MailboxFull``."""
        if self._seats.roster.busy:
            for event in events:
                actor = self._actors.get(event.stream)
                if actor is not None and actor.mailbox is not None and not actor.mailbox.has_room(1):
                    raise MailboxFull(f"{event.stream} is behind by {len(actor.mailbox)} events or more")

    @property
    def is_congested(self) -> bool:
        """Whether so many snapshots wait for the disk that nothing more should be taken in."""
        return self.snapshots.backlog > 2 * self._limits.backlog_max

    def begin_append(self) -> int:
        """Say that events are about to be appended. No claim of what is applied passes them until ``end_append``."""
        token = self._ledger.begin(self._high)
        self._appends[token] = self._high
        return token

    def end_delivery(self, token: int) -> None:
        """The events of the append were handed out, and may wait for actors that are busy."""
        self._appends.pop(token, None)

    def end_append(self, token: int) -> None:
        """The events of the append are folded, or nothing was stored."""
        self._ledger.end(token)
        self.end_delivery(token)

    @property
    def newest_position(self) -> Position:
        """The newest event that was delivered; earlier ones may be on their way still."""
        return self._high

    @property
    def delivered_position(self) -> Position:
        """Every event up to it was delivered; one after it may be on its way."""
        return Position(min(self._high, *self._appends.values())) if self._appends else self._high

    def doubt(self, token: int) -> None:
        """Nobody knows what of the append was stored or delivered: ``keep`` looks it up in the log."""
        self._doubts.add(token)

    async def deliver(self, events: Sequence[Event]) -> list[Event]:
        """Fold appended events, given in append order; returns when all are folded.

        Returns
        -------
        Those of them that are dead: left out, since they made the fold raise.
        """
        if not events:
            return []
        return await (await self.hand_out(events)).dead_of(events)

    async def hand_out(self, events: Sequence[Event]) -> Delivery:
        """Fold appended events, given in append order, where that can be done in place, and begin with the rest."""
        self._check_running()
        delivery = Delivery(seats=self._seats, jobs=self._jobs, counts=self._counts, swap=self._since_swap)
        if not events:
            return delivery
        token = self._ledger.begin(Position(min(self._high, events[0].position - 1)))
        try:
            self._high = max(self._high, events[-1].position)
            try:
                for start in range(0, len(events), _SLICE_EVENTS):
                    if start:
                        await asyncio.sleep(0)
                        await self._relieve()
                    self._seats.turn = self._clock.monotonic_us() // SECOND_US
                    part = events[start : start + _SLICE_EVENTS]
                    began_us = self._clock.monotonic_us()
                    delivery.fold(part)
                    self.fold_times.add((self._clock.monotonic_us() - began_us) / SECOND_US, len(part))
                    for tap in self._taps:
                        tap(part)
            finally:
                delivery.start()
        finally:
            self._ledger.end(token)
        await self._relieve()
        return delivery

    async def wait_folded(self, events: Iterable[Event]) -> None:
        """Wait until events stored before are in their entities. One that sleeps has them whenever it wakes."""
        behind = []
        for event in events:
            actor = self._actors.get(event.stream)
            if actor is not None and (actor.entity is None or actor.entity.version < event.version):
                behind.append(event)
        await self.deliver(sorted(behind, key=lambda event: event.position))

    # Life.

    async def start(self) -> None:
        """Find out what the cache lacks. Entities can be asked for when it returns; ``run`` does the rest."""
        self._high = await self._recovery.mark()

    async def run(self) -> None:
        """Bring sleeping entities up to date, then keep house until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.recover(), name="actors-recovery")
            while True:
                await self._clock.sleep(_KEEP_S)
                await self.keep()

    async def recover(self) -> None:
        """Bring every sleeping entity up to date that has events no snapshot contains, in bounded batches."""
        while batch := await self._recovery.next_batch():
            try:
                await self._refresh([stream for stream in batch if stream not in self._actors])
            except LeadwheelError:
                self._counts.failures += 1
                await self._clock.sleep(_KEEP_S)
                self._recovery.retry(batch)
        self._recovery.end()

    @property
    def is_recovering(self) -> bool:
        """Whether sleeping entities are still brought up to date; reads are right meanwhile, but slower."""
        return self._recovery.is_active

    async def keep(self) -> None:
        """Keep house once: unload the idle, look up what is in doubt, snapshot what changed, bring back what failed."""
        monotonic_us = self._clock.monotonic_us()
        self._seats.turn = monotonic_us // SECOND_US
        while self._seats.passivate_idle(self._limits.snapshot_slice):
            await asyncio.sleep(0)
            await self._relieve()
        await self._look_up_doubts()
        if monotonic_us - self._snapshots_at_us >= self._limits.snapshot_interval_s * SECOND_US:
            self._snapshots_at_us = monotonic_us
            await self.snapshot()
            await self._bring_back()

    async def snapshot(self) -> None:
        """Put every changed entity that is awake, oldest change first, and claim what is applied."""
        limit = self._limits.snapshot_slice
        streams = self._ledger.noted(up_to=self._high)
        for start in range(0, len(streams), limit):
            for stream in streams[start : start + limit]:
                actor = self._actors.get(stream)
                if actor is not None and actor.entity is not None:
                    self._seats.put(stream, actor.entity)
            await asyncio.sleep(0)
            await self._relieve()
        self.snapshots.note_applied(self.safe_position)

    @property
    def safe_position(self) -> Position:
        """All events up to it are contained in what was put into the cache."""
        return self._ledger.safe(self._high)

    async def stop(self, *, timeout_s: float = 8.0) -> None:
        """Take nothing more, put what changed, write it, within a bound. What is missing then is folded again."""
        if self._is_stopped:
            return
        self._is_stopped = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._jobs.finish()
                await self.snapshot()
                await self.snapshots.flush()
        except TimeoutError:
            pass  # the ledger's claim is true at every moment, so a stop cut short is as safe as a crash
        finally:
            await self._jobs.cancel()

    async def forget(self, stream: Stream) -> None:
        """Erase every trace of an entity from memory and from the cache. Its events must be gone from the log."""
        info = (await self._store.info([stream]))[0]
        await self._wait_idle(stream)
        actor = self._actors.get(stream)
        entity = None if actor is None else actor.entity
        number = entity.number if entity is not None else info.number if info is not None else None
        if number is not None:
            self._seats.forget(stream, number)
            self.snapshots.remove(number)

    # Another cache.

    @property
    def snapshots(self) -> SnapshotStore:
        """The cache in use; another one after ``adopt``."""
        return self._activator.snapshots

    def begin_swap(self) -> None:
        """Note every stream that gets an event from now on, for the cache that is going to be adopted."""
        self._since_swap = Ledger()

    def adopt(self, snapshots: SnapshotStore) -> SnapshotStore:
        """Use another cache from now on; it contains all events delivered before ``begin_swap``. Returns the old one.

        Every entity is dropped, and what is being activated is done again: nothing built from the old cache is
        given out after this call.
        """
        if self._since_swap is None:
            raise ValueError("begin_swap comes first")
        old = self.snapshots
        self._activator.snapshots = self._onlooker.activator.snapshots = snapshots
        self._jobs.generation += 1
        self._seats.unseat_all()
        self._ledger.replace(self._since_swap)
        self._since_swap = None
        self.restated.note_all()
        return old

    def cancel_swap(self) -> None:
        """Nothing is going to be adopted after all."""
        self._since_swap = None

    # Time.

    def keep_timers_until(self, until_us: int) -> None:
        """Deadlines up to this time stay in the wheel when their entity goes to sleep; later ones are in the index."""
        self._seats.keep_until_us = max(self._seats.keep_until_us, until_us)

    def postpone(self, stream: Stream, number: int, *, now_us: int, until_us: int) -> None:
        """After a timer has fired: set the next one, not before ``until_us`` if the entity is still due now."""
        self._seats.postpone(stream, number, now_us=now_us, until_us=until_us)

    def note_written(self, stream: Stream, events: Sequence[NewEvent]) -> None:
        """Tell an entity that its effects stand in the log; one that sleeps names them once more when it wakes."""
        actor = self._actors.get(stream)
        if actor is not None and actor.entity is not None:
            actor.entity.written(events)
            if stream not in self._ledger:  # its snapshot, though of the same version, still has them due
                self.snapshots.put(actor.entity.dump())
            self._seats.arm(actor, actor.entity)

    def statistics(self) -> HostStatistics:
        roster = self._seats.roster
        return HostStatistics(
            awake=roster.awake,
            busy=roster.busy,
            behind=len(self._ledger),
            doubts=len(self._doubts),
            timers=len(self._wheel),
            is_recovering=self._recovery.is_active,
            recovered=self._recovery.done,
            to_recover=self._recovery.total,
            counts=self._counts,
            activations=self._activator.counts,
        )

    async def _refresh(self, streams: Sequence[Stream]) -> None:
        """Load sleeping entities, so that their snapshots and deadlines are put, and let them sleep again."""
        await self.entities(streams)
        for stream in streams:
            actor = self._actors.get(stream)
            if actor is not None and actor.entity is not None:
                self._seats.passivate(stream, actor)
        await self._relieve()

    async def _look_up_doubts(self) -> None:
        for token in sorted(self._doubts):
            after = self._ledger.floor_of(token)
            try:
                while events := await self._store.read_log(after=after, limit=_LOG_PAGE):
                    await self.deliver(events)
                    after = events[-1].position
            except EventStoreError:
                return  # later
            self._doubts.discard(token)
            self.end_append(token)

    async def _bring_back(self) -> None:
        """Wake streams that are neither in memory nor in a snapshot whole: a read failed under their actor.

        Nothing is wrong with them, but until they wake the cache may not claim to contain what came after.
        """
        if self._recovery.is_active:
            return  # it wakes them, and many more
        asleep = [stream for stream in self._ledger.noted(up_to=self._high) if stream not in self._actors]
        try:
            await self._refresh(asleep[: self._limits.recovery_batch])
        except LeadwheelError:
            self._counts.failures += 1  # later

    async def _wait_idle(self, stream: Stream) -> None:
        while (actor := self._actors.get(stream)) is not None and actor.mailbox is not None:
            await asyncio.wait([actor.mailbox.done])

    async def _relieve(self) -> None:
        """Back-pressure: wait for the disk when too many snapshots wait for it."""
        if self.snapshots.backlog > self._limits.backlog_max:
            await self.snapshots.flush()

    def _check_running(self) -> None:
        if self._is_stopped:
            raise ActorStopped("the host is stopping")
