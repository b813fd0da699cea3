"""Where each route is answered. A route that is not in this table cannot be served by nodes (tests/unit/gateway/nodes)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from aiohttp import web

from gateway.listing import Listing
from gateway.nodes.across import batch, dead_letters, deciding, feed, finding, intake, jobs, scoring, shared
from gateway.nodes.across.lists import Renamed, merged
from gateway.nodes.forwarding.front import Front
from gateway.nodes.forwarding.stale import PARAMETER
from gateway.orgs import Org
from gateway.routes import alerts, decisions, lead_rankings, lists, webhooks
from gateway.routes.dead_letters import DEAD_LETTERS
from gateway.routing import Route
from gateway.service import Service

Handler = Callable[[Service, web.Request, Org], Awaitable[web.StreamResponse]]
Placed = Callable[[Front, Route, web.Request, Org], Awaitable[web.StreamResponse]]


class Placement(msgspec.Struct, frozen=True):
    """How a route is answered by many nodes.

    Attributes
    ----------
    answer : None for routes without an organisation, which each node answers for itself.
    takes_stale : ``?stale=ok`` is one of its parameters.
    listing : whose parts other nodes ask for.
    handler : what runs at the owner, where that is not the route's own.
    """

    answer: Placed | None
    takes_stale: bool = False
    listing: Listing | None = None
    handler: Handler | None = None


async def by_lead(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """By the owner of the lead that the path names."""
    partition = front.partition_of_lead(org, request.match_info["lead"])
    if route.method == "GET":
        return await front.at_or_stale(partition, route, request, org)
    return await front.at(partition, route, request, org)


async def by_lead_light(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """The same for what is asked most, and is at hand."""
    return await front.light(front.partition_of_lead(org, request.match_info["lead"]), route, request, org)


async def list_decisions(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """Of one lead by its owner, else of all."""
    lead = request.rel_url.query.get("lead")
    if lead is not None:
        return await front.at_or_stale(front.partition_of_lead(org, lead), route, request, org)
    return await _ALL_DECISIONS(front, route, request, org)


def _listed(
    listing: Listing, renamed: Renamed | None = None, *, with_shared: bool = False, takes_stale: bool = True
) -> Placement:
    answer = merged(listing, renamed, with_shared=with_shared, takes_stale=takes_stale)
    return Placement(answer, takes_stale, listing)


_ALL_DECISIONS: Final = merged(decisions.DECISIONS, takes_stale=True)
_OPEN: Final = Placement(None)
_HERE: Final = Placement(shared.here)
_FROM_OWNER: Final = Placement(shared.from_owner)
_SHARED_OWNER: Final = Placement(shared.at_owner)
_LEAD: Final = Placement(by_lead)
_LEAD_READ: Final = Placement(by_lead, takes_stale=True)
_LEAD_FEATURES: Final = Placement(by_lead_light, takes_stale=True)
_DECISION: Final = Placement(finding.by_decision)

_V1: Final = "/v1/orgs/{org}"
_SCORING: Final = "/api/lead-scoring"

#: By method and path.
PLACEMENTS: Final[dict[tuple[str, str], Placement]] = {
    # By the lead in the path.
    ("GET", _V1 + "/leads/{lead}/features"): _LEAD_FEATURES,
    ("GET", _V1 + "/leads/{lead}/features/history"): _LEAD_READ,
    ("GET", _V1 + "/leads/{lead}/explain/{view}:{feature}"): _LEAD_READ,
    ("GET", _V1 + "/leads/{lead}/events"): _LEAD_READ,
    ("GET", _V1 + "/leads/{lead}/prompt"): _LEAD_READ,
    ("POST", _SCORING + "/leads/{lead}/ml/predict"): _LEAD,
    ("GET", _SCORING + "/leads/{lead}/ml/prediction"): _LEAD_READ,
    ("GET", _SCORING + "/leads/{lead}/ml/features"): _LEAD_READ,
    # By what the body names.
    ("POST", _V1 + "/events"): Placement(intake.post_events),
    ("POST", _V1 + "/features"): Placement(batch.batch_features, takes_stale=True),
    ("POST", _V1 + "/policies/{policy}/decide"): Placement(deciding.decide),
    # By an id whose owner is found.
    ("POST", _V1 + "/decisions/{decision}/reward"): Placement(finding.reward),
    ("POST", _V1 + "/decisions/{decision}/activate"): _DECISION,
    ("GET", _V1 + "/decisions/{decision}"): _DECISION,
    ("POST", _SCORING + "/predictions/{prediction}/validate"): Placement(finding.by_prediction),
    ("POST", _V1 + "/alerts/{id}/acknowledge"): Placement(finding.by_alert),
    ("POST", _V1 + "/alerts/{id}/resolve"): Placement(finding.by_alert),
    ("POST", _V1 + "/webhook-dead-letters/{id}/retry"): Placement(finding.by_trying),
    # Shared by all leads: read here, written by one.
    ("POST", _V1 + "/features/extract"): _HERE,
    ("GET", _V1 + "/market/{subject}/features"): _HERE,
    ("GET", _V1 + "/catalogue"): _HERE,
    ("GET", _V1 + "/catalogue/{view}:{feature}"): _HERE,
    ("GET", _V1 + "/settings"): _HERE,
    ("GET", _V1 + "/services"): _HERE,
    ("GET", _V1 + "/services/{name}"): _HERE,
    ("PUT", _V1 + "/services/{name}"): _SHARED_OWNER,
    ("DELETE", _V1 + "/services/{name}"): _SHARED_OWNER,
    ("GET", _V1 + "/alert-rules"): _FROM_OWNER,
    ("GET", _V1 + "/alert-rules/{name}"): _FROM_OWNER,
    ("PUT", _V1 + "/alert-rules/{name}"): _SHARED_OWNER,
    ("DELETE", _V1 + "/alert-rules/{name}"): _SHARED_OWNER,
    ("GET", _V1 + "/policies"): _HERE,
    ("GET", _V1 + "/policies/{policy}"): _HERE,
    ("PUT", _V1 + "/policies/{policy}"): _SHARED_OWNER,
    ("DELETE", _V1 + "/policies/{policy}"): _SHARED_OWNER,
    ("POST", _V1 + "/policies/{policy}/rollback"): _SHARED_OWNER,
    ("GET", _V1 + "/policies/{policy}/arms"): Placement(shared.arms),
    ("GET", _V1 + "/policies/{policy}/health"): Placement(shared.health),
    ("GET", _V1 + "/policies/{policy}/versions"): _HERE,
    ("GET", _V1 + "/policies/{policy}/model"): _HERE,
    ("GET", _V1 + "/models"): _HERE,
    ("POST", _V1 + "/models/{id}/promote"): _SHARED_OWNER,
    ("POST", _V1 + "/models/{id}/rollback"): _SHARED_OWNER,
    ("GET", _SCORING + "/{configId}/ml/feature-importance"): _HERE,
    # Made of the parts of all partitions.
    ("GET", _V1 + "/decisions"): Placement(list_decisions, True, decisions.DECISIONS),
    ("GET", _V1 + "/leads"): _listed(lists.LEADS),
    ("GET", _V1 + "/alerts"): _listed(alerts.ALERTS, takes_stale=False),
    ("GET", _V1 + "/webhook-dead-letters"): _listed(webhooks.LETTERS, takes_stale=False),
    ("GET", _V1 + "/dead-letters"): _listed(DEAD_LETTERS, dead_letters.renamed, with_shared=True),
    ("POST", _V1 + "/dead-letters/{id}/retry"): Placement(dead_letters.retry, handler=dead_letters.retry_here),
    ("GET", _SCORING + "/{configId}/ml/ranked-leads"): _listed(lead_rankings.RANKED),
    ("GET", _SCORING + "/{configId}/ml/top-leads"): _listed(lead_rankings.TOP),
    ("GET", _SCORING + "/{configId}/ml/leads-by-tier"): _listed(lead_rankings.OF_TIER),
    ("GET", _SCORING + "/{configId}/ml/accuracy"): Placement(scoring.accuracy),
    ("GET", _V1 + "/stream"): Placement(feed.listen),
    # Work of all owners, watched by one node.
    ("POST", _V1 + "/jobs"): Placement(jobs.start),
    ("GET", _V1 + "/jobs"): Placement(jobs.list_all),
    ("GET", _V1 + "/jobs/{id}"): Placement(jobs.look),
    ("DELETE", _V1 + "/jobs/{id}"): Placement(jobs.look),
    ("POST", _SCORING + "/{configId}/ml/bulk-predict"): Placement(jobs.start_bulk),
    ("GET", _SCORING + "/{configId}/ml/jobs/{job}"): Placement(jobs.look),
    ("DELETE", _SCORING + "/{configId}/ml/jobs/{job}"): Placement(jobs.look),
    # Every node for itself.
    ("OPTIONS", _V1 + "/events"): _OPEN,
    ("GET", "/healthz"): _OPEN,
    ("GET", "/readyz"): _OPEN,
    ("GET", "/version"): _OPEN,
    ("GET", "/metrics"): _OPEN,
    ("GET", "/openapi.json"): _OPEN,
    ("GET", "/docs"): _OPEN,
    ("GET", "/static/{file}"): _OPEN,
}


def placed(routes: Sequence[Route]) -> list[tuple[Route, Placement]]:
    """Every route as nodes serve it, with its placement. Raises ``KeyError`` for one that has none."""
    found = []
    for route in routes:
        placement = PLACEMENTS[route.method, route.path]
        if placement.takes_stale:
            route = msgspec.structs.replace(route, query=(*route.query, PARAMETER))
        if placement.answer not in (None, shared.here):
            route = msgspec.structs.replace(route, problems=tuple(sorted({*route.problems, 503})))
        if placement.handler is not None:
            route = msgspec.structs.replace(route, handler=placement.handler)
        found.append((route, placement))
    return found
