import math
import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from projections.ranking.paging import Place, Standing


def standing(keys: list[float | None], numbers: list[int]) -> Standing:
    return Standing(np.array([math.nan if key is None else key for key in keys]), np.array(numbers, dtype=np.int64))


def pages(of: Standing, limit: int) -> list[int]:
    places, is_end = of.page(limit, None)
    joined = numbers_of(places)
    while not is_end:
        assert len(places) == limit
        places, is_end = of.page(limit, places[-1])
        joined += numbers_of(places)
    return joined


def numbers_of(places: list[Place]) -> list[int]:
    return [place.number for place in places]


@given(
    st.lists(st.none() | st.sampled_from([-1.5, 0.0, 1.0]) | st.floats(-1e6, 1e6), max_size=40),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
def test_pages_joined_are_the_leads_sorted_by_key_then_number_null_last(
    keys: list[float | None], limit: int, chance: random.Random
) -> None:
    numbers = chance.sample(range(1, 1000), len(keys))
    expected = sorted(zip(keys, numbers, strict=True), key=lambda each: (each[0] is None, each[0] or 0, each[1]))
    assert pages(standing(keys, numbers), limit) == [number for _, number in expected]


def test_large_lists_with_many_equal_keys_and_nulls_are_cut_rightly() -> None:
    chance = random.Random(1)
    size = 20_000
    for choices in ([0.0], [0.0, 1.0], [None], [None, 1.0], [0.0, 5.0, None, 2.5]):
        keys = [chance.choice(choices) if chance.random() < 0.9 else chance.random() for _ in range(size)]
        numbers = chance.sample(range(size * 2), size)
        expected = sorted(zip(keys, numbers, strict=True), key=lambda each: (each[0] is None, each[0] or 0, each[1]))
        of = standing(keys, numbers)
        for limit in (1, 7, 1000):
            assert numbers_of(of.page(limit, None)[0]) == [number for _, number in expected[:limit]]
        after = Place(expected[9_999][0], expected[9_999][1])
        assert of.page(50, after)[0] == [Place(*each) for each in expected[10_000:10_050]]


def test_a_list_of_nothing_has_one_empty_page() -> None:
    assert standing([], []).page(10, None) == ([], True)
