"""Counts, sums, means and standard deviations, over a lifetime or a window: integers until one division at the end."""

from dataclasses import dataclass
from typing import Any

from projections.aggregators.base import Aggregate
from projections.aggregators.series import Series, given, series_of
from projections.expressions import Dtype, Operand
from projections.plan import Plan
from projections.signals import FieldLike, Signal
from projections.source import ViewWriter


@dataclass(frozen=True)
class Windowed(Aggregate):
    """Shared parts of aggregates that look through an optional window (None: lifetime)."""

    signal: Signal
    window_us: int | None = None

    def signals(self) -> tuple[Signal, ...]:
        return (self.signal,)

    def windows_us(self) -> tuple[int, ...]:
        return () if self.window_us is None else (self.window_us,)


@dataclass(frozen=True)
class Count(Windowed):
    """How many events."""

    @property
    def dtype(self) -> Dtype:
        return "int"

    def register(self, plan: Plan) -> Any:
        if self.window_us is not None:
            return series_of(plan, self.signal, self.window_us)
        slot = plan.slot(f"{plan.slug(self.signal)}_count", "int", "0")
        plan.on(self.signal, lambda: [f"{slot} += 1"])
        return slot

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if self.window_us is None:
            return Operand(kept, False)
        return Operand(kept.head(w, self.window_us)[1], False)


@dataclass(frozen=True)
class Totals(Windowed):
    """Shared parts of what needs count and sum of a field, where given."""

    field: FieldLike = ""

    @property
    def dtype(self) -> Dtype:
        return "float"

    def register(self, plan: Plan) -> Any:
        signal = given(plan, self.signal, self.field)
        if self.window_us is not None:
            series = series_of(plan, signal, self.window_us)
            series.column(self.field)
            return series
        name = self.field if isinstance(self.field, str) else self.field.name
        wish = f"{plan.slug(self.signal)}_{name}"
        return plan.build(("totals", signal, self.field), lambda: self._lifetime(plan, wish))

    def _lifetime(self, plan: Plan, wish: str) -> tuple[str, str]:
        count, total = plan.slot(f"{wish}_given", "int", "0"), plan.slot(f"{wish}_total", "int", "0")
        plan.on(self.signal, lambda value: [f"{count} += 1", f"{total} += {value}"], field=self.field)
        return count, total

    def count_and_total(self, w: ViewWriter) -> tuple[str, str]:
        """Source of the count and the sum in millionths; the sum may only be used where the count is not 0."""
        kept = self.kept(w.plan)
        if self.window_us is None:
            return kept[0], kept[1]
        assert isinstance(kept, Series)  # noqa: S101 - register() returns one for every window
        head, count = kept.head(w, self.window_us)
        column = kept.column(self.field)
        return count, f"({column}[-1] - {column}[{head}])"


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
        name = self.field if isinstance(self.field, str) else self.field.name
        squares = plan.slot(f"{plan.slug(self.signal)}_{name}_squares", "int", "0")
        plan.on(self.signal, lambda value: [f"{squares} += {value} * {value}"], field=self.field)
        return (*super().register(plan), squares)

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if self.window_us is None:
            return Operand(w.named(f"deviation({kept[0]}, {kept[1]}, {kept[2]})"), True)
        head, count = kept.head(w, self.window_us)
        column = kept.column(self.field)
        squares = f"sum(x * x for x in entries({column}, {head}))"
        code = f"deviation({count}, {column}[-1] - {column}[{head}], {squares}) if {count} else None"
        return Operand(w.named(code), True)
