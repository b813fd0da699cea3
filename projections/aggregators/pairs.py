"""Pairs of events: an answer after a question, a reply to what was sent, what stayed unanswered.

These depend on order. An event that comes after a later one of the same pair asks for a refold.
"""

from dataclasses import dataclass

from projections.aggregators.base import Aggregate
from projections.expressions import Dtype, Operand
from projections.plan import Plan
from projections.signals import Signal
from projections.source import ViewWriter


@dataclass(frozen=True)
class MeanTurn(Aggregate):
    """Mean seconds of ``reply`` events whose previous event in the same thread is an ``opening``, lifetime.

    The thread is named by a field; previous means by (time, id) among both signals.
    """

    reply: Signal
    opening: Signal
    thread: str

    @property
    def dtype(self) -> Dtype:
        return "float"

    def signals(self) -> tuple[Signal, ...]:
        return self.reply, self.opening

    def register(self, plan: Plan) -> tuple[str, str]:
        wish = f"{self.thread}_turn"
        opened = plan.slot(f"{wish}_opened", "dict", "None")
        at = plan.slot(f"{wish}_at", "int", "BEFORE")
        count, total = plan.slot(f"{wish}s", "int", "0"), plan.slot(f"{wish}s_us", "int", "0")
        guard = f"at <= {at}"
        plan.on(
            self.opening,
            lambda key: [f"{at} = at", f"if {opened} is None:", f"    {opened} = {{}}", f"{opened}[{key}] = at"],
            field=self.thread,
            form="key",
            guard=guard,
        )
        plan.on(
            self.reply,
            lambda key: [
                f"{at} = at",
                f"if {opened} is not None and {key} in {opened}:",
                f"    {total} += at - {opened}.pop({key})",
                f"    {count} += 1",
            ],
            field=self.thread,
            form="key",
            guard=guard,
        )
        return count, total

    def emit(self, w: ViewWriter) -> Operand:
        count, total = self.kept(w.plan)
        return Operand(w.named(f"{total} / ({count} * SECOND) if {count} else None"), True)


@dataclass(frozen=True)
class MeanReply(Aggregate):
    """Mean seconds, over the identities that got one, from the first ``sent`` to the first ``replied`` at or after it."""

    sent: Signal
    replied: Signal
    key: str

    @property
    def dtype(self) -> Dtype:
        return "float"

    def signals(self) -> tuple[Signal, ...]:
        return self.sent, self.replied

    def register(self, plan: Plan) -> tuple[str, str]:
        wish = f"{self.key}_reply"
        # sent_at: the first sending while it waits for a reply, then None. early: replies with nothing sent yet,
        # since one of the same instant as the sending counts although its id comes first.
        sent_at, early = plan.slot(f"{wish}_sent_at", "dict", "None"), plan.slot(f"{wish}_early", "dict", "None")
        at = plan.slot(f"{wish}_at", "int", "BEFORE")
        count, total = plan.slot(f"{wish}_count", "int", "0"), plan.slot(f"{wish}_us", "int", "0")
        guard = f"at <= {at}"
        plan.on(
            self.sent,
            lambda key: [
                f"{at} = at",
                f"if {sent_at} is None:",
                f"    {sent_at} = {{}}",
                f"if {key} not in {sent_at}:",
                f"    {sent_at}[{key}] = at",
                f"    if {early} is not None and {early}.pop({key}, BEFORE) == at:",
                f"        {sent_at}[{key}] = None",
                f"        {count} += 1",
            ],
            field=self.key,
            form="key",
            guard=guard,
        )
        plan.on(
            self.replied,
            lambda key: [
                f"{at} = at",
                f"if {sent_at} is None or {key} not in {sent_at}:",
                f"    if {early} is None:",
                f"        {early} = {{}}",
                f"    {early}[{key}] = at",
                f"elif {sent_at}[{key}] is not None:",
                f"    {total} += at - {sent_at}[{key}]",
                f"    {sent_at}[{key}] = None",
                f"    {count} += 1",
            ],
            field=self.key,
            form="key",
            guard=guard,
        )
        return count, total

    def emit(self, w: ViewWriter) -> Operand:
        count, total = self.kept(w.plan)
        return Operand(w.named(f"{total} / ({count} * SECOND) if {count} else None"), True)


@dataclass(frozen=True)
class Unanswered(Aggregate):
    """How many identities had no ``answer`` in [r, r + within) of their first ``cause`` r, with r + within reached."""

    cause: Signal
    answer: Signal
    key: str
    within_us: int

    @property
    def dtype(self) -> Dtype:
        return "int"

    def signals(self) -> tuple[Signal, ...]:
        return self.cause, self.answer

    def windows_us(self) -> tuple[int, ...]:
        return (self.within_us,)

    def register(self, plan: Plan) -> str:
        wish = f"{self.key}_unanswered"
        # caused: first cause while unanswered, then None. early: the time of an answer whose cause may come at
        # the same instant under a later id. waiting: the causes without an answer, ascending.
        caused, early = plan.slot(f"{wish}_caused", "dict", "None"), plan.slot(f"{wish}_early", "dict", "None")
        waiting = plan.slot(wish, "array", "None")
        at = plan.slot(f"{wish}_at", "int", "BEFORE")
        guard = f"at <= {at}"
        plan.on(
            self.cause,
            lambda key: [
                f"{at} = at",
                f"if {caused} is None:",
                f'    {caused}, {waiting} = {{}}, array("q")',
                f"if {key} not in {caused}:",
                f"    if {early} is not None and {early}.pop({key}, BEFORE) == at:",
                f"        {caused}[{key}] = None",
                "    else:",
                f"        {caused}[{key}] = at",
                f"        {waiting}.append(at)",
            ],
            field=self.key,
            form="key",
            guard=guard,
        )
        plan.on(
            self.answer,
            lambda key: [
                f"{at} = at",
                f"if {caused} is None or {key} not in {caused}:",
                f"    if {early} is None:",
                f"        {early} = {{}}",
                f"    {early}[{key}] = at",
                f"elif {caused}[{key}] is not None and at < {caused}[{key}] + {self.within_us}:",
                f"    {waiting}.remove({caused}[{key}])",
                f"    {caused}[{key}] = None",
            ],
            field=self.key,
            form="key",
            guard=guard,
        )
        return waiting

    def emit(self, w: ViewWriter) -> Operand:
        waiting = self.kept(w.plan)
        code = f"bisect_right({waiting}, at - {self.within_us}) if {waiting} is not None else 0"
        count = w.named(code)
        w.line(
            f"if {waiting} is not None and {count} < len({waiting}) and {waiting}[{count}] + {self.within_us} < change:"
        )
        w.line(f"    change = {waiting}[{count}] + {self.within_us}")
        return Operand(count, False)
