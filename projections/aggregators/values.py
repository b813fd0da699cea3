"""Distributions of a field's values: least, greatest, quantiles, modes, and how many distinct ones."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from projections.aggregators.keys import Keys
from projections.aggregators.ordered import form_of, served
from projections.aggregators.series import Windowed, given, log_of
from projections.aggregators.sums import Totals
from projections.expressions import Dtype, Operand
from projections.plan import Plan, ValueForm
from projections.signals import HOUR, WEEKDAY, FieldLike, LocalField, field_name
from projections.source import ViewWriter, made
from projections.windows import Window


@dataclass(frozen=True)
class Extremum(Totals):
    """The least or the greatest value of a numeric field; over a window found by a scan of it."""

    which: Literal["min", "max"] = "min"

    def word(self) -> str:
        return f"{self.which}_{field_name(self.field)}"

    def register(self, plan: Plan) -> Any:
        if self.window_us is not None:
            return super().register(plan)
        slot = plan.slot(f"{self.slot_name()}_{self.which}", "plain", "None")
        sign = "<" if self.which == "min" else ">"
        plan.on(
            self.signal,
            lambda value: [f"if {slot} is None or {value} {sign} {slot}:", f"    {slot} = {value}"],
            field=self.field,
        )
        return slot

    def emit(self, w: ViewWriter) -> Operand:
        if self.window_us is None:
            slot = self.kept(w.plan)
            return Operand(w.named(f"{slot} / MICRO if {slot} is not None else None"), True)
        head, totals = self.head(w)
        code = f"{self.which}(entries({totals}, {head.start})) / MICRO if {head.count} else None"
        return Operand(w.named(code), True)


@dataclass(frozen=True)
class Quantile(Totals):
    """The q-quantile of a numeric field, linear between neighbours; the median is 0.5."""

    q: float = 0.5

    def word(self) -> str:
        which = "median" if self.q == 0.5 else f"quantile_{self.q:g}".replace(".", "_")
        return f"{which}_{field_name(self.field)}"

    def register(self, plan: Plan) -> Any:
        if self.window_us is not None:
            return super().register(plan)
        signal = given(plan, self.signal, self.field)
        return plan.build(("frequencies", signal, self.field), lambda: self._frequencies(plan))

    def _frequencies(self, plan: Plan) -> str:
        slot = plan.slot(f"{self.slot_name()}_counts", "dict", "None")
        plan.on(self.signal, lambda value: count_lines(slot, value), field=self.field)
        return slot

    def emit(self, w: ViewWriter) -> Operand:
        if self.window_us is None:
            return Operand(w.named(f"quantile({self.kept(w.plan)}, {self.q!r})"), True)
        head, totals = self.head(w)
        code = f"quantile(counted(entries({totals}, {head.start})), {self.q!r}) if {head.count} else None"
        return Operand(w.named(code), True)


def count_lines(slot: str, value: str) -> list[str]:
    """Lines that count a value in a dictionary slot."""
    return [*made("counts", slot, "{}"), f"counts[{value}] = counts.get({value}, 0) + 1"]


#: Fields of few small values are counted in an array: an eighth of a dictionary's memory. No lead has 2³² events.
_SIZES: dict[FieldLike, int] = {HOUR: 24, WEEKDAY: 7}


@dataclass(frozen=True)
class Mode(Windowed):
    """The most frequent value of a field, where given, a tie to the smaller one."""

    field: FieldLike = ""
    returns: Dtype = "string"

    @property
    def dtype(self) -> Dtype:
        return self.returns

    def word(self) -> str:
        return f"mode_{field_name(self.field)}"

    @property
    def _form(self) -> ValueForm:
        return form_of(self.field, self.returns)

    def register(self, plan: Plan) -> Any:
        plan.check_dtype(self.signal, self.field, self.returns)
        if self.window_us is not None:
            return log_of(plan, self.signal, self.field, self._form)
        slug = f"{self.signal.slug}_{field_name(self.field)}"
        slot = plan.slot(f"{slug}_counts", "tallies" if self.field in _SIZES else "dict", "None")
        plan.on(self.signal, lambda value: self._count_lines(slot, value), field=self.field, form=self._form)
        return slot

    def _count_lines(self, slot: str, value: str) -> list[str]:
        if self.field not in _SIZES:
            return count_lines(slot, value)
        return [*made("counts", slot, f'array("I", bytes({4 * _SIZES[self.field]}))'), f"counts[{value}] += 1"]

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if self.window_us is None and self.field in _SIZES:
            return Operand(w.named(f"{kept}.index(max({kept})) if {kept} is not None else None"), True)
        if self.window_us is None:
            return Operand(w.named(self._scaled(w, f"mode({kept})")), True)
        head = kept.head(w, self.window_us)
        values = f"{head.column(kept.values)}[{head.start}:]"
        return Operand(w.named(self._scaled(w, f"mode(counted({values})) if {head.count} else None")), True)

    def _scaled(self, w: ViewWriter, code: str) -> str:
        if self._form == "raw":
            return code
        value = w.named(code)
        return f"{served(value, self.returns, self._form)} if {value} is not None else None"


@dataclass(frozen=True)
class Distinct(Windowed):
    """How many different values of a field, where given; within a window each is in while its last event is."""

    field: str | LocalField = ""

    @property
    def dtype(self) -> Dtype:
        return "int"

    def word(self) -> str:
        return f"distinct_{field_name(self.field)}"

    def count(self) -> Self:
        """The same: a number says how many."""
        return self

    def having(self, other: Any) -> Keys:
        """How many of them other events (a lifetime's) name, too."""
        if self.window_us is not None:
            raise TypeError(f"having() is over a lifetime: {self.label()}")
        return Keys(self.field, (self.signal, getattr(other, "signal", other)))

    def within(self, window: Window) -> Self:
        return super().within(window)

    def register(self, plan: Plan) -> Any:
        if self.window_us is None:
            return Keys(self.field, (self.signal,)).kept(plan)
        kept = plan.build(("last_times", self.signal, self.field), lambda: _LastTimes(self, plan))
        kept.longest_us = max(kept.longest_us, self.window_us)
        return kept

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if self.window_us is None:
            return Operand(kept, False)
        return Operand(w.named(f"len({alive_times(w, kept.slot, self.window_us)})"), False)


def alive_times(w: ViewWriter, slot: str, window_us: int) -> str:
    """A local with the last times of the values that are within a window."""
    window = w.plan.duration(window_us)
    times = w.named(f"alive({slot}, at - {window})", f"{slot[2:]}_alive")
    w.changes_at(f"min({times}) + {window}", times)
    return times


class _LastTimes:
    """Value → time of its last event, pruned by the longest window that asks."""

    def __init__(self, of: Distinct, plan: Plan) -> None:
        self.slot = plan.slot(f"{of.signal.slug}_last_{field_name(of.field)}s", "dict", "None")
        self.longest_us = 0
        plan.on(of.signal, self._lines, field=of.field, form="raw" if isinstance(of.field, LocalField) else "key")
        plan.at_end(lambda: plan.prune(f"{self.slot} = pruned({self.slot}, at - {plan.duration(self.longest_us)})"))

    def _lines(self, value: str) -> list[str]:
        return [
            *made("latest", self.slot, "{}"),
            f"if at > latest.get({value}, BEFORE):",
            f"    latest[{value}] = at",
        ]
