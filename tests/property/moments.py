"""Hypothesis strategies for times: as-of times, event times on the edges that features have, written forms."""

import datetime as dt

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.oracle.exact import DAY_US, HOUR_US, MINUTE_US, SECOND_US, instant

#: With half hours and quarters, southern, half-hour, midnight and Ramadan clock changes, a skipped day, and none.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tokyo",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Apia",
)

#: Instants at which the clocks of some zone above change.
CLOCK_CHANGES = tuple(
    instant(written)
    for written in (
        "2024-03-31T01:00:00Z",  # Europe/Berlin, forward
        "2024-10-27T01:00:00Z",  # Europe/Berlin, back
        "2024-03-10T07:00:00Z",  # America/New_York, forward
        "2024-11-03T06:00:00Z",  # America/New_York, back
        "2024-04-06T15:00:00Z",  # Australia/Lord_Howe, back by half an hour
        "2024-10-05T15:30:00Z",  # Australia/Lord_Howe, forward
        "2024-03-10T02:00:00Z",  # Africa/Casablanca, back for Ramadan
        "2024-04-14T02:00:00Z",  # Africa/Casablanca, forward
        "2018-11-04T03:00:00Z",  # America/Sao_Paulo, forward at midnight
        "2019-02-17T02:00:00Z",  # America/Sao_Paulo, back at midnight
        "2024-04-06T14:00:00Z",  # Pacific/Auckland, back
        "2011-12-30T10:00:00Z",  # Pacific/Apia, over the date line: the 30th never was
    )
)

_NEAR_US = (0, 1, -1, SECOND_US, 30 * MINUTE_US, -30 * MINUTE_US, HOUR_US, -HOUR_US)
#: The ages at which something happens to a value: windows, the gap of a session, whole days.
_EDGES_US = tuple(days * DAY_US for days in (1, 7, 14, 30, 90, 3, 6, 2, 28, 60, 97))
_FAR_PAST = tuple(
    instant(written)
    for written in ("2010-06-01T00:00:00Z", "1970-01-01T00:00:00Z", "1883-11-18T12:00:00Z", "0001-01-01T00:00:00Z")
)


def as_of_times() -> SearchStrategy[int]:
    """Times to read at: a plain one, around clock changes, any microsecond of some years."""
    return st.one_of(
        st.sampled_from([instant("2024-12-01T12:00:00Z"), instant("2024-12-01T00:00:00Z")]),
        st.builds(
            lambda change, days, near: change + days * DAY_US + near,
            st.sampled_from(CLOCK_CHANGES),
            st.sampled_from([0, 1, 7, 30]),
            st.sampled_from(_NEAR_US),
        ),
        st.integers(instant("2018-01-01T00:00:00Z"), instant("2026-01-01T00:00:00Z")),
    )


def event_times(tau_us: int, ahead_us: int = 8 * DAY_US) -> SearchStrategy[int]:
    """Event times of a history read at ``tau_us``: few enough to meet, mostly on an edge, at most ``ahead_us`` later."""
    edges = st.builds(
        lambda edge, near: tau_us - edge + near, st.sampled_from(_EDGES_US), st.sampled_from([0, 0, 1, -1, 0])
    )
    recent = st.sampled_from([tau_us - ago for ago in (0, 1, SECOND_US, MINUTE_US, HOUR_US, 12 * HOUR_US)])
    later = [tau_us + ahead for ahead in (1, MINUTE_US, HOUR_US, DAY_US, 7 * DAY_US) if ahead <= ahead_us]
    changes = st.builds(lambda change, near: change + near, st.sampled_from(CLOCK_CHANGES), st.sampled_from(_NEAR_US))
    strategies = [
        recent,
        edges,
        st.integers(tau_us - 100 * DAY_US, tau_us),
        st.integers(0, 100 * 24).map(lambda hours: tau_us - hours * HOUR_US),
        changes.map(lambda at_us: at_us if at_us <= tau_us + ahead_us else tau_us),
        st.sampled_from(_FAR_PAST),
    ]
    return st.one_of(*strategies, *([st.sampled_from(later)] if later else []))


#: A campaign's week, a window, a session's gap: what two events may lie apart.
STEPS_US = (7 * DAY_US, 72 * HOUR_US, DAY_US, 30 * DAY_US, HOUR_US, 30 * MINUTE_US)


def grid_times(tau_us: int, step_us: int, ahead_us: int) -> SearchStrategy[int]:
    """Times that lie whole steps before ``tau_us``, give or take a microsecond: they meet, and face each other."""
    steps, near = st.sampled_from([0, 1, 2, 3, 4]), st.sampled_from([0, 0, 0, 0, -1, 1])
    return st.builds(lambda count, off: min(tau_us - count * step_us + off, tau_us + ahead_us), steps, near)


def _text(at_us: int, offset_minutes: int) -> str:
    zone = dt.timezone(dt.timedelta(minutes=offset_minutes))
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=at_us)
    try:
        return moment.astimezone(zone).isoformat(timespec="microseconds")
    except OverflowError:  # the first and last hours of the calendar cannot be written with every offset
        return moment.isoformat(timespec="microseconds")


def _forms(at_us: int) -> list[str | int | float]:
    utc = _text(at_us, 0).removesuffix("+00:00")
    forms: list[str | int | float] = [f"{utc}Z", _text(at_us, 0), _text(at_us, 330), _text(at_us, -480)]
    forms += [f"{utc.replace('T', 't')}z", f"{utc}999Z"]
    forms += [number for number in (at_us / SECOND_US, at_us // SECOND_US) if instant(number) == at_us]
    return forms


def written_times(at_us: int) -> SearchStrategy[str | int | float]:
    """The forms in which a sender may write that instant."""
    return st.sampled_from(_forms(at_us))
