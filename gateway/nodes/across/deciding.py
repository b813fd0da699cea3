"""Decisions: made by the owner of the lead, under an id that is unique in the organisation.

An id that a caller gives is claimed before it is used (``claiming``), so that it cannot mean two decisions. Before its first use it is looked
for everywhere, too: it may be from before there were claims; an owner that is away is not waited for then. What has no id gets one here
before it is sent on, so that a lost answer is asked for again and not made twice.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web

from bandit.deciding import Decision, Request
from bandit.events import decision_event_id, decision_stream
from gateway.bodies import decode_body, decoded
from gateway.nodes.across.claiming import new_id
from gateway.nodes.across.finding import places_of
from gateway.nodes.forwarding.cluster import LEFT
from gateway.nodes.forwarding.front import Front
from gateway.nodes.forwarding.procedures import Procedure
from gateway.orgs import Org
from gateway.parameters import query_of
from gateway.policies.deciding import check, conflict, turn
from gateway.problems import Problem, code_of, document
from gateway.ready import ready_json
from gateway.routes.catalogue import json_response
from gateway.routes.decisions import DECODER, MEMBER, ListedDecision, Members
from gateway.routing import Route
from gateway.service import Service


class Deciding(msgspec.Struct, frozen=True):
    policy: str
    request: Request


async def _decide(service: Service, org: Org, asked: Deciding) -> Decision:
    return await service.decider.decide(org, asked.policy, asked.request)


#: Repeatable, since what is asked has an id.
DECIDE: Final = Procedure("decide", Deciding, Decision, _decide)


async def decide(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """The answer that one process would give."""
    query_of(request, ())
    wanted = await decode_body(request, DECODER, Request | Members)
    policy, service = request.match_info["policy"], front.shared
    if isinstance(wanted, Request):
        check(wanted)
        await _look_for(front, org, [wanted])
        decision = await _decided(front, org, policy, wanted)
        return ready_json(request, service.dates.line(service.clock.now_us()), msgspec.json.encode(decision))
    await (await service.policies.of(org)).entity(policy)
    return json_response(await _list(front, org, policy, wanted))


async def _list(front: Front, org: Org, policy: str, wanted: Sequence[msgspec.Raw]) -> list[Decision | ListedDecision]:
    """Each member's decision or refusal, in place. Of one lead they are made in order: that of its log, as in one process."""
    members = [_member(each) for each in wanted]
    await _look_for(front, org, [each for each in members if isinstance(each, Request)])
    found: dict[int, Decision | ListedDecision] = {}

    async def in_order(places: Sequence[int]) -> None:
        for place in places:
            found[place] = await _listed(front, org, policy, members[place])

    by_lead: dict[str | int, list[int]] = {}
    for place, member in enumerate(members):
        lead = member.lead if isinstance(member, Request) else None
        by_lead.setdefault(place if lead is None else lead, []).append(place)
    await asyncio.gather(*map(in_order, by_lead.values()))
    return [found[place] for place in range(len(members))]


def _member(wanted: msgspec.Raw) -> Request | Exception:
    try:
        request = decoded(wanted, MEMBER, Request)
        check(request)
    except Problem as problem:
        return problem
    return request


async def _listed(front: Front, org: Org, policy: str, member: Request | Exception) -> Decision | ListedDecision:
    try:
        if isinstance(member, Exception):
            raise member
        return await _decided(front, org, policy, member)
    except Exception as error:
        if code_of(error) is None:
            raise
        return ListedDecision(error=document(error))


async def _look_for(front: Front, org: Org, requests: Sequence[Request]) -> None:
    """Learn where those ids are used that callers gave and this node has not heard of."""
    unknown = {
        decision_event_id(each.decision_id): each.decision_id
        for each in requests
        if each.decision_id is not None and front.whereabouts.get(org.name, each.decision_id) is None
    }
    if unknown:
        places = await places_of(front, org, list(unknown))
        for event, partition in places.of.items():
            front.whereabouts.note(org.name, unknown[event], partition)


async def _decided(front: Front, org: Org, policy: str, request: Request) -> Decision:
    """Decide at the owner."""
    if request.decision_id is None:
        return await _named_here(front, org, policy, request)
    key = (org.name, request.decision_id)
    partition = front.cluster.partition_of(decision_stream(org.name, request.lead, request.decision_id))
    async with turn(front.named, key):  # so that of a list the first member has it, as in one process
        known = front.whereabouts.get(*key)
        if known is not None and known != partition:
            raise conflict(request.decision_id)
        made = await front.call(DECIDE, partition, org, Deciding(policy, request))
        front.whereabouts.note(*key, partition)
        return made


async def _named_here(front: Front, org: Org, policy: str, request: Request) -> Decision:
    """Decide what the caller gave no id. It needs none of ours where its owner is this node."""
    decision_id = None
    if request.lead is not None:
        partition = front.partition_of_lead(org, request.lead)
        service = front.local(partition)
        if service is not None:
            decision_id = new_id(front, org, partition)
            with contextlib.suppress(*LEFT):
                made = await service.decider.decide_new(org, policy, request, decision_id)
                front.whereabouts.note(org.name, decision_id, partition)
                return made
        else:
            decision_id = new_id(front, org, partition)
    named = msgspec.structs.replace(request, decision_id=decision_id or front.shared.ids.uuid7())
    try:
        return await _decided(front, org, policy, named)
    except Problem as problem:
        if problem.code in ("owner_away", "answer_lost"):
            problem.members["decision_id"] = named.decision_id
        raise
