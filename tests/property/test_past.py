"""Reads of a subject's past: whatever the checkpoints made before, they say what a fold of the whole log says."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any, cast
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore.event import Event, Stream
from eventstore.store import EventStore
from gateway.market_past import Fragment, PastReader
from kernel.ids import Position
from kernel.times import DAY_US, HOUR_US, MINUTE_US
from projections import checkpoints
from projections.checkpoints import Checkpoints
from projections.refolding import refolded
from tests.oracle.facts import Settings
from tests.property.folding import catalogue_of, stored
from tests.property.strategies import History, subject_histories

SUBJECT = Stream("default", "subject", "algebra")
CATALOGUE = catalogue_of(Settings())
BASE_US = 1_700_000_000_000_000
WHOLE_US = (BASE_US // HOUR_US + 3) * HOUR_US


class Log:
    """A log of one stream that grows, and counts what is read of it."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events, self.length, self.was_read = events, 0, 0

    async def read(self, stream: Stream, *, after_version: int = 0, limit: int | None = None) -> list[Event]:
        stop = self.length if limit is None else min(self.length, after_version + limit)
        await asyncio.sleep(0)
        self.was_read += max(0, stop - after_version)
        return list(self._events[after_version:stop])


def reader_of(log: Log) -> PastReader:
    return PastReader(Checkpoints(SUBJECT, 7, CATALOGUE), cast("EventStore", log))


def small(zone: int, step_zones: int) -> Any:
    """A zone map of few events, cut often: a short history has what a long one has."""
    return mock.patch.multiple(checkpoints, ZONE=zone, STEP_ZONES=step_zones, WORTH_EVENTS=2, MAX_BYTES=6000)


def check(fragment: Fragment, events: Sequence[Event], at_us: int, known_at_us: int | None) -> None:
    entity = refolded(SUBJECT, 7, CATALOGUE, events, until_us=at_us, known_at_us=known_at_us)
    entity.read(at_us)
    everything = CATALOGUE.subjects.everything
    assert fragment.values == entity.values(everything)
    change_us = entity.next_change_us(everything)
    if fragment.next_change_us is not None:
        assert fragment.next_change_us > at_us
    assert change_us is None or (fragment.next_change_us is not None and fragment.next_change_us <= change_us)


@given(subject_histories(40), st.data())
@settings(max_examples=80, deadline=None)
def test_any_sequence_of_reads_of_the_past_says_what_a_whole_fold_says(history: History, data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.sampled_from([0, 0, 1, HOUR_US, DAY_US]), min_size=45, max_size=45))
    recorded = [history.newest_us + sum(gaps[: index + 1]) for index in range(len(gaps))]
    recorded += [recorded[-1]] * len(history.events)
    events = stored(history.events, recorded, SUBJECT)
    times = [history.tau_us, *(event.at_us for event in events)]
    asked = st.tuples(
        st.integers(0, len(events)),
        st.builds(lambda at, off: at + off, st.sampled_from(times), st.sampled_from([-HOUR_US, -1, 0, 1, HOUR_US])),
        st.none() | st.builds(lambda at, off: at + off, st.sampled_from(recorded), st.sampled_from([-1, 0])),
    )
    reads = sorted(data.draw(st.lists(asked, min_size=1, max_size=12)), key=lambda read: read[0])
    log = Log(events)
    reader = reader_of(log)

    async def run() -> None:
        for length, at_us, known_at_us in reads:
            log.length = length
            if data.draw(st.booleans()):
                reader.past.note(events[:length])  # told as they were delivered, or read when somebody asks
            check(await reader.read(at_us, known_at_us), events[:length], at_us, known_at_us)

    with small(data.draw(st.sampled_from([1, 2, 4])), data.draw(st.sampled_from([1, 2, 3]))):
        asyncio.run(run())


@given(subject_histories(40), st.data())
@settings(max_examples=40, deadline=None)
def test_values_at_many_instants_are_what_a_whole_fold_says_at_each(history: History, data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.sampled_from([0, 1, HOUR_US]), min_size=len(history.events), max_size=99))
    recorded = [history.newest_us + sum(gaps[: index + 1]) for index in range(len(history.events))]
    events = stored(history.events, recorded, SUBJECT)
    known_at_us = data.draw(st.none() | st.sampled_from(recorded)) if recorded else None
    step_us = data.draw(st.sampled_from([1, HOUR_US, DAY_US, 9 * DAY_US]))
    from_us = history.tau_us - data.draw(st.integers(0, 20)) * step_us
    instants = range(from_us, from_us + 25 * step_us, step_us)
    everything = CATALOGUE.subjects.everything
    log = Log(events)
    log.length = len(events)

    async def run() -> list[list[Any]]:
        return await reader_of(log).rows(instants, known_at_us, everything.picks)

    with small(data.draw(st.sampled_from([1, 2, 4])), data.draw(st.sampled_from([1, 2, 3]))):
        rows = asyncio.run(run())
    for at_us, row in zip(instants, rows, strict=True):
        entity = refolded(SUBJECT, 7, CATALOGUE, events, until_us=at_us, known_at_us=known_at_us)
        entity.read(at_us)
        assert row == entity.values(everything)


async def test_a_year_by_the_hour_reads_and_folds_each_event_once() -> None:
    events = year_of_events(20_000)
    log = Log(events)
    log.length = len(events)
    instants = range(BASE_US, BASE_US + 365 * DAY_US, HOUR_US)
    rows = await reader_of(log).rows(instants, None, CATALOGUE.subjects.everything.picks)
    assert log.was_read < 2.2 * len(events), "once for the map, once for the values"
    check(await reader_of(log).read(instants[-1], None), events, instants[-1], None)
    entity = refolded(SUBJECT, 7, CATALOGUE, events, until_us=instants[5000])
    entity.read(instants[5000])
    assert rows[5000] == entity.values(CATALOGUE.subjects.everything)


def year_of_events(count: int) -> list[Event]:
    """A tutor's hours, one event after the other over a year, some an hour late."""
    step_us = 365 * DAY_US // count
    events = []
    for index in range(count):
        recorded_us = BASE_US + index * step_us
        at_us = recorded_us - (HOUR_US if index % 50 == 49 else MINUTE_US)
        data = b'{"tutor_id":"t%d","hours":1}' % (index % 40)
        events.append(
            Event(SUBJECT, 7, index + 1, Position(index + 1), f"e{index}", "hours_booked", at_us, recorded_us, data)
        )
    return events


@pytest.mark.parametrize("is_known_then", [False, True])
async def test_a_second_read_of_the_same_days_reads_and_folds_a_fraction_of_the_year(is_known_then: bool) -> None:
    events = year_of_events(20_000)
    log = Log(events)
    log.length = len(events)
    reader = reader_of(log)
    for day in range(300, 310):
        at_us = BASE_US + day * DAY_US
        known_at_us = at_us if is_known_then else None
        before = log.was_read
        fragment = await reader.read(at_us, known_at_us)
        if day > 300:
            assert log.was_read - before < 1_000
        check(fragment, events, at_us, known_at_us)
    before = log.was_read
    await reader.read(BASE_US + 100 * DAY_US, None)
    assert log.was_read - before < 10_000, "what was passed on the first way left checkpoints behind"


async def test_the_checkpoints_of_a_subject_are_bounded() -> None:
    events = year_of_events(3_000)
    log = Log(events)
    log.length = len(events)
    reader = reader_of(log)
    with mock.patch.multiple(checkpoints, MAX_BYTES=100_000, WORTH_EVENTS=1):
        for day in range(0, 365, 3):
            await reader.read(BASE_US + day * DAY_US, None)
            assert reader.past.size_bytes <= 100_000
    assert reader.past.size_bytes > 10_000


async def test_events_that_came_in_no_order_at_all_are_read_at_once_and_exactly() -> None:
    events = year_of_events(12_000)
    mixed = [
        Event(SUBJECT, 7, place + 1, Position(place + 1), each.id, each.type, each.at_us, BASE_US, each.data)
        for place, each in enumerate(sorted(events, key=lambda each: hash((each.version * 7919) % 12_007)))
    ]
    log = Log(mixed)
    log.length = len(mixed)
    fragment = await reader_of(log).read(BASE_US + 200 * DAY_US, None)
    check(fragment, mixed, BASE_US + 200 * DAY_US, None)
    assert log.was_read <= 3 * len(mixed)


def available(place: int, event_id: str, at_us: int, *, recorded_us: int) -> Event:
    data = b'{"tutor_id":"%b","hours":1}' % event_id.encode()
    return Event(SUBJECT, 7, place, Position(place), event_id, "tutor_available", at_us, recorded_us, data)


def retraction_of(place: int, event_id: str, *, recorded_us: int) -> Event:
    data = b'{"event_id":"%b"}' % event_id.encode()
    return Event(SUBJECT, 7, place, Position(place), f"x{place}", "event_retracted", recorded_us, recorded_us, data)


@pytest.mark.parametrize("is_told", [False, True])
@pytest.mark.parametrize(
    "later",
    [
        lambda now_us: available(12, "late", BASE_US + 3, recorded_us=now_us),
        lambda now_us: available(12, "edge", WHOLE_US, recorded_us=now_us),
        lambda now_us: retraction_of(12, "r4", recorded_us=now_us),
        lambda now_us: retraction_of(12, "nobody", recorded_us=now_us),
        lambda now_us: available(12, "awaited", BASE_US + 5, recorded_us=now_us),
    ],
    ids=["late", "on the checkpoint", "retraction", "retraction of nothing", "retracted before it came"],
)
async def test_what_comes_after_a_checkpoint_was_made_is_in_what_is_known_from_then_on(
    later: Any, is_told: bool
) -> None:
    """Reads of one time, before and after the event, of what was known before and after it, in every order."""
    events = [available(n, f"r{n}", BASE_US + n * MINUTE_US, recorded_us=BASE_US + n * MINUTE_US) for n in range(1, 10)]
    events.append(retraction_of(10, "awaited", recorded_us=BASE_US + 10 * MINUTE_US))
    then_us, now_us = WHOLE_US + HOUR_US, WHOLE_US + 2 * HOUR_US
    events += [available(11, "on time", then_us + 1, recorded_us=then_us + 1), later(now_us)]
    log = Log(events)
    # The checkpoint of a read contains all events before; zones of one event, of some, and of all.
    for zone, length in itertools.product((1, 4, 16), (10, 12)):
        for order in ((None, then_us), (then_us, None), (then_us, now_us), (now_us, then_us)):
            reader = reader_of(log)
            with small(zone, 64):
                log.length = length
                known_at_us = None if length == 10 else then_us
                check(await reader.read(WHOLE_US + 1, known_at_us), events[:length], WHOLE_US + 1, known_at_us)
                log.length = 12
                if is_told:
                    reader.past.note(events)
                for at_us, known_at_us in itertools.product((WHOLE_US + 1, WHOLE_US + 60), (*order, *order)):
                    check(await reader.read(at_us, known_at_us), events, at_us, known_at_us)


async def test_what_lies_ahead_in_the_log_is_a_change_to_come() -> None:
    events = [available(n, f"r{n}", BASE_US + n * HOUR_US, recorded_us=BASE_US + n * HOUR_US) for n in range(1, 10)]
    log = Log(events)
    log.length = 9
    for zone in (1, 2, 16):
        with small(zone, 64):
            for hour in range(10):
                fragment = await reader_of(log).read(BASE_US + hour * HOUR_US, None)
                check(fragment, events, BASE_US + hour * HOUR_US, None)
                assert hour == 9 or fragment.next_change_us == BASE_US + (hour + 1) * HOUR_US


@pytest.mark.parametrize("zone", [1, 16])
async def test_an_event_that_comes_while_the_past_is_folded_is_in_the_next_read(zone: int) -> None:
    events = [available(n, f"r{n}", BASE_US + n, recorded_us=BASE_US + n) for n in range(1, 10)]
    events.append(available(10, "late", BASE_US, recorded_us=WHOLE_US))
    log = Log(events)
    log.length = 9
    reader = reader_of(log)
    with small(zone, 64):
        reading = asyncio.create_task(reader.read(WHOLE_US + 1, None))
        while not reader.past.version:  # noqa: ASYNC110 - the reader tells nobody how far it is
            await asyncio.sleep(0)
        log.length = 10
        reader.past.note(events)
        check(await reading, events[:9], WHOLE_US + 1, None)
        check(await reader.read(WHOLE_US + 1, None), events, WHOLE_US + 1, None)
