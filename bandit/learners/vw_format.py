"""Observations as Vowpal Wabbit's examples: hashed numbers handed over one by one, never a text with names in it.

The only texts are labels, ``shared`` and ``0:cost:probability``, made of numbers of ours. Costs are −reward, here and
nowhere else.

This uses the library's low-level objects, which it does not promise to keep: the version is pinned, and ``self_test``
compares them with the public way once in a process.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import pylibvw
import vowpalwabbit

from bandit.chance import digest
from bandit.learners.encoding import Token, null_column, tokens
from bandit.learners.learner import Arm, Context, FloatVector
from bandit.learners.vw_args import ARM_SPACE, CONTEXT_SPACE
from kernel.errors import LearnerRefused

LIBRARY: Final = f"vowpalwabbit {vowpalwabbit.__version__}"
_TESTED: Final = "9.11."
_LABEL: Final[int] = pylibvw.vw.lContextualBandit
_CONTEXT, _ARM = ord(CONTEXT_SPACE), ord(ARM_SPACE)
#: Features (hashed id, value) of an example.
Features = list[tuple[int, float]]
_ARM_EXAMPLES_MAX: Final = 1_024
#: A smaller logged probability counts as this one: a weight of a million would undo all that was learned.
PROBABILITY_MIN: Final = 1e-3


@lru_cache(maxsize=65_536)
def feature_id(token: Token) -> int:
    """The hashed id of a token: 32 bits, of which the model takes its ``--bit_precision``."""
    return int.from_bytes(digest(0, "vw", *token)[:4], "little")


@lru_cache(maxsize=64)
def _column_ids(width: int) -> tuple[int, ...]:
    return tuple(feature_id(Token("column", str(index), "number")) for index in range(width))


def context_features(context: Context, numbers: FloatVector, nulls: list[int]) -> Features:
    """Columns, standardised, a feature for each null, and what the request adds."""
    features = list(zip(_column_ids(len(numbers)), numbers.tolist(), strict=True))
    if nulls:
        features += [(feature_id(null_column(index)), 1.0) for index in nulls]
    if context.named:
        features += [(feature_id(token), value) for token, value in tokens("request", context.named)]
    return features


def arm_features(arm: Arm) -> Features:
    """The arm's identity and its features."""
    own = (feature_id(Token("arm id", arm.id, "category")), 1.0)
    return [own, *((feature_id(token), value) for token, value in tokens("arm", arm.features))]


def label(reward: float, probability: float, weight: float) -> str:
    """The label of a chosen arm. The library has no weight of an observation here; dividing the probability is one."""
    return f"0:{-reward!r}:{min(max(probability / weight, PROBABILITY_MIN), 1.0)!r}"


def workspace(line: Sequence[str], *more: str) -> Any:
    """A workspace of the library. Raises ``LearnerRefused`` for options that do not go together."""
    try:
        return vowpalwabbit.Workspace(arg_list=[*line, "--preserve_performance_counters", "--quiet", *more])
    except RuntimeError as error:
        raise LearnerRefused("args", "options that go together", str(error)) from error


class ArmExamples:
    """Prepared examples of arms without a label, kept from call to call; the least recently made go first.

    They belong to a workspace of the same options that never learns: preparing an example moves a counter that is
    saved with a model, and which arms happen to be kept must not show in a model's bytes.
    """

    def __init__(self, line: Sequence[str]) -> None:
        self._workspace = workspace(line)
        self._kept: dict[str, KnownArm] = {}
        self._last: tuple[Sequence[Arm], list[Any]] = ((), [])

    def of(self, arms: Sequence[Arm]) -> list[Any]:
        """A new list of the examples of these arms, in their order."""
        # Mostly a policy's own tuple, time and again.
        if self._last[0] is not arms or not isinstance(arms, tuple):
            self._last = (arms, [self.known(arm).example for arm in arms])
        return self._last[1].copy()

    def known(self, arm: Arm) -> "KnownArm":
        """The arm with its features hashed and its example."""
        kept = self._kept.get(arm.id)
        if kept is None or (kept.arm is not arm and kept.arm != arm):
            if len(self._kept) >= _ARM_EXAMPLES_MAX:
                # Those handed out live on with their list.
                del self._kept[next(iter(self._kept))]
            features = arm_features(arm)
            kept = self._kept[arm.id] = KnownArm(arm, features, arm_example(self._workspace, features))
        return kept


class KnownArm(NamedTuple):
    """What is kept of an arm."""

    arm: Arm
    features: Features
    example: Any


def arm_example(space: Any, features: Features, label_text: str = "") -> Any:
    """A prepared example of an arm. Labels of an example cannot be replaced, only added to: a labelled one is used once."""
    example = pylibvw.example(space, _LABEL)
    if label_text:
        example.set_label_string(space, label_text, _LABEL)
    example.push_namespace(_ARM)
    example.push_feature_list(space, _ARM, 0, features)
    space.setup_example(example)
    return example


class SharedExample:
    """The one example of a workspace that carries the context, filled and emptied for each call."""

    def __init__(self, space: Any) -> None:
        self._workspace = space
        self.example = pylibvw.example(space, _LABEL)
        self.example.set_label_string(space, "shared", _LABEL)
        self.example.push_namespace(_CONTEXT)

    def fill(self, features: Features) -> None:
        """Prepare it with these features."""
        self.example.push_feature_list(self._workspace, _CONTEXT, 0, features)
        self._workspace.setup_example(self.example)

    def empty(self) -> None:
        """Make it ready for the next."""
        self._workspace.unsetup_example(self.example)
        self.example.erase_namespace(_CONTEXT)


@cache
def self_test() -> None:
    """Whether the low-level way still is the public one: equal probabilities after equal examples.

    Raises
    ------
    LearnerRefused
        It is not, or the library is of a version that was never tried.
    """
    expected = f"Vowpal Wabbit {_TESTED}x, whose low-level examples are known"
    if not vowpalwabbit.__version__.startswith(_TESTED):
        raise LearnerRefused("kind", expected, vowpalwabbit.__version__)
    line = ("--cb_explore_adf", "--squarecb", "--quadratic", "UA", "--bit_precision", "12")
    public, low = workspace(line), workspace(line)
    try:
        for step in range(4):
            if _publicly(public, step) != _lowly(low, step):
                raise LearnerRefused("kind", expected, f"{vowpalwabbit.__version__}, where they give other results")
    except (AttributeError, TypeError) as error:
        raise LearnerRefused("kind", expected, f"{vowpalwabbit.__version__} ({error})") from error


def _publicly(space: Any, step: int) -> list[float]:
    lines = ["shared |U 1:0.5 2:0.25", *(f"|A {arm}" for arm in (10, 11, 12))]
    probabilities: list[float] = space.predict(lines)
    chosen = 1 + step % 3
    lines[chosen] = f"0:{-float(step)!r}:0.5 {lines[chosen]}"
    space.learn(lines)
    return probabilities


def _lowly(space: Any, step: int) -> list[float]:
    spaces = {name: space.hash_space(name) for name in "UA"}
    shared, arms = SharedExample(space), [[(number + spaces["A"], 1.0)] for number in (10, 11, 12)]
    shared.fill([(1 + spaces["U"], 0.5), (2 + spaces["U"], 0.25)])
    examples = [shared.example, *(arm_example(space, arm) for arm in arms)]
    space.predict_multi(examples)
    probabilities: list[float] = shared.example.get_action_scores()
    chosen = step % 3
    examples[1 + chosen] = arm_example(space, arms[chosen], f"0:{-float(step)!r}:0.5")
    space.learn_multi(examples)
    shared.empty()
    return probabilities
