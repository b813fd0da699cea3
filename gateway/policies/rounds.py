"""Rounds: the decisions that are asked for within one turn of the loop, or while an append is under way, made together.

Enter: requests whose policy and lead are in memory. Leave: reservations, and events on their way into the log; each request
waits for its own receipt. Nothing waits in here, so what a round looks at is of one instant. A request whose policy or lead
has moved on since it was read is sent back to read again.

Together, decisions of a policy cost half: the model is asked once, and what it is stays in the processor's cache. A request
that comes alone is a round by itself.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from actors.ingest import Receipt
from bandit.deciding import Asked, Request, decide_many
from bandit.events import DecisionMade, decision_event
from bandit.guardrails import Known, with_others
from bandit.ledger import NO_DECISIONS, Ledger, LedgerKind, WeekCounts
from eventstore.event import Stream
from gateway.engine import Engine
from gateway.policies.context import ContextPlan
from gateway.policies.policies import OrgPolicies, Policies, policy_key
from gateway.problems import Problem
from kernel.errors import NobodyEligible
from projections.entity import FoldedEntity

#: In one go: a few milliseconds.
_ROUND_MAX = 32
_NOTHING: Mapping[str, int] = {}
_NOT_WRITTEN = Receipt([], 0, 0)


class Wanted(NamedTuple):
    """A decision that is asked for. ``is_claimed``: its id has to be claimed before it is written, by whoever asks."""

    policies: OrgPolicies
    policy: str
    request: Request
    stream: Stream
    decision_id: str
    is_claimed: bool


class Asking:
    """A request under way.

    Attributes
    ----------
    plan, market : what was read for it, where that had to wait.
    is_lead_known : its lead has a history, so that there is an entity of it.
    receipt : of its event; an empty one where its id is claimed first, or where ``made`` is None: then it has to be read for again.
    made : the decision, once it is reserved.
    """

    __slots__ = ("is_lead_known", "made", "market", "plan", "receipt", "wanted")

    def __init__(
        self, wanted: Wanted, plan: ContextPlan, *, market: Mapping[str, Sequence[Any]], is_lead_known: bool
    ) -> None:
        self.wanted, self.plan, self.market, self.is_lead_known = wanted, plan, market, is_lead_known
        self.receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.made: DecisionMade | None = None

    def fail(self, error: Exception) -> None:
        """Answer with an error, if anybody still waits."""
        if not self.receipt.done():
            self.receipt.set_exception(error)


class Rounds:
    """Decides for all policies of a service."""

    def __init__(self, engine: Engine, policies: Policies) -> None:
        self._engine, self._policies = engine, policies
        self._waiting: deque[Asking] = deque()
        self._is_due = False

    def add(self, asking: Asking) -> None:
        """Take it into the next round, which comes when all that is ready to ask now has asked, or joins the next append."""
        self._waiting.append(asking)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._gather)

    def _gather(self) -> None:
        """A round that is not full waits for the append under way, behind which its own would wait anyway."""
        if len(self._waiting) >= _ROUND_MAX or not self._engine.ingest.join_next(self._run):
            self._run()

    def _run(self) -> None:
        waiting = self._waiting
        of_policies: dict[tuple[OrgPolicies, str], list[Asking]] = {}
        for _ in range(min(len(waiting), _ROUND_MAX)):
            asking = waiting.popleft()
            if not asking.receipt.done():  # else its request was cancelled
                of_policies.setdefault((asking.wanted.policies, asking.wanted.policy), []).append(asking)
        self._is_due = bool(waiting)
        if waiting:
            asyncio.get_running_loop().call_soon(self._gather)
        for (policies, name), all_asking in of_policies.items():
            self._decide(policies, name, all_asking)

    def _decide(self, policies: OrgPolicies, name: str, all_asking: Sequence[Asking]) -> None:
        """Decide for one policy. What one of several fails of, the others must not."""
        is_one_by_one = all_asking[0].plan.policy.is_limited  # each has to see what those before it used up
        try:
            if not is_one_by_one or len(all_asking) == 1:
                self._make(policies, name, all_asking)
                return
        except Exception as error:  # noqa: BLE001 - told to the request at fault
            if len(all_asking) == 1:
                all_asking[0].fail(error)
                return
        for asking in all_asking:
            if not asking.receipt.done():
                self._decide(policies, name, [asking])

    def _make(self, policies: OrgPolicies, name: str, all_asking: Sequence[Asking]) -> None:
        now_us = self._engine.clock.now_us()
        entity = policies.awake(name)
        plan = None if entity is None else policies.plan(name, entity)
        current: list[tuple[Asking, Asked]] = []
        for asking in all_asking:
            lead = self._lead(asking)
            if lead is None or plan is None or asking.plan is not plan:
                asking.receipt.set_result(_NOT_WRITTEN)
            else:
                known = self._known(asking, plan, lead, now_us)
                current.append((asking, Asked(asking.wanted.request, known, asking.wanted.decision_id)))
        if plan is None or entity is None or not current:
            return
        decided = decide_many(plan.policy, policies.model(entity), [asked for _, asked in current])
        key, activity, ingest = policy_key(policies.org, name), self._policies.activity, self._engine.ingest
        for (asking, _), made in zip(current, decided, strict=True):
            if isinstance(made, NobodyEligible):
                asking.fail(_nobody(made))
                continue
            activity.reserve(key, made.decision_id, made.arm, now_us)
            if asking.wanted.is_claimed:
                asking.made = made
                asking.receipt.set_result(_NOT_WRITTEN)
                continue
            try:
                ingest.begin([decision_event(asking.wanted.stream, made, now_us)], asking.receipt)
            except Exception as error:  # noqa: BLE001 - told to its request: nothing of it will be stored
                activity.release(key, made.decision_id)
                asking.fail(error)
            else:
                asking.made = made

    def _lead(self, asking: Asking) -> FoldedEntity | None:
        """The lead in memory; one without events where nobody has heard of it, or nobody was named."""
        stream = asking.wanted.stream
        lead = self._engine.awake(stream)
        return self._engine.empty(stream) if lead is None and not asking.is_lead_known else lead

    def _known(self, asking: Asking, plan: ContextPlan, lead: FoldedEntity, now_us: int) -> Known:
        lead.read(now_us)
        context = plan.vector(lead, asking.market)
        if not plan.policy.is_limited:
            return Known(_NOTHING.get, context, NO_DECISIONS, _NOTHING)
        rails = plan.policy.policy.guardrails
        today = self._policies.activity.today(policy_key(asking.wanted.policies.org, asking.wanted.policy), now_us)
        if self._engine.part.parts > 1:
            today = with_others(today, rails.per_day, *self._engine.part)
        week = week_of(lead, asking.wanted.policy, now_us) if plan.limits_weeks else NO_DECISIONS
        return Known(plan.conditions(lead, asking.market).get, context, week, today)


def week_of(lead: FoldedEntity, policy: str, now_us: int) -> WeekCounts:
    """What was decided for a lead within the last seven days."""
    ledger = lead.companion(LedgerKind.name)
    return ledger.week(policy, now_us) if isinstance(ledger, Ledger) else NO_DECISIONS


def _nobody(error: NobodyEligible) -> Problem:
    status = 422 if error.by == "request" else 409
    problem = Problem("no_eligible_arm", f"the {error.by} left no arm", status=status)
    problem.__cause__ = error
    return problem
