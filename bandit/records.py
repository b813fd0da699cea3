"""The record of a decision, read from its stream: what was chosen, what it earned, how far it is.

The ledger's own fold says it, over the stream from its beginning, so a record never differs from what was settled. It
costs a pass over the stream; what a reward's sender is told at once comes from the ledger that is awake.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from bandit.deciding import Ranked, context_of, ranking
from bandit.events import (
    DECISION_MADE,
    REWARD_RECEIVED,
    DecisionMade,
    Reason,
    RewardReceived,
    decision_event_id,
    payload_of,
)
from bandit.ledger import Ledger, LedgerKind, OpenDecision
from bandit.policy import wait_us
from bandit.rewards import aggregated
from eventstore.event import Event
from kernel.steps import Steps
from projections.companion import accompanying

#: The names behind a decision's context; may be none.
ColumnsOf: TypeAlias = Callable[[DecisionMade], Sequence[str]]
State: TypeAlias = Literal["deferred", "open", "settled", "expired"]


class RecordedReward(msgspec.Struct, frozen=True):
    """A reward that counted, or was posted in vain; ``id`` of one by a rule is ``~EVENT/NUMBER_OF_RULE``."""

    id: str
    value: float
    at_us: int


class DecisionRecord(msgspec.Struct, frozen=True):
    """All that is known of a decision. ``reward`` is what it settled at, or null."""

    decision_id: str
    policy: str
    lead: str | None
    arm: str
    probability: float
    ranking: list[Ranked]
    context: dict[str, Any]
    reason: Reason
    model_version: str
    policy_version: int
    state: State
    rewards: list[RecordedReward]
    reward: float | None
    decided_us: int


class RewardStanding(msgspec.Struct, frozen=True):
    """What became of a posted reward. ``learned``: as things stand, what the model learns contains it."""

    late: bool
    learned: bool


def is_late(made: DecisionMade, decided_us: int, recorded_us: int) -> bool:
    """Whether something recorded then came after the waiting time."""
    return recorded_us > decided_us + wait_us(made.reward)


def standing(ledger: Ledger, made: Event, reward: Event) -> RewardStanding:
    """What to tell the sender of a reward, from the ledger that has folded it.

    Parameters
    ----------
    made, reward : the events as stored.
    """
    decision: DecisionMade = payload_of(made)
    received: RewardReceived = payload_of(reward)
    if is_late(decision, made.at_us, reward.recorded_us):
        return RewardStanding(late=True, learned=False)
    opened = ledger.open.get(decision.decision_id)
    if opened is not None:
        return RewardStanding(late=False, learned=opened.learns)
    closed = ledger.closed(decision.decision_id)
    if closed is None:
        return RewardStanding(late=False, learned=False)
    return RewardStanding(late=False, learned=closed.learns and closed.by in (None, received.id))


def recording(
    events: Sequence[Event], decision_id: str, kind: LedgerKind, columns: Sequence[str], now_us: int
) -> Steps[DecisionRecord | None]:
    """The record, in steps; None where the stream has no such decision.

    Parameters
    ----------
    events : the decision's whole stream, by version.
    columns : the names behind its context (``PolicyEntity.columns`` of its fingerprint); may be none.
    """
    found = yield from recordings(events, [decision_id], kind, lambda _: columns, now_us)
    return found.get(decision_id)


def recordings(
    events: Sequence[Event], decision_ids: Iterable[str], kind: LedgerKind, columns_of: ColumnsOf, now_us: int
) -> Steps[dict[str, DecisionRecord]]:
    """The records of several decisions of one stream, by id, in one pass over it. ``columns_of``: as for ``recording``."""
    wanted = {decision_event_id(each) for each in decision_ids}
    start = next((i for i, e in enumerate(events) if e.id in wanted and e.type == DECISION_MADE), None)
    if start is None:
        return {}
    before = yield from accompanying(events[0].stream, [kind], events[: start + 1])
    ledger = None if before is None else before.get(kind.name)
    if not isinstance(ledger, Ledger):
        return {}
    found: dict[str, _Found] = {}
    for place, event in enumerate(events[start:]):
        if place % 500 == 499:
            yield
        if place:
            ledger.fold(event)
        if event.type == DECISION_MADE and event.id in wanted:
            decision_id = payload_of(event).decision_id
            if (opened := ledger.open.get(decision_id)) is not None:
                found[decision_id] = _Found(event, opened, [])
        elif event.type == REWARD_RECEIVED:
            received: RewardReceived = payload_of(event)
            if received.decision_id in found:
                posted = RecordedReward(received.id, received.value, event.at_us)
                found[received.decision_id].posted.append(posted)
    ledger.reach(now_us)
    return {each: _record(one, ledger, columns_of(one.opened.made)) for each, one in found.items()}


class _Found(NamedTuple):
    """A decision of the stream: its event, its place in the ledger, and every reward posted for it, counting or not."""

    event: Event
    opened: OpenDecision
    posted: list[RecordedReward]


def _record(found: _Found, ledger: Ledger, columns: Sequence[str]) -> DecisionRecord:
    made, opened = found.opened.made, found.opened
    is_open = made.decision_id in ledger.open
    rewards = [RecordedReward(each.id, each.value, each.at_us) for each in opened.rewards]
    counted = {each.id for each in rewards}
    rewards += [each for each in found.posted if each.id not in counted]
    state: State = "open" if opened.is_active else "deferred"
    if not is_open:
        state = "settled" if opened.is_active else "expired"
    return DecisionRecord(
        decision_id=made.decision_id,
        policy=made.policy,
        lead=found.event.stream.id if found.event.stream.kind == "lead" else None,
        arm=made.arm,
        probability=made.probability,
        ranking=ranking(made),
        context=context_of(made, columns),
        reason=made.reason,
        model_version=made.model_version,
        policy_version=made.policy_version,
        state=state,
        rewards=rewards,
        reward=aggregated(made.reward, [each.value for each in opened.rewards]) if state == "settled" else None,
        decided_us=found.event.at_us,
    )
