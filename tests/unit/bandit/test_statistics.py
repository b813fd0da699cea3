"""Figures of a policy: shares, means with their intervals, join rate, entropy, the sample-ratio test."""

from typing import Any

import msgspec
import pytest

from bandit.chance import unit
from bandit.events import Imitation, RewardSettled
from bandit.settling import settlement
from bandit.statistics import ARMS_KEPT, DAYS_KEPT, Health, PolicyStatistics
from kernel.times import DAY_US
from tests.unit.bandit.logs import NOON, a_decision


def a_settlement(
    number: int = 0, values: tuple[float, ...] = (1.0,), at_us: int = NOON, **fields: Any
) -> RewardSettled:
    made = a_decision(f"d{number}")
    settled = settlement(made, "final", decided_us=at_us, settled_us=at_us + 1, values=values)
    return msgspec.structs.replace(settled, **fields)


def folded(*settlements: RewardSettled) -> PolicyStatistics:
    statistics = PolicyStatistics()
    for each in settlements:
        statistics.fold(each)
    return statistics


def health(statistics: PolicyStatistics, now_us: int = NOON) -> Health:
    return statistics.health(now_us, pending=2, not_learned=1, learned_us=NOON - 5_000_000)


def test_the_mean_stands_in_its_interval() -> None:
    figures = folded(*(a_settlement(i, (value,)) for i, value in enumerate((1.0, 2.0, 3.0)))).arms({"mail": 2})[0]
    assert (figures.arm, figures.decisions, figures.matured, figures.pending, figures.rewarded) == ("mail", 5, 3, 2, 3)
    assert figures.mean == 2.0
    assert figures.interval == pytest.approx((2 - 1.959964 / 3**0.5, 2 + 1.959964 / 3**0.5))


def test_shares_are_of_all_decisions_the_open_ones_too() -> None:
    figures = folded(a_settlement(0), a_settlement(1, arm="call")).arms({"call": 2}, ["wait"])
    assert {each.arm: each.share for each in figures} == {"wait": 0.0, "mail": 0.25, "call": 0.75}


def test_without_decisions_there_are_no_figures() -> None:
    (figures,) = folded().arms({}, ["mail"])
    assert (figures.share, figures.mean, figures.interval, figures.decisions) == (None, None, None, 0)
    assert health(folded()).join_rate is None


def test_days_are_told_apart() -> None:
    days = folded(a_settlement(0), a_settlement(1, at_us=NOON + DAY_US, arm="call")).by_day()
    chosen = [(each.day_us, [arm.arm for arm in each.arms if arm.decisions]) for each in days]
    assert chosen == [
        (NOON // DAY_US * DAY_US, ["mail"]),
        ((NOON // DAY_US + 1) * DAY_US, ["call"]),
    ]


def test_the_join_rate_is_the_share_that_was_rewarded() -> None:
    found = health(folded(a_settlement(0), a_settlement(1, ()), a_settlement(2, (), kind="expired")))
    assert (found.join_rate, found.decisions, found.matured, found.pending, found.not_learned) == (0.5, 3, 2, 2, 1)
    assert (found.model_age_s, found.decision_age_s) == (5.0, 0.0)


def test_health_looks_at_the_last_days_only() -> None:
    old = folded(a_settlement(0))
    assert health(old, NOON + 29 * DAY_US).decisions == 1
    assert health(old, NOON + 30 * DAY_US).decisions == 0


@pytest.mark.parametrize(("distribution", "entropy"), [([0.5, 0.5], 1.0), ([1.0, 0.0], 0.0)])
def test_entropy_is_1_for_even_arms_and_0_for_one(distribution: list[float], entropy: float) -> None:
    assert health(folded(a_settlement(0, distribution=distribution))).entropy == pytest.approx(entropy)


def test_forced_decisions_say_nothing_of_the_draw() -> None:
    found = health(folded(a_settlement(0, reason="forced", distribution=[1.0, 0.0])))
    assert (found.entropy, found.sample_ratio.p_value) == (None, None)


def drawn(number: int, probability: float) -> RewardSettled:
    arm = "mail" if unit(3, "draw", str(number)) < probability else "call"
    return a_settlement(number, arm=arm, distribution=[0.7, 0.3])


def test_the_sample_ratio_test_is_calm_where_arms_are_drawn_as_logged() -> None:
    ratio = health(folded(*(drawn(i, 0.7) for i in range(2_000)))).sample_ratio
    assert ratio.p_value is not None
    assert ratio.p_value > 0.01
    assert not ratio.is_alarm


def test_the_sample_ratio_test_gives_an_alarm_where_decisions_are_lost() -> None:
    assert health(folded(*(drawn(i, 0.6) for i in range(2_000)))).sample_ratio.is_alarm


def test_the_imitation_rate_is_how_often_the_apprentice_would_do_the_same() -> None:
    same, other = Imitation("call", 0.5, "mail"), Imitation("mail", 0.5, "call")
    settled = [a_settlement(i, imitation=each, reason="forced") for i, each in enumerate((same, same, other))]
    assert health(folded(*settled)).imitation_rate == pytest.approx(2 / 3)


def test_days_and_arms_are_bounded() -> None:
    statistics = folded(*(a_settlement(i, at_us=NOON + i * DAY_US) for i in range(DAYS_KEPT + 5)))
    assert len(statistics.days) == DAYS_KEPT
    many = folded(*(a_settlement(i, arm=f"arm {i}", reason="forced") for i in range(ARMS_KEPT + 50)))
    (day,) = many.days.values()
    assert len(day.arms) == ARMS_KEPT + 1
    assert sum(each.decisions for each in day.arms.values()) == ARMS_KEPT + 50


def test_a_settlement_older_than_the_days_kept_is_dropped() -> None:
    statistics = folded(*(a_settlement(i, at_us=NOON + i * DAY_US) for i in range(DAYS_KEPT)))
    statistics.fold(a_settlement(999, at_us=NOON - DAY_US))
    assert NOON // DAY_US - 1 not in statistics.days
