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

from bandit.candidates import Candidates, candidates
from bandit.checking import CompiledPolicy, arms_faults, features_faults
from bandit.distribution import checked, clipped, drawn, is_exploit, ranked, with_floor
from bandit.events import DecisionMade, Imitation, Reason, pack_vector, unpack_vector
from bandit.guardrails import Known, eligible_arms, is_held_out
from bandit.learners.learner import Arm, Context, Prediction, Predictor
from bandit.policy import ARMS_MAX, FEATURES_MAX, PolicyArm, Scalar, channel_of
from eventstore.envelope import EXPECTED_LEAD, is_lead
from eventstore.wording import Fault, shorten
from kernel.errors import BanditError, InvalidDefinition, InvalidProbability, NobodyEligible

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


class Asked(NamedTuple):
    """One of the decisions that are made together."""

    request: Request
    known: Known
    decision_id: str


class _Said(NamedTuple):
    """Why the baseline acts whatever the model says; else what it says, None where it says nothing."""

    forced: Reason | None
    prediction: Prediction | None


class _Choice(NamedTuple):
    place: int
    distribution: list[float]
    scores: list[float] | None
    reason: Reason
    imitation: Imitation | None = None


def check_request(request: Request) -> None:
    """What the form of a request cannot say. Raises ``InvalidDefinition`` with every fault."""
    faults = list(features_faults(request.context, "context")) if request.context else []
    if request.arms is not None:
        faults.extend(arms_faults([PolicyArm(arm.id, arm.features) for arm in request.arms], "arms"))
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
    (made,) = decide_many(policy, model, [Asked(request, known, decision_id)])
    if isinstance(made, NobodyEligible):
        raise made
    return made


def decide_many(
    policy: CompiledPolicy, model: Model, all_asked: Sequence[Asked]
) -> list[DecisionMade | NobodyEligible]:
    """Several decisions, each what ``decide`` makes of it alone, bit for bit, or raises: the model is asked once for many.

    None of them knows of the others: whoever has budgets to keep hands in the next one when the last one is counted.
    """
    found = [_candidates(policy, each) for each in all_asked]
    forced = [_forced(policy, each.request) for each in all_asked]
    said = _said(policy, model, all_asked, found, forced)
    return [
        each
        if isinstance(each, NobodyEligible)
        else _made(policy, model, all_asked[place], each, _Said(why, said[place]))
        for place, (each, why) in enumerate(zip(found, forced, strict=True))
    ]


def _said(
    policy: CompiledPolicy,
    model: Model,
    all_asked: Sequence[Asked],
    found: Sequence[Candidates | NobodyEligible],
    forced: Sequence[Reason | None],
) -> list[Prediction | None]:
    """What the model says of each, where it has to be asked and says anything: in one question where the arms are the same."""
    said: list[Prediction | None] = [None] * len(all_asked)
    usual: list[int] = []
    for place, (each, why) in enumerate(zip(found, forced, strict=True)):
        if why is None and each is policy.usual:
            usual.append(place)
        elif why is None and not isinstance(each, NobodyEligible):
            said[place] = _predictions(model, [_context(all_asked[place])], each.arms)[0]
    if policy.usual is not None and usual:
        contexts = [_context(all_asked[place]) for place in usual]
        for place, prediction in zip(usual, _predictions(model, contexts, policy.usual.arms), strict=True):
            said[place] = prediction
    return said


def _candidates(policy: CompiledPolicy, asked: Asked) -> Candidates | NobodyEligible:
    request = asked.request
    if policy.usual is not None and request.arms is None and not request.exclude:
        return policy.usual
    arms = policy.arms if request.arms is None else tuple(Arm(arm.id, arm.features) for arm in request.arms)
    is_given, exclude = request.arms is not None, frozenset(request.exclude)
    try:
        eligible = eligible_arms(policy, arms, is_given=is_given, exclude=exclude, known=asked.known)
    except NobodyEligible as error:
        return error
    return candidates(policy.policy, policy.shares, arms, eligible)


def _made(policy: CompiledPolicy, model: Model, asked: Asked, eligible: Candidates, said: _Said) -> DecisionMade:
    request, known, decision_id = asked
    choice = _chosen(policy, asked, eligible, said)
    arm = eligible.arms[choice.place]
    return DecisionMade(
        decision_id=decision_id,
        policy=policy.name,
        policy_version=policy.version,
        model_version=model.version,
        context=pack_vector(known.context),
        columns=policy.fingerprint,
        named=request.context,
        arms=eligible.logged,
        distribution=choice.distribution,
        scores=choice.scores,
        ineligible=eligible.ineligible,
        arm=arm.id,
        probability=choice.distribution[choice.place],
        reason=choice.reason,
        seed=policy.policy.seed,
        deferred=request.defer,
        reward=policy.policy.reward,
        channel=channel_of(arm.features),
        imitation=choice.imitation,
    )


def _forced(policy: CompiledPolicy, request: Request) -> Reason | None:
    """Why the baseline acts without a question to the model."""
    if is_held_out(policy, request.lead):
        return "holdout"
    return "forced" if policy.policy.guardrails.kill else None


def _chosen(policy: CompiledPolicy, asked: Asked, eligible: Candidates, said: _Said) -> _Choice:
    acting, ids = eligible.acting, eligible.ids
    if said.forced is not None:
        return _Choice(acting, _only(acting, len(ids)), None, said.forced)
    distribution, scores = _distribution(policy, eligible, said.prediction)
    index = drawn(distribution, policy.policy.seed, asked.decision_id)
    if policy.policy.guardrails.apprentice:
        imitation = Imitation(ids[index], distribution[index], ids[ranked(ids, distribution)[0]])
        return _Choice(acting, _only(acting, len(ids)), scores, "forced", imitation)
    reason: Reason = "exploit" if is_exploit(index, ids, distribution) else "explore"
    return _Choice(index, distribution, scores, reason)


def _only(index: int, count: int) -> list[float]:
    return [1.0 if each == index else 0.0 for each in range(count)]


def _context(asked: Asked) -> Context:
    return Context(asked.known.context, asked.request.context)


def _predictions(model: Model, contexts: Sequence[Context], arms: Sequence[Arm]) -> list[Prediction | None]:
    """What the model says of each context; None of one that it says nothing of."""
    try:
        if len(contexts) > 1:
            return list(model.predictor.predict_many(contexts, arms))
        return [model.predictor.predict(contexts[0], arms)]
    except BanditError:
        if len(contexts) == 1:
            return [None]
        return [said for each in contexts for said in _predictions(model, [each], arms)]


def _distribution(
    policy: CompiledPolicy, eligible: Candidates, said: Prediction | None
) -> tuple[list[float], list[float] | None]:
    count, scores = len(eligible.ids), None
    try:
        if said is None:
            raise InvalidProbability("a prediction", None)
        probabilities = checked(said.probabilities)
        if not len(probabilities) == len(said.scores) == count:
            raise InvalidProbability(f"{count} probabilities and scores", len(probabilities))
        scores = said.scores
        if not all(map(math.isfinite, scores)):
            scores = [score if math.isfinite(score) else 0.0 for score in scores]
    except BanditError:  # the service owns the distribution: a model that gives none must not stop decisions
        probabilities = [1.0 / count] * count
    floor = policy.policy.floor
    probabilities = with_floor(probabilities, floor)
    if eligible.bounds is not None:
        probabilities = clipped(probabilities, eligible.bounds, floor)
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
    considered = [(-p, arm.id, s) for arm, p, s in zip(made.arms, made.distribution, scores, strict=True)]
    considered += [(-0.0, arm, None) for arm in made.ineligible]
    considered.sort()  # never by score: no arm stands twice
    return [Ranked(arm, -p, score) for p, arm, score in considered]


def context_of(made: DecisionMade, columns: Sequence[str]) -> dict[str, Any]:
    """The context by name: the columns of the policy's service, and what the request added."""
    values = unpack_vector(made.context)
    named = {name: None if np.isnan(value) else float(value) for name, value in zip(columns, values, strict=False)}
    return {**named, **made.named}
