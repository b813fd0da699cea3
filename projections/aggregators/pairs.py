"""Ordered pairs of events: an answer after a question, a reply to what was sent, what stayed unanswered.

These depend on order. An event that comes after a later one of the same pair asks for a refold.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from projections.aggregators.base import Aggregate
from projections.aggregators.series import Series
from projections.expressions import Dtype, Operand
from projections.plan import Plan
from projections.signals import LocalField, Signal
from projections.source import ViewWriter, made
from projections.windows import Window, length_name

#: The fold lines for a pair that is complete, by the name of the gap between its ends.
Paired = Callable[[str], list[str]]
#: Stands for the number that a pair carries, in the series of its window.
_GAP = LocalField("type")


@dataclass(frozen=True)
class Pair(Aggregate):
    """Shared parts of what counts pairs and takes the mean time between their ends; a pair is in the window of its end."""

    opening: Signal
    reply: Signal
    key: str
    what: Literal["count", "mean_seconds"] = "mean_seconds"
    window_us: int | None = None

    @property
    def dtype(self) -> Dtype:
        return "int" if self.what == "count" else "float"

    def signals(self) -> tuple[Signal, ...]:
        return self.opening, self.reply

    def windows_us(self) -> tuple[int, ...]:
        return () if self.window_us is None else (self.window_us,)

    def within(self, window: Window) -> "Pair":
        if self.window_us is not None:
            raise TypeError(f"{self.label()} has a window already, and cannot have {window}, too")
        return replace(self, window_us=window.us)

    def label(self) -> str:
        name = f"{self.wish}_{self.what}"
        return name if self.window_us is None else f"{name}_{length_name(self.window_us)}"

    @property
    def wish(self) -> str:
        """What slots and features are called after."""
        return f"{self.reply.slug}_after_{self.opening.slug}"

    def register(self, plan: Plan) -> Any:
        whole = replace(self, what="count", window_us=None)
        if self.window_us is None:
            return plan.build(("pair", whole), lambda: self._lifetime(plan))
        return plan.build(("pair within", whole), lambda: self._series(plan))

    def _lifetime(self, plan: Plan) -> tuple[str, str]:
        count, total = plan.slot(f"{self.wish}_count", "int", "0"), plan.slot(f"{self.wish}_us", "int", "0")
        self.follow(plan, lambda gap: [f"{count} += 1", *([f"{total} += {gap}"] if gap != "0" else [])])
        return count, total

    def _series(self, plan: Plan) -> Series:
        series = Series(plan, self.wish, plan.slot(f"{self.wish}_times", "array", "None"))
        series.totals[_GAP] = plan.slot(f"{self.wish}_gap_totals", "array", "None")
        self.follow(plan, lambda gap: series.append_lines({_GAP: gap}))
        plan.at_end(series.prune)
        return series

    @abstractmethod
    def follow(self, plan: Plan, paired: Paired) -> None:
        """Write fold lines that find the pairs."""

    def emit(self, w: ViewWriter) -> Operand:
        kept = self.kept(w.plan)
        if self.window_us is None:
            count, total = kept
        else:
            head = kept.head(w, self.window_us)
            totals = head.column(kept.totals[_GAP])
            count, total = head.count, f"({totals}[-1] - {totals}[{head.start}])"
        if self.what == "count":
            return Operand(count, False)
        return Operand(w.named(f"{total} / ({count} * SECOND) if {count} else None"), True)


@dataclass(frozen=True)
class Turns(Pair):
    """Replies whose previous event in the same thread is an opening: how many, or the mean seconds between.

    The thread is named by a field; previous means by (time, id) among both signals.
    """

    def follow(self, plan: Plan, paired: Paired) -> None:
        waiting, at = plan.slot(f"{self.wish}_waiting", "dict", "None"), plan.slot(f"{self.wish}_at", "int", "BEFORE")
        guard = f"at <= {at}"
        # The reply first: an event that is both answers the one before it, and then waits itself.
        plan.on(
            self.reply,
            lambda key: [
                f"opened = {waiting}",
                f"if opened is not None and {key} in opened:",
                f"    gap = at - opened.pop({key})",
                *(f"    {line}" for line in paired("gap")),
                f"{at} = at",
            ],
            field=self.key,
            form="key",
            guard=guard,
            is_in_order=True,
        )
        plan.on(
            self.opening,
            lambda key: [*made("opened", waiting, "{}"), f"opened[{key}] = at", f"{at} = at"],
            field=self.key,
            form="key",
            guard=guard,
            is_in_order=True,
        )


@dataclass(frozen=True)
class Replies(Pair):
    """First replies, one for each identity, at or after its first opening: how many, or the mean seconds between."""

    def follow(self, plan: Plan, paired: Paired) -> None:
        wish = f"{self.wish}_first"
        # sent: the first opening while it waits for a reply, then None. early: replies with nothing opened yet,
        # since one of the same instant as the opening counts although its id comes first.
        sent, early = plan.slot(f"{wish}_sent_at", "dict", "None"), plan.slot(f"{wish}_early", "dict", "None")
        at = plan.slot(f"{wish}_at", "int", "BEFORE")
        guard = f"at <= {at}"
        plan.on(
            self.opening,
            lambda key: [
                *made("sent", sent, "{}"),
                f"if {key} not in sent:",
                f"    sent[{key}] = at",
                f"    if {early} is not None and {early}.pop({key}, BEFORE) == at:",
                f"        sent[{key}] = None",
                *(f"        {line}" for line in paired("0")),
                f"{at} = at",
            ],
            field=self.key,
            form="key",
            guard=guard,
            is_in_order=True,
        )
        plan.on(
            self.reply,
            lambda key: [
                f"sent = {sent}",
                f"if sent is None or {key} not in sent:",
                *(f"    {line}" for line in made("early", early, "{}")),
                f"    early[{key}] = at",
                f"elif sent[{key}] is not None:",
                f"    gap = at - sent[{key}]",
                f"    sent[{key}] = None",
                *(f"    {line}" for line in paired("gap")),
                f"{at} = at",
            ],
            field=self.key,
            form="key",
            guard=guard,
            is_in_order=True,
        )


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

    def label(self) -> str:
        return f"{self.cause.slug}_without_{self.answer.slug}_{length_name(self.within_us)}"

    def register(self, plan: Plan) -> str:
        wish = f"{self.key}s_unanswered"
        # caused: first cause while unanswered, then None. early: the time of an answer whose cause may come at
        # the same instant under a later id. waiting: the causes without an answer, ascending.
        caused, early = plan.slot(f"{wish}_caused", "dict", "None"), plan.slot(f"{wish}_early", "dict", "None")
        waiting = plan.slot(wish, "array", "None")
        at = plan.slot(f"{wish}_at", "int", "BEFORE")
        guard = f"at <= {at}"
        within = plan.duration(self.within_us)
        plan.on(
            self.cause,
            lambda key: [
                f"caused, waiting = {caused}, {waiting}",
                "if caused is None:",
                f"    caused = {caused} = {{}}",
                f'    waiting = {waiting} = array("q")',
                f"if {key} not in caused:",
                f"    if {early} is not None and {early}.pop({key}, BEFORE) == at:",
                f"        caused[{key}] = None",
                "    else:",
                f"        caused[{key}] = at",
                "        waiting.append(at)",
                f"{at} = at",
            ],
            field=self.key,
            form="key",
            guard=guard,
            is_in_order=True,
        )
        plan.on(
            self.answer,
            lambda key: [
                f"caused = {caused}",
                f"if caused is None or {key} not in caused:",
                *(f"    {line}" for line in made("early", early, "{}")),
                f"    early[{key}] = at",
                f"elif caused[{key}] is not None and at < caused[{key}] + {within}:",
                f"    {waiting}.remove(caused[{key}])",
                f"    caused[{key}] = None",
                f"{at} = at",
            ],
            field=self.key,
            form="key",
            guard=guard,
            is_in_order=True,
        )
        return waiting

    def emit(self, w: ViewWriter) -> Operand:
        waiting = self.kept(w.plan)
        within = w.plan.duration(self.within_us)
        count = w.named(f"bisect_right({waiting}, at - {within}) if {waiting} is not None else 0")
        w.changes_at(f"{waiting}[{count}] + {within}", f"{waiting} is not None and {count} < len({waiting})")
        return Operand(count, False)
