"""Distinct identities of a lifetime: which of the things that events name have met which events.

One dictionary per field, 8-byte key → bits; each signal asked about owns a bit. A count of the keys that carry
a set of bits is kept as it changes.
"""

from dataclasses import dataclass
from typing import Any

from projections.aggregators.base import Aggregate
from projections.expressions import Dtype, Operand
from projections.plan import Plan
from projections.signals import LocalField, Signal
from projections.source import ViewWriter


@dataclass(frozen=True)
class Keys(Aggregate):
    """How many distinct values of a field occur on events of every one of these signals, lifetime."""

    field: str | LocalField
    met: tuple[Signal, ...]

    @property
    def dtype(self) -> Dtype:
        return "int"

    def signals(self) -> tuple[Signal, ...]:
        return self.met

    def having(self, signal: Signal) -> "Keys":
        """Those that also occur, at any time, on an event of another signal."""
        return Keys(self.field, (*self.met, signal))

    def register(self, plan: Plan) -> str:
        ledger: _Ledger = plan.build(("keys", self.field), lambda: _Ledger(plan, self.field))
        return ledger.counter(self.met)

    def emit(self, w: ViewWriter) -> Operand:
        return Operand(self.kept(w.plan), False)


class _Ledger:
    """The dictionary of one field, with its bits and counters."""

    def __init__(self, plan: Plan, field: str | LocalField) -> None:
        self.plan, self.field = plan, field
        name = field if isinstance(field, str) else field.name
        self.name = name
        self.slot = plan.slot(f"{name}_marks", "dict", "None")
        self.bits: dict[Signal, int] = {}
        self.counters: dict[int, str] = {}
        plan.at_end(self._finish)

    def counter(self, met: tuple[Signal, ...]) -> str:
        mask = 0
        for signal in met:
            mask |= self.bits.setdefault(signal, 1 << len(self.bits))
        if mask not in self.counters:
            met_by = "_and_".join(self.plan.slug(signal) for signal in met)
            self.counters[mask] = self.plan.slot(f"{self.name}s_of_{met_by}", "int", "0")
        return self.counters[mask]

    def _finish(self) -> None:
        for event_type in self.plan.types:
            marking = [(s, bit) for s, bit in self.bits.items() if s.matches(event_type)]
            marking = [(s, bit) for s, bit in marking if self.plan.has_field(event_type, self.field)]
            if marking:
                self._write(event_type, marking)

    def _write(self, event_type: Any, marking: list[tuple[Signal, int]]) -> None:
        writer = self.plan.folds[event_type.name]
        key, given = self.plan.value(writer, event_type, self.field, "key")
        always, sometimes = 0, []
        for signal, bit in marking:
            tests = self.plan.conditions(writer, event_type, signal.conditions)
            if tests:
                sometimes.append((" and ".join(tests), bit))
            else:
                always |= bit
        lines = [f"marks = {always}"]
        for test, bit in sometimes:
            lines += [f"if {test}:", f"    marks |= {bit}"]
        writer.update((given,) if given else (), lines + self._mark_lines(key, {bit for _, bit in marking}))

    def _mark_lines(self, key: str, touched: set[int]) -> list[str]:
        reachable = sum(touched)
        lines = [
            f"if {self.slot} is None:",
            f"    {self.slot} = {{}}",
            f"old = {self.slot}.get({key}, 0)",
            "new = old | marks",
            "if new != old:",
            f"    {self.slot}[{key}] = new",
        ]
        for mask, counter in self.counters.items():
            if mask & reachable:
                lines += [f"    if new & {mask} == {mask} != old & {mask}:", f"        {counter} += 1"]
        return lines


def distinct(field: str | LocalField, signal: Signal) -> Keys:
    """Distinct values of a field over a signal's events, lifetime."""
    return Keys(field, (signal,))
