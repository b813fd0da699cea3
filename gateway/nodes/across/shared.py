"""What all leads share: read on every node, written by the owner of partition 0.

A writer reads what it wrote: where the owner is another node, the answer waits until this node's copy holds it, for a while. On
the other nodes it is a moment later.
"""

import asyncio
from collections import Counter
from typing import Final

import msgspec
from aiohttp import web

from gateway.nodes.forwarding.front import SHARED, Front
from gateway.nodes.forwarding.procedures import Procedure
from gateway.orgs import Org
from gateway.routes import policies
from gateway.routing import Route
from gateway.service import Service


class PendingAsked(msgspec.Struct, frozen=True, array_like=True):
    policy: str


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """Open decisions by arm."""

    arms: dict[str, int]


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """How far the shared log is."""


class Reached(msgspec.Struct, frozen=True, array_like=True):
    position: int


async def _pending(service: Service, org: Org, asked: PendingAsked) -> Pending:
    return Pending(dict(await policies.pending_of(service, org, asked.policy)))


async def _reached(service: Service, org: Org, asked: Asked) -> Reached:
    return Reached(await service.store.last_position())


PENDING: Final = Procedure("pending", PendingAsked, Pending, _pending)
REACHED: Final = Procedure("reached", Asked, Reached, _reached)


async def here(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """What this node answers as any other one."""
    return await route.handler(front.shared, request, org)


async def from_owner(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """What only the owner of what is shared keeps at hand."""
    return await front.at(SHARED, route, request, org)


async def at_owner(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """A change of what is shared, made by its owner."""
    response = await front.at(SHARED, route, request, org)
    if front.local(SHARED) is None and response.status < 300:
        await follow(front, org)
    return response


async def follow(front: Front, org: Org) -> None:
    """Wait until this node's copy of what is shared holds what the owner has now, or for so long as is allowed."""
    wanted = (await front.call(REACHED, SHARED, org, Asked())).position
    try:
        async with asyncio.timeout(front.options.shared_timeout_s):
            while front.shared.host.delivered_position < wanted:  # noqa: ASYNC110 - a host has no such event
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        return  # it is written; this node shows it later


async def arms(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """A policy's arms, with the open decisions of all leads."""
    return await policies.arms_with(front.shared, request, org, await _all_pending(front, request, org))


async def health(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """A policy's health, with the open decisions of all leads."""
    return await policies.health_with(front.shared, request, org, await _all_pending(front, request, org))


async def _all_pending(front: Front, request: web.Request, org: Org) -> dict[str, int]:
    """Raises ``Problem`` where an owner is away: figures without its part would be wrong."""
    asked = PendingAsked(request.match_info["policy"])
    found = await asyncio.gather(*(front.call(PENDING, partition, org, asked) for partition in front.leads()))
    whole: Counter[str] = Counter()
    for each in found:
        whole.update(each.arms)
    return +whole


_LOOK_S: Final = 0.01
