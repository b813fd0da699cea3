"""Rhythms: sessions split by gaps, streaks of days, counts that fade."""

from dataclasses import dataclass
from typing import Any, Literal

from kernel.times import DAY_US, HOUR_US
from projections.aggregators.base import Aggregate
from projections.aggregators.series import Windowed, series_of
from projections.expressions import Dtype, Operand
from projections.plan import Plan
from projections.signals import DATE, Signal
from projections.source import ViewWriter, made
from projections.windows import length_name


@dataclass(frozen=True)
class Sessions(Windowed):
    """Runs of events with no gap of more than ``gap_us`` between neighbours: how many, or their mean length in minutes."""

    gap_us: int = 0
    what: Literal["count", "mean_minutes"] = "count"

    @property
    def dtype(self) -> Dtype:
        return "int" if self.what == "count" else "float"

    def word(self) -> str:
        return "sessions" if self.what == "count" else "session_minutes"

    def register(self, plan: Plan) -> Any:
        if self.window_us is not None:
            return series_of(plan, self.signal)
        return plan.build(("sessions", self.signal, self.gap_us), lambda: self._slots(plan))

    def _slots(self, plan: Plan) -> tuple[str, str]:
        wish = f"{self.signal.slug}_session"
        count, length = plan.slot(f"{wish}s", "int", "0"), plan.slot(f"{wish}s_us", "int", "0")
        at = plan.slot(f"{wish}_at", "int", "BEFORE")
        plan.on(
            self.signal,
            lambda: [
                f"gap = at - {at}",
                f"if gap > {plan.duration(self.gap_us)}:",
                f"    {count} += 1",
                "else:",
                f"    {length} += gap",
                f"{at} = at",
            ],
            guard=f"at < {at}",  # events of one instant make the same sessions in any order
        )
        return count, length

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if self.window_us is None:
            count, length = kept
        else:
            head = kept.head(w, self.window_us)
            gap = w.plan.duration(self.gap_us)
            both = w.named(f"sessions({head.times}, {head.start}, {gap}) if {head.count} else (0, 0)", "sessions_found")
            count, length = f"{both}[0]", f"{both}[1]"
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

    def label(self) -> str:
        return f"{self.signal.slug}_streak"

    def register(self, plan: Plan) -> str:
        slot = plan.slot(f"{self.signal.slug}_dates", "dict", "None")
        plan.on(
            self.signal,
            lambda date: [*made("dates", slot, "{}"), f"dates[{date}] = 1"],
            field=DATE,
            form="raw",
        )
        return slot

    def emit(self, w: ViewWriter) -> Operand:
        dates = self.kept(w.plan)
        today = w.named("local_us(at) // DAY", "today")
        local_time = w.constant(w.plan.local_time, "local_time")
        length = w.named(f"streak({dates} or (), {today})")
        w.changes_at(f"next_midnight({local_time}, at)", length)
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

    def label(self) -> str:
        return f"{self.signal.slug}_decayed_{length_name(self.half_life_us)}"

    def register(self, plan: Plan) -> str:
        times = plan.slot(f"{self.signal.slug}_fading_times", "array", "None")
        plan.on(
            self.signal,
            lambda: [
                f"times = {times}",
                "if times is None:",
                f'    {times} = array("q", (at,))',
                "elif at >= times[-1]:",
                "    times.append(at)",
                "else:",
                "    insert_time(times, at)",
            ],
        )
        reach = plan.duration(64 * self.half_life_us + self.step_us + DAY_US)
        plan.prune(
            f"times = {times}",
            "if times is not None:",
            f"    del times[: bisect_right(times, at - {reach})]",
            "    if not times:",
            f"        {times} = None",
        )
        return times

    def emit(self, w: ViewWriter) -> Operand:
        times, step = self.kept(w.plan), w.plan.duration(self.step_us)
        value = w.named(f"decayed({times} or (), at, {w.plan.duration(self.half_life_us)}, {step})")
        w.changes_at(f"(at // {step} + 1) * {step}", f"{times} is not None")
        return Operand(value, False)
