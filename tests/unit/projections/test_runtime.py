import random
from array import array
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.aggregators import runtime
from projections.aggregators.runtime import (
    BEFORE,
    LARGEST,
    alive,
    applied,
    begun,
    bounded,
    counted,
    decayed,
    deviation,
    entries,
    favourite,
    finite,
    holds,
    insert_time,
    inserted,
    listed,
    mode,
    packed,
    pruned,
    pushed,
    quantile,
    sessions,
    streak,
    unlisted,
    unpacked,
)

MICRO = 10**6
WIDE = LARGEST * MICRO  # the largest amount: ten of them leave 64 bits
VALUES = st.lists(st.integers(-WIDE, WIDE), min_size=1, max_size=30)


@given(VALUES)
def test_a_column_holds_running_totals_whether_or_not_they_fit_64_bits(values: list[int]) -> None:
    column = begun(values[0])
    for value in values[1:]:
        column = pushed(column, value)
    assert list(column) == list(accumulate(values, initial=0))
    assert entries(column, 0) == values
    for start in range(len(values)):
        assert entries(column, start) == values[start:]
        assert column[-1] - column[start] == sum(values[start:])


@given(VALUES, st.randoms(use_true_random=False))
def test_late_entries_give_the_column_that_order_would_have_given(values: list[int], chance: random.Random) -> None:
    column, kept = begun(values[0]), [values[0]]
    for value in values[1:]:
        index = chance.randint(0, len(kept))
        kept.insert(index, value)
        column = inserted(column, index, value)
    assert entries(column, 0) == kept


def test_a_column_becomes_a_list_where_a_total_exceeds_64_bits_and_stays_exact() -> None:
    column = begun(WIDE)
    while isinstance(column, array):
        column = pushed(column, WIDE)
    assert len(column) == 11
    assert column[-1] == 10 * WIDE
    assert pushed(column, 1)[-1] == 10 * WIDE + 1
    late = begun(5)
    for _ in range(20):
        late = inserted(late, 0, WIDE)
    assert isinstance(late, list)
    assert entries(late, 19) == [WIDE, 5]
    assert inserted(late, 21, 7)[-1] == 20 * WIDE + 12


@given(st.lists(st.integers(-(2**70), 2**70), max_size=20))
def test_what_is_packed_is_unpacked_equal(values: list[int]) -> None:
    narrow = array("q", [v % 2**62 for v in values])
    assert unpacked(packed(narrow)) == narrow
    assert unpacked(packed(values)) == values


def test_arrays_are_packed_little_endian_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packed(array("q", [1, -2])) == b"\x01" + bytes(7) + b"\xfe" + b"\xff" * 7
    monkeypatch.setattr(runtime.sys, "byteorder", "big")
    swapped = packed(array("q", [1]))
    assert swapped == bytes(7) + b"\x01"
    assert unpacked(swapped) == array("q", [1])


@pytest.mark.parametrize("rotten", [b"123", ["x"], [None], 7])
def test_what_is_no_packed_column_is_refused(rotten: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        unpacked(rotten)


@given(
    st.dictionaries(st.integers(-(2**63), 2**63 - 1) | st.text(max_size=3), st.none() | st.integers(-(2**70), 2**70))
)
def test_a_dictionary_keeps_its_order_and_wide_values(values: dict[object, int | None]) -> None:
    assert list(unlisted(listed(values)).items()) == list(values.items())


def test_keys_without_values_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        unlisted([[1, 2], [3]])


def test_an_instant_is_held_only_where_it_is_among_the_times() -> None:
    times = array("q", [1, 5, 5, 9])
    assert [at for at in range(11) if holds(times, at)] == [1, 5, 9]
    assert not holds(None, 5)
    assert insert_time(times, 5) == 3
    assert list(times) == [1, 5, 5, 5, 9]


@pytest.mark.parametrize("value", [1e13, -1e13, float("inf"), float("nan"), 10**400])
def test_a_computed_number_out_of_bounds_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="magnitude"):
        bounded(value)


def test_a_computed_number_within_bounds_is_in_millionths() -> None:
    assert (bounded(1e12), bounded(-0.3), bounded(7)) == (10**18, -300_000, 7_000_000)
    with pytest.raises(TypeError):
        bounded("7")  # type: ignore[arg-type]


def test_what_is_not_finite_is_null() -> None:
    assert (finite(1.5), finite(float("inf")), finite(float("nan"))) == (1.5, None, None)
    assert applied(lambda x: 1 / x, 0) is None
    assert applied(lambda x: x, float("inf")) is None
    assert applied(lambda x, y: x, 1, None) is None
    assert applied(int, "x") is None
    assert applied(str.upper, "x") == "X"


def test_the_mode_takes_the_smaller_of_equals() -> None:
    assert mode(counted("abcab")) == "a"
    assert mode(counted([3, 1, 3, 1])) == 1
    assert (mode({}), mode(None)) == (None, None)


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [([1], 0.5, 1), ([1, 2], 0.5, 1.5), ([1, 2, 3], 0, 1), ([1, 2, 3], 1, 3), ([1, 1, 9], 0.75, 5), ([0, 10], 0.1, 1)],
)
def test_a_quantile_is_linear_between_neighbours(values: list[int], q: float, expected: float) -> None:
    assert quantile(counted(v * MICRO for v in values), q) == pytest.approx(expected, abs=1e-12)


def test_a_quantile_and_a_deviation_of_nothing_are_null() -> None:
    assert (quantile({}, 0.5), quantile(None, 0.5), deviation(0, 0, 0)) == (None, None, None)


def test_a_deviation_of_large_neighbours_loses_nothing() -> None:
    values = [WIDE - 1_000_000, WIDE]
    assert deviation(2, sum(values), sum(v * v for v in values)) == 0.5


def test_sessions_split_where_the_gap_is_longer() -> None:
    assert sessions([0, 5, 11, 11, 12], 0, 5) == (2, 6)
    assert sessions([0, 5, 11, 11, 12], 1, 5) == (2, 1)
    assert sessions([0], 0, 5) == (1, 0)


def test_a_decayed_count_looks_at_the_last_whole_step() -> None:
    assert decayed([0, 10], 15, 10, 10) == 0.5 + 1.0
    assert decayed([12], 15, 10, 10) == 1.0
    assert decayed([0], 10 * 65, 10, 10) == 0.0


def test_a_streak_ends_today_or_yesterday() -> None:
    assert streak([5, 6, 7], 7) == 3
    assert streak([5, 6, 7], 8) == 3
    assert streak([5, 6, 7], 9) == 0
    assert streak([5, 7], 7) == 1
    assert streak([], 7) == 0


def test_the_favourite_of_equals_is_the_one_seen_latest() -> None:
    assert (favourite([1, 2, 2, 1]), favourite([1, 1, 2]), favourite([])) == (1, 1, None)


def test_last_times_at_the_edge_are_out() -> None:
    last = {"a": 5, "b": 6}
    assert alive(last, 5) == [6]
    assert alive(None, 5) == []
    assert pruned(last, 4) is last
    assert pruned(last, 5) == {"b": 6}
    assert pruned(last, 6) is None
    assert pruned(None, BEFORE) is None
