"""Where something is that is known by its id alone: a decision, a prediction, an alert. Their events' ids follow from theirs."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
from aiohttp import web

from bandit.events import decision_event_id
from gateway.bodies import decode_body
from gateway.nodes.across.claiming import INDEX, Named, home_of
from gateway.nodes.forwarding.front import AWAY, Front
from gateway.nodes.forwarding.procedures import Procedure
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.routes.decisions import REWARD, RewardRequest
from gateway.routing import Route
from gateway.service import Service
from scoring.identity import parse_prediction_id, raised_event_id


class Sought(msgspec.Struct, frozen=True, array_like=True):
    events: list[str]


class Found(msgspec.Struct, frozen=True, array_like=True):
    """Whether each stands in this partition's log."""

    is_here: list[bool]


async def _find(service: Service, org: Org, sought: Sought) -> Found:
    return Found([await service.store.find(org.name, each) is not None for each in sought.events])


FIND: Final = Procedure("find", Sought, Found, _find)


class Places(NamedTuple):
    """Partitions by event, and what those partitions say that gave no answer."""

    of: dict[str, int]
    missing: list[Problem]


async def places_of(front: Front, org: Org, events: Sequence[str]) -> Places:
    """Ask the owners of all leads, at once."""
    sought = Sought(list(events))
    found = await asyncio.gather(*(_ask(front, org, partition, sought) for partition in front.leads()))
    places: dict[str, int] = {}
    missing = []
    for partition, answer in zip(front.leads(), found, strict=True):
        if isinstance(answer, Problem):
            missing.append(answer)
        else:
            places.update((event, partition) for event, is_here in zip(events, answer.is_here, strict=True) if is_here)
    return Places(places, missing)


async def _ask(front: Front, org: Org, partition: int, sought: Sought) -> Found | Problem:
    try:
        return await front.call(FIND, partition, org, sought)
    except Problem as problem:
        return problem


async def by_decision(
    front: Front, route: Route, request: web.Request, org: Org, *, is_repeatable: bool = True
) -> web.StreamResponse:
    """The answer of the owner of the decision that the path names."""
    decision = request.match_info["decision"]
    partition = front.whereabouts.get(org.name, decision)
    if partition is not None:
        found = await _there(front, partition, route, request, org, is_repeatable=is_repeatable)
        if found is not None:
            return found
        front.whereabouts.forget(org.name, decision)
    partition = await _indexed(front, org, decision)
    if partition is not None:
        found = await _there(front, partition, route, request, org, is_repeatable=is_repeatable)
        if found is not None:
            front.whereabouts.note(org.name, decision, partition)
            return found
    event = decision_event_id(decision)
    return await _anywhere(front, route, request, org, event, decision, is_repeatable=is_repeatable)


async def _indexed(front: Front, org: Org, decision: str) -> int | None:
    """Where the home of an id says that its decision is; None where it knows nothing, or is away: the others may know."""
    home = home_of(front, org, decision)
    try:
        found = await front.call(INDEX, home, org, Named(decision))
    except Problem as problem:
        if problem.code not in AWAY:
            raise
        return None
    if found.is_here:
        return home
    return None if found.lead is None else front.partition_of_lead(org, found.lead)


async def reward(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """A reward of a decision; with an id it may be asked for again."""
    wanted = await decode_body(request, REWARD, RewardRequest)
    return await by_decision(front, route, request, org, is_repeatable=wanted.id is not None)


async def by_prediction(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """The answer of the owner of the prediction that the path names."""
    prediction = parse_prediction_id(request.match_info["prediction"])
    if prediction is None:
        return await route.handler(front.shared, request, org)
    return await _anywhere(front, route, request, org, prediction.event_id)


async def by_alert(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """The answer of the owner of the alert that the path names."""
    return await _anywhere(front, route, request, org, raised_event_id(request.match_info["id"]))


async def by_trying(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """The answer of the first owner that knows of what the path names."""
    missing: list[Problem] = []
    for partition in front.leads():
        try:
            found = await _there(front, partition, route, request, org)
        except Problem as problem:
            if problem.code not in ("owner_away", "not_owner"):
                raise
            missing.append(problem)
            continue
        if found is not None:
            return found
    return await _nowhere(front, route, request, org, missing)


async def _anywhere(
    front: Front,
    route: Route,
    request: web.Request,
    org: Org,
    event: str,
    decision: str | None = None,
    *,
    is_repeatable: bool | None = None,
) -> web.StreamResponse:
    places = await places_of(front, org, [event])
    partition = places.of.get(event)
    if partition is None:
        return await _nowhere(front, route, request, org, places.missing)
    if decision is not None:
        front.whereabouts.note(org.name, decision, partition)
    return await front.at(partition, route, request, org, is_repeatable=is_repeatable)


async def _there(
    front: Front,
    partition: int,
    route: Route,
    request: web.Request,
    org: Org,
    *,
    is_repeatable: bool | None = None,
) -> web.StreamResponse | None:
    """The answer of one owner; None where it does not know of it."""
    try:
        response = await front.at(partition, route, request, org, is_repeatable=is_repeatable)
    except Problem as problem:
        if problem.code in _UNKNOWN:
            return None
        raise
    return None if response.status == 404 else response


async def _nowhere(
    front: Front, route: Route, request: web.Request, org: Org, missing: Iterable[Problem]
) -> web.StreamResponse:
    """Nobody has it: what a log without it answers; unless some could not be asked."""
    for problem in missing:
        detail = f"nobody has it who could be asked; {problem.detail}"
        raise Problem("owner_away", detail, headers=problem.headers, members=problem.members)
    return await route.handler(front.shared, request, org)


_UNKNOWN: Final = frozenset(("decision_not_found", "prediction_not_found", "alert_not_found", "dead_letter_not_found"))
