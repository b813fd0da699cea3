"""The folded state of one entity: features, what is still to come, what was taken back, what raised.

Plain synchronous code. ``fold`` takes the next event of the log in place or asks for a refold; ``read`` brings the
values up to a time. Values are computed when they are asked for and kept per view until an event touches the view
or its next change is reached.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Any

import msgspec

from eventstore.event import Event, NewEvent, Stream, order_key
from eventstore.snapshots import Snapshot
from eventstore.system import EVENT_RETRACTED, SYSTEM_ID_PREFIX
from kernel.errors import SnapshotCorrupt, SnapshotSchemaMismatch
from kernel.ids import Position
from projections.absence import AbsenceFold, AbsenceState
from projections.aggregators.runtime import BEFORE, NEVER
from projections.catalogue import Catalogue, Entities
from projections.companion import Companion, CompanionKind, Companions, is_first
from projections.poison import DeadLetter, tried
from projections.selection import Selection

#: Events folded between two prunings of what no window reaches.
_PRUNE_EVERY = 64

#: The next changes of an entity that nobody has read: shared, since most are only folded.
_UNREAD: list[int] = []


class _Saved(msgspec.Struct, array_like=True):
    """What a snapshot's ``state`` holds, as msgpack."""

    position: int
    floor_us: int
    folded_us: int
    has_outside_event: bool
    slots: list[Any]
    pending: list[tuple[int, int, str, str, int, int, bytes, str | None]]
    awaited: list[str]
    absences: tuple[AbsenceState, ...] | None
    old_news_us: int
    companions: dict[str, Any] = {}


class FoldedEntity:
    """A lead or a subject as of its newest event: implements what the actor host needs, and answers reads.

    Attributes
    ----------
    as_of_us : when the values were last computed; not after the read, not before the newest event they contain.
    floor_us : no read is earlier: the greatest ``recorded_us`` folded.
    answers : encoded answers that still hold, by whatever key their reader chose; emptied by every change.
    dead : events that raised, by version.
    awaited : ids that were retracted before their event came; None for none.
    companions : the further folds of the stream; None while it has none.
    """

    __slots__ = (
        "_absences",
        "_changes",
        "_dirty",
        "_first_us",
        "_kinds",
        "_pending",
        "_since_prune",
        "_soonest_us",
        "_values",
        "answers",
        "as_of_us",
        "awaited",
        "catalogue",
        "companions",
        "dead",
        "entities",
        "floor_us",
        "folded_us",
        "has_outside_event",
        "number",
        "old_news_us",
        "position",
        "state",
        "stream",
        "version",
    )

    def __init__(self, stream: Stream, number: int, catalogue: Catalogue, kinds: Sequence[CompanionKind] = ()) -> None:
        self.stream, self.number, self.catalogue = stream, number, catalogue
        self.companions: Companions | None = None
        self._kinds = kinds
        self.entities: Entities = catalogue.of_kind(stream.kind)
        self.version = 0
        self.position = Position(0)
        self.state = self.entities.compiled.new()
        self.has_outside_event = False
        self.as_of_us = self.floor_us = self.folded_us = self.old_news_us = BEFORE
        self.answers: dict[Any, Any] | None = None
        self.dead: dict[int, DeadLetter] | None = None
        self._pending: list[Event] | None = None
        self.awaited: set[str] | None = None
        self._absences: tuple[AbsenceState, ...] | None = None
        self._first_us: int | None = None  # what _first_absence_us said, until an absence changes
        self._values: list[tuple[Any, ...]] | None = None
        self._changes = _UNREAD
        self._soonest_us = BEFORE  # of _changes, while nothing is dirty
        self._dirty = -1
        self._since_prune = 0

    def fold(self, event: Event) -> bool:
        """Take the next event. False: it needs a refold, and this entity is of no further use."""
        self.version, self.position = event.version, event.position
        recorded_us = event.recorded_us
        if recorded_us > self.floor_us:
            self.floor_us = recorded_us
        if event.id[0] == SYSTEM_ID_PREFIX:
            self._accompany(event)
            self.fold_system(event)
            return True
        if self.companions is not None:
            self.companions.fold(event)
        self.has_outside_event = True
        if event.type == EVENT_RETRACTED:
            return False  # whether the id it names is in the state, only the log knows
        if self.awaited is not None and event.id in self.awaited:
            self.awaited.discard(event.id)
            return True
        if event.at_us > recorded_us:
            self.wait(event)
            return True
        if self._pending is not None:
            self._release(order_key(event))
        if self.dead is not None and any(letter.type == event.type for letter in self.dead.values()):
            return self._apply_carefully(event, False)
        return self.apply(event, False)

    def fold_by_time(self, events: Sequence[Event]) -> bool:
        """Take events in order of time instead of version, none of them the system's own. False as in ``fold``."""
        version, position = self.version, self.position
        for event in events:
            if not self.fold(event):
                return False
            if event.version > version:
                version, position = event.version, event.position
        self.version, self.position = version, position
        return True

    def fold_system(self, event: Event) -> None:
        """Note an effect of time that was written."""
        for index, absence in enumerate(self.catalogue.absences):
            if event.type == absence.absence.event_type:
                self.catalogue.event_types.payload_of(event)
                absence.written(self._absence(index), event)

    def _accompany(self, event: Event) -> None:
        """Let the companions take a system event, which may be the first one for some of them."""
        if self.companions is None and is_first(self._kinds, event):
            self.companions = Companions(self.stream, self._kinds)
        if self.companions is not None:
            self.companions.start(event, self.waiting, self.awaited or ())
            self.companions.fold(event)

    def companion(self, name: str) -> Companion | None:
        """The companion of that kind, if there is one."""
        return None if self.companions is None else self.companions.get(name)

    def _absence(self, index: int) -> AbsenceState:
        """What is kept for one of the catalogue's absences, to be changed; most leads need none for long."""
        self._first_us = None
        if self._absences is None:
            self._absences = tuple(AbsenceState() for _ in self.catalogue.absences)
        return self._absences[index]

    def apply(self, event: Event, is_ordered: bool) -> bool:
        """Fold one event whose time has come. False: too late for its place, or it raised."""
        at_us, recorded_us = event.at_us, event.recorded_us
        if recorded_us - at_us > self.catalogue.trigger_max_age_us and recorded_us > self.old_news_us:
            self.old_news_us = recorded_us
        step = self.entities.steps.get(event.type)
        if step is None:
            return True
        fold, decode, touched, absences = step
        try:
            payload = event.payload
            if payload is None:
                payload = event.payload = decode(event.data)
            if not fold(self.state, at_us, payload, is_ordered):
                return False
        except Exception:  # noqa: BLE001 - whatever a fold raises makes the event poison, not its lead: refold isolates it
            return False
        for index, absence in absences:
            if not absence.fold(self._absence(index), event, is_ordered=is_ordered):
                return False
        if at_us > self.folded_us:
            self.folded_us = at_us
        self._dirty |= touched
        self.answers = None
        self._since_prune += 1
        if self._since_prune >= _PRUNE_EVERY:
            self._since_prune = 0
            self.entities.compiled.prune(self.state, self.folded_us)
        return True

    def wait(self, event: Event) -> None:
        """Keep an event until its time has come."""
        if self._pending is None:
            self._pending = []
        insort(self._pending, event, key=order_key)
        self.answers = None

    def _apply_carefully(self, event: Event, is_ordered: bool) -> bool:
        """Fold an event that may raise: tried on a copy first, and left out whole when it does."""
        error = tried(self.entities, self.state, event)
        if error is None:
            return self.apply(event, is_ordered)
        self.dead = {**(self.dead or {}), event.version: error}
        return True

    def _release(self, before: tuple[int, str]) -> None:
        """Fold what waited for its time and now precedes ``before``.

        Everything folded so far precedes it, so its order is known, ties included.
        """
        pending = self._pending or []
        while pending and order_key(pending[0]) < before:
            self._apply_carefully(pending.pop(0), True)
        if not pending:
            self._pending = None

    @property
    def waiting(self) -> Sequence[Event]:
        """Events that are in the stream and whose time has not come, in order."""
        return self._pending or ()

    def reach(self, now_us: int) -> int:
        """Fold what waited until a time, or until the newest event if that is later; which of the two."""
        now_us = max(now_us, self.floor_us, self.folded_us)
        if self._pending is not None:
            self._release((now_us + 1, ""))
        return now_us

    def read(self, now_us: int) -> None:
        """Bring the values up to a time, or to the newest event if that is later."""
        now_us = self.reach(now_us)
        if not self._dirty and now_us < self._soonest_us:
            return
        compiled = self.entities.compiled
        if self._values is None:
            self._values, self._changes = [()] * len(compiled.view_names), [BEFORE] * len(compiled.view_names)
            self._dirty = -1
            self.as_of_us = now_us  # an entity may have no view at all
        for index, name in enumerate(compiled.view_names):
            if self._dirty >> index & 1 or now_us >= self._changes[index]:
                self._values[index], self._changes[index] = compiled.views[name](self.state, now_us)
                self.as_of_us = now_us
                self.answers = None
        self._dirty = 0
        self._soonest_us = min(self._changes, default=NEVER)

    def values(self, selection: Selection) -> list[Any]:
        """The values asked for, as of ``as_of_us``; after ``read``."""
        views = self._values
        if views is None:
            raise ValueError("read() comes first")
        if selection.is_everything:
            return [value for view in views for value in view]
        found: list[Any] = []
        for view, start, stop in selection.runs:
            found += views[view][start:stop]
        return found

    def next_change_us(self, selection: Selection) -> int | None:
        """The earliest instant at which one of them may change if nothing happens; None: never."""
        change = min((self._changes[view] for view in selection.views), default=NEVER)
        if self._pending is not None:
            change = min(change, self._pending[0].at_us)
        return None if change >= NEVER else change

    def is_fresh(self, now_us: int) -> bool:
        """Whether every value still holds at a time, so that ``answers`` may be sent."""
        if self._values is None or self._dirty:
            return False
        if self._pending is not None and self._pending[0].at_us <= now_us:
            return False
        return now_us < self._soonest_us

    def due_us(self) -> int | None:
        """The next instant at which an absence may be written, an event that waits may bring one, or a companion acts."""
        due_us = self._first_us
        if due_us is None:  # this is asked after each event, and most change nothing about absences
            due_us = self._first_us = self._first_absence_us()
        if due_us != NEVER:
            due_us = max(due_us, self.old_news_us + self.catalogue.absences[0].grace_us)  # one grace for all
        if self._pending is not None and self.stream.kind == "lead" and self.catalogue.absences:
            due_us = min(due_us, self._pending[0].at_us)
        if self.companions is not None and (at := self.companions.due_us()) is not None:
            due_us = min(due_us, at)
        return None if due_us == NEVER else due_us

    def _first_absence_us(self) -> int:
        """When the first absence may be written, if old news does not put it off; ``NEVER`` when nothing is awaited."""
        if self._absences is None:
            return NEVER
        return min(map(AbsenceFold.first_us, self.catalogue.absences, self._absences), default=NEVER)

    def effects(self, now_us: int) -> list[NewEvent]:
        """What to write now: absences, and what companions do. What waited for its time is folded first."""
        if self._pending is not None:
            self._release((now_us + 1, ""))
        absent = [
            event
            for absence, state in zip(self.catalogue.absences, self._absences or (), strict=False)
            for event in absence.due(state, self.old_news_us, self.stream, now_us)
        ]
        return absent if self.companions is None else absent + self.companions.effects(now_us)

    def written(self, events: Sequence[NewEvent]) -> None:
        """These effects stand in the log."""
        if self.companions is not None:
            self.companions.written(events)

    def is_dead(self, version: int) -> bool:
        return self.dead is not None and version in self.dead

    def dump(self) -> Snapshot:
        saved = _Saved(
            position=self.position,
            floor_us=self.floor_us,
            folded_us=self.folded_us,
            has_outside_event=self.has_outside_event,
            slots=self.entities.compiled.dump(self.state),
            pending=[
                (e.version, e.position, e.id, e.type, e.at_us, e.recorded_us, e.data, e.source)
                for e in self._pending or ()
            ],
            awaited=sorted(self.awaited or ()),
            absences=self._absences,
            old_news_us=self.old_news_us,
            companions={} if self.companions is None else self.companions.dump(),
        )
        return Snapshot(
            number=self.number,
            version=self.version,
            fingerprint=self.entities.compiled.fingerprint,
            state=_ENCODER.encode(saved),
            due_us=self.due_us(),
            dead=tuple(_ENCODER.encode(letter) for letter in (self.dead or {}).values()),
        )

    @classmethod
    def load(
        cls, stream: Stream, snapshot: Snapshot, catalogue: Catalogue, kinds: Sequence[CompanionKind] = ()
    ) -> FoldedEntity:
        """Raises ``SnapshotError``. Without ``kinds`` it has no companions, whatever it was saved with."""
        entity = cls(stream, snapshot.number, catalogue, kinds)
        if snapshot.fingerprint != entity.entities.compiled.fingerprint:
            raise SnapshotSchemaMismatch(f"{snapshot.fingerprint} is not {entity.entities.compiled.fingerprint}")
        try:
            saved = _DECODER.decode(snapshot.state)
            letters = [msgspec.msgpack.decode(each, type=DeadLetter) for each in snapshot.dead]
            entity.state = entity.entities.compiled.load(saved.slots)
            if saved.companions and kinds:
                entity.companions = Companions(stream, kinds)
                entity.companions.load(saved.companions)
        except (msgspec.MsgspecError, KeyError, ValueError, TypeError, OverflowError) as error:
            raise SnapshotCorrupt(str(error)) from error
        entity.version, entity.position = snapshot.version, Position(saved.position)
        entity.floor_us, entity.folded_us = saved.floor_us, saved.folded_us
        entity.has_outside_event = saved.has_outside_event
        entity.awaited = set(saved.awaited) or None
        entity._pending = [entity._event(*each) for each in saved.pending] or None
        if saved.absences is not None and len(saved.absences) != len(catalogue.absences):
            raise SnapshotSchemaMismatch("another set of absences")
        entity._absences, entity.old_news_us = saved.absences, saved.old_news_us
        entity.dead = {each.version: each for each in letters} or None
        return entity

    def _event(
        self, version: int, position: int, id: str, type: str, at: int, recorded: int, data: bytes, source: str | None
    ) -> Event:
        return Event(self.stream, self.number, version, Position(position), id, type, at, recorded, data, source)

    def copy(self) -> FoldedEntity:
        """An independent entity of equal state."""
        return FoldedEntity.load(self.stream, self.dump(), self.catalogue)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Saved)
