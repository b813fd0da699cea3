"""Counts, sums, means and standard deviations, over a lifetime or a window: integers until one division at the end."""

from dataclasses import dataclass
from typing import Any

from projections.aggregators.series import Head, Windowed, given, series_of
from projections.expressions import Dtype, Operand
from projections.plan import Plan
from projections.signals import FieldLike, field_name
from projections.source import ViewWriter


@dataclass(frozen=True)
class Count(Windowed):
    """How many events."""

    @property
    def dtype(self) -> Dtype:
        return "int"

    def register(self, plan: Plan) -> Any:
        if self.window_us is not None:
            return series_of(plan, self.signal)
        slot = plan.slot(f"{self.signal.slug}_count", "int", "0")
        plan.on(self.signal, lambda: [f"{slot} += 1"])
        return slot

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if self.window_us is None:
            return Operand(kept, False)
        return Operand(kept.head(w, self.window_us).count, False)


@dataclass(frozen=True)
class Totals(Windowed):
    """Shared parts of what needs count and sum of a field, where given."""

    field: FieldLike = ""

    @property
    def dtype(self) -> Dtype:
        return "float"

    def word(self) -> str:
        return f"{super().word()}_{field_name(self.field)}"

    def slot_name(self) -> str:
        """What the slots of a lifetime are called after."""
        return f"{self.signal.slug}_{field_name(self.field)}"

    def register(self, plan: Plan) -> Any:
        signal = given(plan, self.signal, self.field)
        if self.window_us is not None:
            return series_of(plan, signal), series_of(plan, signal).column(self.field)
        return plan.build(("totals", signal, self.field), lambda: self._lifetime(plan))

    def _lifetime(self, plan: Plan) -> tuple[str, str]:
        count = plan.slot(f"{self.slot_name()}_given", "int", "0")
        total = plan.slot(f"{self.slot_name()}_total", "int", "0")
        plan.on(self.signal, lambda value: [f"{count} += 1", f"{total} += {value}"], field=self.field)
        return count, total

    def head(self, w: ViewWriter) -> tuple[Head, str]:
        """The window's head, and the local of the field's running totals."""
        series, column = self.kept(w.plan)
        head: Head = series.head(w, self.window_us)
        return head, head.column(column)

    def count_and_total(self, w: ViewWriter) -> tuple[str, str]:
        """Source of the count and the sum in millionths; the sum may only be used where the count is not 0."""
        if self.window_us is None:
            count, total = self.kept(w.plan)
            return count, total
        head, totals = self.head(w)
        return head.count, f"({totals}[-1] - {totals}[{head.start}])"


@dataclass(frozen=True)
class Sum(Totals):
    """Sum of a field; 0 over nothing."""

    def emit(self, w: ViewWriter) -> Operand:
        count, total = self.count_and_total(w)
        if self.window_us is None:
            return Operand(w.named(f"{total} / MICRO"), False)
        return Operand(w.named(f"{total} / MICRO if {count} else 0.0"), False)


@dataclass(frozen=True)
class Mean(Totals):
    """Mean of a field where given: one division of integers, the nearest float64."""

    def emit(self, w: ViewWriter) -> Operand:
        count, total = self.count_and_total(w)
        return Operand(w.named(f"{total} / ({count} * MICRO) if {count} else None"), True)


@dataclass(frozen=True)
class Deviation(Totals):
    """Population standard deviation of a field where given."""

    def register(self, plan: Plan) -> Any:
        if self.window_us is not None:
            return super().register(plan)
        squares = plan.slot(f"{self.slot_name()}_squares", "int", "0")
        plan.on(self.signal, lambda value: [f"{squares} += {value} * {value}"], field=self.field)
        return (*super().register(plan), squares)

    def emit(self, w: ViewWriter) -> Operand:
        if self.window_us is None:
            return Operand(w.named(f"deviation({', '.join(self.kept(w.plan))})"), True)
        head, totals = self.head(w)
        squares = f"sum(x * x for x in entries({totals}, {head.start}))"
        total = f"{totals}[-1] - {totals}[{head.start}]"
        code = f"deviation({head.count}, {total}, {squares}) if {head.count} else None"
        return Operand(w.named(code), True)
