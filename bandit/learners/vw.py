"""Vowpal Wabbit's contextual bandit: an online learner for many decisions, many arms, or shapes that are not linear.

What it returns is made a distribution here, since it may return what is none: numbers that sum to 3, zeros, NaN. What
it would accept without a word (a probability of 0, an infinite cost) is refused before it.

The weight of an observation divides its probability. Explorations that regress on costs alone (squarecb, regcb, bag)
look at no probability, so there it does nothing but when it is 0.

Bytes: the library's model file. The workspace that learns never predicts, which would change the file; the read copy
is loaded from it, and then taught what it missed, which gives the same predictions and costs less than loading again. Explorations that keep state beside the file (cover, bag, rnd; ``--cb_type dr``) replace themselves by
their own loaded file every ``CHECKPOINT_UPDATES`` updates: a model that was loaded there goes on byte for byte.
"""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from bandit.learners.encoding import checked, columns
from bandit.learners.learner import (
    CHECKPOINT_UPDATES,
    REWARD_MAX,
    Arm,
    Context,
    FloatVector,
    Observation,
    Prediction,
    Predictor,
)
from bandit.learners.scaling import Scaling
from bandit.learners.vw_args import VwArgs
from bandit.learners.vw_format import (
    ArmExamples,
    Features,
    SharedExample,
    arm_example,
    context_features,
    label,
    self_test,
    workspace,
)
from bandit.versions import Stamp, opened, sealed
from kernel.errors import CannotCorrect, ModelMismatch, NoEligibleArm

#: A read copy that missed more is loaded anew.
FOLLOWED_MAX: Final = 128
#: The library reads and writes models as files only; in memory where there is such a place.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a new private directory within it


class VwLearner:
    """One workspace that learns, one that only prepares examples, and a read copy.

    Parameters
    ----------
    stamp : what it belongs to.
    args : the checked argument line.
    """

    can_correct = False

    def __init__(self, stamp: Stamp, args: VwArgs) -> None:
        self_test()
        self._stamp = stamp
        self.is_exact_midway = args.is_exact_midway
        self._line = args.line
        self.updates = 0
        self._arms = ArmExamples(self._line)
        self._reader: VwPredictor | None = None
        self._missed: list[Lesson] = []
        self._model: bytes | None = None
        self._scaling = Scaling(stamp.width)
        self._space = Space(workspace(self._line, "--random_seed", str(stamp.seed % 2**31)), self._arms)

    @property
    def is_exact_now(self) -> bool:
        return self.is_exact_midway or self.updates % CHECKPOINT_UPDATES == 0

    def learn(self, observation: Observation) -> int:
        chosen = checked(observation, REWARD_MAX)
        numbers, nulls = columns(observation.context, self._stamp.width)
        if observation.weight > 0.0:
            self._scaling.take(numbers)
            features = context_features(observation.context, _scaled(self._scaling, numbers, nulls), nulls)
            text = label(observation.reward, observation.probability, observation.weight)
            self._teach(Lesson(features, observation.arms, chosen, text))
        self.updates += 1
        self._model = None
        if not self.is_exact_midway and self.is_exact_now:
            self._model = self._saved()
            self._space = Space(_loaded(self._line, self._model), self._arms)
        return 0

    def _teach(self, lesson: "Lesson") -> None:
        self._space.teach(lesson)
        if self.is_exact_midway and self._reader is not None and len(self._missed) <= FOLLOWED_MAX:
            self._missed.append(lesson)

    def correct(self, observation: Observation, mark: int, reward: float) -> None:
        raise CannotCorrect(self._stamp.kind)

    def reader(self) -> Predictor:
        before = self._reader
        if before is not None and before.updates == self.updates:
            return before
        if before is not None and self.is_exact_midway and len(self._missed) <= FOLLOWED_MAX:
            space = before.space
            for each in self._missed:
                space.teach(each)
        else:
            space = Space(_loaded(self._line, self._bytes()), self._arms)
        self._missed = []
        self._reader = after = VwPredictor(space, self._scaling.copy(), self._stamp.width, self.updates)
        return after

    def dump(self) -> bytes:
        return sealed(self._stamp, self.updates, msgspec.msgpack.encode((self._scaling.dump(), self._bytes())))

    @classmethod
    def load(cls, stamp: Stamp, args: VwArgs, model: bytes) -> "VwLearner":
        """Raises ``ModelMismatch``."""
        updates, raw = opened(model, stamp)
        learner = cls(stamp, args)
        if updates:
            try:
                scaling, file = msgspec.msgpack.decode(raw, type=tuple[bytes, bytes])
                learner._scaling = Scaling.load(stamp.width, scaling)
            except (msgspec.DecodeError, ValueError) as error:
                raise ModelMismatch("body", "a Vowpal Wabbit model with its scaling", f"damaged ({error})") from error
            learner._space = Space(_loaded(learner._line, file), learner._arms)
            learner.updates, learner._model = updates, file
        return learner

    def _bytes(self) -> bytes:
        if self._model is None:
            self._model = self._saved()
        return self._model

    def _saved(self) -> bytes:
        with _directory() as name:
            path = Path(name, "model")
            self._space.workspace.save(str(path))
            return path.read_bytes()


class Lesson(NamedTuple):
    """An observation as it was taught: features, eligible arms, the chosen one's index, its label."""

    features: Features
    arms: Sequence[Arm]
    chosen: int
    text: str


class Space:
    """A workspace of the library with its shared example."""

    def __init__(self, space: Any, arms: ArmExamples) -> None:
        self.workspace, self._arms, self._shared = space, arms, SharedExample(space)

    def teach(self, lesson: Lesson) -> None:
        """Learn from one."""
        self._shared.fill(lesson.features)
        examples = [self._shared.example, *self._arms.of(lesson.arms)]
        known = self._arms.known(lesson.arms[lesson.chosen])
        examples[1 + lesson.chosen] = arm_example(self.workspace, known.features, lesson.text)
        try:
            self.workspace.learn_multi(examples)
        finally:
            self._shared.empty()

    def ask(self, features: Features, arms: Sequence[Arm]) -> tuple[list[float], list[float]]:
        """What the library says: shares, and the cost that it expects of each arm."""
        shared, examples = self._shared, self._arms.of(arms)
        shared.fill(features)
        try:
            self.workspace.predict_multi([shared.example, *examples])
            said: list[float] = shared.example.get_action_scores()
            return said, [each.get_partial_prediction() for each in examples]
        finally:
            shared.empty()


class VwPredictor:
    """A read copy: a workspace of its own, which the next read copy takes over."""

    def __init__(self, space: Space, scaling: Scaling, width: int, updates: int) -> None:
        self.space, self._scaling, self._width, self.updates = space, scaling, width, updates

    def predict(self, context: Context, arms: Sequence[Arm]) -> Prediction:
        if not arms:
            raise NoEligibleArm
        numbers, nulls = columns(context, self._width)
        features = context_features(context, _scaled(self._scaling, numbers, nulls), nulls)
        said, costs = self.space.ask(features, arms)
        return Prediction(sanitised(said, len(arms)), [0.0 - cost if math.isfinite(cost) else 0.0 for cost in costs])

    def predict_many(self, contexts: Sequence[Context], arms: Sequence[Arm]) -> list[Prediction]:
        return [self.predict(context, arms) for context in contexts]


def _scaled(scaling: Scaling, numbers: FloatVector, nulls: list[int]) -> FloatVector:
    """The columns standardised; a null is their centre."""
    scaled = scaling.of(numbers)
    if nulls:
        scaled[nulls] = 0.0
    return scaled


def sanitised(said: Sequence[float], n_arms: int) -> list[float]:
    """A distribution from what the library said: what is no share counts nothing, the rest is scaled to sum to 1.

    Even shares where nothing is left, or where it spoke of another number of arms.
    """
    shares = [share if 0.0 < share < math.inf else 0.0 for share in said]
    total = sum(shares)
    if len(shares) != n_arms or not 0.0 < total < math.inf:
        return [1.0 / n_arms] * n_arms
    return [share / total for share in shares]


def _directory() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="leadwheel-", dir=_MEMORY if _MEMORY.is_dir() else None)


def _loaded(line: Sequence[str], model: bytes) -> Any:
    with _directory() as name:
        path = Path(name, "model")
        path.write_bytes(model)
        # The seed is not given again: some explorations keep in its place how far they have drawn.
        try:
            return workspace(line, "--initial_regressor", str(path))
        except Exception as error:
            # The library tells a damaged file by whatever it trips over.
            raise ModelMismatch("body", "a model that the library can load", str(error)) from error
