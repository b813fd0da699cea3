"""Distinct identities of a lifetime: which of the things that events name have met which events.

One dictionary per field, 8-byte key → bits; each signal asked about owns a bit. A count of the keys that carry
a set of bits is kept as it changes.
"""

from dataclasses import dataclass
from typing import Any

from projections.aggregators.base import Aggregate
from projections.expressions import Dtype, Operand
from projections.plan import Plan
from projections.signals import LocalField, Signal, field_name
from projections.source import ViewWriter, made


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

    def label(self) -> str:
        first, *others = (signal.slug for signal in self.met)
        return "_with_".join([f"{first}_distinct_{field_name(self.field)}", *others])

    def having(self, other: Any) -> "Keys":
        """Those that also occur, at any time, on an event of another signal."""
        return Keys(self.field, (*self.met, getattr(other, "signal", other)))

    def register(self, plan: Plan) -> str:
        ledger: _Ledger = plan.build(("keys", self.field), lambda: _Ledger(plan, self.field))
        return ledger.counter(self.met)

    def emit(self, w: ViewWriter) -> Operand:
        return Operand(self.kept(w.plan), False)


class _Ledger:
    """The dictionary of one field, with its bits and counters."""

    def __init__(self, plan: Plan, field: str | LocalField) -> None:
        self.plan, self.field = plan, field
        self.name = field_name(field)
        self.slot = plan.slot(f"{self.name}_marks", "dict", "None")
        self.bits: dict[Signal, int] = {}
        self.counters: dict[int, str] = {}
        plan.at_end(self._finish)

    def counter(self, met: tuple[Signal, ...]) -> str:
        mask = 0
        for signal in met:
            mask |= self.bits.setdefault(signal, 1 << len(self.bits))
        if mask not in self.counters:
            self.counters[mask] = self.plan.slot(self._counter_name(met), "int", "0")
        return self.counters[mask]

    def _counter_name(self, met: tuple[Signal, ...]) -> str:
        first, *others = (signal.slug for signal in met)
        base = f"{self.name}s" if first == f"with_{self.name}" else f"{self.name}s_of_{first}"
        return "_with_".join([base, *others])

    def _finish(self) -> None:
        for event_type in self.plan.types:
            marking = [(s, bit) for s, bit in self.bits.items() if s.matches(event_type)]
            if marking:
                self._write(event_type, marking)

    def _write(self, event_type: Any, marking: list[tuple[Signal, int]]) -> None:
        writer = self.plan.folds[event_type.name]
        key, given = self.plan.value(writer, event_type, self.field, "key")
        always, sometimes = 0, []
        for signal, bit in marking:
            tests = [t for t in self.plan.conditions(writer, event_type, signal.conditions) if t != given]
            if tests:
                sometimes.append((" and ".join(tests), bit))
            else:
                always |= bit
        lines = [*made("marks", self.slot, "{}"), f"old = marks.get({key}, 0)", f"new = old | {always}"]
        for test, bit in sometimes:
            lines += [f"if {test}:", f"    new |= {bit}"]
        lines += ["if new != old:", f"    marks[{key}] = new", *self._counter_lines(always, [b for _, b in sometimes])]
        writer.update((given,) if given else (), lines)

    def _counter_lines(self, always: int, sometimes: list[int]) -> list[str]:
        reachable = always | sum(sometimes)
        lines = []
        for mask, counter in self.counters.items():
            if mask & reachable:
                # Bits that this event always sets need no second look.
                test = f"old & {mask} != {mask}" if mask & always == mask else f"new & {mask} == {mask} != old & {mask}"
                test = f"not old & {mask}" if mask & always == mask and mask.bit_count() == 1 else test
                lines += [f"    if {test}:", f"        {counter} += 1"]
        return lines


def distinct(field: str | LocalField, signal: Signal) -> Keys:
    """Distinct values of a field over a signal's events, lifetime."""
    return Keys(field, (signal,))
