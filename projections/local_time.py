"""Local time of an organisation: hours, weekdays and dates from UTC microseconds, daylight saving included."""

import datetime as dt
from zoneinfo import ZoneInfo

from kernel.times import DAY_US, HOUR_US, SECOND_US

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_KEPT = 100_000


class LocalTime:
    """The offset of an IANA zone at an instant, remembered by the UTC day.

    No zone changes its offset twice within an hour, so an offset found at every full hour of a day holds throughout
    (tests/unit/projections/test_local_time.py compares with zoneinfo around every transition). On the few days
    with a change, zoneinfo is asked each time.

    Examples
    --------
    >>> berlin = LocalTime("Europe/Berlin")
    >>> berlin.offset_us(0) // 3_600_000_000
    1
    """

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self._zone = ZoneInfo(zone)
        self._offsets: dict[int, int | None] = {}

    def local_us(self, at_us: int) -> int:
        """Microseconds of the local clock face since 1970-01-01 00:00 of the same face."""
        offset = self._offsets.get(at_us // DAY_US)
        return at_us + (offset if offset is not None else self.offset_us(at_us))

    def offset_us(self, at_us: int) -> int:
        """Local time minus UTC at an instant."""
        day = at_us // DAY_US
        if day not in self._offsets:
            if len(self._offsets) >= _KEPT:
                self._offsets.clear()
            hours = {self._exact_us(day * DAY_US + hour * HOUR_US) for hour in range(25)}
            self._offsets[day] = hours.pop() if len(hours) == 1 else None
        offset = self._offsets[day]
        return self._exact_us(at_us) if offset is None else offset

    def next_midnight_us(self, at_us: int) -> int:
        """An instant after ``at_us`` and not after the next change of the local date."""
        local = self.local_us(at_us)
        guess = at_us + DAY_US - local % DAY_US
        other = guess + self.offset_us(at_us) - self.offset_us(guess)
        return min(guess, other) if other > at_us else guess

    def _exact_us(self, at_us: int) -> int:
        try:
            when = (_EPOCH + dt.timedelta(microseconds=at_us)).astimezone(self._zone)
        except OverflowError:  # within a day of the years 1 or 9999: the offset a day further in
            return self._exact_us(at_us + 2 * DAY_US if at_us < 0 else at_us - 2 * DAY_US)
        offset = when.utcoffset()
        return 0 if offset is None else round(offset / dt.timedelta(seconds=1)) * SECOND_US


def hour_of(local_us: int) -> int:
    """Hour of the local day, 0 to 23."""
    return local_us // HOUR_US % 24


def weekday_of(local_us: int) -> int:
    """Day of the local week, 0 = Monday (1970-01-01 was a Thursday)."""
    return (local_us // DAY_US + 3) % 7
