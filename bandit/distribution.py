"""The distribution that a decision is drawn from: the service's, whatever a learner said.

Enter: a learner's probabilities, floor and shares. Leaves: a distribution that is finite, sums to 1, keeps the floor
and the shares; the arm drawn from it; and whether that was exploring. The order is: ``checked``, ``with_floor``,
``clipped``, ``drawn``. A decision logs what was drawn from, so nothing of this is ever computed again for an old one
but the draw itself, which gives the same arm bit for bit.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bandit.chance import unit
from kernel.errors import InvalidProbability, NoEligibleArm, UnmeetableShares

#: How far from 1 a distribution's sum may lie.
TOLERANCE: Final = 1e-6
#: How far rounding may carry a share past its bound.
_ROUNDING: Final = 1e-9


class Share(NamedTuple):
    """The least and the greatest probability of an arm."""

    least: float = 0.0
    most: float = 1.0


ANY_SHARE: Final = Share()


def checked(probabilities: Sequence[float]) -> list[float]:
    """The same distribution, its sum brought to 1 as near as floats go.

    Raises
    ------
    InvalidProbability
        A number is not finite or negative, or the sum is further than 1e-6 from 1.
    NoEligibleArm
        There are none.
    """
    if not probabilities:
        raise NoEligibleArm
    for each in probabilities:
        if not 0.0 <= each <= 1.0 + TOLERANCE:  # False for NaN, too
            raise InvalidProbability("probabilities from 0 to 1", each)
    total = math.fsum(probabilities)
    if abs(total - 1.0) > TOLERANCE:
        raise InvalidProbability("probabilities that sum to 1", total)
    return list(probabilities) if total == 1.0 else [each / total for each in probabilities]


def with_floor(probabilities: Sequence[float], floor: float) -> list[float]:
    """The distribution mixed with the even one: ``floor`` is the even one's weight, so each arm gets ≥ floor / n.

    Mixing keeps the order of the arms, as raising only those below would not: there, several would be equal.
    """
    each = floor / len(probabilities)
    return [(1.0 - floor) * probability + each for probability in probabilities]


def check_shares(shares: Mapping[str, Share], arms: Sequence[str], floor: float) -> None:
    """Whether a distribution over all these arms can keep floor and shares together.

    Raises
    ------
    UnmeetableShares
        It says which arm, or which sum, stands against it.
    """
    unknown = sorted(shares.keys() - set(arms))
    if unknown:
        raise UnmeetableShares(f"share of an unknown arm: {unknown[0]}")
    if not arms:
        return
    least_of_all = floor / len(arms)
    for arm, (least, most) in shares.items():
        if not 0.0 <= least <= most <= 1.0:
            raise UnmeetableShares(f"share of {arm}: expected 0 ≤ min ≤ max ≤ 1, got min {least:g}, max {most:g}")
        if most < least_of_all - _ROUNDING:
            raise UnmeetableShares(f"share of {arm}: max {most:g} is below the floor's {least_of_all:g}")
    bounds = [_bounds(shares.get(arm, ANY_SHARE), least_of_all) for arm in arms]
    if (total := math.fsum(each.least for each in bounds)) > 1.0 + _ROUNDING:
        raise UnmeetableShares(
            f"the least shares sum to {total:g}, more than 1, with a floor of {least_of_all:g} for each"
        )
    if (total := math.fsum(each.most for each in bounds)) < 1.0 - _ROUNDING:
        raise UnmeetableShares(f"the greatest shares sum to {total:g}, less than 1")


def clipped(probabilities: Sequence[float], shares: Sequence[Share], floor: float) -> list[float]:
    """The distribution brought within the shares, the floor kept: min(max(c·p, least), most) with the c that sums to 1.

    Where few arms are eligible the shares of all may not be met together: then the floor of each gives way to its
    greatest share, and if still nothing fits, the greatest (or the least) shares are scaled to sum to 1.
    """
    least_of_all = floor / len(probabilities)
    bounds = [_bounds(each, least_of_all) for each in shares]
    if math.fsum(each.most for each in bounds) <= 1.0:
        return _scaled([each.most for each in bounds])
    if math.fsum(each.least for each in bounds) >= 1.0:
        return _scaled([each.least for each in bounds])
    if all(least <= p <= most for p, (least, most) in zip(probabilities, bounds, strict=True)):
        return list(probabilities)
    return _filled(probabilities, bounds)


def _bounds(share: Share, least_of_all: float) -> Share:
    return Share(min(max(share.least, least_of_all), share.most), share.most)


def _scaled(weights: Sequence[float]) -> list[float]:
    total = math.fsum(weights)
    return [each / total for each in weights] if total > 0 else [1.0 / len(weights)] * len(weights)


def _filled(probabilities: Sequence[float], bounds: Sequence[Share]) -> list[float]:
    """Find c by its breakpoints: the sum grows with c, piecewise linear, so the right piece gives c in closed form.

    Arms of probability 0 never grow with c; what the others cannot take is spread over them evenly by their room.
    """
    points = sorted({bound / p for p, each in zip(probabilities, bounds, strict=True) if p > 0 for bound in each})
    below, above = 0.0, math.inf
    for point in points:
        if math.fsum(_at(point, probabilities, bounds)) >= 1.0:
            above = point
            break
        below = point
    if above == math.inf:
        return _with_rest(_at(below, probabilities, bounds), bounds)
    middle = (below + above) / 2
    free = [least < middle * p < most for p, (least, most) in zip(probabilities, bounds, strict=True)]
    slope = math.fsum(p for p, is_free in zip(probabilities, free, strict=True) if is_free)
    fixed = math.fsum(
        each for each, is_free in zip(_at(middle, probabilities, bounds), free, strict=True) if not is_free
    )
    c = (1.0 - fixed) / slope if slope > 0 else above
    return _scaled(_at(c, probabilities, bounds))


def _at(c: float, probabilities: Sequence[float], bounds: Sequence[Share]) -> list[float]:
    return [min(max(c * p, least), most) for p, (least, most) in zip(probabilities, bounds, strict=True)]


def _with_rest(filled: Sequence[float], bounds: Sequence[Share]) -> list[float]:
    rest = 1.0 - math.fsum(filled)
    room = [most - each for each, (_, most) in zip(filled, bounds, strict=True)]
    total = math.fsum(room)
    return _scaled([each + rest * free / total for each, free in zip(filled, room, strict=True)])


def drawn(probabilities: Sequence[float], seed: int, decision_id: str) -> int:
    """Index of the arm drawn: the first whose cumulated probability passes a hash of (seed, decision id) in [0, 1).

    An arm of probability 0 is never drawn, whatever rounding does to the sum.
    """
    at = unit(seed, "draw", decision_id)
    cumulated, last = 0.0, -1
    for index, probability in enumerate(probabilities):
        if probability > 0.0:
            cumulated, last = cumulated + probability, index
            if at < cumulated:
                return index
    if last < 0:
        raise NoEligibleArm
    return last


def ranked(arms: Sequence[str], probabilities: Sequence[float]) -> list[int]:
    """Indices by probability, the greatest first, then by id."""
    return sorted(range(len(arms)), key=lambda index: (-probabilities[index], arms[index]))


def is_exploit(index: int, arms: Sequence[str], probabilities: Sequence[float]) -> bool:
    """Whether the arm is the first by probability, then id; anything else is exploring."""
    best = max(probabilities)
    if probabilities[index] != best:
        return False
    return arms[index] == min([arm for arm, each in zip(arms, probabilities, strict=True) if each == best])
