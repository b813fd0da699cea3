"""Rhythms: sessions split by gaps, streaks of days, counts that fade."""

from dataclasses import dataclass
from typing import Any, Literal

from kernel.times import DAY_US, HOUR_US
from projections.aggregators.base import Aggregate
from projections.expressions import Dtype, Operand
from projections.plan import Plan
from projections.signals import DATE, Signal
from projections.source import ViewWriter


@dataclass(frozen=True)
class Sessions(Aggregate):
    """Runs of events with no gap of more than ``gap_us`` between neighbours: how many, or their mean length in minutes."""

    signal: Signal
    gap_us: int
    what: Literal["count", "mean_minutes"] = "count"

    @property
    def dtype(self) -> Dtype:
        return "int" if self.what == "count" else "float"

    def signals(self) -> tuple[Signal, ...]:
        return (self.signal,)

    def register(self, plan: Plan) -> Any:
        return plan.build(("sessions", self.signal, self.gap_us), lambda: self._slots(plan))

    def _slots(self, plan: Plan) -> tuple[str, str]:
        wish = f"{plan.slug(self.signal)}_session"
        count, length = plan.slot(f"{wish}s", "int", "0"), plan.slot(f"{wish}s_us", "int", "0")
        at = plan.slot(f"{wish}_at", "int", "BEFORE")
        plan.on(
            self.signal,
            lambda: [
                f"if at - {at} > {self.gap_us}:",
                f"    {count} += 1",
                "else:",
                f"    {length} += at - {at}",
                f"{at} = at",
            ],
            guard=f"at < {at}",  # events of one instant make the same sessions in any order
        )
        return count, length

    def emit(self, w: ViewWriter) -> Operand:
        count, length = self.kept(w.plan)
        if self.what == "count":
            return Operand(count, False)
        return Operand(w.named(f"{length} / ({count} * MINUTE) if {count} else None"), True)


@dataclass(frozen=True)
class Streak(Aggregate):
    """Consecutive local days with an event, up to today, or up to yesterday while today has none."""

    signal: Signal

    @property
    def dtype(self) -> Dtype:
        return "int"

    def signals(self) -> tuple[Signal, ...]:
        return (self.signal,)

    def register(self, plan: Plan) -> str:
        slot = plan.slot(f"{plan.slug(self.signal)}_dates", "dict", "None")
        plan.on(
            self.signal,
            lambda date: [f"if {slot} is None:", f"    {slot} = {{}}", f"{slot}[{date}] = 1"],
            field=DATE,
            form="raw",
        )
        return slot

    def emit(self, w: ViewWriter) -> Operand:
        dates = self.kept(w.plan)
        w.plan.uses_local_time = True
        today = w.named("local_us(at) // DAY", "today")
        local_time = w.constant(w.plan.local_time, "local_time")
        length = w.named(f"streak({dates} or (), {today})")
        w.line(f"if {length}:")
        w.line(f"    change = min(change, next_midnight({local_time}, at))")
        return Operand(length, False)


@dataclass(frozen=True)
class Decayed(Aggregate):
    """A count that fades: 2^(−age/half_life) per event, evaluated at the last whole step (UTC), later events 1."""

    signal: Signal
    half_life_us: int
    step_us: int = HOUR_US

    @property
    def dtype(self) -> Dtype:
        return "float"

    def signals(self) -> tuple[Signal, ...]:
        return (self.signal,)

    def register(self, plan: Plan) -> str:
        times = plan.slot(f"{plan.slug(self.signal)}_fading_times", "array", "None")
        plan.on(
            self.signal,
            lambda: [
                f"if {times} is None:",
                f'    {times} = array("q", (at,))',
                f"elif at >= {times}[-1]:",
                f"    {times}.append(at)",
                "else:",
                f"    insert_time({times}, at)",
            ],
        )
        reach = 64 * self.half_life_us + self.step_us + DAY_US
        plan.prune(
            f"if {times} is not None:",
            f"    del {times}[: bisect_right({times}, at - {reach})]",
            f"    if not {times}:",
            f"        {times} = None",
        )
        return times

    def emit(self, w: ViewWriter) -> Operand:
        times = self.kept(w.plan)
        value = w.named(f"decayed({times} or (), at, {self.half_life_us}, {self.step_us})")
        w.line(f"if {times} is not None:")
        w.line(f"    change = min(change, (at // {self.step_us} + 1) * {self.step_us})")
        return Operand(value, False)
