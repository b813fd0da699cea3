"""The feed of one org: its listeners, whom they want followed and for how long, and the worker behind it.

What is listened to is followed, and goes on being followed for as long as changes are kept: who comes back within that
time misses nothing.
"""

import asyncio
from collections.abc import Callable, Iterable

import msgspec
import structlog

from bandit.events import DECISION_MADE, DecisionMade, payload_of
from eventstore.event import Event
from gateway.feed.alert_entries import ALERT, ALERT_TYPES, alert_told
from gateway.feed.entries import DECISION, FEATURES, DecisionTold, Entry
from gateway.feed.following import Following
from gateway.feed.listener import Listener
from gateway.feed.ring import Ring
from kernel.clock import Clock
from kernel.errors import LeadwheelError
from kernel.settings import StreamSettings
from kernel.times import SECOND_US, format_time
from projections.changes import Change

_PAUSE_S = 1.0  # after the log could not be read
_TOLD_KEPT = 10_000

_log = structlog.get_logger(__name__)


class Followed(msgspec.Struct):
    """One lead, or all: since which entry, by how many listeners, and since when by none."""

    since: int
    listeners: int = 0
    left_us: int = 0


class OrgFeed:
    """Listeners and entries of one org.

    Parameters
    ----------
    make_following : makes the follower, which publishes here.
    on_over : called when the feed has ended on its own: nobody listened for a while, or its worker failed.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        settings: StreamSettings,
        make_following: Callable[["OrgFeed"], Following],
        on_over: Callable[["OrgFeed"], None],
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._on_over = on_over
        self._prefix = f"{clock.now_us():014x}-"
        self._ring = Ring(keep_s=settings.keep_s, keep_changes=settings.keep_changes)
        self._followed: dict[str | None, Followed] = {}
        self._listeners: dict[str | None, set[Listener]] = {}
        self.following = make_following(self)
        self.published = self.resets = 0
        self._told: dict[str, None] = {}
        self._tasks = [
            asyncio.create_task(self._run(), name="feed"),
            asyncio.create_task(self._tick(), name="feed-ticker"),
        ]

    @property
    def listeners(self) -> int:
        return sum(map(len, self._listeners.values()))

    def deliver(self, events: Iterable[Event]) -> None:
        """Note events of this org. Never waits."""
        self.following.deliver(events)
        if None in self._followed:
            for event in events:
                if event.stream.kind == "decision" and event.version == 1:
                    self._tell_once(event)

    # Listening.

    def listen(self, lead: str | None, names: frozenset[str] | None, last_id: str | None) -> tuple[Listener, bool]:
        """A new listener, and whether it has what it missed: false when ``last_id`` is too old, or of no entry."""
        settings = self._settings
        listener = Listener(
            lead=lead, names=names, waiting_max=settings.waiting_max, ring=self._ring, prefix=self._prefix
        )
        missed = [] if last_id is None else self._missed(lead, last_id)
        if missed:
            listener.resume(missed)
        self._listeners.setdefault(lead, set()).add(listener)
        followed = self._followed.get(lead)
        if followed is None:
            followed = self._followed[lead] = Followed(self._ring.last)
            if lead is None:
                self.following.follow_all()
            else:
                self.following.follow(lead)
        followed.listeners += 1
        self.resets += missed is None
        return listener, missed is not None

    def leave(self, listener: Listener) -> None:
        """The listener is gone; what it wanted is followed for a while longer."""
        listeners = self._listeners.get(listener.lead, set())
        if listener not in listeners:
            return
        listeners.discard(listener)
        if not listeners:
            del self._listeners[listener.lead]
        followed = self._followed[listener.lead]
        followed.listeners -= 1
        followed.left_us = self._clock.monotonic_us()
        self._limit()

    def _missed(self, lead: str | None, last_id: str) -> list[Entry] | None:
        """Entries after an id, if this feed gave it and the lead was followed ever since."""
        prefix, _, digits = last_id.rpartition("-")
        if f"{prefix}-" != self._prefix or len(digits) != 12:
            return None
        try:
            sequence = int(digits, 16)
        except ValueError:
            return None
        everything, alone = self._followed.get(None), self._followed.get(lead)
        if not any(each is not None and each.since <= sequence for each in (everything, alone)):
            return None
        self._ring.trim(self._clock.monotonic_us())
        return self._ring.after(sequence)

    # Publishing.

    def change(self, lead: str, change: Change) -> None:
        """Publish changed features of a lead."""
        self.publish(FEATURES, lead, change_told(lead, change), change)

    def tell(self, event: Event) -> None:
        """Publish what the system wrote about a lead, if it is of a kind that is told."""
        if event.type not in TOLD:
            return
        kind, telling = TOLD[event.type]
        try:
            lead, told = telling(event)
        except msgspec.MsgspecError:  # written by another version: it is not told, and nobody is reset for it
            return
        self.publish(kind, lead, told)

    def _tell_once(self, event: Event) -> None:
        """The same for one in a stream of its own, which may be delivered again."""
        if event.stream.id not in self._told:
            self._told[event.stream.id] = None
            if len(self._told) > _TOLD_KEPT:
                del self._told[next(iter(self._told))]
            self.tell(event)

    def publish(self, kind: str, lead: str | None, data: dict[str, object], change: Change | None = None) -> None:
        """Publish an entry of any kind, about a lead or about none."""
        moves = None if change is None else change.moves
        entry = Entry(self._ring.last + 1, kind, lead, data, moves, self._clock.monotonic_us())
        self._ring.append(entry)
        self.published += 1
        for wanted in dict.fromkeys((lead, None)):
            for listener in self._listeners.get(wanted, ()):
                self.resets += not listener.offer(entry)

    # Life.

    def close(self) -> None:
        """End all streams; listeners may resume elsewhere, or be reset there."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.close()

    async def stop(self) -> None:
        """End the worker, and all streams."""
        self.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.following.end()

    async def _tick(self) -> None:
        """Ring for the passing of time, and forget who left long ago."""
        while True:
            await self._clock.sleep(self._settings.tick_s)
            self._ring.trim(self._clock.monotonic_us())
            self._expire()
            if not self._followed:
                self._end()
                return
            self.following.bell.set()

    async def _run(self) -> None:
        following = self.following
        while True:
            await following.bell.wait()
            following.bell.clear()
            try:
                await following.work()
                if following.is_overrun:
                    raise OverflowError("too many events waited to be followed")
            except LeadwheelError as error:  # the log cannot be read now: what waits goes on waiting
                _log.warning("feed_waits", error=str(error))
                await self._clock.sleep(_PAUSE_S)
                following.bell.set()
            except Exception:  # noqa: BLE001 - a supervision boundary: counted, logged; everybody is told that something is missing
                _log.exception("feed_reset")
                self._begin_anew()
                return

    def _begin_anew(self) -> None:
        """Everybody is reset; the next listener finds a new feed."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.lose()
                self.resets += 1
        self._end()

    def _end(self) -> None:
        self._followed.clear()
        self.following.end()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
        self._on_over(self)

    def _expire(self) -> None:
        before_us = self._clock.monotonic_us() - round(self._settings.keep_s * SECOND_US)
        for lead, followed in list(self._followed.items()):
            if not followed.listeners and followed.left_us < before_us:
                self._drop(lead)

    def _limit(self) -> None:
        """Follow no more leads alone that nobody listens to than there may be listeners."""
        idle = [lead for lead, followed in self._followed.items() if lead is not None and not followed.listeners]
        for lead in sorted(idle, key=lambda each: self._followed[each].left_us)[: -self._settings.listeners_max]:
            self._drop(lead)

    def _drop(self, lead: str | None) -> None:
        del self._followed[lead]
        if lead is None:
            self.following.leave_all()
        else:
            self.following.leave(lead)


def change_told(lead: str, change: Change) -> dict[str, object]:
    """What is told of changed features beside the changes."""
    cause = "time" if change.cause is None else {"id": change.cause.id, "type": change.cause.type}
    return {"lead": lead, "at": format_time(change.at_us), "cause": cause}


def _decision(event: Event) -> tuple[str | None, dict[str, object]]:
    """A decision's lead, and what is told of it."""
    made: DecisionMade = payload_of(event)
    lead = event.stream.id if event.stream.kind == "lead" else None
    told = DecisionTold(
        lead=lead,
        at=format_time(event.at_us),
        decision_id=made.decision_id,
        policy=made.policy,
        policy_version=made.policy_version,
        model_version=made.model_version,
        arm=made.arm,
        probability=made.probability,
        reason=made.reason,
        deferred=made.deferred,
    )
    return lead, msgspec.to_builtins(told)


#: Type → the kind of its entries, and who makes their data: what is told besides changes of features.
TOLD: dict[str, tuple[str, Callable[[Event], tuple[str | None, dict[str, object]]]]] = {
    DECISION_MADE: (DECISION, _decision),
    **dict.fromkeys(ALERT_TYPES, (ALERT, alert_told)),
}
