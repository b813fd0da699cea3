"""Learners that learn nothing: uniform, and a fixed baseline. They count, so that their versions can be told apart."""

from collections.abc import Sequence

from bandit.learners.encoding import checked
from bandit.learners.learner import REWARD_MAX, Arm, Context, Observation, Prediction, Predictor
from bandit.versions import Stamp, opened, sealed
from kernel.errors import CannotCorrect, ContextWidthMismatch, NoEligibleArm


class Still:
    """Probabilities that no reward moves.

    Parameters
    ----------
    stamp : what it belongs to.
    arm : the one to choose always; None for uniform. Where it is not eligible the others share evenly.
    updates : observations seen.
    """

    is_exact_midway = True
    is_exact_now = True
    can_correct = False

    def __init__(self, stamp: Stamp, arm: str | None, updates: int = 0) -> None:
        self._stamp, self._arm, self.updates = stamp, arm, updates
        self._reader = StillPredictor(stamp.width, arm, updates)

    @classmethod
    def load(cls, stamp: Stamp, arm: str | None, model: bytes) -> "Still":
        """Raises ``ModelMismatch``."""
        return cls(stamp, arm, opened(model, stamp)[0])

    def learn(self, observation: Observation) -> int:
        checked(observation, REWARD_MAX)
        _check_width(observation.context, self._stamp.width)
        self.updates += 1
        return 0

    def correct(self, observation: Observation, mark: int, reward: float) -> None:
        raise CannotCorrect(self._stamp.kind)

    def reader(self) -> Predictor:
        if self._reader.updates != self.updates:
            self._reader = StillPredictor(self._stamp.width, self._arm, self.updates)
        return self._reader

    def dump(self) -> bytes:
        return sealed(self._stamp, self.updates, b"")


class StillPredictor:
    """The read copy: all for the one arm, or the same for each."""

    def __init__(self, width: int, arm: str | None, updates: int) -> None:
        self._width, self._arm, self.updates = width, arm, updates

    def predict(self, context: Context, arms: Sequence[Arm]) -> Prediction:
        if not arms:
            raise NoEligibleArm
        _check_width(context, self._width)
        chosen = [float(arm.id == self._arm) for arm in arms]
        if not any(chosen):
            chosen = [1.0 / len(arms)] * len(arms)
        return Prediction(chosen, [0.0] * len(arms))

    def predict_many(self, contexts: Sequence[Context], arms: Sequence[Arm]) -> list[Prediction]:
        return [self.predict(context, arms) for context in contexts]


def _check_width(context: Context, width: int) -> None:
    if context.values.shape != (width,):
        raise ContextWidthMismatch(width, context.values.size)
