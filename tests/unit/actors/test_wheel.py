"""The wheel against a sorted list, and the properties that a sorted list does not have."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors.wheel import Timer, TimerWheel
from kernel.times import DAY_US, HOUR_US, MAX_US, MIN_US, SECOND_US

START_US = 1_700_000_000 * SECOND_US


def drain(wheel: TimerWheel, now_us: int, budget: int = 1000) -> list[Timer]:
    fired = wheel.advance(now_us, budget)
    while wheel.is_behind(now_us):
        fired += wheel.advance(now_us, budget)
    return fired


class SortedList:
    """The oracle: a deadline per (entity, name); due is what lies at or before the last whole tick."""

    def __init__(self, tick_us: int) -> None:
        self.tick_us = tick_us
        self.timers: dict[tuple[int, str], int] = {}

    def due(self, now_us: int) -> list[Timer]:
        until_us = now_us // self.tick_us * self.tick_us
        return sorted(Timer(due, *key) for key, due in self.timers.items() if due <= until_us)


deltas_us = st.one_of(
    st.integers(-5, 5),
    st.integers(-HOUR_US, HOUR_US),
    st.sampled_from([1, SECOND_US, 256 * SECOND_US, 65536 * SECOND_US, 2**24 * SECOND_US, 2**32 * SECOND_US]),
    st.integers(0, 400 * DAY_US),
    st.integers(0, 300 * 365 * DAY_US),
)


class WheelMachine(RuleBasedStateMachine):
    @initialize(
        start_us=st.sampled_from([START_US, 0, -5 * DAY_US, 2**32 * SECOND_US - 3 * SECOND_US]),
        tick_us=st.sampled_from([1, 1000, SECOND_US]),
        slice_moves=st.integers(1, 5),
    )
    def begin(self, start_us: int, tick_us: int, slice_moves: int) -> None:
        self.now_us = start_us
        self.wheel = TimerWheel(start_us=start_us, tick_us=tick_us, slice_moves=slice_moves)
        self.model = SortedList(tick_us)

    @rule(entity=st.integers(1, 6), name=st.sampled_from(["a", "b"]), delta_us=deltas_us)
    def schedule(self, entity: int, name: str, delta_us: int) -> None:
        self.wheel.schedule(entity, name, self.now_us + delta_us)
        self.model.timers[entity, name] = self.now_us + delta_us

    @rule(entity=st.integers(1, 6), name=st.sampled_from(["a", "b"]))
    def cancel(self, entity: int, name: str) -> None:
        assert self.wheel.cancel(entity, name) == (self.model.timers.pop((entity, name), None) is not None)

    @rule(delta_us=deltas_us, budget=st.integers(1, 4))
    def advance_once(self, delta_us: int, budget: int) -> None:
        self.now_us += max(0, delta_us)
        fired = self.wheel.advance(self.now_us, budget)
        assert fired == self.model.due(self.now_us)[: len(fired)]
        assert len(fired) <= budget
        for timer in fired:
            del self.model.timers[timer.entity, timer.name]

    @rule(delta_us=deltas_us)
    def advance_fully(self, delta_us: int) -> None:
        self.now_us += max(0, delta_us)
        due = self.model.due(self.now_us)
        assert drain(self.wheel, self.now_us, budget=3) == due
        for timer in due:
            del self.model.timers[timer.entity, timer.name]

    @invariant()
    def the_same_timers_are_set(self) -> None:
        assert len(self.wheel) == len(self.model.timers)
        for (entity, name), due_us in self.model.timers.items():
            assert self.wheel.due_us(entity, name) == due_us

    @invariant()
    def the_next_time_is_never_after_the_first_deadline(self) -> None:
        next_us = self.wheel.next_us()
        assert (next_us is None) == (not self.model.timers)
        if next_us is not None:
            first = min(self.model.timers.values())
            assert next_us <= max(-(-first // self.model.tick_us) * self.model.tick_us, self.now_us)


WheelMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_the_wheel_does_what_a_sorted_list_does = WheelMachine.TestCase


def test_a_timer_never_fires_before_its_microsecond() -> None:
    wheel = TimerWheel(start_us=START_US)
    wheel.schedule(1, "due", START_US + 1_500_000)
    assert wheel.advance(START_US + 1_999_999, 10) == []
    assert wheel.advance(START_US + 2_000_000, 10) == [Timer(START_US + 1_500_000, 1, "due")]


def test_timers_of_one_tick_fire_by_due_then_entity_then_name() -> None:
    wheel = TimerWheel(start_us=0)
    for entity, name, due_us in [(9, "a", 100), (2, "b", 300), (2, "a", 300), (1, "z", 300), (3, "a", 200)]:
        wheel.schedule(entity, name, due_us)
    order = [(t.due_us, t.entity, t.name) for t in drain(wheel, SECOND_US)]
    assert order == [(100, 9, "a"), (200, 3, "a"), (300, 1, "z"), (300, 2, "a"), (300, 2, "b")]


def test_scheduling_again_moves_the_timer() -> None:
    wheel = TimerWheel(start_us=0)
    wheel.schedule(1, "due", 5 * SECOND_US)
    wheel.schedule(1, "due", 400 * DAY_US)
    assert len(wheel) == 1
    assert drain(wheel, 399 * DAY_US) == []
    assert drain(wheel, 400 * DAY_US) == [Timer(400 * DAY_US, 1, "due")]


def test_a_deadline_in_the_past_is_ready_at_once() -> None:
    wheel = TimerWheel(start_us=START_US)
    wheel.schedule(1, "due", START_US - DAY_US)
    assert wheel.is_behind(START_US)
    assert wheel.advance(START_US, 10) == [Timer(START_US - DAY_US, 1, "due")]


def test_a_cancelled_timer_leaves_nothing_behind() -> None:
    wheel = TimerWheel(start_us=0)
    wheel.schedule(1, "due", 90 * DAY_US)
    assert wheel.cancel(1, "due")
    assert not wheel.cancel(1, "due")
    assert not wheel.cancel(1, "unheard of")
    assert (len(wheel), wheel.next_us(), drain(wheel, 100 * DAY_US)) == (0, None, [])


def test_setting_a_ready_timer_over_and_over_does_not_grow_the_wheel() -> None:
    wheel = TimerWheel(start_us=START_US)
    for i in range(10_000):
        wheel.schedule(1, "due", START_US - i)
    assert len(wheel._heap) < 200
    assert drain(wheel, START_US) == [Timer(START_US - 9_999, 1, "due")]


def test_the_calendar_fits_from_its_first_to_its_last_year() -> None:
    wheel = TimerWheel(start_us=START_US)
    wheel.schedule(1, "due", MAX_US - 1)
    wheel.schedule(2, "due", MIN_US)
    assert drain(wheel, START_US) == [Timer(MIN_US, 2, "due")]
    assert drain(wheel, MAX_US - SECOND_US) == []
    assert drain(wheel, MAX_US) == [Timer(MAX_US - 1, 1, "due")]


def test_a_year_without_timers_is_one_step() -> None:
    wheel = TimerWheel(start_us=START_US)
    wheel.schedule(1, "due", START_US + 800 * DAY_US)
    looked_at = 0
    original = wheel._next_slot

    def counted(target: int | None) -> tuple[int, int] | None:
        nonlocal looked_at
        looked_at += 1
        return original(target)

    wheel._next_slot = counted  # type: ignore[method-assign]
    assert wheel.advance(START_US + 365 * DAY_US, 10) == []
    assert looked_at <= 4


def test_a_year_of_hourly_timers_fires_each_at_its_hour() -> None:
    wheel = TimerWheel(start_us=START_US)
    for hour in range(365 * 24):
        wheel.schedule(hour, "due", START_US + hour * HOUR_US + 1)
    fired = []
    for step in range(365 * 4 + 1):
        now_us = START_US + step * 6 * HOUR_US
        fired += [(timer.entity, now_us) for timer in drain(wheel, now_us)]
    assert [entity for entity, _ in fired] == list(range(365 * 24))
    assert all(0 < at_us - (START_US + hour * HOUR_US) <= 6 * HOUR_US for hour, at_us in fired)
    assert len(wheel) == 0


def test_many_timers_of_one_instant_leave_in_bounded_slices() -> None:
    wheel = TimerWheel(start_us=0, slice_moves=500)
    for entity in range(5_000):
        wheel.schedule(entity, "due", 3 * DAY_US)
    before = wheel.statistics().moved
    calls, fired = 0, []
    while wheel.is_behind(3 * DAY_US):
        fired += wheel.advance(3 * DAY_US, budget=100)
        moved = wheel.statistics().moved
        assert moved - before <= 500
        before = moved
        calls += 1
    assert [timer.entity for timer in fired] == list(range(5_000))
    assert calls >= 50
    assert wheel.statistics().fired == 5_000


@given(st.lists(st.integers(0, 10 * DAY_US), max_size=60), st.lists(st.integers(0, DAY_US), max_size=30))
def test_how_time_is_cut_into_steps_does_not_change_the_order(dues: list[int], steps: list[int]) -> None:
    wheels = [TimerWheel(start_us=0), TimerWheel(start_us=0, slice_moves=2)]
    for entity, due_us in enumerate(dues):
        for wheel in wheels:
            wheel.schedule(entity, "due", due_us)
    now_us, fired = 0, []
    for step in [*steps, 11 * DAY_US]:
        now_us += step
        fired += drain(wheels[0], now_us, budget=2)
    assert fired == drain(wheels[1], now_us)


@pytest.mark.deep
def test_a_million_timers_are_bounded_in_memory() -> None:
    wheel = TimerWheel(start_us=START_US)
    for entity in range(1_000_000):
        wheel.schedule(entity, "due", START_US + entity * 604_800 + 1)
    assert len(wheel) == 1_000_000
    assert len(drain(wheel, START_US + 7 * DAY_US)) == 1_000_000
