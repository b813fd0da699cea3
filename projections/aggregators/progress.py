"""Progress through named sequences: the one enrolled in last, how far it went, whether it is still running."""

from dataclasses import dataclass

from projections.aggregators.base import Aggregate
from projections.aggregators.ordered import latest
from projections.aggregators.values import alive_times
from projections.expressions import Dtype, Expr, Operand
from projections.plan import Plan
from projections.signals import Signal
from projections.source import ViewWriter, made


@dataclass(frozen=True)
class Reached(Aggregate):
    """Highest step completed, lifetime, of the sequence in the latest enrolment; 0 without a step, null without one."""

    enrolled: Signal
    completed: Signal
    key: str
    step: str

    @property
    def dtype(self) -> Dtype:
        return "float"

    def signals(self) -> tuple[Signal, ...]:
        return self.enrolled, self.completed

    def register(self, plan: Plan) -> tuple[Expr, str]:
        steps = plan.slot(f"{self.key}_highest_step", "dict", "None")
        for event_type in plan.matching(self.completed):
            writer = plan.folds[event_type.name]
            key, has_key = plan.value(writer, event_type, self.key, "key")
            step, has_step = plan.value(writer, event_type, self.step, "micro")
            conditions = plan.conditions(writer, event_type, self.completed.conditions)
            writer.update(
                tuple(dict.fromkeys((*conditions, *(test for test in (has_key, has_step) if test)))),
                [
                    *made("steps", steps, "{}"),
                    f"if {step} > steps.get({key}, 0):",
                    f"    steps[{key}] = {step}",
                ],
            )
        current = latest("string", (self.enrolled, self.key))
        current.kept(plan)
        return current, steps

    def emit(self, w: ViewWriter) -> Operand:
        current, steps = self.kept(w.plan)
        name = w.operand(current).code
        code = f"(({steps} or {{}}).get(key64({name}), 0) / MICRO) if {name} is not None else None"
        return Operand(w.named(code), True)


@dataclass(frozen=True)
class Running(Aggregate):
    """1 if no ``finished`` of the same key follows, by (time, id), the latest ``enrolled``; else 0."""

    enrolled: Signal
    finished: Signal
    key: str

    @property
    def dtype(self) -> Dtype:
        return "int"

    def signals(self) -> tuple[Signal, ...]:
        return self.enrolled, self.finished

    def register(self, plan: Plan) -> str:
        running, at = (
            plan.slot(f"{self.key}_running", "plain", "None"),
            plan.slot(f"{self.key}_running_at", "int", "BEFORE"),
        )
        guard = f"at <= {at}"
        plan.on(
            self.enrolled,
            lambda key: [f"{at} = at", f"{running} = {key}"],
            field=self.key,
            form="key",
            guard=guard,
            is_in_order=True,
        )
        plan.on(
            self.finished,
            lambda key: [f"{at} = at", f"if {running} == {key}:", f"    {running} = None"],
            field=self.key,
            form="key",
            guard=guard,
            is_in_order=True,
        )
        return running

    def emit(self, w: ViewWriter) -> Operand:
        running = self.kept(w.plan)
        return Operand(w.named(f"1 if {running} is not None else 0"), False)


@dataclass(frozen=True)
class Available(Aggregate):
    """How many identities were last switched on, not off."""

    on: Signal
    off: Signal
    key: str

    @property
    def dtype(self) -> Dtype:
        return "int"

    def signals(self) -> tuple[Signal, ...]:
        return self.on, self.off

    def register(self, plan: Plan) -> tuple[str, str]:
        # switched: key → time · 2 + (1 if on). Any order folds in place, but for two switches of one instant.
        switched = plan.slot(f"{self.key}_switched", "dict", "None")
        count = plan.slot(f"{self.key}_available", "int", "0")
        for signal, is_on in ((self.on, 1), (self.off, 0)):
            for event_type in plan.matching(signal):
                writer = plan.folds[event_type.name]
                key, has_key = plan.value(writer, event_type, self.key, "key")
                conditions = plan.conditions(writer, event_type, signal.conditions)
                writer.guard(f"{switched} is not None and {switched}.get({key}, BEFORE) >> 1 == at")
                writer.update(
                    conditions if has_key is None or has_key in conditions else (*conditions, has_key),
                    [
                        *made("switched", switched, "{}"),
                        f"was = switched.get({key}, BEFORE * 2)",
                        "if at >= was >> 1:",
                        f"    switched[{key}] = at * 2 + {is_on}",
                        f"    {count} += {is_on} - (was & 1)",
                    ],
                )
        return switched, count

    def emit(self, w: ViewWriter) -> Operand:
        return Operand(self.kept(w.plan)[1], False)


@dataclass(frozen=True)
class Open(Aggregate):
    """How many identities were asked for within a window and, at any time, never ``closed``."""

    asked: Signal
    closed: Signal
    key: str
    window_us: int

    @property
    def dtype(self) -> Dtype:
        return "int"

    def signals(self) -> tuple[Signal, ...]:
        return self.asked, self.closed

    def windows_us(self) -> tuple[int, ...]:
        return (self.window_us,)

    def register(self, plan: Plan) -> str:
        asked, closed = plan.slot(f"{self.key}_open", "dict", "None"), plan.slot(f"{self.key}_closed", "dict", "None")
        plan.on(
            self.asked,
            lambda key: [
                f"if {closed} is None or {key} not in {closed}:",
                *(f"    {line}" for line in made("waiting", asked, "{}")),
                f"    if at > waiting.get({key}, BEFORE):",
                f"        waiting[{key}] = at",
            ],
            field=self.key,
            form="key",
        )
        plan.on(
            self.closed,
            lambda key: [
                *made("marks", closed, "{}"),
                f"marks[{key}] = 1",
                f"if {asked} is not None:",
                f"    {asked}.pop({key}, None)",
            ],
            field=self.key,
            form="key",
        )
        plan.prune(f"{asked} = pruned({asked}, at - {plan.duration(self.window_us)})")
        return asked

    def emit(self, w: ViewWriter) -> Operand:
        asked = self.kept(w.plan)
        return Operand(w.named(f"len({alive_times(w, asked, self.window_us)})"), False)
