"""Series: the events of a signal that some window still reaches, in order of time.

A ``Series`` keeps times and running totals of numbers, a ``Log`` times and values as they are. Both are shared by all
windows over the same events. A window is a bisection at read: the half-open interval (at − w, at], so an event
exactly w old is out.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

from projections.aggregators.base import Aggregate
from projections.plan import Plan
from projections.signals import Computed, FieldLike, Signal, field_name
from projections.source import ViewWriter, indented
from projections.windows import Window, length_name


@dataclass(frozen=True)
class Windowed(Aggregate):
    """Shared parts of aggregates of one signal that look through an optional window (None: lifetime)."""

    signal: Signal
    window_us: int | None = None

    def signals(self) -> tuple[Signal, ...]:
        return (self.signal,)

    def windows_us(self) -> tuple[int, ...]:
        return () if self.window_us is None else (self.window_us,)

    def within(self, window: Window) -> Self:
        if self.window_us is not None:
            raise TypeError(
                f"{self.label() or type(self).__name__} has a window already, and cannot have {window}, too"
            )
        return replace(self, window_us=window.us)

    def label(self) -> str | None:
        parts = [self.signal.slug, self.word()]
        return "_".join(parts if self.window_us is None else [*parts, length_name(self.window_us)])

    def word(self) -> str:
        """What it computes, as part of a name."""
        return type(self).__name__.lower()


@dataclass(eq=False)
class Times(ABC):
    """Ascending times of events in a slot, and what else is kept of each, until no window reaches them."""

    plan: Plan
    slug: str
    times: str
    longest_us: int = 0

    @abstractmethod
    def columns(self) -> Iterable[str]:
        """The slots beside the times, which are dropped with them."""

    def head(self, w: ViewWriter, window_us: int) -> "Head":
        """Locals of a view: index of the first entry within the window, and how many there are."""
        self.longest_us = max(self.longest_us, window_us)
        paragraph: _Heads = w.share(self.times, lambda: _Heads(w, self))
        return paragraph.of(window_us)

    def prune(self) -> None:
        """Write the lines that drop what no window reaches."""
        columns = [f"        del {column}[:old]" for column in self.columns()]
        self.plan.prune(
            f"times = {self.times}",
            "if times is not None:",
            f"    old = bisect_right(times, at - {self.plan.duration(self.longest_us)})",
            "    if old == len(times):",
            f"        {' = '.join([self.times, *self.columns()])} = None",
            "    elif old:",
            "        del times[:old]",
            *columns,
        )


@dataclass(frozen=True)
class Head:
    """Locals of a view for one window: ``times`` and ``start`` may only be used where ``count`` is not 0."""

    paragraph: "_Heads"
    times: str
    start: str
    count: str
    window_us: int

    def column(self, slot: str) -> str:
        """The local that holds a column, to be used only where ``count`` is not 0."""
        return self.paragraph.column(slot)


class _Heads:
    """The paragraph of a view that finds the heads of all its windows over one series."""

    def __init__(self, w: ViewWriter, times: Times) -> None:
        self._w, self._times = w, times
        self._local = w.fresh(f"{times.slug}_times")
        self._heads: dict[int, Head] = {}
        self._columns: dict[str, str] = {}
        w.later(self._lines)

    def of(self, window_us: int) -> Head:
        if window_us not in self._heads:
            slug, length = self._times.slug, length_name(window_us)
            start, count = self._w.fresh(f"{slug}_from_{length}"), self._w.fresh(f"{slug}_in_{length}")
            self._heads[window_us] = Head(self, self._local, start, count, window_us)
        return self._heads[window_us]

    def column(self, slot: str) -> str:
        if slot not in self._columns:
            self._columns[slot] = self._w.fresh(slot[2:])
        return self._columns[slot]

    def _lines(self) -> Iterator[str]:
        yield f"{self._local} = {self._times.times}"
        yield f"{' = '.join(head.count for head in self._heads.values())} = 0"
        yield f"if {self._local} is not None:"
        yield from indented(f"{local} = {slot}" for slot, local in self._columns.items())
        for head in self._heads.values():
            window = self._w.plan.duration(head.window_us)
            yield from indented(
                (
                    f"{head.start} = bisect_right({self._local}, at - {window})",
                    f"{head.count} = len({self._local}) - {head.start}",
                    f"if {head.count} and (leaves := {self._local}[{head.start}] + {window}) < change:",
                    "    change = leaves",
                )
            )


@dataclass(eq=False)
class Series(Times):
    """Times, and running totals of numbers. Several series may share one signal's slug, not its slots."""

    totals: dict[FieldLike, str] = field(default_factory=dict)

    def columns(self) -> Iterable[str]:
        return self.totals.values()

    def column(self, name: FieldLike) -> str:
        """The slot with the running totals of a field that each event gives."""
        if name not in self.totals:
            own = field_name(name)
            wish = self.slug if self.slug.endswith(f"_with_{own}") else f"{self.slug}_{own}"
            self.totals[name] = self.plan.slot(f"{wish}_totals", "array", "None")
        return self.totals[name]

    def listen(self, signal: Signal) -> None:
        """Write the fold lines, once all columns are known."""
        for event_type in self.plan.matching(signal):
            writer = self.plan.folds[event_type.name]
            conditions = self.plan.conditions(writer, event_type, signal.conditions)
            values: dict[FieldLike, str] = {}
            for name in self.totals:
                values[name], given = self.plan.value(writer, event_type, name, "micro")
                # A null that clears is given as it is, and no number.
                conditions += (given,) if given is not None and given not in conditions else ()
            writer.update(conditions, self.append_lines(values))

    def append_lines(self, values: dict[FieldLike, str]) -> list[str]:
        """Lines that take an event at ``at`` with the numbers given."""
        columns = [(self.totals[name], value) for name, value in values.items()]
        found = "index = " if columns else ""
        return [
            f"times = {self.times}",
            "if times is None:",
            f'    {self.times} = array("q", (at,))',
            *[f"    {column} = begun({value})" for column, value in columns],
            "elif at >= times[-1]:",
            "    times.append(at)",
            *[f"    {column} = pushed({column}, {value})" for column, value in columns],
            "else:",
            f"    {found}insert_time(times, at)",
            *[f"    {column} = inserted({column}, index, {value})" for column, value in columns],
        ]


def series_of(plan: Plan, signal: Signal) -> Series:
    """The one series of a signal, made when first asked for."""

    def make() -> Series:
        series = Series(plan, signal.slug, plan.slot(f"{signal.slug}_times", "array", "None"))
        plan.at_end(lambda: series.listen(signal))
        plan.at_end(series.prune)
        return series

    series: Series = plan.build(("series", signal), make)
    return series


@dataclass(eq=False)
class Log(Times):
    """Times, and the values of one field as they are. Where events of one instant matter, ``order`` says so."""

    values: str = ""

    def columns(self) -> Iterable[str]:
        return (self.values,)

    def order(self, signal: Signal) -> None:
        """Ask for a refold where two events of one instant come one by one: only their ids know which is first."""
        for event_type in self.plan.matching(signal):
            self.plan.folds[event_type.name].guard(f"holds({self.times}, at)")


def log_of(plan: Plan, signal: Signal, name: FieldLike, form: Any) -> Log:
    """The one log of a signal's field, made when first asked for."""

    def make() -> Log:
        slug = f"{signal.slug}_{field_name(name)}"
        times, values = plan.slot(f"{slug}_times", "array", "None"), plan.slot(f"{slug}_values", "list", "None")
        log = Log(plan, slug, times, values=values)
        plan.on(
            signal,
            lambda value: [
                f"times = {times}",
                "if times is None:",
                f'    {times}, {values} = array("q", (at,)), [{value}]',
                "elif at >= times[-1]:",
                "    times.append(at)",
                f"    {values}.append({value})",
                "else:",
                f"    {values}.insert(insert_time(times, at), {value})",
            ],
            field=name,
            form=form,
        )
        plan.at_end(log.prune)
        return log

    log: Log = plan.build(("log", signal, name, form), make)
    return log


def given(plan: Plan, signal: Signal, name: FieldLike) -> Signal:
    """The signal narrowed to events that give the field; the signal itself where all of them do."""
    is_always = (
        not any(plan.info(t, name).is_optional for t in plan.matching(signal)) if isinstance(name, str) else True
    )
    return signal if is_always and not isinstance(name, Computed) else signal.where(name, given=True)
