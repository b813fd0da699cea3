"""The words a pack is written with: events in, signals, aggregates, features out.

One line is one feature. A pack is a module that makes a ``Pack``, declares payload structs with ``@pack.event``,
and assigns expressions to names of views::

    pack = Pack("mycompany")

    @pack.event(by="lead")
    class DemoBooked(Payload):
        seats: Count

    demos = events(DemoBooked)
    demo = pack.view("demo", "Demonstrations")
    demo["demos_30d"] = demos.count().over(days(30)).doc("demonstrations booked in 30 days")
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from eventstore.types import EventType, Payload
from kernel.errors import DuplicateFeature
from kernel.settings import OrgSettings
from kernel.times import DAY_US, HOUR_US, MINUTE_US
from projections.absence import Absence
from projections.aggregators.keys import Keys, distinct
from projections.aggregators.ordered import Carried, Favourite, FirstTime, LastTime, Recent, first, latest
from projections.aggregators.rhythm import Decayed, Sessions, Streak
from projections.aggregators.sums import Count, Deviation, Mean, Sum, Windowed
from projections.aggregators.values import Distinct, Extremum, Mode, Quantile
from projections.expressions import Documented, Dtype, Expr
from projections.plan import snake_case
from projections.signals import FieldLike, LocalField, Signal

P = TypeVar("P", bound=type[Payload])


@dataclass(frozen=True)
class Window:
    """A length of time, with the name it has in features."""

    us: int
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def in_days(self) -> float:
        """Length in days: an int where it is whole."""
        return self.us // DAY_US if self.us % DAY_US == 0 else self.us / DAY_US


def days(n: int) -> Window:
    """A window of n days of 86,400 s."""
    return Window(n * DAY_US, f"{n}d")


def hours(n: int) -> Window:
    """A window of n hours."""
    return Window(n * HOUR_US, f"{n}h")


def minutes(n: int) -> Window:
    """A window of n minutes."""
    return Window(n * MINUTE_US, f"{n}m")


@dataclass(frozen=True)
class Events:
    """A signal, with the verbs that make aggregates of it. Over a lifetime, unless ``.over(window)`` follows."""

    signal: Signal

    def where(self, field: FieldLike, **tests: Any) -> "Events":
        """Only events whose field passes: ``eq lt le gt ge isin given``."""
        return Events(self.signal.where(field, **tests))

    def count(self) -> "Aggregated":
        return Aggregated(Count(self.signal))

    def sum(self, field: FieldLike) -> "Aggregated":
        return Aggregated(Sum(self.signal, field=field))

    def mean(self, field: FieldLike) -> "Aggregated":
        return Aggregated(Mean(self.signal, field=field))

    def deviation(self, field: FieldLike) -> "Aggregated":
        """Population standard deviation."""
        return Aggregated(Deviation(self.signal, field=field))

    def min(self, field: FieldLike) -> "Aggregated":
        return Aggregated(Extremum(self.signal, field=field, which="min"))

    def max(self, field: FieldLike) -> "Aggregated":
        return Aggregated(Extremum(self.signal, field=field, which="max"))

    def median(self, field: FieldLike) -> "Aggregated":
        return self.quantile(field, 0.5)

    def quantile(self, field: FieldLike, q: float) -> "Aggregated":
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is from 0 to 1, not {q}")
        return Aggregated(Quantile(self.signal, field=field, q=q))

    def mode(self, field: FieldLike) -> "Aggregated":
        """The most frequent value, a tie to the smaller."""
        return Aggregated(Mode(self.signal, field=field))

    def distinct(self, field: str | LocalField) -> "DistinctValues":
        """How many different values; ``.having(other)`` those that other events name, too."""
        return DistinctValues(self.signal, field)

    def latest(self, field: FieldLike, returns: Dtype = "string") -> Carried:
        """The value on the latest event that carries one."""
        return latest(returns, (self.signal, field))

    def first(self, field: FieldLike, returns: Dtype = "string") -> Carried:
        """The value on the first event that carries one."""
        return first(returns, (self.signal, field))

    def last_n(self, field: FieldLike, n: int) -> Recent:
        """The values of the last n events that carry one, oldest first."""
        return Recent(self.signal, field, n)

    def first_n(self, field: FieldLike, n: int) -> Recent:
        return Recent(self.signal, field, n, is_first=True)

    def favourite(self, field: str, *, last: int) -> Favourite:
        """The most frequent value among the last n events."""
        return Favourite(self.signal, field, last)

    def first_time(self) -> FirstTime:
        return FirstTime(self.signal)

    def last_time(self) -> LastTime:
        return LastTime(self.signal)

    def sessions(self, *, gap: Window) -> "SessionSplit":
        """Runs of events without a longer gap."""
        return SessionSplit(self.signal, gap.us)

    def streak(self) -> Streak:
        """Consecutive local days with an event, up to today or yesterday."""
        return Streak(self.signal)

    def decayed(self, *, half_life: Window, step: Window = Window(HOUR_US, "1h")) -> Decayed:
        """A count in which each event halves every ``half_life``."""
        return Decayed(self.signal, half_life.us, step.us)


class Aggregated(Expr):
    """An aggregate over a lifetime, that ``over`` turns into one over a window."""

    def __init__(self, aggregate: Windowed) -> None:
        self.aggregate = aggregate

    def over(self, window: Window) -> Windowed:
        return replace(self.aggregate, window_us=window.us)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Aggregated) and self.aggregate == other.aggregate

    def __hash__(self) -> int:
        return hash(self.aggregate)

    def __repr__(self) -> str:
        return repr(self.aggregate)

    @property
    def dtype(self) -> Dtype:
        return self.aggregate.dtype

    def parts(self) -> tuple[Expr, ...]:
        return (self.aggregate,)

    def emit(self, w: Any) -> Any:
        return w.operand(self.aggregate)


class DistinctValues(Expr):
    """Distinct values of a field: a lifetime's, or within a window."""

    def __init__(self, signal: Signal, field: str | LocalField) -> None:
        self.signal, self.field = signal, field
        self._lifetime = distinct(field, signal)

    def over(self, window: Window) -> Distinct:
        return Distinct(self.signal, window.us, field=self.field)

    def having(self, other: Events) -> Keys:
        return self._lifetime.having(other.signal)

    def count(self) -> Keys:
        return self._lifetime

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DistinctValues) and self._lifetime == other._lifetime

    def __hash__(self) -> int:
        return hash(self._lifetime)

    def __repr__(self) -> str:
        return repr(self._lifetime)

    @property
    def dtype(self) -> Dtype:
        return "int"

    def parts(self) -> tuple[Expr, ...]:
        return (self._lifetime,)

    def emit(self, w: Any) -> Any:
        return w.operand(self._lifetime)


@dataclass(frozen=True)
class SessionSplit:
    """Sessions of a signal: their number and mean length."""

    signal: Signal
    gap_us: int

    def count(self) -> Sessions:
        return Sessions(self.signal, self.gap_us)

    def mean_minutes(self) -> Sessions:
        return Sessions(self.signal, self.gap_us, "mean_minutes")


def events(*types: type[Payload] | Signal) -> Events:
    """Events of the given payload types together, or of a named signal."""
    if len(types) == 1 and isinstance(types[0], Signal):
        return Events(types[0])
    if not types or not all(isinstance(t, type) and issubclass(t, Payload) for t in types):
        raise TypeError("events() takes payload types that a pack declares with @pack.event")
    return Events(Signal(types=tuple(t for t in types if isinstance(t, type))))


@dataclass(frozen=True)
class FeatureSpec:
    """One declared feature, and where it was declared (``file:line``)."""

    view: str
    name: str
    documented: Documented
    where: str

    @property
    def reference(self) -> str:
        return f"{self.view}:{self.name}"


class View:
    """A named vector under construction: assign expressions to names."""

    def __init__(self, name: str, description: str) -> None:
        self.name, self.description = name, description
        self.specs: dict[str, FeatureSpec] = {}

    def __setitem__(self, name: str, value: Documented | Expr) -> None:
        if name in self.specs:
            raise DuplicateFeature(f"{self.name}:{name}")
        if isinstance(value, Expr):
            value = Documented(value, name.replace("_", " "))
        if not isinstance(value, Documented):
            raise TypeError(f"{self.name}:{name} must be an expression, not {value!r}")
        self.specs[name] = FeatureSpec(self.name, name, value, _caller())

    def __getitem__(self, name: str) -> Expr:
        return self.specs[name].documented.expr


def _caller() -> str:
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


About = Literal["lead", "subject"]
Configure = Callable[[View, OrgSettings], None]


class Pack:
    """A named set of event types and views, switched on per organisation."""

    def __init__(self, name: str, description: str = "") -> None:
        self.name, self.description = name, description
        self.types: list[EventType] = []
        self._views: list[View] = []
        self._configured: list[tuple[str, str, Configure]] = []
        self._about: dict[str, About] = {}
        self.absences: list[Absence] = []

    def event(
        self,
        *,
        by: Literal["lead", "org"] = "org",
        about: About = "lead",
        is_activity: bool = False,
        name: str | None = None,
    ) -> Callable[[P], P]:
        """Declare a payload struct as an event type named after it (``DemoBooked`` is ``demo_booked``)."""

        def declare(payload: P) -> P:
            self.types.append(
                EventType(name or snake_case(payload.__name__), payload, self.name, by, about, is_activity)
            )
            return payload

        return declare

    def view(self, name: str, description: str, *, about: About = "lead") -> View:
        """A view whose features read no settings."""
        view = View(name, description)
        self._views.append(view)
        self._about[name] = about
        return view

    def configured(self, name: str, description: str, *, about: About = "lead") -> Callable[[Configure], Configure]:
        """A view whose features read the org's settings: the function fills it."""

        def declare(configure: Configure) -> Configure:
            self._configured.append((name, description, configure))
            self._about[name] = about
            return configure

        return declare

    def absence(self, absence: Absence) -> None:
        """Have the timer wheel write an event where an answer stays out."""
        self.absences.append(absence)

    def views(self, settings: OrgSettings) -> list[View]:
        """All views in order of declaration, under an org's settings."""
        made = {view.name: view for view in self._views}
        for name, description, configure in self._configured:
            view = made[name] = View(name, description)
            configure(view, settings)
        return [made[name] for name in self._about]

    def about(self, view: str) -> About:
        """Whether a view describes leads or subjects."""
        return self._about[view]
