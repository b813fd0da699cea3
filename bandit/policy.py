"""A policy as data: the document that users send, keep, and get back.

Every key that the interface knows stands here once, with its default; whether the parts go together is ``checking``'s
to say. A document is *complete* when nothing of it is left to be derived: its baseline and waiting time are named.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from bandit.learners.learner import LearnerSettings

#: A named number, category or truth; null is "not known".
Scalar: TypeAlias = str | float | bool | None

DAY_S: Final = 86_400
#: The bounds of ``wait_s``.
WAIT_MIN_S: Final = 60
WAIT_MAX_S: Final = 90 * DAY_S
ARMS_MAX: Final = 1_000
FEATURES_MAX: Final = 100

#: What a feature of an arm says on which channel it acts.
CHANNEL: Final = "channel"

ArmId = Annotated[str, Meta(min_length=1, max_length=256)]
Unit = Annotated[float, Meta(ge=0, le=1)]
Limit = Annotated[int, Meta(ge=0, le=10**9)]
Features = Annotated[dict[str, Scalar], Meta(max_length=FEATURES_MAX)]
Expression: TypeAlias = str


class PolicyArm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One choice. Paused (``enabled`` false), it is not chosen, and keeps what was learned of it."""

    id: ArmId
    features: Features = {}
    enabled: bool = True


class RewardRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An event of this type, up to so many seconds after the decision, is a reward of this value, where ``where`` holds.

    ``surrogate``: the first reward by such a rule teaches at once, and what the decision settles at replaces it.
    """

    on: str
    within_s: Annotated[float, Meta(gt=0, le=WAIT_MAX_S)]
    value: Expression
    where: Expression | None = None
    surrogate: bool = False


class Reward(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a decision earns, and when it is known. ``wait_s`` null: the longest ``within_s``, or a day without rules."""

    rules: Annotated[list[RewardRule], Meta(max_length=100)] = []
    wait_s: Annotated[float, Meta(ge=WAIT_MIN_S, le=WAIT_MAX_S)] | None = None
    default: Annotated[float, Meta(ge=-1e12, le=1e12)] = 0.0
    aggregation: Literal["earliest", "latest", "sum", "max", "mean"] = "earliest"
    attribution: Literal["last", "first", "all"] = "last"


class ShareBounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The least and the greatest probability of an arm."""

    min: Unit = 0.0
    max: Unit = 1.0


class WeekLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most so many decisions for one lead within seven days: of all, of an arm, of the arms of a channel."""

    total: Limit | None = None
    arms: dict[str, Limit] = {}
    channels: dict[str, Limit] = {}


class Guardrails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What no learner may do."""

    share: dict[str, ShareBounds] = {}
    per_day: dict[str, Limit] = {}
    eligible: dict[str, Expression] = {}
    per_lead_week: WeekLimits = WeekLimits()
    opt_out: Expression | None = None
    holdout: Unit = 0.0
    apprentice: bool = False
    kill: bool = False


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arms, context, learner, reward, guardrails. ``baseline`` null: the first arm, of the policy or of a request."""

    arms: Annotated[list[PolicyArm], Meta(max_length=ARMS_MAX)] = []
    context: str | None = None
    learner: LearnerSettings = LearnerSettings()
    baseline: str | None = None
    floor: Unit = 0.02
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    reward: Reward = Reward()
    guardrails: Guardrails = Guardrails()

    @property
    def wait_us(self) -> int:
        """The waiting time in microseconds, of a complete document."""
        return wait_us(self.reward)


def wait_us(reward: Reward) -> int:
    """How long after its time a decision settles at the latest."""
    return round(waiting_s(reward) * 1_000_000)


def waiting_s(reward: Reward) -> float:
    """``wait_s``, or what follows from the rules where it is null."""
    if reward.wait_s is not None:
        return reward.wait_s
    return float(max(WAIT_MIN_S, max((rule.within_s for rule in reward.rules), default=DAY_S)))


def completed(policy: Policy) -> Policy:
    """The same policy with everything named that follows from the rest: what is stored, compared and answered."""
    baseline = policy.baseline
    if baseline is None and policy.arms:
        baseline = policy.arms[0].id
    reward = msgspec.structs.replace(policy.reward, wait_s=waiting_s(policy.reward))
    return msgspec.structs.replace(policy, baseline=baseline, reward=reward)


def channel_of(features: Mapping[str, Scalar]) -> str | None:
    """The channel on which an arm acts; None where its features name none."""
    channel = features.get(CHANNEL)
    return channel if isinstance(channel, str) else None
