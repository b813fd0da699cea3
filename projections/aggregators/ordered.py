"""First and latest: instants, and the values that came with them.

Order among events of one time is by id, which the state does not keep: such a tie is folded in place only when the
caller knows the order (a refold), else it asks for one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from projections.aggregators.base import Aggregate
from projections.expressions import Dtype, Instant, Operand
from projections.plan import Plan
from projections.signals import Computed, FieldLike, LocalField, Signal
from projections.source import ViewWriter


@dataclass(frozen=True)
class LastTime(Instant):
    """When the last event of a signal happened."""

    signal: Signal

    def signals(self) -> tuple[Signal, ...]:
        return (self.signal,)

    def emit_instant(self, w: ViewWriter) -> str:
        slot = self.register(w.plan)
        return w.named(f"{slot} if {slot} != BEFORE else None", f"{slot[2:]}_at")

    def register(self, plan: Plan) -> str:
        def make() -> str:
            slot = plan.slot(f"last_{plan.slug(self.signal)}", "int", "BEFORE")
            plan.on(self.signal, lambda: [f"if at > {slot}:", f"    {slot} = at"])
            return slot

        slot: str = plan.build(self, make)
        return slot


@dataclass(frozen=True)
class FirstTime(Instant):
    """When the first event of a signal happened."""

    signal: Signal

    def signals(self) -> tuple[Signal, ...]:
        return (self.signal,)

    def emit_instant(self, w: ViewWriter) -> str:
        slot = self.register(w.plan)
        return w.named(f"{slot} if {slot} != NEVER else None", f"{slot[2:]}_at")

    def register(self, plan: Plan) -> str:
        def make() -> str:
            slot = plan.slot(f"first_{plan.slug(self.signal)}", "int", "NEVER")
            plan.on(self.signal, lambda: [f"if at < {slot}:", f"    {slot} = at"])
            return slot

        slot: str = plan.build(self, make)
        return slot


@dataclass(frozen=True)
class Source:
    """Events of a signal, and the field of theirs that carries the value."""

    signal: Signal
    field: FieldLike


@dataclass(frozen=True)
class Carried(Aggregate):
    """The value on the first or the latest event that carries one, over one or several sources.

    ``form`` ``micro`` gives a number as a float, ``raw`` the value as it is. A field whose null clears counts as
    carried when it is null.
    """

    sources: tuple[Source, ...]
    returns: Dtype
    is_first: bool = False

    @property
    def dtype(self) -> Dtype:
        return self.returns

    def signals(self) -> tuple[Signal, ...]:
        return tuple(each.signal for each in self.sources)

    def register(self, plan: Plan) -> tuple[str, str]:
        head = self.sources[0]
        name = head.field if isinstance(head.field, str) else head.field.name
        wish = f"{'first' if self.is_first else 'latest'}_{name.replace('.', '_')}"
        value, at = (
            plan.slot(wish, "plain", "None"),
            plan.slot(f"{wish}_at", "int", "NEVER" if self.is_first else "BEFORE"),
        )
        test = f"at < {at}" if self.is_first else f"at >= {at}"
        for each in self.sources:
            plan.on(
                each.signal,
                lambda new: [f"if {test}:", f"    {value} = {_frozen(self.returns, new)}", f"    {at} = at"],
                field=each.field,
                form="micro" if self.returns == "float" else "raw",
                guard=f"at == {at}",
            )
        return value, at

    def emit(self, w: ViewWriter) -> Operand:
        value, _ = self.kept(w.plan)
        if self.returns == "float":
            return Operand(w.named(f"{value} / MICRO if {value} is not None else None"), True)
        if self.returns == "list":
            return Operand(w.named(f"list({value}) if {value} is not None else None"), True)
        return Operand(value, True)


def _frozen(returns: Dtype, code: str) -> str:
    return f"tuple({code})" if returns == "list" else code


def latest(returns: Dtype, *sources: tuple[Signal, FieldLike]) -> Carried:
    """The value on the latest event that carries one."""
    return Carried(tuple(Source(*each) for each in sources), returns)


def first(returns: Dtype, *sources: tuple[Signal, FieldLike]) -> Carried:
    """The value on the first event that carries one."""
    return Carried(tuple(Source(*each) for each in sources), returns, is_first=True)


@dataclass(frozen=True)
class Recent(Aggregate):
    """The values of the last n (or the first n) events that carry one, oldest first."""

    signal: Signal
    field: FieldLike
    n: int
    is_first: bool = False

    @property
    def dtype(self) -> Dtype:
        return "list"

    def signals(self) -> tuple[Signal, ...]:
        return (self.signal,)

    def register(self, plan: Plan) -> tuple[str, bool]:
        name = self.field if isinstance(self.field, str) else self.field.name
        wish = f"{'first' if self.is_first else 'last'}_{self.n}_{name}"
        values, at = plan.slot(wish, "list", "None"), plan.slot(f"{wish}_at", "int", "BEFORE")
        numeric = self._is_numeric(plan)
        plan.on(
            self.signal,
            self._lines(values, at),
            field=self.field,
            form="micro" if numeric else "raw",
            guard=f"at <= {at}",
        )
        return values, numeric

    def _is_numeric(self, plan: Plan) -> bool:
        if isinstance(self.field, LocalField):
            return False
        if isinstance(self.field, Computed):
            return self.field.returns in (int, float)
        name = self.field
        return all(plan.info(t, name).kind in ("number", "amount") for t in plan.matching(self.signal))

    def _lines(self, values: str, at: str) -> Callable[[str], list[str]]:
        def lines(value: str) -> list[str]:
            keep = (
                [f"if len({values}) < {self.n}:", f"    {values}.append({value})"]
                if self.is_first
                else [f"{values}.append({value})", f"if len({values}) > {self.n}:", f"    del {values}[0]"]
            )
            return [f"{at} = at", f"if {values} is None:", f"    {values} = []", *keep]

        return lines

    def emit(self, w: ViewWriter) -> Operand:
        values, numeric = self.kept(w.plan)
        items = f"[x / MICRO for x in {values}]" if numeric else f"list({values})"
        return Operand(w.named(f"{items} if {values} is not None else None"), True)


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
            wish = f"last_{self.n}_{self.field}"
            recent, at = plan.slot(wish, "list", "None"), plan.slot(f"{wish}_at", "int", "BEFORE")
            plan.on(
                self.signal, lambda key: self._lines(recent, at, key), field=self.field, form="key", guard=f"at <= {at}"
            )
            return recent

        slot: str = plan.build(self, make)
        return slot

    def _lines(self, recent: str, at: str, key: str) -> list[str]:
        return [
            f"{at} = at",
            f"if {recent} is None:",
            f"    {recent} = []",
            f"{recent}.append({key})",
            f"if len({recent}) > {self.n}:",
            f"    del {recent}[0]",
        ]


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
            key, _ = plan.value(writer, event_type, own.field, "key")
            value, is_given = plan.value(writer, event_type, self.rated, "micro")
            conditions = plan.conditions(writer, event_type, own.signal.conditions)
            writer.update(
                (*conditions, *([is_given] if is_given else [])),
                [
                    f"if {totals} is None:",
                    f"    {totals}, {counts} = {{}}, {{}}",
                    f"{totals}[{key}] = {totals}.get({key}, 0) + {value}",
                    f"{counts}[{key}] = {counts}.get({key}, 0) + 1",
                ],
            )
        return own.slot(plan), totals, counts

    def emit(self, w: ViewWriter) -> Operand:
        recent, totals, counts = self.kept(w.plan)
        key = w.named(f"favourite({recent} or ())", "favourite_key")
        code = f"{totals}[{key}] / ({counts}[{key}] * MICRO) if {totals} is not None and {key} in {totals} else None"
        return Operand(w.named(code), True)
