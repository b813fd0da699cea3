from hypothesis import given
from hypothesis import strategies as st

from kernel.steps import STEP_ITEMS, finish, ordering, releasing


@given(st.lists(st.integers(0, 9)), st.integers(1, 2000), st.randoms(use_true_random=False))
def test_items_are_ordered_as_by_sorting_equal_ones_in_their_order(few: list[int], times: int, chance: object) -> None:
    items = list(enumerate(few * times))[: 3 * STEP_ITEMS]
    chance.shuffle(items)  # type: ignore[attr-defined]
    assert finish(ordering(items, lambda item: item[1])) == sorted(items, key=lambda item: item[1])


def test_no_step_of_ordering_asks_for_more_keys_than_it_may() -> None:
    asked, most = 0, 0

    def key(item: int) -> int:
        nonlocal asked
        asked += 1
        return item * 7919 % 100_003

    steps = ordering(range(100_000), key)
    for _ in steps:
        most, asked = max(most, asked), 0
    assert most <= 2 * STEP_ITEMS


def test_a_list_is_emptied_in_steps() -> None:
    items = list(range(2 * STEP_ITEMS + 1))
    assert [len(items) for _ in releasing(items)] == [STEP_ITEMS + 1, 1, 0]
