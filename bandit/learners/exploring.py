"""From scores and their uncertainty to probabilities: Thompson sampling over fixed draws, and SquareCB.

The draws are not random: every name has its own order of the same quantiles of the normal distribution, by a hash of
seed and name. So an arm's draws are the same in every call, whichever other arms are there, their mean and variance are
exact, and the probabilities are a function of the model alone: logged as they are, not an estimate of something else.
"""

from functools import lru_cache
from hashlib import shake_128
from statistics import NormalDist

import numpy as np

from bandit.chance import digest
from bandit.learners.learner import FloatMatrix, FloatVector


@lru_cache(maxsize=64)
def _quantiles(draws: int) -> FloatVector:
    normal = NormalDist()
    values: FloatVector = np.array([normal.inv_cdf((index + 0.5) / draws) for index in range(draws)])
    values /= values.std()
    return values


@lru_cache(maxsize=16_384)
def normals(seed: int, name: str, draws: int) -> FloatVector:
    """The draws of a name: shape (draws,), mean 0, variance 1. Do not write to them."""
    keys = np.frombuffer(shake_128(digest(seed, "normals", name)).digest(8 * draws), "<u8")
    shuffled = _quantiles(draws)[np.argsort(keys, kind="stable")]
    shuffled.setflags(write=False)
    return shuffled


def winning_shares(samples: FloatMatrix) -> FloatMatrix:
    """The share of draws that each arm wins. ``samples`` : shape (n_arms, n_draws), of several contexts one more before."""
    arms, draws = samples.shape[-2:]
    winners = samples.argmax(axis=-2)
    if samples.ndim == 2:
        wins = np.bincount(winners, minlength=arms)
    else:
        winners += np.arange(0, len(samples) * arms, arms)[:, None]
        wins = np.bincount(winners.ravel(), minlength=len(samples) * arms).reshape(-1, arms)
    shares: FloatMatrix = wins / draws
    return shares


def inverse_gaps(scores: FloatVector, gamma: float) -> FloatVector:
    """SquareCB: 1 / (n + γ · gap) for each arm but the best, which gets the rest. Scores in units of their spread.

    References
    ----------
    Foster, Rakhlin: Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles (2020).
    """
    best = int(scores.argmax())
    shares: FloatVector = 1.0 / (len(scores) + gamma * (scores[best] - scores))
    shares[best] = 0.0
    shares[best] = 1.0 - shares.sum()
    return shares
