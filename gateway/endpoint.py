"""The one wrapper around every route: key, org, metrics and errors in a single function.

aiohttp's middlewares cost a tenth of the throughput each; this is one call deeper than the bare handler.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

import structlog
from aiohttp import web

from gateway.auth import authorize, authorize_page, comes_from_loopback
from gateway.keyring import Scope
from gateway.orgs import Org
from gateway.problems import Problem, code_of, respond
from gateway.routing import MISSING, Handler, Route
from gateway.service import Service
from kernel.times import SECOND_US

_log = structlog.get_logger(__name__)


def binder(service: Service) -> Callable[[Route], Handler]:
    """Makes the handler that serves a route of the table."""

    def bind(route: Route) -> Handler:
        answer = partial(route.handler, service)
        is_open = route.access in ("open", "local")
        return bind_open(service, route, answer) if is_open else bind_org(service, route, answer)

    return bind


def bind_org(
    service: Service, route: Route, answer: Callable[[web.Request, Org], Awaitable[web.StreamResponse]]
) -> Handler:
    """Puts the check of the key, the org, the metrics and errors around what answers."""
    keyring, orgs, tally = service.keyring, service.orgs, service.metrics.route(route.method, route.path)
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
            response = await answer(request, found)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the supervision boundary of a request: answered, counted
            response = answer_error(service, request, error)
        tally.add(response.status, (monotonic_us() - start_us) / SECOND_US)
        return response

    return endpoint


def bind_open(service: Service, route: Route, answer: Handler) -> Handler:
    """The same around what answers for all orgs."""
    monotonic_us, tally = service.clock.monotonic_us, service.metrics.route(route.method, route.path)

    async def endpoint(request: web.Request) -> web.StreamResponse:
        start_us = monotonic_us()
        response: web.StreamResponse
        try:
            if route.access == "local" and not comes_from_loopback(request):
                authorize_page(service.keyring, request, start_us)
            response = await answer(request)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            response = answer_error(service, request, error)
        tally.add(response.status, (monotonic_us() - start_us) / SECOND_US)
        return response

    return endpoint


def bind_trusted(service: Service, answer: Handler) -> Handler:
    """Only the errors, around what is asked by processes that need no key, and counted where it came in."""

    async def endpoint(request: web.Request) -> web.StreamResponse:
        try:
            return await answer(request)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            return answer_error(service, request, error)

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
