import datetime as dt
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from kernel.times import DAY_US, HOUR_US, MAX_US, MIN_US, MINUTE_US, SECOND_US
from projections.local_time import LocalTime, hour_of, weekday_of

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Africa/Monrovia",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Apia",
    "Antarctica/Troll",
)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
FIRST_YEAR, LAST_YEAR = 1880, 2037


def exact_us(zone: ZoneInfo, at_us: int) -> int:
    offset = (EPOCH + dt.timedelta(microseconds=at_us)).astimezone(zone).utcoffset()
    assert offset is not None
    return offset // dt.timedelta(seconds=1) * SECOND_US


def transitions(name: str) -> list[int]:
    """Instants at which the zone's offset changes, to the second, by bisection of days."""
    zone = ZoneInfo(name)
    start = (dt.datetime(FIRST_YEAR, 1, 1, tzinfo=dt.UTC) - EPOCH) // dt.timedelta(microseconds=1)
    days = (dt.date(LAST_YEAR, 12, 31) - dt.date(FIRST_YEAR, 1, 1)).days
    found = []
    for low, high in pairwise(start + n * DAY_US for n in range(days)):
        if exact_us(zone, low) != exact_us(zone, high):
            while high - low > SECOND_US:
                middle = (low + high) // 2 // SECOND_US * SECOND_US
                low, high = (middle, high) if exact_us(zone, middle) == exact_us(zone, low) else (low, middle)
            found.append(high)
    return found


@pytest.mark.parametrize("name", ZONES)
def test_offsets_around_every_transition_are_those_of_zoneinfo(name: str) -> None:
    zone, local = ZoneInfo(name), LocalTime(name)
    near = (0, 1, -1, SECOND_US, -SECOND_US, 7 * MINUTE_US, -7 * MINUTE_US, 15 * MINUTE_US, -15 * MINUTE_US, HOUR_US)
    changes = transitions(name)
    assert changes or name == "UTC"
    wrong = [(at, off) for at in changes for off in near if local.offset_us(at + off) != exact_us(zone, at + off)]
    assert wrong == []


@pytest.mark.parametrize("name", ZONES)
def test_the_next_midnight_is_after_now_and_not_after_the_next_change_of_the_date(name: str) -> None:
    local = LocalTime(name)
    for change in transitions(name)[-40:] or [0]:
        for off in range(-30, 31, 3):
            at = change + off * HOUR_US + 17 * MINUTE_US + 1
            midnight = local.next_midnight_us(at)
            assert at < midnight <= at + 2 * DAY_US
            today = local.local_us(at) // DAY_US
            assert local.local_us(midnight - 1) // DAY_US == today
            steps = range(at, midnight, 10 * MINUTE_US)
            assert {local.local_us(each) // DAY_US for each in steps} == {today}


def test_the_ends_of_the_calendar_have_an_offset() -> None:
    for name in ("Pacific/Apia", "America/New_York", "UTC"):
        local = LocalTime(name)
        for at in (MIN_US, MIN_US + HOUR_US, MAX_US - 1, MAX_US - HOUR_US):
            assert abs(local.offset_us(at)) < DAY_US


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.local_time._KEPT", 10)
    local = LocalTime("Europe/Berlin")
    for n in range(1000):
        local.offset_us(n * HOUR_US)
    assert len(local._offsets) <= 10


def test_hours_and_weekdays_before_1970_count_backwards() -> None:
    assert (hour_of(-HOUR_US), weekday_of(-1), weekday_of(0)) == (23, 2, 3)
