"""How a policy does: a fold of its settlements by day and arm, and the figures that are shown of it.

Enters: what settled (provisional records aside), each under the UTC day of its decision. Leaves: for each arm its share,
decisions and mean reward with an interval; for the policy how many decisions were rewarded, how spread its choices
were, and whether arms were chosen as often as the logged probabilities say (the sample-ratio test: if not,
somebody's answers are lost on the way, or somebody chooses for himself). What is still open is ``activity``'s to say.

The mean is that of the rewards where the arm was chosen, not an estimate of what it would bring if it always were.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from bandit.events import RewardSettled
from kernel.times import DAY_US

DAYS_KEPT: Final = 400
#: Arms that are told apart within a day, where they come with the requests; what is beyond is one.
ARMS_KEPT: Final = 1_000
OTHERS: Final = "…"
#: The days that health looks at, by default.
HEALTH_DAYS: Final = 30
#: 97.5 % of a normal distribution lies below.
_Z: Final = 1.959964
#: Below, the sample-ratio test gives an alarm: rare enough to be looked at daily.
_ALARM: Final = 1e-4


class ArmDay(msgspec.Struct, array_like=True, gc=False):
    """Of one arm and one day. ``expected`` and ``variance`` are of how often it would be drawn, over all drawn decisions."""

    decisions: int = 0
    matured: int = 0
    rewarded: int = 0
    total: float = 0.0
    squares: float = 0.0
    drawn: int = 0
    expected: float = 0.0
    variance: float = 0.0


class Day(msgspec.Struct, array_like=True, gc=False):
    """Of one day: the arms, and what is counted over all of them."""

    arms: dict[str, ArmDay] = {}
    expired: int = 0
    entropy: float = 0.0
    spread: int = 0
    imitated: int = 0
    apprentice: int = 0


class ArmFigures(msgspec.Struct, frozen=True):
    """What is shown of an arm. ``interval`` is of the mean, 95 %; both are null without (enough) matured decisions."""

    arm: str
    share: float | None
    decisions: int
    matured: int
    pending: int
    rewarded: int
    mean: float | None
    interval: tuple[float, float] | None


class DayFigures(msgspec.Struct, frozen=True):
    """The arms on one day: decisions made then that are settled."""

    day_us: int
    arms: list[ArmFigures]


class RatioTest(msgspec.Struct, frozen=True):
    """Whether arms were chosen as often as was logged: the smallest p-value of all arms, times their number."""

    p_value: float | None
    is_alarm: bool
    worst: str | None


class Health(msgspec.Struct, frozen=True):
    """Figures of the last days. Rates are null where nothing is behind them; ages in seconds, null for never."""

    days: int
    decisions: int
    matured: int
    pending: int
    join_rate: float | None
    entropy: float | None
    sample_ratio: RatioTest
    imitation_rate: float | None
    not_learned: int
    model_age_s: float | None
    decision_age_s: float | None


class PolicyStatistics(msgspec.Struct, array_like=True):
    """The fold. ``days`` are numbers of UTC days; ``newest_us`` is the time of the newest decision that settled."""

    days: dict[int, Day] = {}
    newest_us: int | None = None

    def fold(self, settled: RewardSettled) -> None:
        """Take a settlement that is not provisional."""
        number = settled.decided_us // DAY_US
        day = self.days.get(number)
        if day is None:
            day = self._begun(number)
        arm = _arm(day, settled.arm)
        arm.decisions += 1
        self.newest_us = max(settled.decided_us, self.newest_us or settled.decided_us)
        if settled.kind == "expired":
            day.expired += 1
        else:
            arm.matured += 1
            arm.rewarded += settled.rewards > 0
            arm.total += settled.reward
            arm.squares += settled.reward * settled.reward
        _count_draw(day, settled)

    def _begun(self, number: int) -> Day:
        day = self.days[number] = Day(arms={})
        if len(self.days) > DAYS_KEPT:
            del self.days[min(self.days)]
        return self.days.get(number, day)

    def arms(self, pending: Mapping[str, int], names: Iterable[str] = ()) -> list[ArmFigures]:
        """Over all days kept; ``names`` are listed even without a decision, first and in their order."""
        summed: dict[str, ArmDay] = {name: ArmDay() for name in names}
        for day in self.days.values():
            for name, each in day.arms.items():
                _add(summed.setdefault(name, ArmDay()), each)
        for name in pending:
            summed.setdefault(name, ArmDay())
        return _figures(summed, pending)

    def by_day(self) -> list[DayFigures]:
        """The same for each day, oldest first."""
        return [DayFigures(number * DAY_US, _figures(self.days[number].arms, {})) for number in sorted(self.days)]

    def health(
        self, now_us: int, *, pending: int, not_learned: int, learned_us: int | None, days: int = HEALTH_DAYS
    ) -> Health:
        """How the policy has been doing. ``learned_us``: when the model last learned."""
        first = now_us // DAY_US - days
        recent = [day for number, day in self.days.items() if number > first]
        arms: dict[str, ArmDay] = {}
        for day in recent:
            for name, each in day.arms.items():
                _add(arms.setdefault(name, ArmDay()), each)
        matured = sum(each.matured for each in arms.values())
        apprentice = sum(day.apprentice for day in recent)
        return Health(
            days=days,
            decisions=sum(each.decisions for each in arms.values()),
            matured=matured,
            pending=pending,
            join_rate=_rate(sum(each.rewarded for each in arms.values()), matured),
            entropy=_rate(math.fsum(day.entropy for day in recent), sum(day.spread for day in recent)),
            sample_ratio=_ratio_test(arms),
            imitation_rate=_rate(sum(day.imitated for day in recent), apprentice),
            not_learned=not_learned,
            model_age_s=_age_s(now_us, learned_us),
            decision_age_s=_age_s(now_us, self.newest_us),
        )


def _count_draw(day: Day, settled: RewardSettled) -> None:
    if settled.imitation is not None:
        day.apprentice += 1
        day.imitated += settled.imitation.first == settled.arm
    if settled.reason not in ("explore", "exploit"):
        return
    if len(settled.arms) > 1:
        entropy = -math.fsum(p * math.log(p) for p in settled.distribution if p > 0)
        day.entropy += entropy / math.log(len(settled.arms))
        day.spread += 1
    for logged, probability in zip(settled.arms, settled.distribution, strict=False):
        each = _arm(day, logged.id)
        each.drawn += logged.id == settled.arm
        each.expected += probability
        each.variance += probability * (1.0 - probability)


def _arm(day: Day, name: str) -> ArmDay:
    found = day.arms.get(name)
    if found is None:
        name = name if len(day.arms) < ARMS_KEPT else OTHERS
        found = day.arms[name] = day.arms.get(name) or ArmDay()
    return found


def _add(into: ArmDay, each: ArmDay) -> None:
    for field in ArmDay.__struct_fields__:
        setattr(into, field, getattr(into, field) + getattr(each, field))


def _figures(arms: Mapping[str, ArmDay], pending: Mapping[str, int]) -> list[ArmFigures]:
    made = {name: each.decisions + pending.get(name, 0) for name, each in arms.items()}
    total = sum(made.values())
    return [
        ArmFigures(
            arm=name,
            share=_rate(made[name], total),
            decisions=made[name],
            matured=each.matured,
            pending=pending.get(name, 0),
            rewarded=each.rewarded,
            mean=_rate(each.total, each.matured),
            interval=_interval(each),
        )
        for name, each in arms.items()
    ]


def _interval(arm: ArmDay) -> tuple[float, float] | None:
    """The normal approximation with the sample's variance; None for fewer than two."""
    n = arm.matured
    if n < 2:
        return None
    mean = arm.total / n
    variance = max(0.0, (arm.squares - n * mean * mean) / (n - 1))
    half = _Z * math.sqrt(variance / n)
    return mean - half, mean + half


def _ratio_test(arms: Mapping[str, ArmDay]) -> RatioTest:
    """Each arm's count against its expectation, two-sided, normal; corrected for the number of arms (Bonferroni)."""
    found = {
        name: math.erfc(abs(each.drawn - each.expected) / math.sqrt(2.0 * each.variance))
        for name, each in arms.items()
        if each.variance > 0
    }
    if not found:
        return RatioTest(None, False, None)
    worst = min(found, key=lambda name: (found[name], name))
    p_value = min(1.0, found[worst] * len(found))
    return RatioTest(p_value, p_value < _ALARM, worst)


def _rate(count: float, of: int) -> float | None:
    return count / of if of else None


def _age_s(now_us: int, at_us: int | None) -> float | None:
    return None if at_us is None else max(0, now_us - at_us) / 1_000_000
