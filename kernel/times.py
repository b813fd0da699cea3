"""Time as an integer of UTC microseconds (``at_us``), and its two written forms.

Inside the core a time is an ``int``; RFC 3339 strings and floating-point seconds exist at the edges only.
"""

import datetime as dt
import re
from fractions import Fraction

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 3600 * SECOND_US
DAY_US = 86_400 * SECOND_US

#: The years that RFC 3339 can write, as microseconds: [0001-01-01, 10000-01-01).
MIN_US = -62_135_596_800 * SECOND_US
MAX_US = 253_402_300_800 * SECOND_US

_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?(?:([Zz])|([+-])(\d{2}):(\d{2}))",
    re.ASCII,
)
_EPOCH_ORDINAL = dt.date(1970, 1, 1).toordinal()


def parse_rfc3339(text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 time with an offset.

    Digits past the sixth are cut off; lower-case ``t`` and ``z`` are accepted; second 60 is not.

    Raises
    ------
    ValueError
        Not of that form, not a time of the calendar, or outside the years 1 to 9999 in UTC.

    Examples
    --------
    >>> parse_rfc3339("1970-01-01T00:00:01.0000019Z")
    1000001
    >>> parse_rfc3339("1970-01-01t02:00:00+02:00")
    0
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time with an offset")
    year, month, day, hour, minute, second, fraction, zulu, sign, off_hour, off_minute = match.groups()
    ordinal = dt.date(int(year), int(month), int(day)).toordinal() - _EPOCH_ORDINAL
    hours, minutes, seconds = int(hour), int(minute), int(second)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError("hour, minute or second out of range")
    offset_s = 0
    if not zulu:
        if int(off_hour) > 23 or int(off_minute) > 59:
            raise ValueError("offset out of range")
        offset_s = (int(off_hour) * 60 + int(off_minute)) * 60
        if sign == "-":
            offset_s = -offset_s
    whole_s = ordinal * 86_400 + hours * 3600 + minutes * 60 + seconds - offset_s
    at_us = whole_s * SECOND_US + (int(fraction[:6].ljust(6, "0")) if fraction else 0)
    return _in_range(at_us)


def parse_seconds(seconds: float) -> int:
    """Microseconds of a number of seconds since the epoch: its float64 times 10⁶, rounded half to even.

    The product is exact (a float64 is a fraction), so the only rounding is the last one.

    Raises
    ------
    ValueError
        Not finite, or outside the years 1 to 9999.

    Examples
    --------
    >>> parse_seconds(1.5)
    1500000
    """
    try:
        return _in_range(round(Fraction(float(seconds)) * SECOND_US))
    except OverflowError:
        raise ValueError("not a finite number") from None


def parse_time(value: str | int | float) -> int:
    """Microseconds of either form in which the API takes a time. Raises ``ValueError``."""
    if isinstance(value, str):
        return parse_rfc3339(value)
    return parse_seconds(value)


def format_time(at_us: int) -> str:
    """RFC 3339 in UTC with six decimals and ``Z``.

    Examples
    --------
    >>> format_time(0)
    '1970-01-01T00:00:00.000000Z'
    """
    seconds, micros = divmod(at_us, SECOND_US)
    days, rest = divmod(seconds, 86_400)
    day = dt.date.fromordinal(days + _EPOCH_ORDINAL)
    hour, rest = divmod(rest, 3600)
    minute, second = divmod(rest, 60)
    return f"{day.year:04d}-{day.month:02d}-{day.day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{micros:06d}Z"


def _in_range(at_us: int) -> int:
    if not MIN_US <= at_us < MAX_US:
        raise ValueError("outside the years 1 to 9999")
    return at_us
