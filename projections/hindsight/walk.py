"""A walk through an entity's past: its events folded once, in order, its values read wherever the walk stands.

Enters: the events that count, by (time, id). Leaves: values at rising times, equal to the bit to those of an entity
read at each of these times, and the instant of their next change. Reading ten thousand instants folds each event
once.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from eventstore.event import Event
from eventstore.types import EventTypes
from kernel.steps import Steps
from projections.aggregators.runtime import BEFORE, NEVER
from projections.compiler import CompiledFold

#: Events folded between two steps: about a millisecond.
_STEP_EVENTS = 256
#: Events folded between two prunings of what no window reaches.
_PRUNE_EVERY = 64


class Walk:
    """The state of one entity as of a time that only moves forward.

    Parameters
    ----------
    compiled : the fold of its kind, or one of fewer features.
    events : those that count, by (time, id); later ones than the walk ever reaches may be among them.
    picks : the values to read: (index of the view, index within it).
    dead : versions of events that are left out, since the fold raises on them.
    start : makes the state that the events follow; by default that of an entity without events.

    Attributes
    ----------
    dead : likewise, with those on which this fold raised.
    """

    def __init__(
        self,
        compiled: CompiledFold,
        types: EventTypes,
        events: Sequence[Event],
        picks: Sequence[tuple[int, int]],
        dead: Iterable[int] = (),
        start: Callable[[], Any] | None = None,
    ) -> None:
        self.dead = set(dead)
        self._start = compiled.new if start is None else start
        self._compiled, self._types, self._events, self._picks = compiled, types, events, picks
        self._views = sorted({view for view, _ in picks})
        self._names = {view: compiled.view_names[view] for view in self._views}
        self._careful: set[str] = set()
        self._state = self._start()
        self._place = 0
        self._values: dict[int, tuple[Any, ...]] = {}
        self._changes: dict[int, int] = dict.fromkeys(self._views, BEFORE)
        self._dirty = -1

    def advance(self, until_us: int) -> Steps[None]:
        """Fold what happened up to a time, included."""
        events = self._events
        while self._place < len(events) and events[self._place].at_us <= until_us:
            event = events[self._place]
            if event.version not in self.dead:
                yield from self._take(event)
            self._place += 1
            if self._place % _PRUNE_EVERY == 0:
                self._compiled.prune(self._state, event.at_us)
            if self._place % _STEP_EVENTS == 0:
                yield

    def values(self, at_us: int) -> list[Any]:
        """The values picked, as of a time that ``advance`` has reached."""
        for view in self._views:
            if self._dirty >> view & 1 or at_us >= self._changes[view]:
                self._values[view], self._changes[view] = self._compiled.views[self._names[view]](self._state, at_us)
        self._dirty = 0
        return [self._values[view][index] for view, index in self._picks]

    def next_change_us(self) -> int | None:
        """After ``values``: the earliest instant after theirs at which one may change; None: never."""
        change = min(self._changes.values(), default=NEVER)
        if self._place < len(self._events):
            change = min(change, self._events[self._place].at_us)
        return None if change >= NEVER else change

    def _take(self, event: Event) -> Steps[None]:
        fold = self._compiled.fold.get(event.type)
        if fold is None:
            return
        # A type that raised before is tried on a copy, so that many such events do not start the walk again each.
        state = self._copied() if event.type in self._careful else self._state
        try:
            fold(state, event.at_us, self._types.payload_of(event), True)
        except Exception:  # noqa: BLE001 - poison: left out whole, as every fold leaves it out, and in ``dead``
            self.dead.add(event.version)
            if state is self._state:
                self._careful.add(event.type)
                yield from self._start_again()
            return
        self._state = state
        self._dirty |= self._compiled.touched[event.type]

    def here(self) -> Callable[[], Any]:
        """Makes states equal to this one, for a walk that goes on from here."""
        kept = self._copied()
        return lambda: self._compiled.load(self._compiled.dump(kept))

    def _copied(self) -> Any:
        return self._compiled.load(self._compiled.dump(self._state))

    def _start_again(self) -> Steps[None]:
        """Fold anew what was folded before this place: whether the event that raised left a trace is not asked."""
        state = self._start()
        for place, event in enumerate(self._events[: self._place]):
            fold = self._compiled.fold.get(event.type)
            if fold is not None and event.version not in self.dead:
                fold(state, event.at_us, self._types.payload_of(event), True)
            if place % _STEP_EVENTS == _STEP_EVENTS - 1:
                yield
        self._state, self._dirty = state, -1
