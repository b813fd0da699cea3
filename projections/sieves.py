"""The past as expressions ask about it: which events belong to a signal, and which value of a field they carry.

The questions are answered by the fold's own source: a ``Sieve`` is a tiny catalogue, compiled by the same compiler,
that keeps of each event only the value it came with. So what counts here is what counts there.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eventstore.event import Event
from eventstore.types import EventTypes
from kernel.times import DAY_US
from projections.aggregators.base import Aggregate
from projections.catalogue import Entities
from projections.compiler import CompiledFold
from projections.expressions import Dtype, Operand
from projections.language import View
from projections.plan import Plan, ValueForm
from projections.signals import FieldLike, Signal
from projections.source import ViewWriter


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


class Past:
    """The events that count for one entity as of a time.

    Parameters
    ----------
    events : by (time, id), none later than ``at_us``, none on which the fold raises.
    """

    def __init__(self, sieves: Sieves, events: Sequence[Event], at_us: int) -> None:
        self.events, self.at_us = events, at_us
        self._sieves = sieves
        self._places: dict[str, list[int]] = {}
        for place, event in enumerate(events):
            self._places.setdefault(event.type, []).append(place)
        self._found: dict[Sieve, list[tuple[Event, Any]]] = {}

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
            found = self._found[sieve] = self._sifted(sieve)
        if window_us is None:
            return found
        return found[bisect_right(found, self.at_us - window_us, key=lambda pair: pair[0].at_us) :]

    def local_date(self) -> int:
        """The local date of ``at_us``, in days since 1970-01-01."""
        return self._sieves.entities.compiled.plan.local_time.local_us(self.at_us) // DAY_US

    def _sifted(self, sieve: Sieve) -> list[tuple[Event, Any]]:
        payload_of = self._sieves.event_types.payload_of
        found = []
        for place in sorted(place for name in sieve.types for place in self._places.get(name, ())):
            event = self.events[place]
            value = sieve.value(event, payload_of(event))
            if value is not None:
                found.append((event, value[0]))
        return found
