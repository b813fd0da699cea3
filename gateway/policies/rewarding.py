"""Rewards, activations and records of decisions: found by their id, in whatever stream they stand."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from bandit.events import (
    DecisionMade,
    RewardReceived,
    activation_event,
    decision_event_id,
    payload_of,
    reward_event,
)
from bandit.ledger import Ledger, LedgerKind
from bandit.records import ColumnsOf, DecisionRecord, RewardStanding, is_late, recordings, standing
from eventstore.event import Event, Stream
from eventstore.store import Refused, Stored
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.service import Service
from kernel.errors import StoreUnavailable
from kernel.steps import finish_politely

_STREAMS_AT_ONCE = 20


class Rewarded(NamedTuple):
    """What became of a posted reward."""

    standing: RewardStanding
    is_duplicate: bool


async def found_decision(service: Service, org: Org, decision_id: str) -> Event:
    """The event of a decision. Raises ``Problem`` (``decision_not_found``)."""
    event = await service.store.find(org.name, decision_event_id(decision_id))
    if event is None:
        raise Problem("decision_not_found", f"no decision {decision_id}")
    return event


async def reward(service: Service, org: Org, decision_id: str, value: float, reward_id: str | None) -> Rewarded:
    """Store a reward, and settle at once what it settles.

    Raises
    ------
    Problem
        ``decision_not_found``, ``reward_conflict``.
    StoreUnavailable, IntakeFull
    """
    made = await found_decision(service, org, decision_id)
    received = RewardReceived(decision_id, reward_id or service.ids.uuid7(), value)
    receipt = await service.ingest.submit([reward_event(made.stream, received, service.clock.now_us())])
    outcome = receipt.outcomes[0]
    if isinstance(outcome, Refused):
        raise Problem("reward_conflict", f"reward {reward_id} of decision {decision_id} has another value")
    told = _standing(await _ledger(service, made.stream), made, outcome.event)
    service.rewarded["late" if told.late else "duplicate" if outcome.is_duplicate else "taken"] += 1
    await _settle_now(service, made.stream)
    return Rewarded(told, outcome.is_duplicate)


async def _settle_now(service: Service, stream: Stream) -> None:
    """What the reward settles stays due where it cannot be written now: the reward is taken, and must not fail for that."""
    with contextlib.suppress(StoreUnavailable):
        await service.ticker.fire([stream])


def _standing(ledger: Ledger | None, made: Event, stored: Event) -> RewardStanding:
    if ledger is None:  # the decision is over for so long that its stream is folded without it
        late = is_late(cast("DecisionMade", payload_of(made)), made.at_us, stored.recorded_us)
        return RewardStanding(late, learned=False)
    return standing(ledger, made, stored)


async def activate(service: Service, org: Org, decision_id: str) -> bool:
    """Let the rewards of a deferred decision count; whether that came too late. Raises as ``reward``."""
    made = await found_decision(service, org, decision_id)
    receipt = await service.ingest.submit([activation_event(made.stream, decision_id, service.clock.now_us())])
    outcome = receipt.outcomes[0]
    if not isinstance(outcome, Stored):
        raise Problem("decision_conflict", f"decision {decision_id} cannot be activated")
    await _settle_now(service, made.stream)
    return is_late(cast("DecisionMade", payload_of(made)), made.at_us, outcome.event.recorded_us)


async def record(service: Service, org: Org, made: Event) -> DecisionRecord:
    """All that is known of a decision, from its stream. Raises ``Problem``."""
    return (await records(service, org, [made]))[0]


async def records(service: Service, org: Org, made: Sequence[Event]) -> list[DecisionRecord]:
    """The records of several decisions, given by their events, in the order asked. Raises ``Problem``."""
    columns = await _columns(service, org, {payload_of(event).policy for event in made})
    by_stream: dict[Stream, list[str]] = {}
    for event in made:
        by_stream.setdefault(event.stream, []).append(payload_of(event).decision_id)
    found: dict[str, DecisionRecord] = {}
    for streams in _chunks(list(by_stream), _STREAMS_AT_ONCE):
        for stream, log in zip(streams, await service.store.read_many(streams), strict=True):
            steps = recordings(log, by_stream[stream], service.ledgers, columns, service.clock.now_us())
            found |= await finish_politely(steps)
    return [_one(found, payload_of(event).decision_id) for event in made]


def _one(found: Mapping[str, DecisionRecord], decision_id: str) -> DecisionRecord:
    if decision_id not in found:
        raise Problem("decision_not_found", f"no decision {decision_id}")
    return found[decision_id]


async def _columns(service: Service, org: Org, names: Iterable[str]) -> ColumnsOf:
    """Where the names behind contexts are looked up: in the policies under which they were logged."""
    policies = await service.policies.of(org)
    entities = {name: await policies.any_entity(name) for name in names}

    def columns_of(made: DecisionMade) -> Sequence[str]:
        policy = entities[made.policy]
        return () if policy is None else policy.columns(made.columns)

    return columns_of


def _chunks(streams: Sequence[Stream], size: int) -> Iterator[Sequence[Stream]]:
    return (streams[start : start + size] for start in range(0, len(streams), size))


async def _ledger(service: Service, stream: Stream) -> Ledger | None:
    entity = service.awake(stream)
    if entity is None:
        (entity,) = await service.wake([stream])
    companion = None if entity is None else entity.companion(LedgerKind.name)
    return companion if isinstance(companion, Ledger) else None
