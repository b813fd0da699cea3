"""Settlements: what a decision and its rewards become for the policy's stream, and what that teaches a learner."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bandit.events import DecisionMade, RewardSettled, SettlementKind, unpack_vector
from bandit.learners.learner import Arm, Context, FloatVector, Observation
from bandit.rewards import aggregated


def settlement(
    made: DecisionMade, kind: SettlementKind, *, decided_us: int, settled_us: int, values: Sequence[float]
) -> RewardSettled:
    """The self-contained record. ``values`` are the rewards that count, in the order in which they were recorded."""
    return RewardSettled(
        kind=kind,
        decision_id=made.decision_id,
        policy_version=made.policy_version,
        model_version=made.model_version,
        decided_us=decided_us,
        settled_us=settled_us,
        context=made.context,
        columns=made.columns,
        named=made.named,
        arms=made.arms,
        distribution=made.distribution,
        arm=made.arm,
        probability=made.probability,
        reason=made.reason,
        reward=aggregated(made.reward, values),
        rewards=len(values),
        imitation=made.imitation,
    )


class Translation(NamedTuple):
    """From the columns of one version of a service to those of another: where each wanted one stands; -1: nowhere."""

    places: tuple[int, ...]
    is_identity: bool

    @classmethod
    def between(cls, given: Sequence[str], wanted: Sequence[str]) -> "Translation":
        place = {name: index for index, name in enumerate(given)}
        return cls(tuple(place.get(name, -1) for name in wanted), list(given) == list(wanted))

    def of(self, values: FloatVector) -> FloatVector:
        """The values of the wanted columns; NaN for those that there were not."""
        if self.is_identity:
            return values
        padded = np.append(values, np.nan)
        return padded[list(self.places)].astype(np.float64, copy=False)


def observation(settled: RewardSettled, translation: Translation) -> Observation:
    """What a settlement teaches: the reward of the chosen arm; of an apprentice, whether it would have done the same.

    An apprentice learns to imitate, not what its master's choice brought: 1 where the arm that it would have drawn is the
    one that acted, 0 where it is another, at the probability at which it drew it.
    """
    context = Context(translation.of(unpack_vector(settled.context)), settled.named)
    arms = [Arm(arm.id, arm.features) for arm in settled.arms]
    imitation = settled.imitation
    if imitation is None:
        return Observation(context, arms, settled.arm, settled.probability, settled.reward)
    reward = 1.0 if imitation.arm == settled.arm else 0.0
    return Observation(context, arms, imitation.arm, imitation.probability, reward)


def teaches(settled: RewardSettled) -> bool:
    """Whether the learner takes it: not of the holdout, and not expired."""
    return settled.kind != "expired" and settled.reason != "holdout"
