"""What an event is worth by a rule, and what several rewards come to."""

from typing import Any

import pytest

from bandit.policy import Reward, RewardRule
from bandit.rewards import RuleBook, aggregated, in_window
from tests.unit.bandit.logs import NOON, PURCHASE, Log, seconds, types_of

BOOK = RuleBook(types_of)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("earliest", 0.1), ("latest", 0.3), ("sum", 0.6), ("max", 0.3), ("mean", 0.2)],
)
def test_values_are_aggregated(aggregation: Any, expected: float) -> None:
    assert aggregated(Reward(aggregation=aggregation), [0.1, 0.2, 0.3]) == pytest.approx(expected, abs=1e-16)


def test_a_sum_does_not_depend_on_the_order() -> None:
    values = [1e16, 1.0, -1e16, 1e-3]
    assert aggregated(Reward(aggregation="sum"), values) == aggregated(Reward(aggregation="sum"), values[::-1]) == 1.001


@pytest.mark.parametrize("aggregation", ["earliest", "latest", "sum", "max", "mean"])
def test_nothing_at_all_is_the_default(aggregation: Any) -> None:
    assert aggregated(Reward(aggregation=aggregation, default=-2.0), []) == -2.0


def test_where_decides_whether_an_event_is_worth_anything() -> None:
    log = Log()
    rule = RewardRule("purchase_completed", 60, "1", where="channel == 'web'")
    web = log.outside("purchase_completed", "a", NOON, amount=1, channel="web")
    other = log.outside("purchase_completed", "b", NOON, amount=1)
    assert (BOOK.value(rule, web), BOOK.value(rule, other)) == (1.0, None)


def test_a_value_beyond_what_sums_hold_is_no_reward() -> None:
    event = Log().purchase("p", NOON, 10**12)
    assert BOOK.value(RewardRule("purchase_completed", 60, "amount * 1000"), event) is None


def test_a_payload_that_no_longer_fits_is_worth_nothing() -> None:
    event = Log().outside("purchase_completed", "p", NOON, amount="much")
    assert BOOK.value(PURCHASE, event) is None


def test_a_window_is_open_at_its_beginning_and_closed_at_its_end() -> None:
    inside = [in_window(PURCHASE, NOON, at_us) for at_us in (NOON, NOON + 1, seconds(3_600), seconds(3_600) + 1)]
    assert inside == [False, True, True, False]
