"""The verbs that make aggregates of events: over a lifetime, unless ``.over(7)`` or ``.over(7, 14, 30)`` follows."""

from dataclasses import dataclass
from typing import Any, Final

from eventstore.types import Payload
from kernel.errors import DefinitionError
from kernel.times import HOUR_US
from projections.aggregators.ordered import Carried, Favourite, FirstTime, LastTime, Recent, Source
from projections.aggregators.pairs import Replies, Turns, Unanswered
from projections.aggregators.rhythm import Decayed, Sessions, Streak
from projections.aggregators.sums import Count, Deviation, Mean, Sum
from projections.aggregators.values import Distinct, Extremum, Mode, Quantile
from projections.expressions import Dtype
from projections.fields import dtypes_of, field_info
from projections.signals import TYPE, Computed, FieldLike, LocalField, Signal, snake_case
from projections.windows import Window, window_of
from projections.wording import calling_line, did_you_mean

AN_HOUR: Final = Window(HOUR_US, "1h")
_COMPUTED: dict[type, Dtype] = {float: "float", int: "int", str: "string", list: "list"}


@dataclass(frozen=True)
class Events:
    """Events of some types, with the verbs that make aggregates of them.

    A field is named as in the payload (``property.city`` inside of another), or is ``HOUR``, ``WEEKDAY``, ``DATE`` or
    ``TYPE`` of the event itself, or ``Computed`` by a function. Events that do not give it do not count.
    """

    signal: Signal

    def where(self, field: FieldLike, **tests: Any) -> "Events":
        """Only events whose field passes: ``eq lt le gt ge isin given``. One that is not given fails all but ``given=False``."""
        self._check(field)
        return Events(self.signal.where(field, **tests))

    def count(self) -> Count:
        """How many events."""
        return Count(self.signal)

    def sum(self, field: FieldLike) -> Sum:
        """Sum of a number; 0 over nothing."""
        return Sum(self._giving(field), field=field)

    def mean(self, field: FieldLike) -> Mean:
        """Mean of a number; null over nothing."""
        return Mean(self._giving(field), field=field)

    def deviation(self, field: FieldLike) -> Deviation:
        """Population standard deviation of a number; null over nothing."""
        return Deviation(self._giving(field), field=field)

    def min(self, field: FieldLike) -> Extremum:
        """The least value of a number."""
        return Extremum(self._giving(field), field=field, which="min")

    def max(self, field: FieldLike) -> Extremum:
        """The greatest value of a number."""
        return Extremum(self._giving(field), field=field, which="max")

    def median(self, field: FieldLike) -> Quantile:
        """The middle value of a number, or the mean of the middle two."""
        return self.quantile(field, 0.5)

    def quantile(self, field: FieldLike, q: float) -> Quantile:
        """The value of a number below which a share ``q`` of all lies, linear between neighbours."""
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is from 0 to 1, not {q}")
        return Quantile(self._giving(field), field=field, q=q)

    def mode(self, field: FieldLike) -> Mode:
        """The most frequent value, a tie to the smaller."""
        return Mode(self._giving(field), field=field, returns=self._dtype(field))

    def distinct(self, field: str | LocalField) -> Distinct:
        """How many different values; ``.having(other)`` those that other events name, too."""
        return Distinct(self._giving(field), field=field)

    def latest(self, field: FieldLike, returns: Dtype | None = None) -> Carried:
        """The value on the latest event that carries one."""
        return Carried((Source(self._giving(field), field),), self._dtype(field, returns))

    def first(self, field: FieldLike, returns: Dtype | None = None) -> Carried:
        """The value on the first event that carries one."""
        return Carried((Source(self._giving(field), field),), self._dtype(field, returns), is_first=True)

    def last(self, field: FieldLike, returns: Dtype | None = None) -> Carried:
        """The value on the last event; null where that one carries none."""
        self._check(field)
        return Carried((Source(self.signal, field),), self._dtype(field, returns), is_strict=True)

    def last_n(self, field: FieldLike, n: int, returns: Dtype | None = None) -> Recent:
        """The values of the last n events that carry one, oldest first."""
        return self._recent(field, n, returns, is_first=False)

    def first_n(self, field: FieldLike, n: int, returns: Dtype | None = None) -> Recent:
        """The values of the first n events that carry one, oldest first."""
        return self._recent(field, n, returns, is_first=True)

    def favourite(self, field: str, *, last: int) -> Favourite:
        """The most frequent value among the last n events."""
        return Favourite(self._giving(field), field, _positive(last))

    def first_time(self) -> FirstTime:
        """When the first event happened: ``since`` it, days between it and another, or its time as text."""
        return FirstTime(self.signal)

    def last_time(self) -> LastTime:
        """When the last event happened."""
        return LastTime(self.signal)

    def sessions(self, *, gap: Window) -> "SessionSplit":
        """Runs of events without a longer gap: ``.count()`` or ``.mean_minutes()``."""
        return SessionSplit(self.signal, window_of(gap).us)

    def streak(self) -> Streak:
        """Consecutive local days with an event, up to today or yesterday."""
        return Streak(self.signal)

    def decayed(self, *, half_life: Window, step: Window = AN_HOUR) -> Decayed:
        """A count in which each event halves every ``half_life``."""
        return Decayed(self.signal, window_of(half_life).us, window_of(step).us)

    def then(self, reply: "Events", *, by: str) -> "PairVerbs":
        """Replies whose previous event of the two, with the same ``by``, is one of these."""
        self._check(by)
        reply._check(by)
        return PairVerbs(Turns(self.signal, reply.signal, by))

    def answered(self, reply: "Events", *, by: str) -> "AnswerVerbs":
        """For each ``by`` the first of these and the first reply at or after it, whatever lies between."""
        self._check(by)
        reply._check(by)
        return AnswerVerbs(Replies(self.signal, reply.signal, by))

    def _recent(self, field: FieldLike, n: int, returns: Dtype | None, *, is_first: bool) -> Recent:
        return Recent(
            self._giving(field), field=field, n=_positive(n), of=self._dtype(field, returns), is_first=is_first
        )

    def _check(self, field: FieldLike) -> None:
        if not isinstance(field, str | LocalField | Computed):
            raise TypeError(f"a field is a name, HOUR, WEEKDAY, DATE, TYPE or Computed(…), not {field!r}")
        if not isinstance(field, str):
            return
        for payload in self.signal.types:
            if field_info(payload, field) is None:
                what = f"fields of {snake_case(payload.__name__)}"
                hint = did_you_mean(field, payload.__struct_fields__, what)
                raise DefinitionError(calling_line(), f"unknown field {field!r}", hint)

    def _giving(self, field: FieldLike) -> Signal:
        """The signal; of a named group only the types that declare the field."""
        self._check(field)
        if self.signal.group is None or not isinstance(field, str) or self.signal.declares(field):
            return self.signal
        return self.signal.where(field, given=True)

    def _dtype(self, field: FieldLike, returns: Dtype | None = None) -> Dtype:
        """What the field's value is served as: as asked, or as its declaration says."""
        if returns is not None:
            return returns
        if isinstance(field, LocalField):
            return "string" if field is TYPE else "int"
        if isinstance(field, Computed):
            return _COMPUTED[field.returns]
        if not self.signal.types:
            raise TypeError(f"say what {field!r} is served as: a group of types declares it, so add returns=…")
        info = field_info(self.signal.types[0], field)
        dtypes = dtypes_of(info) if info is not None else ()
        if not dtypes:
            raise TypeError(f"{field!r} is a {info}: name a field inside of it, as in {field}.name")
        return dtypes[0]


@dataclass(frozen=True)
class SessionSplit:
    """Sessions of a signal: their number and mean length."""

    signal: Signal
    gap_us: int

    def count(self) -> Sessions:
        return Sessions(self.signal, gap_us=self.gap_us)

    def mean_minutes(self) -> Sessions:
        return Sessions(self.signal, gap_us=self.gap_us, what="mean_minutes")


@dataclass(frozen=True)
class PairVerbs:
    """What can be asked of pairs of events."""

    pair: Turns | Replies

    def count(self) -> Turns | Replies:
        """How many pairs."""
        return type(self.pair)(self.pair.opening, self.pair.reply, self.pair.key, "count")

    def mean_seconds(self) -> Turns | Replies:
        """Mean time between the two of a pair; null without any."""
        return self.pair


@dataclass(frozen=True)
class AnswerVerbs(PairVerbs):
    """What can be asked of first answers."""

    def missing_after(self, window: Window | int) -> Unanswered:
        """How many had no answer within so long of their first opening, with that time over."""
        return Unanswered(self.pair.opening, self.pair.reply, self.pair.key, window_of(window).us)


def events(*types: type[Payload] | Signal, name: str | None = None) -> Events:
    """Events of the given payload types together, or of a named signal.

    Parameters
    ----------
    name : what features and slots are called after; by default the types' own names.
    """
    if len(types) == 1 and isinstance(types[0], Signal):
        return Events(types[0])
    if not types or not all(isinstance(t, type) and issubclass(t, Payload) for t in types):
        raise TypeError("events() takes payload types that a pack declares with @pack.event")
    return Events(Signal(types=tuple(t for t in types if isinstance(t, type)), name=name))


def _positive(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"expected at least 1 event, not {n!r}")
    return n
