"""Contexts as numbers: compressed without a memory, nulls told apart, slots for good."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.learners.encoding import Token, columns, squashed, squashed_one, tokens
from bandit.learners.learner import Arm
from bandit.learners.slots import OWN, SHARED, Slots
from tests.unit.bandit.learners.observing import context

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite)
def test_squashing_is_odd_and_keeps_the_order(x: float, y: float) -> None:
    low, high = sorted((x, y))
    assert squashed_one(low) <= squashed_one(high)
    assert squashed_one(-x) == -squashed_one(x)
    assert math.isfinite(squashed_one(x))


@given(st.floats(-1, 1))
def test_rates_and_one_hot_columns_stay_what_they_are(x: float) -> None:
    assert squashed_one(x) == pytest.approx(x, abs=1e-15)


@given(st.lists(finite, max_size=20))
def test_one_number_and_many_are_squashed_alike(values: list[float]) -> None:
    assert squashed(np.array(values)).tolist() == [squashed_one(value) for value in values]


def test_beyond_1_it_grows_like_the_logarithm() -> None:
    assert [squashed_one(2.0**power - 1) for power in range(1, 40)] == list(map(float, range(1, 40)))


def test_nulls_are_zeros_that_are_told_apart() -> None:
    numbers, nulls = columns(context(0.5, math.nan, math.inf), 3)
    assert (numbers.tolist(), nulls) == ([0.5, 0.0, 0.0], [1, 2])


def test_numbers_categories_and_nulls_of_one_name_are_different_things() -> None:
    given_ = {"a": "x", "b": 3.0, "c": None, "d": True, "e": 0.0, "f": math.nan}
    assert list(tokens("request", given_)) == [
        (Token("request", "a", "category", "x"), 1.0),
        (Token("request", "b", "number"), 2.0),
        (Token("request", "c", "null"), 1.0),
        (Token("request", "d", "number"), 1.0),
        (Token("request", "f", "null"), 1.0),
    ]


def test_a_slot_is_for_good() -> None:
    slots = Slots(3)
    first = slots.row(context(1.0, 2.0, math.nan, page="home"), Arm("a", {"agent": "ann"}))
    slots.row(context(math.nan, 2.0, 0.0, page="blog"), Arm("b", {"agent": "bob"}))
    again = slots.row(context(1.0, 2.0, math.nan, page="home"), Arm("a", {"agent": "ann"}))
    assert again[: len(first)].tolist() == first.tolist()
    assert not again[len(first) :].any()


def test_a_prediction_gives_no_slots() -> None:
    slots = Slots(3)
    slots.context_rows([context(math.nan, 0.0, 0.0, page="home")])[0]
    slots.arm_row(Arm("a", {"agent": "ann"}))
    assert slots.size == 4


def test_names_without_end_share_slots() -> None:
    slots = Slots(0)
    for number in range(1_000):
        slots.row(context(city=f"c{number}")._replace(values=np.empty(0)), Arm("a", {"campaign": str(number)}))
    assert slots.size <= 1 + sum(OWN.values()) + 2 * SHARED
    late = slots.context_rows([context(city="c999")._replace(values=np.empty(0))])[0]
    assert late.sum() == 2.0


def test_places_of_context_and_arm_are_all_places_but_the_constant() -> None:
    slots = Slots(3)
    slots.row(context(1.0, math.nan, 0.0, page="home"), Arm("a", {"agent": "ann", "cost": 2.0}))
    both = [*slots.context_places().tolist(), *slots.arm_places().tolist()]
    assert sorted(both) == list(range(1, slots.size))
