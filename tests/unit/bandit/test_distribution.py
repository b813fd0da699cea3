"""The distribution is the service's: what is none is refused, floor and shares hold, the draw can be repeated."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.chance import digest, unit
from bandit.distribution import (
    ANY_SHARE,
    Share,
    check_shares,
    checked,
    clipped,
    drawn,
    is_exploit,
    ranked,
    with_floor,
)
from kernel.errors import InvalidProbability, NoEligibleArm, UnmeetableShares

#: Chi-square with 3 degrees of freedom, one in a million.
CHI_SQUARE_MAX = 30.7

distributions = st.lists(st.floats(0, 1), min_size=1, max_size=12).map(
    lambda weights: [(each + 1e-9) / sum(w + 1e-9 for w in weights) for each in weights]
)


@pytest.mark.parametrize(
    "numbers",
    [
        [math.nan, 1.0],
        [math.inf, 0.0],
        [-0.1, 1.1],
        [3.0, 5.0],
        [0.5, 0.4],
        [1.0, 1.0, 1.0],
        [0.0, 0.0],
        [0.5, 0.5 + 3e-6],
    ],
)
def test_numbers_that_are_no_distribution_are_refused(numbers: list[float]) -> None:
    with pytest.raises(InvalidProbability):
        checked(numbers)


def test_rounding_within_a_millionth_is_mended() -> None:
    assert math.fsum(checked([0.25, 0.75 + 5e-7])) == pytest.approx(1.0, abs=1e-15)


def test_no_arm_has_no_distribution() -> None:
    with pytest.raises(NoEligibleArm):
        checked([])


def test_a_single_arm_has_probability_1() -> None:
    assert clipped(with_floor(checked([1.0]), 0.02), [Share(0.0, 0.5)], 0.02) == [1.0]


@given(distributions, st.floats(0, 1))
def test_every_arm_gets_its_part_of_the_floor_and_the_order_stays(probabilities: list[float], floor: float) -> None:
    mixed = with_floor(probabilities, floor)
    assert math.fsum(mixed) == pytest.approx(1.0, abs=1e-9)
    assert min(mixed) >= floor / len(mixed) - 1e-12
    for one, other in zip(range(len(mixed)), range(1, len(mixed)), strict=False):
        assert (probabilities[one] < probabilities[other]) <= (mixed[one] <= mixed[other])


@given(st.data(), distributions, st.floats(0, 0.5))
def test_shares_that_can_be_met_are_met_with_the_floor(data: st.DataObject, given_: list[float], floor: float) -> None:
    arms = [f"arm {index}" for index in range(len(given_))]
    shares = {}
    for arm in arms:
        least, most = sorted((data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))))
        shares[arm] = Share(least, most)
    bounds = [shares[arm] for arm in arms]
    brought = clipped(with_floor(given_, floor), bounds, floor)
    assert math.fsum(brought) == pytest.approx(1.0, abs=1e-9)
    assert min(brought) >= 0.0
    try:
        check_shares(shares, arms, floor)
    except UnmeetableShares:
        return
    for each, (least, most) in zip(brought, bounds, strict=True):
        assert max(least, floor / len(arms)) - 1e-6 <= each <= most + 1e-6


@pytest.mark.parametrize(
    ("shares", "floor", "said"),
    [
        ({"x": Share(0, 1)}, 0.0, "unknown arm: x"),
        ({"a": Share(0.6, 0.5)}, 0.0, "0 ≤ min ≤ max ≤ 1"),
        ({"a": Share(-0.1, 0.5)}, 0.0, "0 ≤ min ≤ max ≤ 1"),
        ({"a": Share(0, math.nan)}, 0.0, "0 ≤ min ≤ max ≤ 1"),
        ({"a": Share(0, 0.001)}, 0.02, "below the floor"),
        ({"a": Share(0.7, 1), "b": Share(0.7, 1)}, 0.0, "more than 1"),
        ({"a": Share(0, 0.4), "b": Share(0, 0.4)}, 0.0, "less than 1"),
        ({"a": Share(0.995, 1)}, 0.02, "more than 1"),
    ],
)
def test_shares_that_cannot_be_met_are_refused_saying_which(shares: dict[str, Share], floor: float, said: str) -> None:
    with pytest.raises(UnmeetableShares, match=said):
        check_shares(shares, ["a", "b"], floor)


def test_a_share_moves_the_others_in_proportion() -> None:
    assert clipped([0.8, 0.1, 0.1], [Share(0, 0.5), ANY_SHARE, ANY_SHARE], 0.0) == pytest.approx([0.5, 0.25, 0.25])


def test_what_arms_of_probability_0_must_take_is_spread_over_them() -> None:
    assert clipped([1.0, 0.0, 0.0], [Share(0, 0.5), ANY_SHARE, ANY_SHARE], 0.0) == pytest.approx([0.5, 0.25, 0.25])


def test_where_few_arms_are_eligible_the_shares_give_way_honestly() -> None:
    assert clipped([0.9, 0.1], [Share(0, 0.3), Share(0, 0.1)], 0.02) == pytest.approx([0.75, 0.25])
    assert clipped([0.5, 0.5], [Share(0, 0), Share(0, 0)], 0.0) == [0.5, 0.5]


def test_the_draw_follows_the_distribution() -> None:
    probabilities, n = [0.5, 0.0, 0.3, 0.15, 0.05], 20_000
    seen = Counter(drawn(probabilities, 7, f"decision {number}") for number in range(n))
    assert 1 not in seen
    parts = [(seen[index] - n * each) ** 2 / (n * each) for index, each in enumerate(probabilities) if each]
    assert sum(parts) < CHI_SQUARE_MAX


def test_the_draw_is_the_same_again_and_another_under_another_seed() -> None:
    names = [f"d{number}" for number in range(200)]
    first = [drawn([0.5, 0.5], 1, name) for name in names]
    assert first == [drawn([0.5, 0.5], 1, name) for name in names]
    assert first != [drawn([0.5, 0.5], 2, name) for name in names]


def test_the_draw_of_a_known_decision_never_changes() -> None:
    assert unit(1, "draw", "d-1") == 0.20448668332685727
    assert drawn([0.1, 0.2, 0.7], 1, "d-1") == 1


@given(distributions, st.integers(), st.text())
def test_an_arm_without_probability_is_never_drawn(probabilities: list[float], seed: int, name: str) -> None:
    holed = [0.0, *probabilities, 0.0]
    assert holed[drawn(holed, seed, name)] > 0.0


def test_nothing_can_be_drawn_from_nothing() -> None:
    with pytest.raises(NoEligibleArm):
        drawn([0.0, 0.0], 1, "d")


def test_exploit_is_the_first_by_probability_then_by_id() -> None:
    arms, probabilities = ["b", "a", "c"], [0.4, 0.4, 0.2]
    assert ranked(arms, probabilities) == [1, 0, 2]
    assert [is_exploit(index, arms, probabilities) for index in range(3)] == [False, True, False]


def test_no_two_lists_of_names_give_the_same_bytes() -> None:
    assert digest(1, "x", "ab", "c") != digest(1, "x", "a", "bc")
    assert digest(1, "x", "a\nb") != digest(1, "x\na", "b")
