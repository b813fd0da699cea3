"""The year's steps: every event in one of them, none ahead of the clock, the clock at the end at last."""

from gateway.demo.complete_journey import END_US, TimedEvent, read_events
from gateway.demo.year import STEP_US, steps


def event(at_us: int) -> TimedEvent:
    return TimedEvent(at_us, "lead", f"e{at_us}", {})


def test_every_event_is_in_exactly_one_step_and_in_order() -> None:
    events = read_events()
    lived = [each for _, group in steps(events, END_US) for each in group]
    assert lived == events


def test_no_event_is_ahead_of_its_steps_end_and_none_a_step_behind() -> None:
    for end_us, group in steps(read_events(), END_US):
        assert all(end_us - STEP_US < each.at_us <= end_us for each in group)


def test_steps_without_events_are_lived_too() -> None:
    ends = [end_us for end_us, _ in steps([event(0), event(10 * STEP_US)], 12 * STEP_US + 5)]
    assert ends == [*(n * STEP_US for n in range(13)), 12 * STEP_US + 5]


def test_an_event_at_a_steps_end_belongs_to_it() -> None:
    found = {end_us: len(group) for end_us, group in steps([event(STEP_US), event(STEP_US + 1)], 2 * STEP_US)}
    assert found == {STEP_US: 1, 2 * STEP_US: 1}


def test_without_events_there_is_one_step_to_the_end() -> None:
    assert list(steps([], 5)) == [(5, [])]
