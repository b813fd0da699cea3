import pytest

from kernel.errors import UnknownFeature
from projections.aggregators.runtime import NEVER
from projections.ranking.conditions import Condition
from projections.ranking.table import Row, Table

FEATURES = (("v:n", "int"), ("v:t", "string"), ("v:l", "list"))
NOBODY = (None, None, None)


def table(*rows: tuple[int, str, int | None]) -> Table:
    made = Table(FEATURES)
    for number, lead, value in rows:
        made.put(number, lead, NOBODY, [value, lead, [lead]], NEVER)
    return made


def listed(
    of: Table, sort: str | None, *, is_descending: bool = False, conditions: tuple[Condition, ...] = ()
) -> list[int]:
    places, _ = of.select(sort, is_descending=is_descending, conditions=conditions).page(1000, None)
    return [place.number for place in places]


def found(of: Table, wanted: str) -> list[int]:
    return [row for row, is_found in enumerate(b"".join(of.search(wanted))) if is_found]


def test_leads_of_equal_value_stand_in_order_of_their_numbers_both_ways() -> None:
    of = table((5, "a", 1), (2, "b", 1), (9, "c", 0), (7, "d", None))
    assert listed(of, "v:n") == [9, 2, 5, 7]
    assert listed(of, "v:n", is_descending=True) == [2, 5, 9, 7]
    assert listed(of, None) == [2, 5, 7, 9]


def test_a_row_is_replaced_whole() -> None:
    of = table((1, "a", 1), (2, "b", 2))
    of.put(1, "a", ("Ann", None, "Acme"), [3, None, None], 50)
    assert listed(of, "v:n") == [2, 1]
    assert of.rows([1], ["v:n", "v:t", "v:l"]) == [Row("a", "Ann", None, "Acme", (3, None, None))]
    assert found(of, "acme") == [0]
    assert of.leads == 2


def test_a_lead_that_is_gone_is_in_no_list_and_no_search() -> None:
    of = table((1, "a", 1), (2, "b", 2))
    of.put(1, "a", ("Ann", None, None), [1, "a", []], 5)
    of.remove(1)
    of.remove(1)
    assert (listed(of, "v:n"), of.rows([1, 2], []), of.leads) == ([2], [Row("b", None, None, None, ())], 1)
    assert found(of, "ann") == []
    assert of.due(NEVER) == [(2, "b")]


def test_who_is_due_is_who_no_longer_holds() -> None:
    of = table((1, "a", 1))
    of.put(2, "b", NOBODY, [1, None, None], 100)
    of.put(3, "c", NOBODY, [1, None, None], 200)
    assert of.due(99) == []
    assert of.due(100) == [(2, "b")]
    of.put(2, "b", NOBODY, [2, None, None], 300)
    assert of.due(100) == []
    assert of.next_change_us() == 200
    assert of.due(1000) == [(2, "b"), (3, "c")]


def test_a_table_grows_past_its_first_capacity() -> None:
    of = table(*((number, f"l{number}", number % 7) for number in range(1, 3001)))
    expected = sorted(range(1, 3001), key=lambda number: (number % 7, number))
    assert listed(of, "v:n") == expected[:1000]
    assert [number for number, _ in of.due(NEVER)] == list(range(1, 3001))


def test_conditions_narrow_a_list_all_together() -> None:
    of = table((1, "a", 1), (2, "b", 2), (3, "c", 3), (4, "d", None))
    assert listed(of, None, conditions=(Condition("v:n", ">=", 2.0), Condition("v:t", "<", "c"))) == [2]
    assert listed(of, None, conditions=(Condition("v:n", "=", None),)) == [4]
    places, _ = of.select(None, is_descending=False, found=bytes([1, 0, 0, 1])).page(10, None)
    assert [place.number for place in places] == [1, 4]


def test_what_has_no_column_is_named() -> None:
    of = table((1, "a", 1))
    assert (of.has(["v:n"]), of.has(["v:x"])) == (True, False)
    with pytest.raises(UnknownFeature, match="v:x"):
        of.rows([1], ["v:x"])
    with pytest.raises(ValueError, match="v:l"):
        of.select("v:l", is_descending=False)
