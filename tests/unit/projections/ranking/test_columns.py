import random
import string

import numpy as np
import pytest

from projections.ranking.columns import Comparison, ListColumn, NumberColumn, TextColumn, column_of

OPERATORS: dict[Comparison, str] = {"<": "<", "<=": "<=", "=": "==", "!=": "!=", ">=": ">=", ">": ">"}


def compares(value: object, comparison: Comparison, operand: object) -> bool:
    return bool(eval(f"value {OPERATORS[comparison]} operand", {"value": value, "operand": operand}))


def test_a_number_column_gives_back_what_was_put() -> None:
    whole, real = NumberColumn(4, is_whole=True), NumberColumn(4, is_whole=False)
    for row, value in enumerate((3, None, -1, 10**12)):
        whole.put(row, value)
    assert repr(whole.values([3, 1, 0, 2])) == "[1000000000000, None, 3, -1]"
    real.put(0, 0.1)
    real.put(1, 2)
    assert repr(real.values([0, 1, 2])) == "[0.1, 2.0, None]"


def test_a_column_has_the_form_of_its_type() -> None:
    assert isinstance(column_of("int", 1), NumberColumn)
    assert isinstance(column_of("float", 1), NumberColumn)
    assert isinstance(column_of("string", 1), TextColumn)
    assert isinstance(column_of("list", 1), ListColumn)


def test_growing_keeps_values_and_adds_nulls() -> None:
    for kind, value in (("int", 5), ("string", "x"), ("list", ["x"])):
        column = column_of(kind, 1)
        column.put(0, value)
        column.grow(3)
        assert column.values(range(3)) == [value, None, None]


@pytest.mark.parametrize("order", ["ascending", "descending", "random", "nested"])
def test_keys_of_texts_sort_like_the_texts_whatever_the_order_they_come_in(order: str) -> None:
    chance = random.Random(order)
    texts = sorted({"".join(chance.choices(string.ascii_letters + "äß日", k=chance.randrange(6))) for _ in range(600)})
    arriving = {
        "ascending": texts,
        "descending": texts[::-1],
        "random": chance.sample(texts, len(texts)),
        "nested": [text for pair in zip(texts, texts[::-1], strict=True) for text in pair],  # halves one gap on and on
    }[order]
    column = TextColumn(len(arriving))
    for row, text in enumerate(arriving):
        column.put(row, text)
    assert [arriving[row] for row in np.argsort(column.keys, kind="stable")] == sorted(arriving)


@pytest.mark.parametrize("comparison", OPERATORS)
@pytest.mark.parametrize("operand", ["", "b", "bb", "c", "z"])
def test_texts_compare_in_code_point_order_and_null_never(comparison: Comparison, operand: str) -> None:
    values = ["b", None, "a", "c", "b", ""]
    column = TextColumn(len(values))
    for row, value in enumerate(values):
        column.put(row, value)
    expected = [value is not None and compares(value, comparison, operand) for value in values]
    assert column.where(comparison, operand).tolist() == expected


@pytest.mark.parametrize("comparison", OPERATORS)
def test_numbers_compare_and_null_never_does(comparison: Comparison) -> None:
    values = [1, None, 2, 3.5]
    column = NumberColumn(4, is_whole=False)
    for row, value in enumerate(values):
        column.put(row, value)
    expected = [value is not None and compares(value, comparison, 2) for value in values]
    assert column.where(comparison, 2).tolist() == expected


def test_texts_that_nobody_has_any_more_are_forgotten() -> None:
    column = TextColumn(1)
    for number in range(30_000):
        column.put(0, f"{number:05d}")
    assert len(column._labels) < 20_000
    assert column.where("=", "29999").tolist() == [True]
    assert column.where("<", "3").tolist() == [True]
