"""Companions: further folds of a stream, beside its features, each made when the first event comes that it is about.

Enter: every event of the stream from the first one on whose type is among the kind's ``starters``, outside and system
ones alike, in order of version: what was recorded, when, decides, where features go by what happened, when. Leave:
effects, which the timer wheel appends to this stream or to others.

A companion's state is a function of its stream's events, apart from what ``written`` confirmed: losing that means
that effects are named once more, under the ids they had, and are duplicates. Most streams have no companion.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from eventstore.event import Event, NewEvent, Stream
from eventstore.retraction import effective, retracted_ids
from eventstore.system import is_system_id
from kernel.steps import Steps

#: Events folded in one step: a few milliseconds.
_STEP_EVENTS = 500


class Companion(Protocol):
    """One more fold of a stream. Plain synchronous code that never raises for what an event contains."""

    def fold(self, event: Event) -> None:
        """Take the stream's next event, by version."""

    def due_us(self) -> int | None:
        """The next instant at which time has an effect; None without one."""

    def effects(self, now_us: int) -> list[NewEvent]:
        """The events to append because of the time, to whatever stream. Their ids follow from their causes."""

    def written(self, events: Sequence[NewEvent]) -> None:
        """These effects stand in the log, or another event stands there under their id: they are over."""

    def dump(self) -> Any | None:
        """The state in values that msgpack knows; None when it is as if nothing had happened."""


class CompanionKind(Protocol):
    """Makes the companions of one kind.

    Attributes
    ----------
    name : in snapshots; another name means that the state cannot be read by older code.
    starters : types of system events; the first of them makes the companion.
    """

    name: str
    starters: frozenset[str]

    def new(self, stream: Stream, waiting: Sequence[Event], awaited: Iterable[str]) -> Companion:
        """A companion before its first event.

        ``waiting`` are earlier events whose time was still to come when the first one was recorded, in order of
        (time, id); ``awaited`` ids that earlier retractions name and that are not in the stream.
        """

    def load(self, stream: Stream, dumped: Any) -> Companion:
        """Raises ``ValueError`` or ``TypeError`` for a state that it cannot read."""


class Companions:
    """Those of one entity. ``kinds`` is shared by all entities; nothing else is kept while there is no companion."""

    __slots__ = ("_all", "_kinds", "_stream")

    def __init__(self, stream: Stream, kinds: Sequence[CompanionKind]) -> None:
        self._stream, self._kinds = stream, kinds
        self._all: dict[str, Companion] = {}

    def get(self, name: str) -> Companion | None:
        return self._all.get(name)

    def start(self, event: Event, waiting: Sequence[Event], awaited: Iterable[str]) -> None:
        """Make those that this event is the first one for; ``fold`` comes next."""
        for kind in self._kinds:
            if event.type in kind.starters and kind.name not in self._all:
                ahead = [each for each in waiting if each.at_us > event.recorded_us]
                self._all[kind.name] = kind.new(self._stream, ahead, awaited)

    def fold(self, event: Event) -> None:
        for each in self._all.values():
            each.fold(event)

    def due_us(self) -> int | None:
        due = [at for each in self._all.values() if (at := each.due_us()) is not None]
        return min(due, default=None)

    def effects(self, now_us: int) -> list[NewEvent]:
        return [event for each in self._all.values() for event in each.effects(now_us)]

    def written(self, events: Sequence[NewEvent]) -> None:
        for each in self._all.values():
            each.written(events)

    def dump(self) -> dict[str, Any]:
        dumped = {name: each.dump() for name, each in self._all.items()}
        return {name: state for name, state in dumped.items() if state is not None}

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Raises ``KeyError``, ``ValueError`` or ``TypeError`` when one of them cannot be read."""
        kinds = {kind.name: kind for kind in self._kinds}
        self._all = {name: kinds[name].load(self._stream, state) for name, state in dumped.items()}


def is_first(kinds: Sequence[CompanionKind], event: Event) -> bool:
    """Whether the event makes a companion, where there is none yet."""
    return is_system_id(event.id) and any(event.type in kind.starters for kind in kinds)


def accompanying(stream: Stream, kinds: Sequence[CompanionKind], events: Sequence[Event]) -> Steps[Companions | None]:
    """The companions of a whole stream, given by version, in steps; None when nothing has made one."""
    companions: Companions | None = None
    for place, event in enumerate(events):
        if place % _STEP_EVENTS == _STEP_EVENTS - 1:
            yield
        if is_first(kinds, event):
            companions = Companions(stream, kinds) if companions is None else companions
            companions.start(event, *_before(events[:place]))
        if companions is not None:
            companions.fold(event)
    return companions


def _before(events: Sequence[Event]) -> tuple[list[Event], set[str]]:
    """What a companion is told of the events before it: in order of time, and the ids that retractions await."""
    return effective(events).events, set(retracted_ids(events)) - {event.id for event in events}
