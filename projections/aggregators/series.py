"""Series: the times (and running totals) of a signal's events that some window still reaches.

Shared by all windows over the signal. A window is a bisection at read: the half-open interval (at − w, at], so an
event exactly w old is out.
"""

from dataclasses import dataclass, field

from projections.plan import Plan
from projections.signals import FieldLike, Signal
from projections.source import ViewWriter


@dataclass(eq=False)
class Series:
    """One series of the plan: its slots, and the longest window asked of it."""

    plan: Plan
    signal: Signal
    slug: str
    times: str
    columns: dict[FieldLike, str] = field(default_factory=dict)
    longest_us: int = 0

    def column(self, name: FieldLike) -> str:
        """The slot with the running totals of a field that each event of the signal gives."""
        if name not in self.columns:
            wish = f"{self.slug}_{name if isinstance(name, str) else name.name}_totals"
            self.columns[name] = self.plan.slot(wish, "array", "None")
        return self.columns[name]

    def reach(self, window_us: int) -> None:
        self.longest_us = max(self.longest_us, window_us)

    def head(self, w: ViewWriter, window_us: int) -> tuple[str, str]:
        """Locals of a view: index of the first entry within the window, and how many there are."""

        def make() -> tuple[str, str]:
            days = (
                f"{window_us // 86_400_000_000}d" if window_us % 86_400_000_000 == 0 else f"{window_us // 1_000_000}s"
            )
            head, count = w.fresh(f"{self.slug}_from_{days}"), w.fresh(f"{self.slug}_in_{days}")
            w.line(f"{head} = {count} = 0")
            w.line(f"if {self.times} is not None:")
            w.line(f"    {head} = bisect_right({self.times}, at - {window_us})")
            w.line(f"    {count} = len({self.times}) - {head}")
            w.line(f"    if {count} and {self.times}[{head}] + {window_us} < change:")
            w.line(f"        change = {self.times}[{head}] + {window_us}")
            return head, count

        result: tuple[str, str] = w.share((self.times, window_us), make)
        return result

    def finish(self) -> None:
        """Write the fold and prune lines, once all columns are known."""
        fields = list(self.columns)
        for event_type in self.plan.matching(self.signal):
            writer = self.plan.folds[event_type.name]
            conditions = self.plan.conditions(writer, event_type, self.signal.conditions)
            values = {name: self.plan.value(writer, event_type, name, "micro")[0] for name in fields}
            writer.update(conditions, self._append_lines(values))
        drop = ["    if dropped:", f"        del {self.times}[:dropped]"]
        drop += [f"        del {column}[:dropped]" for column in self.columns.values()]
        self.plan.prune(
            f"if {self.times} is not None:",
            f"    dropped = bisect_right({self.times}, at - {self.longest_us})",
            *drop,
            f"        if not {self.times}:",
            f"            {self.times} = None",
        )

    def _append_lines(self, values: dict[FieldLike, str]) -> list[str]:
        columns = [(self.columns[name], value) for name, value in values.items()]
        return [
            f"if {self.times} is None:",
            f'    {self.times} = array("q", (at,))',
            *[f'    {column} = array("q", (0, {value}))' for column, value in columns],
            f"elif at >= {self.times}[-1]:",
            f"    {self.times}.append(at)",
            *[f"    {column} = pushed({column}, {value})" for column, value in columns],
            "else:",
            f"    index = insert_time({self.times}, at)",
            *[f"    {column} = inserted({column}, index, {value})" for column, value in columns],
        ]


def series_of(plan: Plan, signal: Signal, window_us: int) -> Series:
    """The one series of a signal, made when first asked for."""

    def make() -> Series:
        slug = plan.slug(signal)
        series = Series(plan, signal, slug, plan.slot(f"{slug}_times", "array", "None"))
        plan.at_end(series.finish)
        return series

    series: Series = plan.build(("series", signal), make)
    series.reach(window_us)
    return series


def given(plan: Plan, signal: Signal, name: FieldLike) -> Signal:
    """The signal narrowed to events that give the field; the signal itself where all of them do."""
    if isinstance(name, str) and any(plan.info(t, name).is_optional for t in plan.matching(signal)):
        return signal.where(name, given=True)
    return signal
