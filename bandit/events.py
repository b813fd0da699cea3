"""What the bandit writes into the log, and the ids that follow from what caused it.

``decision_made``, ``decision_activated`` and ``reward_received`` stand in the lead's stream, or in one of the decision's
own where there is no lead; ``decision_claimed``, which only nodes write, in one of the decision's own in any case; the
others in the policy's stream. A decision carries what its rewards are, so its stream alone says what becomes of it; a
settlement carries the decision, so the policy's stream alone makes the model. Vectors are packed float64, little-endian,
NaN for null; the names of their columns stand in the policy's definition under a fingerprint, not in each event. All ids
begin with ``~`` and two letters; writing one twice is a duplicate.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

import msgspec
import numpy as np

from bandit.learners.learner import FloatVector
from bandit.policy import Policy, Reward, Scalar
from eventstore.event import Event, NewEvent, Stream
from eventstore.types import EventType, Payload

DECISION_MADE: Final = "decision_made"
DECISION_CLAIMED: Final = "decision_claimed"
DECISION_ACTIVATED: Final = "decision_activated"
REWARD_RECEIVED: Final = "reward_received"
REWARD_SETTLED: Final = "reward_settled"
POLICY_DEFINED: Final = "policy_defined"
POLICY_DELETED: Final = "policy_deleted"
MODEL_PROMOTED: Final = "model_promoted"

Reason: TypeAlias = Literal["explore", "exploit", "holdout", "forced"]
SettlementKind: TypeAlias = Literal["final", "provisional", "expired"]


class LoggedArm(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An eligible arm as the learner saw it."""

    id: str
    features: dict[str, Scalar]


class Imitation(msgspec.Struct, frozen=True, gc=False):
    """What the apprentice would have done: the arm drawn from its distribution, with which probability, and its first."""

    arm: str
    probability: float
    first: str


class DecisionMade(Payload, frozen=True, gc=False):
    """A choice, with all that was known and all that its rewards will need.

    ``distribution`` and ``scores`` (null where no model was asked) are in the order of ``arms``, the eligible ones;
    ``ineligible`` were considered with probability 0. ``columns`` is the fingerprint of the context's
    names; ``channel`` is the chosen arm's.
    """

    decision_id: str
    policy: str
    policy_version: int
    model_version: str
    context: bytes
    columns: str
    named: dict[str, Scalar]
    arms: list[LoggedArm]
    distribution: list[float]
    scores: list[float] | None
    ineligible: list[str]
    arm: str
    probability: float
    reason: Reason
    seed: int
    deferred: bool
    reward: Reward
    channel: str | None = None
    imitation: Imitation | None = None


class DecisionClaimed(Payload, frozen=True, gc=False):
    """No other lead gets the id, unless it turns out that the decision was not made. ``turn`` is that of one attempt."""

    decision_id: str
    lead: str
    turn: str


class DecisionActivated(Payload, frozen=True, gc=False):
    """The rewards of a deferred decision count from now on."""

    decision_id: str


class RewardReceived(Payload, frozen=True, gc=False):
    """A reward that was posted; ``id`` is the caller's, or made for it."""

    decision_id: str
    id: str
    value: float


class RewardSettled(Payload, frozen=True, gc=False):
    """What became of a decision, with the decision itself.

    ``kind``: ``final``, once per decision; ``provisional``, before it, where a surrogate reward came; ``expired``, for a
    deferred decision that was never activated (nothing to learn). ``rewards`` is how many counted, none: the default.
    """

    kind: SettlementKind
    decision_id: str
    policy_version: int
    model_version: str
    decided_us: int
    settled_us: int
    context: bytes
    columns: str
    named: dict[str, Scalar]
    arms: list[LoggedArm]
    distribution: list[float]
    arm: str
    probability: float
    reason: Reason
    reward: float
    rewards: int
    imitation: Imitation | None = None


class PolicyDefined(Payload, frozen=True, gc=False):
    """The policy from now on. ``columns`` are the names behind a context's numbers, as its service gives them."""

    version: int
    policy: Policy
    columns: list[str]


class PolicyDeleted(Payload, frozen=True, gc=False):
    """The policy is gone. ``version`` counts on: it is that of a policy without content."""

    version: int


class ModelPromoted(Payload, frozen=True, gc=False):
    """Decisions follow this model version from now on; null: the newest, as it learns. ``number`` counts promotions."""

    number: int
    version: str | None = None


#: To be registered beside the types of the packs and of the system.
TYPES: Final[tuple[EventType, ...]] = tuple(
    EventType(name, payload, pack="system", by="system")
    for name, payload in (
        (DECISION_MADE, DecisionMade),
        (DECISION_CLAIMED, DecisionClaimed),
        (DECISION_ACTIVATED, DecisionActivated),
        (REWARD_RECEIVED, RewardReceived),
        (REWARD_SETTLED, RewardSettled),
        (POLICY_DEFINED, PolicyDefined),
        (POLICY_DELETED, PolicyDeleted),
        (MODEL_PROMOTED, ModelPromoted),
    )
)

_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    each.name: msgspec.json.Decoder(each.payload) for each in TYPES
}
_ENCODER: Final = msgspec.json.Encoder()


def payload_of(event: Event) -> Any:
    """The payload of an event of the bandit's. Raises ``msgspec.MsgspecError`` where it does not fit."""
    if event.payload is None:
        event.payload = _DECODERS[event.type].decode(event.data)
    return event.payload


def decode_decision(data: bytes) -> DecisionMade:
    """A ``decision_made`` from its bytes in the log."""
    found: DecisionMade = _DECODERS[DECISION_MADE].decode(data)
    return found


def decode_settlement(data: bytes) -> RewardSettled:
    """A ``reward_settled`` from its bytes in the log."""
    found: RewardSettled = _DECODERS[REWARD_SETTLED].decode(data)
    return found


# Ids.


def decision_event_id(decision_id: str) -> str:
    """The id of a decision's event: unique in its org, so a decision is found by it."""
    return _hashed("dm", decision_id)


def claim_event_id(decision_id: str, turn: str) -> str:
    return _hashed("dc", _ENCODER.encode([decision_id, turn]).decode())


def activation_event_id(decision_id: str) -> str:
    return _hashed("da", decision_id)


def reward_event_id(decision_id: str, reward_id: str) -> str:
    """The id of a posted reward: the same one again is a duplicate, or a conflict."""
    return _hashed("rr", _ENCODER.encode([decision_id, reward_id]).decode())


def settlement_event_id(decision_id: str, kind: str) -> str:
    return _hashed("rp" if kind == "provisional" else "rs", decision_id)


def _hashed(prefix: str, cause: str) -> str:
    return f"~{prefix}:{sha256(cause.encode('utf-8', 'surrogatepass')).hexdigest()}"


# Events.


def policy_stream(org: str, policy: str) -> Stream:
    return Stream(org, "policy", policy)


def decision_stream(org: str, lead: str | None, decision_id: str) -> Stream:
    """Where a decision is kept: with its lead, or in a stream of its own."""
    return Stream(org, "decision", decision_id) if lead is None else Stream(org, "lead", lead)


def decision_event(stream: Stream, made: DecisionMade, at_us: int) -> NewEvent:
    return _event(stream, decision_event_id(made.decision_id), DECISION_MADE, made, at_us)


def claim_event(stream: Stream, claimed: DecisionClaimed, at_us: int) -> NewEvent:
    event_id = claim_event_id(claimed.decision_id, claimed.turn)
    return _event(stream, event_id, DECISION_CLAIMED, claimed, at_us)


def activation_event(stream: Stream, decision_id: str, at_us: int) -> NewEvent:
    event_id = activation_event_id(decision_id)
    return _event(stream, event_id, DECISION_ACTIVATED, DecisionActivated(decision_id), at_us)


def reward_event(stream: Stream, received: RewardReceived, at_us: int) -> NewEvent:
    event_id = reward_event_id(received.decision_id, received.id)
    return _event(stream, event_id, REWARD_RECEIVED, received, at_us)


def settlement_event(stream: Stream, settled: RewardSettled) -> NewEvent:
    event_id = settlement_event_id(settled.decision_id, settled.kind)
    return _event(stream, event_id, REWARD_SETTLED, settled, settled.settled_us)


def policy_defined_event(stream: Stream, defined: PolicyDefined, at_us: int) -> NewEvent:
    return _by_content("pd", stream, POLICY_DEFINED, defined, at_us)


def policy_deleted_event(stream: Stream, deleted: PolicyDeleted, at_us: int) -> NewEvent:
    return _by_content("px", stream, POLICY_DELETED, deleted, at_us)


def model_promoted_event(stream: Stream, promoted: ModelPromoted, at_us: int) -> NewEvent:
    return _by_content("mp", stream, MODEL_PROMOTED, promoted, at_us)


def _by_content(prefix: str, stream: Stream, name: str, payload: Payload, at_us: int) -> NewEvent:
    event_id = _hashed(prefix, _ENCODER.encode(payload).decode())
    return _event(stream, event_id, name, payload, at_us)


def _event(stream: Stream, event_id: str, name: str, payload: Payload, at_us: int) -> NewEvent:
    # Without a time of its own: written again after a doubtful answer, it is a duplicate.
    return NewEvent(stream, event_id, name, at_us, _ENCODER.encode(payload), payload, has_time=False)


# Vectors.


def pack_vector(values: FloatVector) -> bytes:
    return values.astype("<f8", copy=False).tobytes()


def unpack_vector(packed: bytes) -> FloatVector:
    """The vector again; read-only. Raises ``ValueError`` for bytes that are no whole number of floats."""
    return np.frombuffer(packed, dtype="<f8").astype(np.float64, copy=False)


def columns_fingerprint(names: Sequence[str]) -> str:
    """Names the meaning of a context's numbers: sixteen characters."""
    return sha256(_ENCODER.encode(list(names))).hexdigest()[:16]
