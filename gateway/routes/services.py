"""Services: named, versioned lists of features."""

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from eventstore.envelope import EXPECTED_LEAD, is_lead
from gateway.bodies import decode_body
from gateway.feature_services import FeatureService
from gateway.orgs import Org
from gateway.parameters import page_of, query_of
from gateway.problems import Invalid, Problem, invalid_parameter
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routing import Content, Route
from gateway.service import Service
from kernel.times import format_time

_SERVICES = "/v1/orgs/{org}/services"
Names = Annotated[list[str], Meta(min_length=1, max_length=10_000)]


class ServiceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """References ``view:name``, each once: the order of ``format=vector``."""

    features: Names


class ServiceDocument(msgspec.Struct, frozen=True):
    """``version`` counts definitions and deletions of the name. ``fingerprint`` names the definitions of its features,
    in their order; null while one of them is not in the catalogue.
    """

    name: str
    version: int
    features: list[str]
    fingerprint: str | None
    defined: str


class ServiceList(msgspec.Struct, frozen=True):
    items: list[ServiceDocument]
    cursor: str | None


_DECODER = msgspec.json.Decoder(ServiceRequest)


async def put_service(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    name = request.match_info["name"]
    if not is_lead(name):
        raise invalid_parameter("name", f"expected {EXPECTED_LEAD}", name)
    wanted = await decode_body(request, _DECODER, ServiceRequest)
    seen: set[str] = set()
    for index, reference in enumerate(wanted.features):
        if reference in seen:
            fault = Invalid(f"features[{index}]", "each feature once", reference)
            raise Problem("invalid_body", f"features[{index}]: expected each feature once", errors=[fault])
        seen.add(reference)
    defined = await org.services.define(
        name, wanted.features, ingest=service.ingest, store=service.store, clock=service.clock
    )
    await (await service.policies.of(org)).follow_service(name)
    return json_response(document(org, defined))


async def get_service(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    return json_response(document(org, _found(org, request.match_info["name"])))


async def delete_service(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    name = request.match_info["name"]
    if not await org.services.delete(name, ingest=service.ingest, store=service.store, clock=service.clock):
        raise _missing(name)
    return web.Response(status=204)


async def list_services(service: Service, request: web.Request, org: Org) -> web.Response:
    page = page_of(query_of(request, ("limit", "cursor")), "services", org.name, key=tuple[str])
    after = page.after
    names = [name for name in org.services.names() if after is None or name > after[0]]
    chosen = [_found(org, name) for name in names[: page.limit]]
    has_more = len(names) > page.limit
    return json_response(page.answer([document(org, each) for each in chosen], [chosen[-1].name] if has_more else None))


def document(org: Org, service: FeatureService) -> ServiceDocument:
    """A service as it is answered."""
    try:
        fingerprint = org.services.span(service).definition
    except Problem:
        fingerprint = None
    return ServiceDocument(
        service.name, service.version, list(service.features), fingerprint, format_time(service.defined_us)
    )


def _found(org: Org, name: str) -> FeatureService:
    found = org.services.get(name)
    if found is None:
        raise _missing(name)
    return found


def _missing(name: str) -> Problem:
    return Problem("service_not_found", f"no service {name}")


ROUTES = (
    Route(
        "PUT",
        _SERVICES + "/{name}",
        put_service,
        "admin",
        "services",
        "Define a service",
        "Equal content makes no new version. Reads name it with `service`; its order is that of its vector.",
        body=(Content(ServiceRequest),),
        answers={200: Content(ServiceDocument)},
        problems=(400, 413, 415, 422, 503),
    ),
    Route(
        "GET",
        _SERVICES + "/{name}",
        get_service,
        "read",
        "services",
        "A service",
        answers={200: Content(ServiceDocument)},
        problems=(422,),
    ),
    Route(
        "DELETE",
        _SERVICES + "/{name}",
        delete_service,
        "admin",
        "services",
        "Delete a service",
        answers={204: None},
        problems=(422, 503),
    ),
    Route(
        "GET",
        _SERVICES,
        list_services,
        "read",
        "services",
        "All services, by name",
        query=(LIMIT, CURSOR),
        answers={200: Content(ServiceList)},
        problems=(422,),
    ),
)
