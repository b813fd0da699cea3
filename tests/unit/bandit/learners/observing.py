"""Observations for tests of learners."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bandit.learners.learner import NOTHING, Arm, Context, Learner, LearnerSettings, Observation, Predictor, Scalar
from bandit.learners.making import load_learner, make_learner

ARMS = (Arm("mail", {"agent": "ann"}), Arm("call", {"agent": "bob", "cost": 4.0}), Arm("wait"))
WIDTH = 3
EVERY_VW = ("epsilon", "squarecb", "cover", "bag", "synthcover", "regcb", "regcbopt", "softmax", "rnd", "first")
EVERY = (
    LearnerSettings("linear", "thompson"),
    LearnerSettings("linear", "squarecb"),
    *(LearnerSettings("vw", exploration) for exploration in EVERY_VW),
    LearnerSettings("uniform"),
    LearnerSettings("fixed"),
)


def named(settings: LearnerSettings) -> str:
    return " ".join(filter(None, (settings.kind, settings.exploration, settings.args)))


def made(settings: LearnerSettings = EVERY[0], *, width: int = WIDTH, seed: int = 1) -> Learner:
    return make_learner(settings, width=width, seed=seed, baseline="wait")


def loaded(settings: LearnerSettings, model: bytes, *, width: int = WIDTH, seed: int = 1) -> Learner:
    return load_learner(settings, model, width=width, seed=seed, baseline="wait")


def context(*values: float, **more: Scalar) -> Context:
    return Context(np.array(values or (0.0,) * WIDTH, dtype=float), more or NOTHING)


def observation(arm: str = "mail", reward: float = 1.0, **changes: Any) -> Observation:
    return Observation(context(1.0, -0.5, 0.25), ARMS, arm, 0.5, reward)._replace(**changes)


def observations(n: int, *, seed: int = 3, arms: tuple[Arm, ...] = ARMS) -> Iterator[Observation]:
    """Rewards that depend on context and arm: the first column pays for the first arm, its opposite for the second."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        values = rng.normal(size=WIDTH)
        index = int(rng.integers(len(arms)))
        reward = float(values[0] * (1, -1, 0)[index % 3] + 0.1 * rng.normal())
        yield Observation(Context(values), arms, arms[index].id, 1 / len(arms), reward)


def taught(learner: Learner, n: int, **how: Any) -> Learner:
    for each in observations(n, **how):
        learner.learn(each)
    return learner


def shares(predictor: Predictor, of: Context, arms: tuple[Arm, ...] = ARMS) -> Mapping[str, float]:
    return dict(zip((arm.id for arm in arms), predictor.predict(of, arms).probabilities, strict=True))
