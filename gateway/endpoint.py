"""The one wrapper around every route: key, org, metrics and errors in a single function.

aiohttp's middlewares cost a tenth of the throughput each; this is one call deeper than the bare handler.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import structlog
from aiohttp import web

from gateway.auth import authorize, authorize_page, comes_from_loopback
from gateway.keyring import Scope
from gateway.problems import Problem, code_of, respond
from gateway.routing import MISSING, Handler, Route
from gateway.service import Service
from kernel.metrics import RouteTally
from kernel.times import SECOND_US

_log = structlog.get_logger(__name__)


def binder(service: Service) -> Callable[[Route], Handler]:
    """Makes the handler that serves a route of the table."""

    def bind(route: Route) -> Handler:
        tally = service.metrics.route(route.method, route.path)
        if route.access in ("open", "local"):
            return _bind_open(service, route, tally)
        return _bind_org(service, route, tally)

    return bind


def _bind_org(service: Service, route: Route, tally: RouteTally) -> Handler:
    keyring, orgs, handler = service.keyring, service.orgs, route.handler
    monotonic_us = service.clock.monotonic_us
    scope = cast("Scope", route.access)

    async def endpoint(request: web.Request) -> web.StreamResponse:
        start_us = monotonic_us()
        response: web.StreamResponse
        try:
            org = authorize(keyring, request, scope, request.match_info.get("org"), start_us)
            found = orgs[org]
            if not found.services.is_loaded:
                await found.services.load(service.shared.store)
            response = await handler(service, request, found)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the supervision boundary of a request: answered, counted
            response = answer_error(service, request, error)
        tally.add(response.status, (monotonic_us() - start_us) / SECOND_US)
        return response

    return endpoint


def _bind_open(service: Service, route: Route, tally: RouteTally) -> Handler:
    monotonic_us, handler = service.clock.monotonic_us, route.handler

    async def endpoint(request: web.Request) -> web.StreamResponse:
        start_us = monotonic_us()
        response: web.StreamResponse
        try:
            if route.access == "local" and not comes_from_loopback(request):
                authorize_page(service.keyring, request, start_us)
            response = await handler(service, request)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            response = answer_error(service, request, error)
        tally.add(response.status, (monotonic_us() - start_us) / SECOND_US)
        return response

    return endpoint


def missing(service: Service) -> Handler:
    """Answers what no route takes; counted under one name, whatever the path."""
    tally = service.metrics.route("*", "(none)")

    async def endpoint(request: web.Request) -> web.StreamResponse:
        response = answer_error(service, request, request[MISSING])
        tally.add(response.status, 0.0)
        return response

    return endpoint


def answer_error(service: Service, request: web.Request, error: Exception) -> web.Response:
    """The problem document of an error; one that is not foreseen is logged with its traceback and counted."""
    code = code_of(error)
    if code is None:
        service.errors += 1
        resource = request.match_info.route.get_info().get("formatter", "")
        _log.error("request_failed", method=request.method, route=resource, exc_info=error)
    elif not (isinstance(error, Problem) and "rejected" in error.members):  # its events were counted one by one
        service.count_refused((code,))
    response = respond(error)
    if isinstance(error, web.RequestPayloadError):
        response.force_close()  # where the next request begins is unknown: the client must not reuse the connection
    return response
