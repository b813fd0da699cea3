"""The past as expressions ask about it: which events belong to a signal, and which value of a field they carry.

The questions are answered by the fold's own source: a ``Sieve`` is a tiny catalogue, compiled by the same compiler,
that keeps of each event only the value it came with. So what counts here is what counts there.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from eventstore.event import Event
from eventstore.types import EventTypes
from kernel.steps import STEP_ITEMS, Steps, finish
from kernel.times import DAY_US
from projections.aggregators.base import Aggregate
from projections.catalogue import Entities
from projections.compiler import CompiledFold
from projections.expressions import Dtype, Operand
from projections.language import View
from projections.plan import Plan, ValueForm
from projections.signals import FieldLike, Signal
from projections.source import ViewWriter

T = TypeVar("T")

#: Events asked of a sieve in one step: a millisecond, where payloads have to be decoded first.
_STEP_EVENTS = 500


@dataclass(frozen=True)
class _Trace(Aggregate):
    """Keeps the value that the last event of a signal gave, in a tuple: null may be one."""

    signal: Signal
    field: FieldLike | None
    form: ValueForm

    @property
    def dtype(self) -> Dtype:
        return "list"

    def signals(self) -> tuple[Signal, ...]:
        return (self.signal,)

    def register(self, plan: Plan) -> str:
        slot = plan.slot("found", "plain", "None")
        plan.on(self.signal, lambda value="None": [f"{slot} = ({value},)"], field=self.field, form=self.form)
        return slot

    def emit(self, w: ViewWriter) -> Operand:
        return Operand(self.kept(w.plan), True)


class Sieve:
    """Tells whether an event belongs to a signal and gives a field, and which value.

    Attributes
    ----------
    types : the event types that it may let through.
    """

    def __init__(self, entities: Entities, signal: Signal, field: FieldLike | None, form: ValueForm) -> None:
        plan = entities.compiled.plan
        types = [t for t in plan.matching(signal) if field is None or plan.has_field(t, field)]
        view = View("sieve", "")
        view["found"] = _Trace(signal, field, form)
        compiled = CompiledFold(types, [view], plan.local_time)
        self.types = frozenset(compiled.fold)
        self._fold, self._state = compiled.fold, compiled.new()

    def value(self, event: Event, payload: Any) -> tuple[Any] | None:
        """The value in a tuple, or None for an event that does not count. About half a microsecond."""
        self._state.found = None
        self._fold[event.type](self._state, event.at_us, payload, True)
        found: tuple[Any] | None = self._state.found
        return found


class Sieves:
    """The sieves of one kind of entity, each compiled when first needed."""

    def __init__(self, entities: Entities, types: EventTypes) -> None:
        self.entities, self.event_types = entities, types
        self._made: dict[tuple[Signal, FieldLike | None, ValueForm], Sieve] = {}

    def of(self, signal: Signal, field: FieldLike | None, form: ValueForm) -> Sieve:
        key = (signal, field, form)
        if key not in self._made:
            self._made[key] = Sieve(self.entities, signal, field, form)
        return self._made[key]


class _NotSifted(Exception):
    """A question rests on a sieve that has not seen the events yet."""

    def __init__(self, sieve: Sieve) -> None:
        self.sieve = sieve


class Past:
    """The events that count for one entity as of a time.

    Whoever asks about a long past asks within ``politely``: sifting it is what takes long.

    Parameters
    ----------
    events : by (time, id), none later than ``at_us``, none on which the fold raises.
    """

    def __init__(self, sieves: Sieves, events: Sequence[Event], at_us: int) -> None:
        self.events, self.at_us = events, at_us
        self._sieves = sieves
        self._places: dict[str, list[int]] | None = None
        self._found: dict[Sieve, list[tuple[Event, Any]]] = {}
        self._is_polite = False

    def of(
        self,
        signal: Signal,
        field: FieldLike | None = None,
        *,
        form: ValueForm = "raw",
        window_us: int | None = None,
    ) -> list[Event]:
        """The events of a signal, of those only that give the field, in order; with a window, those within it."""
        return [event for event, _ in self.valued(signal, field, form, window_us=window_us)]

    def valued(
        self, signal: Signal, field: FieldLike | None, form: ValueForm, *, window_us: int | None = None
    ) -> list[tuple[Event, Any]]:
        """Likewise, each with the field's value as it enters the fold."""
        sieve = self._sieves.of(signal, field, form)
        found = self._found.get(sieve)
        if found is None:
            if self._is_polite:
                raise _NotSifted(sieve)
            found = finish(self._sifting(sieve))
        if window_us is None:
            return found
        return found[bisect_right(found, self.at_us - window_us, key=lambda pair: pair[0].at_us) :]

    @classmethod
    def happened(cls, sieves: Sieves, events: Sequence[Event], at_us: int, dead: Collection[int]) -> Steps["Past"]:
        """The past among events that go on after ``at_us``, without those of the versions in ``dead``."""
        until = bisect_right(events, at_us, key=lambda event: event.at_us)
        if not dead:
            return cls(sieves, events[:until], at_us)
        alive: list[Event] = []
        for start in range(0, until, STEP_ITEMS):
            part = events[start : min(until, start + STEP_ITEMS)]
            alive += [event for event in part if event.version not in dead]
            yield
        return cls(sieves, alive, at_us)

    def forgetting(self) -> Steps[None]:
        """Give back what was sifted, a sieve in each step: of a long past that takes its time, too."""
        while self._found:
            self._found.popitem()
            yield

    def politely(self, ask: Callable[[], Steps[T]]) -> Steps[T]:
        """What ``ask`` answers. Where it needs something sifted, that is done in steps, and it is asked anew."""
        while True:
            self._is_polite = True
            try:
                return (yield from ask())
            except _NotSifted as missing:
                sieve = missing.sieve
            finally:
                self._is_polite = False
            yield from self._sifting(sieve)

    def local_date(self) -> int:
        """The local date of ``at_us``, in days since 1970-01-01."""
        return self._sieves.entities.compiled.plan.local_time.local_us(self.at_us) // DAY_US

    def _sifting(self, sieve: Sieve) -> Steps[list[tuple[Event, Any]]]:
        payload_of = self._sieves.event_types.payload_of
        placed = yield from self._placing()
        places = sorted(place for name in sieve.types for place in placed.get(name, ()))
        found = []
        for start in range(0, len(places), _STEP_EVENTS):
            for place in places[start : start + _STEP_EVENTS]:
                event = self.events[place]
                value = sieve.value(event, payload_of(event))
                if value is not None:
                    found.append((event, value[0]))
            yield
        self._found[sieve] = found
        return found

    def _placing(self) -> Steps[dict[str, list[int]]]:
        """Where the events of each type stand."""
        if self._places is None:
            places: dict[str, list[int]] = {}
            for start in range(0, len(self.events), STEP_ITEMS):
                for place, event in enumerate(self.events[start : start + STEP_ITEMS], start):
                    places.setdefault(event.type, []).append(place)
                yield
            self._places = places
        return self._places
