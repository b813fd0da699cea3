"""Functions that generated code calls: the slow or shared steps of folding and reading. No state of their own.

A *series* is ``times`` (int64, ascending) with any number of *columns*. Column i holds running totals of
millionths, one longer than ``times`` (``column[0]`` is the total before the first kept entry), so the sum over
any run of entries is one subtraction: exact, whatever was dropped in front or came late.
"""

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import fsum, isfinite, sqrt
from typing import Any, TypeAlias

from kernel.fixed import MICRO, micro
from projections.local_time import LocalTime

NEVER = 2**62  #: after every instant
BEFORE = -(2**62)  #: before every instant
LARGEST = 10**12  #: magnitude of a payload number

Ints: TypeAlias = "array[int] | list[int]"


def bounded(x: float) -> int:
    """Millionths of a number that a pack computed, within the bounds of any payload number.

    Raises ``ValueError`` or ``TypeError``: the event is then poison.
    """
    if not -LARGEST <= x <= LARGEST:
        raise ValueError(f"a number of magnitude up to 10^12 was expected, not {x!r}")
    return micro(x)


def begun(value: int) -> Ints:
    """A column with one entry. A value alone always fits 64 bits: 10¹² in millionths is 10¹⁸."""
    return array("q", (0, value))


def pushed(column: Ints, value: int) -> Ints:
    """The column with a further entry: the same array, or a list where a total exceeds 64 bits."""
    try:
        column.append(column[-1] + value)
    except OverflowError:
        column = [*column, column[-1] + value]
    return column


def holds(times: "Ints | None", at: int) -> bool:
    """Whether an instant is among ascending times."""
    return times is not None and at <= times[-1] and times[bisect_right(times, at) - 1] == at


def insert_time(times: Ints, at: int) -> int:
    """Put a late time in its place; returns its index. O(n)."""
    index = bisect_right(times, at)
    times.insert(index, at)
    return index


def inserted(column: Ints, index: int, value: int) -> Ints:
    """The column with an entry put in before ``index``. O(n)."""
    tail = [total + value for total in column[index:]]
    if isinstance(column, list):
        column[index + 1 :] = tail
        return column
    try:
        column[index + 1 :] = array("q", tail)
    except OverflowError:
        return [*column[: index + 1], *tail]
    return column


def entries(column: Ints, start: int) -> list[int]:
    """The single values of a column of totals from an index on."""
    return [after - before for before, after in pairwise(column[start:])]


def finite(x: float) -> float | None:
    """The number, or None where it is infinite or none at all."""
    return x if isfinite(x) else None


def applied(function: Any, *arguments: Any) -> Any:
    """A pack's function of other values: null where one is null, where it fails on numbers, or is not finite."""
    if None in arguments:
        return None
    try:
        value = function(*arguments)
    except (ArithmeticError, ValueError):
        return None
    return None if isinstance(value, float) and not isfinite(value) else value


def mode(counts: dict[Any, int] | None) -> Any:
    """The most frequent value, a tie to the smaller one; None of nothing."""
    if not counts:
        return None
    most = max(counts.values())
    return min(value for value, count in counts.items() if count == most)


def counted(values: Iterable[Any]) -> dict[Any, int]:
    """How often each value occurs."""
    counts: dict[Any, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def quantile(counts: dict[int, int] | None, q: float) -> float | None:
    """The q-quantile of millionths given with their frequencies, linear between neighbours (Hyndman-Fan type 7)."""
    if not counts:
        return None
    total = sum(counts.values())
    place = Fraction(q) * (total - 1)
    low, part = int(place), place - int(place)
    below = above = None
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if below is None and seen > low:
            below = value
        if seen > low + (1 if part else 0):
            above = value
            break
    if below is None or above is None:
        raise AssertionError("a quantile lies within the values counted")
    return float((below + part * (above - below)) / MICRO)


def deviation(count: int, total: int, squares: int) -> float | None:
    """Population standard deviation from integer sums of millionths: sqrt(Σx²/n − (Σx/n)²), the difference exact."""
    if not count:
        return None
    return sqrt(Fraction(count * squares - total * total, count * count)) / MICRO


def sessions(times: Sequence[int], start: int, gap: int) -> tuple[int, int]:
    """How many runs without a longer gap ascending times make from an index on, and their lengths together."""
    count = length = 0
    last = BEFORE
    for t in times[start:]:
        if t - last > gap:
            count += 1
        else:
            length += t - last
        last = t
    return count, length


def decayed(times: Sequence[int], at: int, half_life: int, step: int) -> float:
    """Sum of 2^(−age/half_life) at the last whole step, later entries counting 1; nothing after 64 half-lives."""
    whole = at // step * step
    return fsum(1.0 if t >= whole else 2.0 ** ((t - whole) / half_life) for t in times if t > whole - 64 * half_life)


def streak(dates: Iterable[int], today: int) -> int:
    """Consecutive dates up to today, or up to yesterday while today has none."""
    known = set(dates)
    day = today if today in known else today - 1
    start = day
    while day in known:
        day -= 1
    return start - day


def favourite(recent: Sequence[int]) -> int | None:
    """The most frequent of the recent keys, a tie to the one seen latest."""
    counts = counted(recent)
    best, most = None, 0
    for key in reversed(recent):
        if counts[key] > most:
            best, most = key, counts[key]
    return best


def alive(last_times: dict[Any, int] | None, edge: int) -> list[int]:
    """The last times after ``edge``: one for each value seen within the window."""
    return [t for t in last_times.values() if t > edge] if last_times else []


def pruned(last_times: dict[Any, int] | None, edge: int) -> dict[Any, int] | None:
    """Only the values seen after ``edge``; the same dictionary where all were."""
    if last_times and min(last_times.values()) <= edge:
        return {value: t for value, t in last_times.items() if t > edge} or None
    return last_times


def next_midnight(local_time: LocalTime, at: int) -> int:
    return local_time.next_midnight_us(at)


WIDE = 2**63  #: what msgpack can carry as an integer lies in [-WIDE, WIDE)


def packed(values: Ints) -> Any:
    """An array as little-endian bytes; a list of wide integers as their texts."""
    if isinstance(values, array):
        return (values if sys.byteorder == "little" else swapped(values)).tobytes()
    return [str(value) for value in values]


def unpacked(dumped: Any, code: str = "q") -> Ints:
    """What ``packed`` was made of. Raises ``ValueError`` or ``TypeError``."""
    if isinstance(dumped, bytes):
        values = array(code)
        values.frombytes(dumped)
        return values if sys.byteorder == "little" else swapped(values)
    return [int(each) for each in dumped]


def swapped(values: "array[int]") -> "array[int]":
    other = values[:]
    other.byteswap()
    return other


def listed(values: dict[Any, Any]) -> list[Any]:
    """A dictionary as its keys and values: msgpack maps would lose the order and wide integers."""
    own = list(values.values())
    if [value for value in own if value is not None and not -WIDE <= value < WIDE]:
        own = [value if value is None else str(value) for value in own]
    return [list(values), own]


def unlisted(dumped: Any) -> dict[Any, Any]:
    """What ``listed`` was made of. Raises ``ValueError`` or ``TypeError``."""
    keys, values = dumped
    if values and any(value.__class__ is str for value in values):
        values = [value if value is None else int(value) for value in values]
    return dict(zip(keys, values, strict=True))


__all__ = [
    "BEFORE",
    "NEVER",
    "WIDE",
    "alive",
    "applied",
    "begun",
    "bounded",
    "counted",
    "decayed",
    "deviation",
    "entries",
    "favourite",
    "finite",
    "holds",
    "insert_time",
    "inserted",
    "listed",
    "mode",
    "next_midnight",
    "packed",
    "pruned",
    "pushed",
    "quantile",
    "sessions",
    "streak",
    "unlisted",
    "unpacked",
]
