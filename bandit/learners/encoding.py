"""How a context and an arm become numbers, the same for every learner: compressed, never scaled by what was seen before.

Scales of lead features differ by twelve orders of magnitude. ``squashed`` is the identity on [-1, 1] (rates, one-hot
columns) and grows like log₂ beyond (days, counts, money); it is nothing but an addition and a look at bits, so it gives
the same numbers on every machine, and it has no memory, so an observation can be encoded again when its reward is
corrected. Whatever a learner scales besides, it scales from its sums.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from bandit.learners.learner import Context, FloatMatrix, FloatVector, Observation, Scalar
from kernel.errors import ContextWidthMismatch, InvalidProbability, InvalidReward, NoEligibleArm

_BITS_OF_1: Final = 0x3FF << 52
_FLOAT, _INTEGER = struct.Struct("<d"), struct.Struct("<q")


class Token(NamedTuple):
    """What a name stands for: ``kind`` tells a number, a category with its ``word``, a null, and a null column apart."""

    block: str
    name: str
    kind: str
    word: str = ""


def squashed(values: FloatVector) -> FloatVector:
    """X in [-1, 1], piecewise linear log₂(1 + |x|) with x's sign beyond; odd, monotone, continuous. NaN stays.

    Examples
    --------
    >>> squashed(np.array([0.25, -1.0, 7.0, 1e12])).round(2).tolist()
    [0.25, -1.0, 3.0, 39.82]
    """
    moved = np.abs(values)
    moved += 1.0
    # The bits of a float, read as an integer, are its logarithm, piecewise linear: exponent, then mantissa.
    bits = moved.view(np.int64)
    bits -= _BITS_OF_1
    compressed: FloatVector = np.multiply(bits, 2.0**-52)
    return np.copysign(compressed, values, out=compressed)


def squashed_one(value: float) -> float:
    """The same for a single number that is finite."""
    bits = _INTEGER.unpack(_FLOAT.pack(abs(value) + 1.0))[0] - _BITS_OF_1
    return math.copysign(bits * 2.0**-52, value)


def columns(context: Context, width: int) -> tuple[FloatVector, list[int]]:
    """The service's columns squashed, nulls as 0, and which were null. An infinite number counts as null.

    Raises
    ------
    ContextWidthMismatch
        Not ``width`` of them.
    """
    values = context.values
    if values.shape != (width,):
        raise ContextWidthMismatch(width, values.size)
    known = np.isfinite(values)
    if np.logical_and.reduce(known):
        return squashed(values), []
    return squashed(np.where(known, values, 0.0)), np.flatnonzero(~known).tolist()


def column_rows(contexts: Sequence[Context], width: int) -> tuple[FloatMatrix, FloatMatrix | None]:
    """``columns`` of several contexts, a row each; and a matrix that is 1 where a column was null, None where none was.

    Raises
    ------
    ContextWidthMismatch
        One has not ``width`` of them.
    """
    rows = [context.values for context in contexts]
    if {row.shape for row in rows} != {(width,)}:
        raise ContextWidthMismatch(width, next(row.size for row in rows if row.shape != (width,)))
    values = np.concatenate(rows).reshape(len(rows), width) if len(rows) > 1 else rows[0][None]
    known = np.isfinite(values)
    if np.logical_and.reduce(known.ravel()):
        return squashed(values), None
    return squashed(np.where(known, values, 0.0)), np.subtract(1.0, known)


def tokens(block: str, named: Mapping[str, Scalar]) -> Iterator[tuple[Token, float]]:
    """Names with their values: a number's token has its squashed value, a category's and a null's 1."""
    for name, value in named.items():
        if isinstance(value, str):
            yield Token(block, name, "category", value), 1.0
        elif value is None or not math.isfinite(number := float(value)):
            yield Token(block, name, "null"), 1.0
        elif number:
            yield Token(block, name, "number"), squashed_one(number)


def null_column(index: int) -> Token:
    """Stands for a service column that has no value."""
    return Token("column", str(index), "null")


def checked(observation: Observation, reward_max: float) -> int:
    """The index of the chosen arm of an observation that may be learned.

    Raises
    ------
    InvalidProbability, InvalidReward, NoEligibleArm
        As ``Learner.learn``.
    """
    if not 0.0 < observation.probability <= 1.0:  # False for NaN, too
        raise InvalidProbability("a probability above 0 and at most 1", observation.probability)
    checked_reward(observation.reward, reward_max)
    if not 0.0 <= observation.weight <= reward_max:
        raise InvalidReward("a weight that is finite and not negative", observation.weight)
    for index, arm in enumerate(observation.arms):
        if arm.id == observation.arm:
            return index
    raise NoEligibleArm(observation.arm)


def checked_reward(reward: float, reward_max: float) -> None:
    """Raises ``InvalidReward`` for a reward that sums cannot hold."""
    if not -reward_max <= reward <= reward_max:
        raise InvalidReward(f"a finite reward within ±{reward_max:g}", reward)
