"""A decision, from the request to the answer: read, choose, make durable.

Choosing does not wait, so what it looks at is of one instant. What two decisions must not both use up is reserved
before the first of them is written: a day's budget for all leads, and a lead's week, for which its decisions take turns.
A decision that the caller named is looked for first, whoever asked for it, and is made once; where the log is divided its name is claimed
when all is chosen and before it is written.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from actors.ingest import Receipt
from bandit.deciding import Decision, Request, answer, check_request
from bandit.events import (
    DecisionClaimed,
    DecisionMade,
    claim_event,
    decision_event,
    decision_event_id,
    decision_stream,
    payload_of,
)
from eventstore.event import Event, Stream
from eventstore.store import Refused
from gateway.engine import Engine
from gateway.market import Markets
from gateway.orgs import Org
from gateway.policies.claiming import Claims, Held, claim_of
from gateway.policies.context import ContextPlan, market_values
from gateway.policies.policies import OrgPolicies, Policies, policy_key
from gateway.policies.rounds import Asking, Rounds, Wanted
from gateway.problems import Invalid, Problem
from kernel.errors import InvalidDefinition

_Key = TypeVar("_Key")
_NO_MARKET: Mapping[str, Sequence[Any]] = {}


class Decider:
    """Decides for all orgs of a service.

    Parameters
    ----------
    shared : the decider of what all leads share, where that is another one.

    Attributes
    ----------
    claims : whose ids are, where the log is divided: asked of the shared one.
    counts : of decisions, by their reason.
    """

    def __init__(
        self, engine: Engine, *, policies: Policies, markets: Markets, shared: "Decider | None" = None
    ) -> None:
        self._engine, self._policies, self._markets = engine, policies, markets
        self._shared = shared or self
        self._rounds = Rounds(engine, policies)
        self.claims: Claims | None = None
        self.counts = {"explore": 0, "exploit": 0, "holdout": 0, "forced": 0}
        self._turns: dict[Stream, tuple[asyncio.Lock, int]] = {}
        self._named: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}
        self._granting: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    async def decide(self, org: Org, name: str, request: Request) -> Decision:
        """Decide, or give the first answer again.

        Raises
        ------
        Problem
            ``invalid_body``, ``policy_not_found``, ``decision_conflict``, ``no_eligible_arm``.
        StoreUnavailable, IntakeFull
        """
        if request.decision_id is None:
            return await self.decide_new(org, name, request, self._engine.ids.uuid7())
        check(request)
        policies = self._policies.loaded(org) or await self._policies.of(org)
        plan = await policies.current(name)
        async with turn(self._named, (org.name, request.decision_id)):
            event = await self._engine.store.find(org.name, decision_event_id(request.decision_id))
            if event is not None:
                return answer(_same(event, name, request))
            return answer(await self._made(policies, name, plan, request, request.decision_id, is_named=True))

    async def decide_new(self, org: Org, name: str, request: Request, decision_id: str) -> Decision:
        """Decide under an id that was just made, and that nobody else can have used. Raises as ``decide``."""
        check(request)
        policies = self._policies.loaded(org) or await self._policies.of(org)
        return answer(await self._made(policies, name, await policies.current(name), request, decision_id))

    def is_deciding(self, org: str, decision_id: str) -> bool:
        """Whether a decision that a caller named is under way here, or waits for its turn."""
        return (org, decision_id) in self._named

    async def grant(self, org: Org, wanted: DecisionClaimed, instead: str) -> Held:
        """Record a claim at the home of its id, here, unless the id is another lead's.

        Parameters
        ----------
        instead : the turn of a claim that is known to have led to nothing.
        """
        decision_id = wanted.decision_id
        async with self.granting(org, decision_id) as held:
            if self.is_deciding(org.name, decision_id):  # not waited for: what it waits for may wait for this
                return Held("made")
            if await self._engine.store.find(org.name, decision_event_id(decision_id)) is not None:
                return Held("made")
            if held is not None and held.lead != wanted.lead and held.turn != instead:
                return Held("claimed", held.lead, held.turn)
            if held != wanted:
                stream = decision_stream(org.name, None, decision_id)
                await self._engine.ingest.record([claim_event(stream, wanted, self._engine.clock.now_us())])
            return Held("granted", wanted.lead, wanted.turn)

    @asynccontextmanager
    async def granting(self, org: Org, decision_id: str) -> AsyncIterator[DecisionClaimed | None]:
        """The claim of an id that holds now, at its home, here; no other one is granted meanwhile."""
        async with turn(self._granting, (org.name, decision_id)):
            yield await claim_of(self._engine.store, org.name, decision_id)

    async def _made(
        self,
        policies: OrgPolicies,
        name: str,
        plan: ContextPlan,
        request: Request,
        decision_id: str,
        *,
        is_named: bool = False,
    ) -> DecisionMade:
        """``is_named``: by a caller, so that others may have used the id."""
        stream = decision_stream(policies.org.name, request.lead, decision_id)
        is_claimed = is_named and self._shared.claims is not None
        wanted = Wanted(policies, name, request, stream, decision_id, is_claimed)
        if request.lead is None or not plan.limits_weeks:
            return await self._write(wanted, plan)
        async with turn(self._turns, stream):
            return await self._write(wanted, plan)

    async def _write(self, wanted: Wanted, plan: ContextPlan) -> DecisionMade:
        engine, activity = self._engine, self._policies.activity
        policies, name, _, stream, decision_id, is_claimed = wanted
        key = policy_key(policies.org, name)
        while True:
            market = await market_values(self._markets.of(stream.org), plan.subjects) if plan.subjects else _NO_MARKET
            is_known = engine.awake(stream) is not None or await self._is_known(stream)
            asking = Asking(wanted, plan, market=market, is_lead_known=is_known)
            self._rounds.add(asking)
            try:
                receipt = await asking.receipt
                if asking.made is not None and is_claimed:
                    receipt = await self._claim_and_write(policies.org, stream, asking.made)
            except Exception:  # not a cancellation: that leaves the append under way, and what it uses up is used
                if asking.made is not None:
                    activity.release(key, decision_id)
                raise
            if asking.made is not None:
                break
            plan = await policies.current(name)  # it, or the lead, has moved on meanwhile
        outcome = receipt.outcomes[0]
        if isinstance(outcome, Refused):
            activity.release(key, decision_id)
            raise conflict(decision_id)
        self.counts[asking.made.reason] += 1
        return cast("DecisionMade", payload_of(outcome.event)) if outcome.is_duplicate else asking.made

    async def _claim_and_write(self, org: Org, stream: Stream, made: DecisionMade) -> Receipt:
        decided_us = self._engine.clock.now_us()
        if self._shared.claims is not None:
            await self._shared.claims.claim(self.granting, org, stream, made.decision_id)
        return await self._engine.ingest.submit([decision_event(stream, made, decided_us)])

    async def _is_known(self, stream: Stream) -> bool:
        """Whether there is a lead with events; it is in memory then."""
        return stream.kind == "lead" and (await self._engine.wake([stream]))[0] is not None


def check(request: Request) -> None:
    """What the form of a request cannot say. Raises ``Problem``."""
    try:
        check_request(request)
    except InvalidDefinition as error:
        raise Problem("invalid_body", str(error), errors=[Invalid(*fault) for fault in error.faults]) from error


def _same(event: Event, policy: str, request: Request) -> DecisionMade:
    """The decision of that id, if it is the one that is asked for again."""
    made: DecisionMade = payload_of(event)
    lead = event.stream.id if event.stream.kind == "lead" else None
    if made.policy != policy or lead != request.lead:
        raise conflict(made.decision_id)
    return made


def conflict(decision_id: str) -> Problem:
    """The refusal of an id that another decision has."""
    return Problem("decision_conflict", f"decision {decision_id} was made for another policy or lead")


@asynccontextmanager
async def turn(locks: dict[_Key, tuple[asyncio.Lock, int]], key: _Key) -> AsyncIterator[None]:
    """One at a time for a key; a lock is kept while somebody has it or waits for it."""
    lock, users = locks.get(key, (asyncio.Lock(), 0))
    locks[key] = lock, users + 1
    try:
        async with lock:
            yield
    finally:
        lock, users = locks.pop(key)
        if users > 1:
            locks[key] = lock, users - 1
