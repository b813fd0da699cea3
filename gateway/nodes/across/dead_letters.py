"""Dead letters of all partitions: their ids say which partition they are of, since streams are numbered within one."""

from typing import Any

import msgspec
from aiohttp import web

from gateway.nodes.forwarding.front import Front
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.routes.dead_letters import retry_dead_letter
from gateway.routing import Route
from gateway.service import Service


def renamed(partition: int, document: Any) -> Any:
    """A partition's dead letter under its id among those of all."""
    told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return {**told, "id": f"{partition}.{told['id']}"}


async def retry(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """By the owner of the partition that the id names."""
    partition, _, _ = request.match_info["id"].partition(".")
    is_number = partition.isascii() and partition.isdigit() and len(partition) < 10
    if not is_number or int(partition) >= front.cluster.partitions:
        raise Problem("dead_letter_not_found", f"no dead letter {request.match_info['id']}")
    return await front.at(int(partition), route, request, org)


async def retry_here(service: Service, request: web.Request, org: Org) -> web.StreamResponse:
    """At the owner, whose own ids have no partition."""
    request.match_info["id"] = request.match_info["id"].partition(".")[2]
    return await retry_dead_letter(service, request, org)
