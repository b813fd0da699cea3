import numpy as np

from gateway.lists.begun import Begun
from kernel.clock import VirtualClock
from kernel.ids import IdSource
from projections.ranking.paging import Standing


def standing(leads: int) -> Standing:
    return Standing(np.zeros(leads), np.zeros(leads, dtype=np.int64))


def begun(clock: VirtualClock, max_leads: int = 100) -> Begun:
    return Begun(clock=clock, ids=IdSource(clock, 1), max_bytes=16 * max_leads, keep_s=60)


def test_a_list_goes_on_until_nobody_asked_for_a_minute() -> None:
    clock = VirtualClock()
    lists = begun(clock)
    one = standing(10)
    list_id = lists.add(one)
    for _ in range(3):
        clock.advance(59)
        assert lists.get(list_id) is one
    clock.advance(61)
    assert lists.get(list_id) is None
    assert len(lists) == 0


def test_lists_that_were_never_continued_give_way_first() -> None:
    lists = begun(VirtualClock(), max_leads=100)
    continued = lists.add(standing(40))
    assert lists.get(continued) is not None
    polled = [lists.add(standing(40)) for _ in range(5)]
    assert lists.get(continued) is not None
    assert [lists.get(each) is not None for each in polled] == [False, False, False, False, True]


def test_a_list_too_large_for_all_is_kept_alone() -> None:
    lists = begun(VirtualClock(), max_leads=10)
    first, second = lists.add(standing(50)), lists.add(standing(60))
    assert lists.get(first) is None
    assert lists.get(second) is not None


def test_an_unknown_list_is_not_kept() -> None:
    assert begun(VirtualClock()).get("x") is None
