"""Deciding: from a policy, a model's read copy and what is known, to a decision with honest probabilities.

Enters: all of it as values; no clock, no log, no chance but the hash of (seed, decision id). Leaves: the payload of
``decision_made``, from which the answer, the record and a replay are made. Whatever forces a choice, the probabilities
logged are those by which it was drawn.

The way: eligible arms → the learner's distribution, checked → floor → shares → draw. Holdout, kill switch and apprentice mode
put 1 on the baseline, in this order of precedence; where the baseline may not act, the first arm that may does. A
learner that gives no distribution is passed over: then the arms are even.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from bandit.checking import CompiledPolicy, arms_faults, features_faults
from bandit.distribution import ANY_SHARE, checked, clipped, drawn, is_exploit, ranked, with_floor
from bandit.events import DecisionMade, Imitation, LoggedArm, Reason, pack_vector, unpack_vector
from bandit.guardrails import Known, eligible_arms, is_held_out
from bandit.learners.learner import Arm, Context, Predictor
from bandit.policy import ARMS_MAX, FEATURES_MAX, PolicyArm, Scalar, channel_of
from eventstore.envelope import EXPECTED_LEAD, is_lead
from eventstore.wording import Fault, shorten
from kernel.errors import BanditError, InvalidDefinition, InvalidProbability

#: The greatest number of members of a list of requests.
DECISIONS_MAX = 100


class RequestArm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An arm that comes with the request, in place of the policy's."""

    id: str
    features: dict[str, Scalar] = {}


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked of a policy. ``context`` adds to the lead's features; ``decision_id`` is made where there is none."""

    lead: str | None = None
    context: Annotated[dict[str, Scalar], Meta(max_length=FEATURES_MAX)] = {}
    arms: Annotated[list[RequestArm], Meta(min_length=1, max_length=ARMS_MAX)] | None = None
    exclude: Annotated[list[str], Meta(max_length=ARMS_MAX)] = []
    decision_id: str | None = None
    defer: bool = False


class Model(NamedTuple):
    """The read copy that decides, under the name that the decision logs."""

    version: str
    predictor: Predictor


class Ranked(msgspec.Struct, frozen=True):
    """An arm that was considered. ``score`` is the reward that the model expected; null where none was asked."""

    arm: str
    probability: float
    score: float | None


class Decision(msgspec.Struct, frozen=True):
    """The answer to a request."""

    decision_id: str
    arm: str
    probability: float
    ranking: list[Ranked]
    model_version: str
    policy_version: int
    reason: Reason


class Replayed(NamedTuple):
    """A decision drawn again from its record. ``is_same``: arm, probability and reason came out as logged."""

    arm: str
    probability: float
    reason: Reason
    is_same: bool


class _Choice(NamedTuple):
    place: int
    distribution: list[float]
    scores: list[float] | None
    reason: Reason
    imitation: Imitation | None = None


def check_request(request: Request) -> None:
    """What the form of a request cannot say. Raises ``InvalidDefinition`` with every fault."""
    faults = list(features_faults(request.context, "context"))
    arms = [PolicyArm(arm.id, arm.features) for arm in request.arms or ()]
    faults.extend(arms_faults(arms, "arms"))
    if request.lead is not None and not is_lead(request.lead):
        faults.append(Fault("lead", EXPECTED_LEAD, shorten(request.lead)))
    if request.decision_id is not None and not is_decision_id(request.decision_id):
        faults.append(Fault("decision_id", "1 to 256 printable characters", shorten(request.decision_id)))
    if faults:
        raise InvalidDefinition(faults)


def is_decision_id(text: str) -> bool:
    """Whether a decision may be named so."""
    return 0 < len(text) <= 256 and text.isprintable() and text not in (".", "..")


def decide(policy: CompiledPolicy, model: Model, request: Request, known: Known, decision_id: str) -> DecisionMade:
    """Choose an arm. Some tens of microseconds beside the model's prediction.

    Raises
    ------
    NobodyEligible
        Nothing is to be logged then.
    """
    arms = policy.arms if request.arms is None else tuple(Arm(arm.id, arm.features) for arm in request.arms)
    is_given, exclude = request.arms is not None, frozenset(request.exclude)
    eligible = eligible_arms(policy, arms, is_given=is_given, exclude=exclude, known=known)
    choice = _chosen(policy, model, request, known, arms, eligible, decision_id)
    arm = eligible[choice.place]
    names = {each.id for each in eligible}
    return DecisionMade(
        decision_id=decision_id,
        policy=policy.name,
        policy_version=policy.version,
        model_version=model.version,
        context=pack_vector(known.context),
        columns=policy.fingerprint,
        named=request.context,
        arms=[LoggedArm(each.id, dict(each.features)) for each in eligible],
        distribution=choice.distribution,
        scores=choice.scores,
        ineligible=[each.id for each in arms if each.id not in names],
        arm=arm.id,
        probability=choice.distribution[choice.place],
        reason=choice.reason,
        seed=policy.policy.seed,
        deferred=request.defer,
        reward=policy.policy.reward,
        channel=channel_of(arm.features),
        imitation=choice.imitation,
    )


def _chosen(
    policy: CompiledPolicy,
    model: Model,
    request: Request,
    known: Known,
    arms: Sequence[Arm],
    eligible: Sequence[Arm],
    decision_id: str,
) -> _Choice:
    rails = policy.policy.guardrails
    acting = _acting(policy, arms, eligible)
    if is_held_out(policy, request.lead):
        return _Choice(acting, _only(acting, len(eligible)), None, "holdout")
    if rails.kill:
        return _Choice(acting, _only(acting, len(eligible)), None, "forced")
    ids = [arm.id for arm in eligible]
    distribution, scores = _distribution(policy, model, Context(known.context, request.context), eligible)
    index = drawn(distribution, policy.policy.seed, decision_id)
    if rails.apprentice:
        imitation = Imitation(ids[index], distribution[index], ids[ranked(ids, distribution)[0]])
        return _Choice(acting, _only(acting, len(eligible)), scores, "forced", imitation)
    reason: Reason = "exploit" if is_exploit(index, ids, distribution) else "explore"
    return _Choice(index, distribution, scores, reason)


def _acting(policy: CompiledPolicy, arms: Sequence[Arm], eligible: Sequence[Arm]) -> int:
    """Where the baseline stands among the eligible; the first of them where it may not act.

    Without a baseline of the policy's among the arms, the first arm of the request is it.
    """
    ids = [arm.id for arm in arms]
    baseline = policy.policy.baseline if policy.policy.baseline in ids else ids[0]
    return next((index for index, arm in enumerate(eligible) if arm.id == baseline), 0)


def _only(index: int, count: int) -> list[float]:
    return [1.0 if each == index else 0.0 for each in range(count)]


def _distribution(
    policy: CompiledPolicy, model: Model, context: Context, eligible: Sequence[Arm]
) -> tuple[list[float], list[float] | None]:
    scores: list[float] | None = None
    try:
        prediction = model.predictor.predict(context, eligible)
        probabilities = checked(prediction.probabilities)
        if not len(probabilities) == len(prediction.scores) == len(eligible):
            raise InvalidProbability(f"{len(eligible)} probabilities and scores", len(probabilities))
        scores = [score if math.isfinite(score) else 0.0 for score in prediction.scores]
    except BanditError:  # the service owns the distribution: a model that gives none must not stop decisions
        probabilities = [1.0 / len(eligible)] * len(eligible)
    floor = policy.policy.floor
    probabilities = with_floor(probabilities, floor)
    if policy.shares:
        shares = [policy.shares.get(arm.id, ANY_SHARE) for arm in eligible]
        probabilities = clipped(probabilities, shares, floor)
    return probabilities, scores


def replayed(made: DecisionMade) -> Replayed:
    """Draw a decision again, from its record alone; bit for bit the same arm and probability.

    Raises
    ------
    NoEligibleArm
        The record has no arm with a probability above 0: it was not written here.
    """
    ids = [arm.id for arm in made.arms]
    index = drawn(made.distribution, made.seed, made.decision_id)
    reason = made.reason
    if reason in ("explore", "exploit"):
        reason = "exploit" if is_exploit(index, ids, made.distribution) else "explore"
    again = (ids[index], made.distribution[index], reason)
    return Replayed(*again, again == (made.arm, made.probability, made.reason))


def answer(made: DecisionMade) -> Decision:
    """The answer to the request behind a decision: the first one and every repeat."""
    return Decision(
        made.decision_id,
        made.arm,
        made.probability,
        ranking(made),
        made.model_version,
        made.policy_version,
        made.reason,
    )


def ranking(made: DecisionMade) -> list[Ranked]:
    """All arms considered, by probability, then id; those that were not eligible with probability 0."""
    scores: Sequence[float | None] = [None] * len(made.arms) if made.scores is None else made.scores
    considered = [Ranked(arm.id, p, s) for arm, p, s in zip(made.arms, made.distribution, scores, strict=True)]
    considered += [Ranked(arm, 0.0, None) for arm in made.ineligible]
    return sorted(considered, key=lambda each: (-each.probability, each.arm))


def context_of(made: DecisionMade, columns: Sequence[str]) -> dict[str, Any]:
    """The context by name: the columns of the policy's service, and what the request added."""
    values = unpack_vector(made.context)
    named = {name: None if np.isnan(value) else float(value) for name, value in zip(columns, values, strict=False)}
    return {**named, **made.named}
