from kernel.tally import Tally


def test_times_are_counted_below_their_bounds_and_summed() -> None:
    tally = Tally((0.001, 0.01))
    for seconds in (0.0005, 0.001, 0.002, 5.0):
        tally.add(seconds)
    assert tally.cumulative() == [("0.001", 2), ("0.01", 3), ("+Inf", 4)]
    assert tally.sum_s == 5.0035


def test_what_was_done_many_times_counts_as_often_with_an_equal_share_each() -> None:
    tally = Tally((0.001, 0.01))
    tally.add(0.5, 100)
    assert (tally.cumulative(), tally.sum_s) == ([("0.001", 0), ("0.01", 100), ("+Inf", 100)], 0.5)
