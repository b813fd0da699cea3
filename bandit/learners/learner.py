"""What every learner is: a fold of settled rewards that gives distributions over eligible arms.

Enter: settled observations, one by one, in the order of the policy's stream. Leave: predictions, through a read copy,
and the model's bytes.

Invariants, of every kind:

- *Chance is a parameter.* Whatever a learner draws, it draws from hashes of its seed. Equal sequences of ``learn`` and
  ``correct`` give equal bytes, on any day and in any process of the same machine and library versions.
- *Predicting changes nothing.* ``predict`` is a method of the read copy alone, never of the learner.
- *A prediction is a distribution*: finite, not negative, summing to 1 within 1e-6, in the order of the arms given.
  The floor, shares and the draw are not the learner's (``bandit.distribution``).
- *Names are opaque.* Ids, names and words may contain anything; they are hashed or looked up, never put into a text.
- *Arms come and go.* What was learned of one stays when it is paused; a new one starts from what all have in common.
- Nothing blocks longer than a matrix inversion or, for Vowpal Wabbit, a model file of some megabytes.

``bandit.learners.making.make_learner`` makes and loads them.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

#: A context number's row: shape (n_columns,), float64; NaN stands for null.
FloatVector = NDArray[np.float64]
#: Several rows, or several matrices.
FloatMatrix = NDArray[np.float64]
#: A named number or category. A bool is the number 0 or 1; None, in a request's context, is null.
Scalar = str | float | bool | None
NOTHING: Final[Mapping[str, Scalar]] = MappingProxyType({})


class Arm(NamedTuple):
    """An eligible arm: its id, and what it has in common with others (agent, approach, channel, cost …)."""

    id: str
    features: Mapping[str, Scalar] = NOTHING


class Context(NamedTuple):
    """What is known when deciding.

    ``values`` has one number for each column of the policy's service (``Selection.vector`` with NaN for None), the same
    number of them in every call of one learner; empty where the policy has no service. ``named`` is what the request adds.
    """

    values: FloatVector
    named: Mapping[str, Scalar] = NOTHING


class Prediction(NamedTuple):
    """A distribution over the arms given, in their order, and a score each: the reward expected, higher is better."""

    probabilities: list[float]
    scores: list[float]


class Observation(NamedTuple):
    """What a settled reward teaches: everything that was known, what was chosen with which probability, what came of it.

    ``arms`` are the arms that were eligible, ``arm`` the id of the chosen one, ``probability`` the logged one, after floor
    and shares. ``weight`` counts it as so many observations.
    """

    context: Context
    arms: Sequence[Arm]
    arm: str
    probability: float
    reward: float
    weight: float = 1.0


class LearnerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ``learner`` of a policy. ``exploration`` empty: the kind's default; ``args``: see ``making.check_settings``."""

    kind: str = "linear"
    exploration: str = ""
    args: str = ""


class Predictor(Protocol):
    """A read copy of a learner at one number of updates.

    It stays as it is while the learner goes on, until the next one is taken from the learner: that may take it over.
    """

    @property
    def updates(self) -> int:
        """Observations behind it (``Learner.updates`` when it was taken)."""
        ...

    def predict(self, context: Context, arms: Sequence[Arm]) -> Prediction:
        """The distribution over these arms; a single one gets 1.

        A pure function of the learner's state and the arguments. The ids are distinct; some tens of microseconds.

        Raises
        ------
        NoEligibleArm
            No arms.
        ContextWidthMismatch
            The context has another number of columns than the learner.
        """
        ...

    def predict_many(self, contexts: Sequence[Context], arms: Sequence[Arm]) -> list[Prediction]:
        """What ``predict`` says of each of these contexts, bit for bit, whichever others are asked about with it.

        Cheaper than one by one where a learner can share work between them. Raises as ``predict``, for all of them.
        """
        ...


class Learner(Protocol):
    """Folds observations into a model."""

    @property
    def updates(self) -> int:
        """How many observations it has learned; corrections do not count."""
        ...

    @property
    def is_exact_midway(self) -> bool:
        """Whether a dump taken after any update, loaded again, goes on to the same bytes as if it had not been taken."""
        ...

    @property
    def is_exact_now(self) -> bool:
        """The same for a dump taken now. What is not exact midway is so every ``CHECKPOINT_UPDATES`` updates.

        A snapshot is to be kept only when this holds: then model = snapshot + tail, byte for byte.
        """
        ...

    @property
    def can_correct(self) -> bool:
        """Whether ``correct`` works, so that a first surrogate reward may be learned before the final one is known."""
        ...

    def learn(self, observation: Observation) -> int:
        """Take an observation; its *mark*, which ``correct`` wants to see again (0 where nothing is to be corrected).

        Raises
        ------
        InvalidProbability
            The probability does not lie in (0, 1].
        InvalidReward
            The reward or the weight is not finite, or beyond ±1e12; or the weight is negative.
        NoEligibleArm
            The chosen arm is not among the arms.
        ContextWidthMismatch
            The context has another number of columns than the learner.

        Nothing is learned when it raises. A weight of 0 counts as an update and teaches nothing.
        """
        ...

    def correct(self, observation: Observation, mark: int, reward: float) -> None:
        """Replace the reward of an observation that was learned by another; it is never counted twice.

        Afterwards the model is what it would be had ``learn`` been given ``reward`` in the first place (up to
        rounding of sums). ``observation`` and ``mark`` are those of ``learn``; a second correction gives the observation
        with the first correction's reward.

        Raises
        ------
        CannotCorrect
            The kind cannot (``can_correct``).
        InvalidReward
            Not finite, or beyond ±1e12.
        """
        ...

    def reader(self) -> Predictor:
        """A read copy of now. Made anew after updates: fractions of a millisecond to some milliseconds, so that a caller
        takes one once a second, not for each decision. The same object when nothing was learned since.
        """
        ...

    def dump(self) -> bytes:
        """The whole model, with what is needed to refuse it under other settings or another library version."""
        ...


#: After so many updates a learner that is not exact midway replaces itself by its own loaded dump: a fixed place in the
#: stream, so that one that was loaded there goes on as one that was never stopped.
CHECKPOINT_UPDATES: Final = 1_000
#: Rewards beyond this are refused: squares of sums must stay finite.
REWARD_MAX: Final = 1e12
