"""Distributions of a field's values: least, greatest, quantiles, modes, and how many distinct ones."""

from dataclasses import dataclass
from typing import Any, Literal

from projections.aggregators.series import given
from projections.aggregators.sums import Totals, Windowed
from projections.expressions import Dtype, Operand
from projections.plan import Plan
from projections.signals import HOUR, WEEKDAY, FieldLike, LocalField
from projections.source import ViewWriter


@dataclass(frozen=True)
class Extremum(Totals):
    """The least or the greatest value of a numeric field; over a window found by a scan of it."""

    which: Literal["min", "max"] = "min"

    def register(self, plan: Plan) -> Any:
        if self.window_us is not None:
            return super().register(plan)
        name = self.field if isinstance(self.field, str) else self.field.name
        slot = plan.slot(f"{plan.slug(self.signal)}_{name}_{self.which}", "plain", "None")
        sign = "<" if self.which == "min" else ">"
        plan.on(
            self.signal,
            lambda value: [f"if {slot} is None or {value} {sign} {slot}:", f"    {slot} = {value}"],
            field=self.field,
        )
        return slot

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if self.window_us is None:
            return Operand(w.named(f"{kept} / MICRO if {kept} is not None else None"), True)
        head, count = kept.head(w, self.window_us)
        code = f"{self.which}(entries({kept.column(self.field)}, {head})) / MICRO if {count} else None"
        return Operand(w.named(code), True)


@dataclass(frozen=True)
class Quantile(Totals):
    """The q-quantile of a numeric field, linear between neighbours; the median is 0.5."""

    q: float = 0.5

    def register(self, plan: Plan) -> Any:
        if self.window_us is not None:
            return super().register(plan)
        signal = given(plan, self.signal, self.field)
        return plan.build(("frequencies", signal, self.field), lambda: self._frequencies(plan))

    def _frequencies(self, plan: Plan) -> str:
        name = self.field if isinstance(self.field, str) else self.field.name
        slot = plan.slot(f"{plan.slug(self.signal)}_{name}_frequencies", "dict", "None")
        plan.on(self.signal, lambda value: count_lines(slot, value), field=self.field)
        return slot

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if self.window_us is None:
            return Operand(w.named(f"quantile({kept}, {self.q!r})"), True)
        head, count = kept.head(w, self.window_us)
        code = f"quantile(counted(entries({kept.column(self.field)}, {head})), {self.q!r}) if {count} else None"
        return Operand(w.named(code), True)


def count_lines(slot: str, value: str) -> list[str]:
    """Lines that count a value in a dictionary slot."""
    return [
        f"if {slot} is None:",
        f"    {slot} = {{}}",
        f"{slot}[{value}] = {slot}.get({value}, 0) + 1",
    ]


#: Fields of few small values are counted in an array: a quarter of a dictionary's memory.
_SIZES: dict[FieldLike, int] = {HOUR: 24, WEEKDAY: 7}


@dataclass(frozen=True)
class Mode(Windowed):
    """The most frequent value, a tie to the smaller one."""

    field: FieldLike = ""

    @property
    def dtype(self) -> Dtype:
        return "int" if isinstance(self.field, LocalField) and self.field.name != "type" else "string"

    def register(self, plan: Plan) -> Any:
        name = self.field if isinstance(self.field, str) else self.field.name
        wish = f"{plan.slug(self.signal)}_{name}"
        if self.window_us is None:
            slot = plan.slot(f"{wish}_frequencies", "array" if self.field in _SIZES else "dict", "None")
            plan.on(self.signal, lambda value: self._count_lines(slot, value), field=self.field, form="raw")
            return slot
        times, values = plan.slot(f"{wish}_times", "array", "None"), plan.slot(f"{wish}_values", "list", "None")
        plan.on(self.signal, lambda value: _value_lines(times, values, value), field=self.field, form="raw")
        plan.prune(
            f"if {times} is not None:",
            f"    dropped = bisect_right({times}, at - {self.window_us})",
            "    if dropped:",
            f"        del {times}[:dropped]",
            f"        del {values}[:dropped]",
            f"        if not {times}:",
            f"            {times} = {values} = None",
        )
        return times, values

    def _count_lines(self, slot: str, value: str) -> list[str]:
        if self.field not in _SIZES:
            return count_lines(slot, value)
        return [
            f"if {slot} is None:",
            f'    {slot} = array("q", bytes({8 * _SIZES[self.field]}))',
            f"{slot}[{value}] += 1",
        ]

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if self.window_us is None and self.field in _SIZES:
            return Operand(w.named(f"{kept}.index(max({kept})) if {kept} is not None else None"), True)
        if self.window_us is None:
            return Operand(w.named(f"mode({kept})"), True)
        times, values = kept
        head = w.fresh(f"{times[2:]}_from")
        w.line(f"{head} = bisect_right({times}, at - {self.window_us}) if {times} is not None else None")
        w.line(f"if {head} is not None and {head} < len({times}) and {times}[{head}] + {self.window_us} < change:")
        w.line(f"    change = {times}[{head}] + {self.window_us}")
        return Operand(w.named(f"mode(counted({values}[{head}:])) if {head} is not None else None"), True)


def _value_lines(times: str, values: str, value: str) -> list[str]:
    return [
        f"if {times} is None:",
        f'    {times} = array("q", (at,))',
        f"    {values} = [{value}]",
        f"elif at >= {times}[-1]:",
        f"    {times}.append(at)",
        f"    {values}.append({value})",
        "else:",
        f"    {values}.insert(insert_time({times}, at), {value})",
    ]


@dataclass(frozen=True)
class Distinct(Windowed):
    """How many different values within a window: each is in while its last event is (lifetime: ``keys.Keys``)."""

    field: FieldLike = ""

    @property
    def dtype(self) -> Dtype:
        return "int"

    def register(self, plan: Plan) -> Any:
        kept = plan.build(("last_times", self.signal, self.field), lambda: _LastTimes(self, plan))
        kept.longest_us = max(kept.longest_us, self.window_us or 0)
        return kept

    def emit(self, w: ViewWriter) -> Operand:
        slot = self.kept(w.plan).slot
        times = w.named(f"alive({slot}, at - {self.window_us})", f"{slot[2:]}_alive")
        w.line(f"if {times} and min({times}) + {self.window_us} < change:")
        w.line(f"    change = min({times}) + {self.window_us}")
        return Operand(w.named(f"len({times})"), False)


class _LastTimes:
    """Value → time of its last event, pruned by the longest window that asks."""

    def __init__(self, of: Distinct, plan: Plan) -> None:
        name = of.field if isinstance(of.field, str) else of.field.name
        self.slot = plan.slot(f"{plan.slug(of.signal)}_{name}_last", "dict", "None")
        self.longest_us = 0
        form: Literal["raw", "key"] = "raw" if isinstance(of.field, LocalField) else "key"
        plan.on(of.signal, self._lines, field=of.field, form=form)
        plan.at_end(lambda: plan.prune(f"{self.slot} = pruned({self.slot}, at - {self.longest_us})"))

    def _lines(self, value: str) -> list[str]:
        return [
            f"if {self.slot} is None:",
            f"    {self.slot} = {{}}",
            f"if at > {self.slot}.get({value}, BEFORE):",
            f"    {self.slot}[{value}] = at",
        ]
