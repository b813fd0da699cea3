from kernel.steps import finish
from kernel.times import DAY_US
from projections.hindsight.walk import Walk
from projections.refolding import refolded
from tests.unit.projections.hindsight.world import LEAD, NOW, OWN, catalogue_of, stored


def walk(events: list, *names: str) -> Walk:  # type: ignore[type-arg]
    catalogue = catalogue_of(OWN)
    picks = catalogue.select(features=names).picks
    return Walk(catalogue.compiled, catalogue.event_types, events, picks)


def at(walk: Walk, at_us: int) -> list[object]:
    finish(walk.advance(at_us))
    return walk.values(at_us)


def test_values_are_read_where_the_walk_stands() -> None:
    walked = walk(stored(("shot", 10, {"n": 1}), ("shot", 2, {"n": 5})), "own:shots", "own:worth", "own:shots_7d")
    assert at(walked, NOW - 11 * DAY_US) == [0, 0.0, 0]
    assert at(walked, NOW - 10 * DAY_US) == [1, 1.0, 1]
    assert at(walked, NOW - 3 * DAY_US) == [1, 1.0, 0]
    assert at(walked, NOW) == [2, 6.0, 1]


def test_the_next_change_is_the_next_event_or_what_time_does_before_it() -> None:
    walked = walk(stored(("shot", 10, {}), ("shot", 2, {})), "own:shots_7d")
    at(walked, NOW - 11 * DAY_US)
    assert walked.next_change_us() == NOW - 10 * DAY_US
    at(walked, NOW - 10 * DAY_US)
    assert walked.next_change_us() == NOW - 3 * DAY_US
    at(walked, NOW + 6 * DAY_US)
    assert walked.next_change_us() is None


def test_events_that_raise_are_left_out_whole_and_change_nothing_before_or_after() -> None:
    bad = [("shot", 9.0 - n / 10, {"n": 13}) for n in range(20)]
    events = stored(("shot", 10, {"n": 1}), *bad, ("shot", 8.55, {"n": 2}), ("shot", 1, {"n": 4}))
    walked = walk(events, "own:shots", "own:worth")
    assert at(walked, NOW - 8 * DAY_US) == [2, 3.0]
    assert at(walked, NOW) == [3, 7.0]
    entity = refolded(LEAD, 7, catalogue_of(OWN), events)
    assert walked.dead == set(entity.dead or ())
    assert len(walked.dead) == 20


def test_events_known_to_be_dead_are_not_tried() -> None:
    events = stored(("shot", 2, {"n": 1}), ("shot", 1, {"n": 2}))
    catalogue = catalogue_of(OWN)
    walked = Walk(catalogue.compiled, catalogue.event_types, events, catalogue.everything.picks, {events[0].version})
    assert at(walked, NOW)[0] == 1


def test_a_long_walk_lets_others_in_between() -> None:
    walked = walk(stored(*(("shot", n / 1000, {}) for n in range(2000))), "own:shots")
    assert sum(1 for _ in walked.advance(NOW)) >= 5
    assert walked.values(NOW) == [2000]
