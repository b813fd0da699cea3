"""Claims of ids of decisions, between the owners of leads and the homes of ids (ADR 46).

The owner of the lead asks, holding its turn for the id; the home answers, and waits for nothing but the log. Nor does another lead's owner
that is asked whether it has made a decision. So nobody waits in a circle.
"""

from typing import Final

import msgspec

from bandit.events import DecisionClaimed, decision_event_id, decision_stream
from eventstore.event import Stream
from gateway.nodes.forwarding.front import Front
from gateway.nodes.forwarding.procedures import Procedure
from gateway.orgs import Org
from gateway.policies.claiming import Granting, Held, claim_of
from gateway.policies.deciding import conflict
from gateway.service import Service

_TRIES: Final = 3  # claims that led to nothing and were replaced meanwhile; then somebody is at it


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """A claim, and the turn of one that it may replace."""

    wanted: DecisionClaimed
    instead: str


class Named(msgspec.Struct, frozen=True, array_like=True):
    decision_id: str


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """Whether a decision was made here, or is just being made."""

    is_taken: bool


class Indexed(msgspec.Struct, frozen=True, array_like=True):
    """What the home of an id knows: that the decision is there, or whose the id is."""

    is_here: bool
    lead: str | None


async def _claim(service: Service, org: Org, asked: Claim) -> Held:
    return await service.decider.grant(org, asked.wanted, asked.instead)


async def _look(service: Service, org: Org, named: Named) -> Taken:
    # In this order: what ends between the two looks is seen by the second. What begins then has to claim anew.
    if service.decider.is_deciding(org.name, named.decision_id):
        return Taken(True)
    return Taken(await service.store.find(org.name, decision_event_id(named.decision_id)) is not None)


async def _index(service: Service, org: Org, named: Named) -> Indexed:
    if await service.store.find(org.name, decision_event_id(named.decision_id)) is not None:
        return Indexed(True, None)
    held = await claim_of(service.store, org.name, named.decision_id)
    return Indexed(False, None if held is None else held.lead)


#: Repeatable, since a claim has its turn.
CLAIM: Final = Procedure("claim", Claim, Held, _claim)
LOOK: Final = Procedure("claimed", Named, Taken, _look)
INDEX: Final = Procedure("index", Named, Indexed, _index)


class ClaimsAtHome:
    """Claims ids at their homes, wherever those are led."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def claim(self, granting: Granting, org: Org, stream: Stream, decision_id: str) -> None:
        """As ``Claims`` says."""
        cluster = self._front.cluster
        home, own = home_of(self._front, org, decision_id), cluster.partition_of(stream)
        if home == own:
            await self._claim_here(granting, org, stream, home, decision_id)
            return
        wanted = DecisionClaimed(decision_id, stream.id, self._front.shared.ids.uuid7())
        instead = ""
        for _ in range(_TRIES):
            held = await self._front.call(CLAIM, home, org, Claim(wanted, instead))
            if held.state == "granted":
                return
            if held.state == "made" or await self._is_taken(org, held.lead, own, decision_id):
                break
            instead = held.turn
        raise conflict(decision_id)

    async def _claim_here(self, granting: Granting, org: Org, stream: Stream, home: int, decision_id: str) -> None:
        """The decision itself is to stand at home. From here on claims of others are refused there."""
        async with granting(org, decision_id) as held:
            pass  # one that is just being granted counts
        if held is None or (stream.kind == "lead" and held.lead == stream.id):
            return
        if await self._is_taken(org, held.lead, home, decision_id):
            raise conflict(decision_id)

    async def _is_taken(self, org: Org, lead: str, own: int, decision_id: str) -> bool:
        """Whether the claim of another lead has come to a decision, or may yet."""
        partition = self._front.partition_of_lead(org, lead)
        if partition == own:
            return False  # whoever asks has looked there, and has its turn
        return (await self._front.call(LOOK, partition, org, Named(decision_id))).is_taken


def home_of(front: Front, org: Org, decision_id: str) -> int:
    """The partition of an id."""
    return front.cluster.partition_of(decision_stream(org.name, None, decision_id))


def new_id(front: Front, org: Org, partition: int) -> str:
    """An id that has its home in a partition, by trying about as many as there are partitions: 3 µs each."""
    while True:
        made = front.shared.ids.uuid7()
        if home_of(front, org, made) == partition:
            return made
