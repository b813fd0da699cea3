"""Exact numbers: fixed point in, fractions in between, the nearest float64 out."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

MICRO = 10**6
SECOND_US = MICRO
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
#: Before this every zone keeps its local mean time.
_EARLY_US = (dt.datetime(1800, 1, 1, tzinfo=dt.UTC) - _EPOCH) // dt.timedelta(microseconds=1)
_LATE_US = (dt.datetime(9999, 1, 1, tzinfo=dt.UTC) - _EPOCH) // dt.timedelta(microseconds=1)
#: The Gregorian calendar, weekdays included, repeats after this.
_CYCLE_US = 146_097 * DAY_US


def number(x: float | Decimal) -> Fraction:
    """A payload number: the integer nearest to x·10⁶, half to even, x being the nearest float64.

    >>> number(0.1), number(0.0000004)
    (Fraction(1, 10), Fraction(0, 1))
    """
    return Fraction(round(Fraction(float(x)) * MICRO), MICRO)


def money(x: str | float | Decimal) -> Fraction:
    """An amount: its exact decimal. A float stands for the shortest decimal that reads as it.

    >>> money("0.10") == money(0.1) == Fraction(1, 10)
    True
    """
    exact = Fraction(Decimal(repr(x) if isinstance(x, float) else x))
    assert (exact * MICRO).denominator == 1, "an amount has at most six decimals"
    return exact


def mean(values: Sequence[Fraction]) -> Fraction | None:
    """A mean over nothing is null."""
    return sum(values, Fraction(0)) / len(values) if values else None


def ratio(n: Fraction | int, d: Fraction | int) -> Fraction | None:
    """n / d, null where d = 0."""
    return Fraction(n) / Fraction(d) if d else None


def served(value: Fraction | None) -> float | None:
    """The nearest float64."""
    return None if value is None else float(value)


def power_of_two(exponent: Fraction) -> Fraction:
    """2^exponent to sixty digits, far below what a float64 can tell.

    >>> float(power_of_two(Fraction(-1)))
    0.5
    """
    with localcontext() as context:
        context.prec = 60
        return Fraction(Decimal(2) ** (Decimal(exponent.numerator) / Decimal(exponent.denominator)))


def mode(values: Iterable[int]) -> int | None:
    """The most frequent value; a tie goes to the smaller; null over nothing.

    >>> mode([9, 7, 9, 7, 3])
    7
    """
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value)) if counts else None


def median(values: Iterable[Fraction]) -> Fraction | None:
    """The middle value, or the mean of the two middle ones."""
    ordered = sorted(values)
    if not ordered:
        return None
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return (low + high) / 2


class Local:
    """An instant as the org's clocks and calendars show it: ``day`` (a date's number), ``weekday``, ``hour``."""

    def __init__(self, at_us: int, timezone: str) -> None:
        probe_us = max(at_us, _EARLY_US)
        while probe_us >= _LATE_US:
            probe_us -= _CYCLE_US
        there = (_EPOCH + dt.timedelta(microseconds=probe_us)).astimezone(ZoneInfo(timezone))
        offset = there.utcoffset()
        assert offset is not None
        local_us = at_us + offset // dt.timedelta(microseconds=1)
        self.day = local_us // DAY_US
        self.weekday = (self.day + 3) % 7  # 1970-01-01 was a Thursday, which is 3.
        self.hour = local_us % DAY_US // HOUR_US
        self.is_weekend = self.weekday >= 5


def utc_text(at_us: int) -> str:
    """RFC 3339, UTC, six decimals, ``Z``."""
    return (_EPOCH + dt.timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def instant(written: Any) -> int:
    """Microseconds of an event's ``time``: RFC 3339 with an offset, or a number of seconds.

    >>> instant("1970-01-01t01:00:00.0000019+01:00"), instant(1.5)
    (1, 1500000)
    """
    if not isinstance(written, str):
        return round(Fraction(float(written)) * SECOND_US)
    parsed = dt.datetime.fromisoformat(written.upper())
    return (parsed - _EPOCH) // dt.timedelta(microseconds=1)
