"""The policies of all orgs: which there are, what they are now, and how they are changed.

A policy is an actor that folds its own stream; here stand only the names, read from the log when an org is first asked
about and kept up by what is delivered, and for each the version that was compiled last. A change is an event, written
under the policy's lock, so that two changes never claim one version.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import cast

import msgspec

from actors.host import ActorHost
from actors.ingest import Ingest
from bandit.activity import Activity, PolicyKey, settled_decision
from bandit.checking import CompiledPolicy, check_policy, compile_policy
from bandit.deciding import Model
from bandit.events import (
    DECISION_MADE,
    POLICY_DEFINED,
    REWARD_SETTLED,
    ModelPromoted,
    PolicyDefined,
    PolicyDeleted,
    model_promoted_event,
    policy_defined_event,
    policy_deleted_event,
    policy_stream,
)
from bandit.policy import DAY_S, Policy
from bandit.policy_entity import Definition, PolicyEntity
from eventstore.event import Event, NewEvent
from eventstore.store import EventStore
from gateway.orgs import Org
from gateway.policies.context import ContextPlan, context_plan, service_span
from gateway.problems import Problem
from kernel.clock import Clock
from kernel.errors import InvalidDefinition
from kernel.ids import Position
from kernel.times import SECOND_US

_PAGE = 500
#: Nowhere does the clock go back by more than an hour or two in a day.
_LONGEST_DAY_US = (DAY_S + 3 * 3600) * SECOND_US


class _Planned(msgspec.Struct, frozen=True):
    """What was compiled of a version, for a version of its service; None where there was none."""

    version: int
    service: int | None
    plan: ContextPlan


class OrgPolicies:
    """The policies of one org.

    Attributes
    ----------
    names : of those that were ever defined; whether one is deleted, its entity says.
    """

    def __init__(self, org: Org, *, store: EventStore, host: ActorHost, ingest: Ingest, clock: Clock) -> None:
        self.org = org
        self.names: set[str] = set()
        self._store, self._host, self._ingest, self._clock = store, host, ingest, clock
        self._plans: dict[str, _Planned] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def entity(self, name: str) -> PolicyEntity:
        """A policy that there is. Does not wait while it is awake. Raises ``Problem`` (``policy_not_found``)."""
        found = await self.any_entity(name)
        if found is None or found.current is None:
            raise Problem("policy_not_found", f"no policy {name}")
        return found

    async def any_entity(self, name: str) -> PolicyEntity | None:
        """A policy that there is or was."""
        found = self.awake(name)
        if found is None and name in self.names:
            found = cast("PolicyEntity | None", await self._host.entity(policy_stream(self.org.name, name)))
        return found

    def awake(self, name: str) -> PolicyEntity | None:
        """The same, if it is in memory and idle."""
        return cast("PolicyEntity | None", self._host.awake(policy_stream(self.org.name, name)))

    async def current(self, name: str) -> ContextPlan:
        """The plan of a policy that there is. Does not wait while it is awake. Raises as ``entity``."""
        entity = self.awake(name)
        return self.plan(name, await self.entity(name) if entity is None else entity)

    def plan(self, name: str, entity: PolicyEntity) -> ContextPlan:
        """The current version, ready to decide under the service of today."""
        current = _current(entity)
        service = self.org.services.get(current.policy.context) if current.policy.context is not None else None
        service_version = None if service is None else service.version
        kept = self._plans.get(name)
        if kept is None or kept.version != current.version or kept.service != service_version:
            compiled = self._compiled(name, entity, current)
            kept = self._plans[name] = _Planned(current.version, service_version, context_plan(self.org, compiled))
        return kept.plan

    def _compiled(self, name: str, entity: PolicyEntity, current: Definition) -> CompiledPolicy:
        columns = entity.columns(current.fingerprint)
        return compile_policy(name, current.version, current.policy, columns, self.org.catalogue)

    def model(self, entity: PolicyEntity) -> Model:
        """What decides now."""
        return entity.model(self._clock.now_us())

    async def define(self, name: str, policy: Policy) -> tuple[Definition, PolicyEntity]:
        """Make this the policy, durably. What it is already makes no new version.

        Raises
        ------
        InvalidDefinition
            With every fault.
        StoreUnavailable
        """
        complete = check_policy(policy, self.org.catalogue, self._columns_of)
        columns = list(self._columns_of(complete.context) or ()) if complete.context is not None else []
        async with self._lock(name):
            entity = await self.any_entity(name)
            current = None if entity is None else entity.current
            is_same = (
                entity is not None
                and current is not None
                and current.policy == complete
                and list(entity.columns(current.fingerprint)) == columns
            )
            if not is_same:
                version = 1 if entity is None else entity.next_version
                stream = policy_stream(self.org.name, name)
                defined = PolicyDefined(version, complete, columns)
                await self._write(policy_defined_event(stream, defined, self._clock.now_us()))
                self.names.add(name)
            entity = await self.entity(name)
            return _current(entity), entity

    async def follow_service(self, service: str) -> None:
        """Define the policies again whose context is this service, if it has other columns now.

        A policy that can no longer be defined as it is goes on under the columns that it has.
        """
        for name in sorted(self.names):
            entity = await self.any_entity(name)
            current = None if entity is None else entity.current
            if current is not None and current.policy.context == service:
                with contextlib.suppress(InvalidDefinition):
                    await self.define(name, current.policy)

    async def delete(self, name: str) -> None:
        """Forget a policy, durably; its open decisions still settle. Raises ``Problem``."""
        async with self._lock(name):
            entity = await self.entity(name)
            stream = policy_stream(self.org.name, name)
            await self._write(policy_deleted_event(stream, PolicyDeleted(entity.next_version), self._clock.now_us()))

    async def promote(self, name: str, version: str | None) -> PolicyEntity:
        """Let decisions follow a version of the model; None: the model as it learns. Raises ``Problem``."""
        async with self._lock(name):
            entity = await self.entity(name)
            if version is not None and version not in entity.models.kept:
                raise Problem("model_version_not_found", f"no model {version} is kept of policy {name}")
            stream = policy_stream(self.org.name, name)
            promoted = ModelPromoted(entity.promotions + 1, version)
            await self._write(model_promoted_event(stream, promoted, self._clock.now_us()))
            return await self.entity(name)

    def _columns_of(self, service: str) -> Sequence[str] | None:
        span = service_span(self.org, service)
        return None if span is None else span.column_names

    async def _write(self, event: NewEvent) -> None:
        await self._ingest.record([event])

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


class Policies:
    """The policies of all orgs.

    Attributes
    ----------
    activity : decisions that are open, and those of today.

    Parameters
    ----------
    store, host, ingest : of the policies' streams.
    decisions : the log of the leads, where it is another one.
    """

    def __init__(
        self,
        activity: Activity,
        *,
        store: EventStore,
        host: ActorHost,
        ingest: Ingest,
        clock: Clock,
        decisions: EventStore | None = None,
    ) -> None:
        self.activity = activity
        self._decisions = decisions or store
        self._store, self._host, self._ingest, self._clock = store, host, ingest, clock
        self._orgs: dict[str, OrgPolicies] = {}
        self._loading: dict[str, asyncio.Lock] = {}

    def fold(self, event: Event) -> None:
        """An event was delivered."""
        if event.type in (DECISION_MADE, REWARD_SETTLED):
            self.activity.fold(event)
        elif event.type == POLICY_DEFINED and event.stream.org in self._orgs:
            self._orgs[event.stream.org].names.add(event.stream.id)

    def loaded(self, org: Org) -> OrgPolicies | None:
        """Those of an org, if ``of`` was called once."""
        return self._orgs.get(org.name)

    async def of(self, org: Org) -> OrgPolicies:
        """Those of an org; the first call reads from the log which there are and which decisions are open."""
        found = self.loaded(org)
        if found is not None:
            return found
        async with self._loading.setdefault(org.name, asyncio.Lock()):
            if org.name not in self._orgs:
                loaded = OrgPolicies(org, store=self._store, host=self._host, ingest=self._ingest, clock=self._clock)
                async for page in _pages(self._store, org.name, POLICY_DEFINED, 0):
                    loaded.names.update(event.stream.id for event in page)
                await self._restore(loaded)
                self._orgs[org.name] = loaded
            return self._orgs[org.name]

    async def _restore(self, policies: OrgPolicies) -> None:
        waits = [_LONGEST_DAY_US]
        for name in policies.names:
            entity = await policies.any_entity(name)
            waits += [each.policy.wait_us for each in (entity.definitions if entity is not None else ())]
        if policies.names:
            since_us = self._clock.now_us() - max(waits)
            over: set[str] = set()
            async for page in _pages(self._store, policies.org.name, REWARD_SETTLED, since_us):
                over.update(each for event in page if (each := settled_decision(event)) is not None)
            async for page in _pages(self._decisions, policies.org.name, DECISION_MADE, since_us):
                self.activity.restore_made(page, over)


async def _pages(store: EventStore, org: str, event_type: str, since_us: int) -> AsyncIterator[list[Event]]:
    """Events of a type recorded since then, newest first, a page at a time."""
    before: Position | None = None
    while page := await store.read_type(org, event_type, before=before, limit=_PAGE):
        yield [event for event in page if event.recorded_us >= since_us]
        if page[-1].recorded_us < since_us:
            return
        before = page[-1].position


def policy_key(org: Org, name: str) -> PolicyKey:
    return PolicyKey(org.name, name)


def _current(entity: PolicyEntity) -> Definition:
    current = entity.current
    if current is None:
        raise Problem("policy_not_found", f"no policy {entity.stream.id}")
    return current
