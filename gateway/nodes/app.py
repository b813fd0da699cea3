"""HTTP around a node's front: the same routes as one process has, and what only nodes ask of each other.

The key is checked where a request comes in; what another node sends on is trusted by its secret, and counted where it came in.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from aiohttp import web

from gateway.app import ROUTES, SERVICE
from gateway.endpoint import bind_open, bind_org, bind_trusted, missing
from gateway.listing import Listing
from gateway.nodes import status
from gateway.nodes.across import batch, claiming, deciding, finding, intake, jobs, scoring, shared
from gateway.nodes.across.lists import part_answer
from gateway.nodes.forwarding import stale, wire
from gateway.nodes.forwarding.cluster import LEFT, Away, Local
from gateway.nodes.forwarding.front import Front, away
from gateway.nodes.forwarding.procedures import Procedure
from gateway.nodes.placement import Placement, placed
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.routing import Handler, Route, RouteTable
from gateway.service import Service

FRONT: web.AppKey[Front] = web.AppKey("front", Front)

#: What nodes ask of each other, by name.
PROCEDURES: Final[dict[str, Procedure[Any, Any]]] = {
    each.name: each
    for each in (
        intake.TAKE,
        batch.READ,
        claiming.CLAIM,
        claiming.INDEX,
        claiming.LOOK,
        deciding.DECIDE,
        finding.FIND,
        shared.PENDING,
        shared.REACHED,
        scoring.TALLIES,
        jobs.BEGIN,
        jobs.LOOK,
        jobs.LOOK_WHOLE,
        jobs.PAGE,
        jobs.SHARE,
    )
}


def build_front_app(front: Front, routes: Sequence[Route] = ROUTES) -> web.Application:
    """An application that answers for all nodes; closing front and services is their openers'."""
    service = front.shared
    app = web.Application(client_max_size=service.settings.server.max_body_mb * 1024 * 1024)
    app[SERVICE], app[FRONT] = service, front
    status.watch(front)
    found = placed(routes)
    service.routes = [route for route, _ in found]
    bind = _binder(front, {(route.method, route.path): placement for route, placement in found})
    app.router.register_resource(RouteTable([*service.routes, _CALL], bind, missing(service)))
    app.on_shutdown.append(_close_streams)
    return app


async def _close_streams(app: web.Application) -> None:
    front = app[FRONT]
    front.room.close()
    front.close_streams()
    for service in (front.shared, *front.cluster.led().values()):
        service.feed.close_streams()  # an open stream would hold the stop up until it times out


def _binder(front: Front, placements: dict[tuple[str, str], Placement]) -> Callable[[Route], Handler]:
    service = front.shared

    def bind(route: Route) -> Handler:
        if route is _CALL:
            return bind_trusted(service, partial(route.handler, front))
        placement = placements[route.method, route.path]
        if placement.answer is None:
            return bind_open(service, route, _of_node(front, route))
        here = bind_org(service, route, partial(placement.answer, front, route))
        sent_on = bind_trusted(service, partial(_sent_on, front, route, placement.listing))

        async def endpoint(request: web.Request) -> web.StreamResponse:
            return await (sent_on if wire.NODE in request.headers else here)(request)

        return endpoint

    return bind


#: What a node says of itself, by path.
_OF_NODE: Final[dict[str, Callable[[Front], web.Response]]] = {
    "/readyz": status.readiness,
    "/metrics": status.exposition,
}


def _of_node(front: Front, route: Route) -> Handler:
    """Answers what is asked of no org."""
    own = _OF_NODE.get(route.path)

    async def answer(request: web.Request) -> web.StreamResponse:
        return own(front) if own is not None else await route.handler(front.shared, request)

    return answer


async def _sent_on(front: Front, route: Route, listing: Listing | None, request: web.Request) -> web.StreamResponse:
    """Answer what another node has sent on, or refuse it: it goes no further."""
    to, org = await _addressed(front, request)
    partition = _partition(to)
    headers = request.headers
    is_old = wire.STALE in headers
    service = _copy(front, partition) if is_old else await _own(front, partition, to.generation)
    try:
        if listing is not None and wire.PART in headers:
            return await part_answer(listing, service, request, org)
        response = await route.handler(service, request, org)
    except LEFT as error:
        raise _given_back(error) from error
    return stale.marked(stale.reply_of(response)) if is_old else response


def _copy(front: Front, partition: int) -> Service:
    """What this node has of a partition that it does not answer for. Raises ``Problem``."""
    follower = front.cluster.follower(partition) if partition < front.cluster.partitions else None
    if follower is None:
        front.tallies.refused += 1
        raise Problem("not_owner", f"this node has no copy of partition {partition}", headers=_MOVED)
    return follower


async def _addressed(front: Front, request: web.Request) -> tuple[wire.Addressed, Org]:
    """What another node's request is about. Raises ``Problem`` where it was not a node that sent it."""
    to = wire.addressed(request.headers.get(wire.NODE, ""), front.secret)
    if to is None:
        raise Problem("unauthorized", f"{wire.NODE}: expected the secret of the nodes")
    front.tallies.taken += 1
    found = front.shared.orgs[to.org]
    if not found.services.is_loaded:
        await found.services.load(front.shared.store)
    return to, found


def _partition(to: wire.Addressed) -> int:
    text = to.partition
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem("malformed_request", f"{wire.NODE}: expected a partition, an organisation and the secret")
    return int(text)


#: What a node adds to a refusal, so that it is told from an answer; whoever asked does not pass it on.
_MOVED: Final = {wire.REFUSED: wire.MOVED}


async def _own(front: Front, partition: int, generation: int | None) -> Service:
    """The service of a partition, if this node answers for it, or will in a moment. Raises ``Problem``.

    Parameters
    ----------
    generation : of the sender's map. Who has an older one does not know yet what it is to lead.
    """
    cluster = front.cluster
    place = cluster.place(partition) if partition < cluster.partitions else None
    if not isinstance(place, Local) and generation is not None and place is not None:
        patience = front.room.patience()
        while cluster.generation < generation and await patience.wait(cluster.changes.next()):
            pass
        place = await front.settled(partition, patience)
    if isinstance(place, Local):
        return place.service
    front.tallies.refused += 1
    if isinstance(place, Away):
        problem = away(partition, place)
        problem.headers.update(_MOVED if place.is_brief else {})
        raise problem
    raise Problem("not_owner", f"this node does not lead partition {partition}", headers=_MOVED)


def _given_back(error: Exception) -> Problem:
    """The partition was given back while something of it was under way."""
    return Problem("store_unavailable", str(error), headers={wire.REFUSED: wire.GIVEN_BACK})


#: Events on their way to their owner have all their fields, and may be so many times longer than they were sent.
_CALL_BODIES: Final = 8


async def _call(front: Front, request: web.Request) -> web.StreamResponse:
    """Answer what another node asks by name."""
    to, org = await _addressed(front, request)
    procedure = PROCEDURES.get(request.match_info["procedure"])
    if procedure is None:
        raise Problem("not_found", f"no procedure {request.match_info['procedure']}")
    if to.partition == wire.NODE_ITSELF:
        target = front.shared
    elif wire.STALE in request.headers:
        target = _copy(front, _partition(to))
    else:
        target = await _own(front, _partition(to), to.generation)
    most_bytes = _CALL_BODIES * front.shared.settings.server.max_body_mb * 1024 * 1024
    question = await request.clone(client_max_size=most_bytes).read()
    try:
        body = await procedure.answered(target, org, question)
    except LEFT as error:
        raise _given_back(error) from error
    return web.Response(body=body, content_type="application/x-msgpack")


_CALL: Final = Route("POST", wire.CALLS + "/{procedure}", _call, "open", "nodes", "What nodes ask of each other")
