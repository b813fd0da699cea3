"""First and latest: instants, and the values that came with them.

Order among events of one time is by id, which the state does not keep: such a tie is folded in place only when the
caller knows the order (a refold), else it asks for one.
"""

from dataclasses import dataclass, replace
from typing import Any

from projections.aggregators.base import Aggregate
from projections.aggregators.series import Log, Windowed, log_of, series_of
from projections.expressions import Dtype, Operand
from projections.instants import Instant
from projections.plan import Plan, ValueForm
from projections.signals import FieldLike, LocalField, Signal, field_name
from projections.source import ViewWriter
from projections.windows import Window, length_name


@dataclass(frozen=True)
class Edge(Instant):
    """Shared parts of the first and the last time, over a lifetime or a window."""

    signal: Signal
    window_us: int | None = None

    def signals(self) -> tuple[Signal, ...]:
        return (self.signal,)

    def windows_us(self) -> tuple[int, ...]:
        return () if self.window_us is None else (self.window_us,)

    def within(self, window: Window) -> "Edge":
        return replace(self, window_us=window.us)


@dataclass(frozen=True)
class LastTime(Edge):
    """When the last event of a signal happened."""

    def label(self) -> str:
        return f"{self.signal.slug}_days_since_last"

    def emit_instant(self, w: ViewWriter) -> str:
        slot = self.register(w.plan)
        if self.window_us is None:
            return w.named(f"{slot} if {slot} != BEFORE else None", f"{slot[2:]}_at")
        window = w.plan.duration(self.window_us)
        at = w.named(f"{slot} if {slot} > at - {window} else None", f"{slot[2:]}_in_{length_name(self.window_us)}")
        w.changes_at(f"{at} + {window}", f"{at} is not None")
        return at

    def register(self, plan: Plan) -> str:
        def make() -> str:
            slot = plan.slot(f"last_{self.signal.slug}", "int", "BEFORE")
            plan.on(self.signal, lambda: [f"if at > {slot}:", f"    {slot} = at"])
            return slot

        slot: str = plan.build(("last_time", self.signal), make)
        return slot


@dataclass(frozen=True)
class FirstTime(Edge):
    """When the first event of a signal happened."""

    def label(self) -> str:
        return f"{self.signal.slug}_days_since_first"

    def emit_instant(self, w: ViewWriter) -> str:
        if self.window_us is not None:
            head = series_of(w.plan, self.signal).head(w, self.window_us)
            name = f"first_{self.signal.slug}_in_{length_name(self.window_us)}"
            return w.named(f"{head.times}[{head.start}] if {head.count} else None", name)
        slot = self.register(w.plan)
        return w.named(f"{slot} if {slot} != NEVER else None", f"{slot[2:]}_at")

    def register(self, plan: Plan) -> str:
        def make() -> str:
            slot = plan.slot(f"first_{self.signal.slug}", "int", "NEVER")
            plan.on(self.signal, lambda: [f"if at < {slot}:", f"    {slot} = at"])
            return slot

        slot: str = plan.build(("first_time", self.signal), make)
        return slot


@dataclass(frozen=True)
class Source:
    """Events of a signal, and the field of theirs that carries the value."""

    signal: Signal
    field: FieldLike


def form_of(field: FieldLike, returns: Dtype) -> ValueForm:
    """How a value enters the fold that is served as this type: a payload's numbers in millionths."""
    return "micro" if returns in ("int", "float") and not isinstance(field, LocalField) else "raw"


def served(value: str, returns: Dtype, form: ValueForm) -> str:
    """Source of a kept value, not None, as it is served."""
    if form == "micro":
        return f"{value} {'//' if returns == 'int' else '/'} MICRO"
    return f"list({value})" if returns == "list" else value


@dataclass(frozen=True)
class Carried(Aggregate):
    """The value on the first or the latest event that carries one, over one or several sources.

    A field whose null clears counts as carried when it is null. Where ``is_strict`` it is the first or the latest
    event of all, and null if that one carries no value.
    """

    sources: tuple[Source, ...]
    returns: Dtype
    is_first: bool = False
    is_strict: bool = False
    window_us: int | None = None

    @property
    def dtype(self) -> Dtype:
        return self.returns

    def signals(self) -> tuple[Signal, ...]:
        return tuple(each.signal for each in self.sources)

    def windows_us(self) -> tuple[int, ...]:
        return () if self.window_us is None else (self.window_us,)

    def label(self) -> str:
        head = self.sources[0]
        which = "first" if self.is_first else "last" if self.is_strict else "latest"
        name = f"{head.signal.slug}_{which}_{field_name(head.field)}"
        return name if self.window_us is None else f"{name}_{length_name(self.window_us)}"

    def within(self, window: Window) -> "Carried":
        if self.window_us is not None:
            raise TypeError(f"{self.label()} has a window already, and cannot have {window}, too")
        if self.is_first and len(self.sources) > 1:
            raise TypeError("the first value of several sources is over a lifetime")
        return replace(self, window_us=window.us)

    def register(self, plan: Plan) -> Any:
        if self.is_first and self.window_us is not None:
            (only,) = self.sources
            plan.check_dtype(only.signal, only.field, self.returns)
            log = log_of(plan, only.signal, only.field, form_of(only.field, self.returns))
            log.order(only.signal)
            return log
        # The latest within a window is the latest of all, while that is within it: the slots are a lifetime's.
        return plan.build(replace(self, window_us=None), lambda: self._slots(plan))

    def _slots(self, plan: Plan) -> tuple[str, str]:
        head = self.sources[0]
        which = "first" if self.is_first else "last" if self.is_strict else "latest"
        wish = f"{which}_{field_name(head.field)}"
        value = plan.slot(wish, "plain", "None")
        at = plan.slot(f"{wish}_at", "int", "NEVER" if self.is_first else "BEFORE")
        test = f"at < {at}" if self.is_first else f"at >= {at}"
        for each in self.sources:
            plan.check_dtype(each.signal, each.field, self.returns)
            plan.on(
                each.signal,
                lambda new: [f"if {test}:", f"    {value} = {_frozen(self.returns, new)}", f"    {at} = at"],
                field=each.field,
                form=form_of(each.field, self.returns),
                guard=f"at == {at}",
                missing="none" if self.is_strict else "clears",
            )
        return value, at

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if isinstance(kept, Log):
            head = kept.head(w, self.window_us or 0)
            value = w.named(f"{head.column(kept.values)}[{head.start}] if {head.count} else None")
        else:
            value, at = kept
            if self.window_us is not None:
                window = w.plan.duration(self.window_us)
                w.changes_at(f"{at} + {window}", f"{at} > at - {window}")
                value = w.named(f"{value} if {at} > at - {window} else None")
        shown = served(value, self.returns, form_of(self.sources[0].field, self.returns))
        return Operand(value if shown == value else w.named(f"{shown} if {value} is not None else None"), True)


def _frozen(returns: Dtype, code: str) -> str:
    return f"tuple({code}) if {code} is not None else None" if returns == "list" else code


def latest(returns: Dtype, *sources: tuple[Signal, FieldLike]) -> Carried:
    """The value on the latest event that carries one."""
    return Carried(tuple(Source(*each) for each in sources), returns)


def first(returns: Dtype, *sources: tuple[Signal, FieldLike]) -> Carried:
    """The value on the first event that carries one."""
    return Carried(tuple(Source(*each) for each in sources), returns, is_first=True)


@dataclass(frozen=True)
class Recent(Windowed):
    """The values of the last n (or the first n) events that carry one, oldest first; null without any."""

    field: FieldLike = ""
    n: int = 1
    of: Dtype = "string"
    is_first: bool = False

    @property
    def dtype(self) -> Dtype:
        return "list"

    def word(self) -> str:
        return f"{'first' if self.is_first else 'last'}_{self.n}_{field_name(self.field)}"

    def register(self, plan: Plan) -> Any:
        form = form_of(self.field, self.of)
        plan.check_dtype(self.signal, self.field, self.of)
        if self.window_us is not None:
            log = log_of(plan, self.signal, self.field, form)
            log.order(self.signal)
            return log
        wish = f"{self.signal.slug}_{self.word()}"
        values, at = plan.slot(wish, "list", "None"), plan.slot(f"{wish}_at", "int", "BEFORE")
        plan.on(
            self.signal, lambda value: self._lines(values, at, value), field=self.field, form=form, guard=f"at <= {at}"
        )
        return values

    def _lines(self, values: str, at: str, value: str) -> list[str]:
        return recent_lines(values, at, value, self.n, is_first=self.is_first)

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if self.window_us is None:
            return Operand(w.named(f"{self._served(kept)} if {kept} is not None else None"), True)
        head = kept.head(w, self.window_us)
        values = head.column(kept.values)
        span = f"[{head.start}:{head.start} + {self.n}]" if self.is_first else f"[{head.start}:][-{self.n}:]"
        return Operand(w.named(f"{self._served(values + span)} if {head.count} else None"), True)

    def _served(self, values: str) -> str:
        shown = served("x", self.of, form_of(self.field, self.of))
        return f"list({values})" if shown == "x" else f"[{shown} for x in {values}]"


def recent_lines(values: str, at: str, value: str, n: int, *, is_first: bool = False) -> list[str]:
    """Lines that keep the first or the last n values, of events that come in order."""
    last = ["recent.append(" + value + ")", f"if len(recent) > {n}:", "    del recent[0]"]
    first = [f"if len(recent) < {n}:", f"    recent.append({value})"]
    return [
        f"recent = {values}",
        "if recent is None:",
        f"    recent = {values} = []",
        *(first if is_first else last),
        f"{at} = at",
    ]


@dataclass(frozen=True)
class Favourite:
    """The most frequent value of a field among the last n events of a signal, a tie to the one seen latest.

    ``share`` is its share of those, ``mean`` the lifetime mean of another field over the signal's events with it.
    """

    signal: Signal
    field: str
    n: int

    def share(self) -> "FavouriteShare":
        return FavouriteShare(self)

    def mean(self, rated: str) -> "FavouriteMean":
        return FavouriteMean(self, rated)

    def slot(self, plan: Plan) -> str:
        def make() -> str:
            wish = f"last_{self.n}_{self.field}s"
            recent, at = plan.slot(wish, "list", "None"), plan.slot(f"{wish}_at", "int", "BEFORE")
            plan.on(
                self.signal,
                lambda key: recent_lines(recent, at, key, self.n),
                field=self.field,
                form="key",
                guard=f"at <= {at}",
            )
            return recent

        slot: str = plan.build(self, make)
        return slot


@dataclass(frozen=True)
class FavouriteShare(Aggregate):
    """Share of the favourite among the last n."""

    favourite: Favourite

    @property
    def dtype(self) -> Dtype:
        return "float"

    def signals(self) -> tuple[Signal, ...]:
        return (self.favourite.signal,)

    def register(self, plan: Plan) -> Any:
        return self.favourite.slot(plan)

    def emit(self, w: ViewWriter) -> Operand:
        recent = self.kept(w.plan)
        key = w.named(f"favourite({recent} or ())", "favourite_key")
        return Operand(w.named(f"{recent}.count({key}) / len({recent}) if {recent} else None"), True)


@dataclass(frozen=True)
class FavouriteMean(Aggregate):
    """Lifetime mean of a field over the events with the favourite."""

    favourite: Favourite
    rated: str

    @property
    def dtype(self) -> Dtype:
        return "float"

    def signals(self) -> tuple[Signal, ...]:
        return (self.favourite.signal,)

    def register(self, plan: Plan) -> tuple[str, str, str]:
        own = self.favourite
        wish = f"{self.rated}_by_{own.field}"
        totals, counts = plan.slot(f"{wish}_totals", "dict", "None"), plan.slot(f"{wish}_counts", "dict", "None")
        for event_type in plan.matching(own.signal):
            writer = plan.folds[event_type.name]
            key, has_key = plan.value(writer, event_type, own.field, "key")
            value, is_rated = plan.value(writer, event_type, self.rated, "micro")
            conditions = plan.conditions(writer, event_type, own.signal.conditions)
            writer.update(
                tuple(dict.fromkeys((*conditions, *(test for test in (has_key, is_rated) if test)))),
                [
                    f"totals, counts = {totals}, {counts}",
                    "if totals is None:",
                    f"    totals = {totals} = {{}}",
                    f"    counts = {counts} = {{}}",
                    f"totals[{key}] = totals.get({key}, 0) + {value}",
                    f"counts[{key}] = counts.get({key}, 0) + 1",
                ],
            )
        return own.slot(plan), totals, counts

    def emit(self, w: ViewWriter) -> Operand:
        recent, totals, counts = self.kept(w.plan)
        key = w.named(f"favourite({recent} or ())", "favourite_key")
        code = f"{totals}[{key}] / ({counts}[{key}] * MICRO) if {totals} is not None and {key} in {totals} else None"
        return Operand(w.named(code), True)
