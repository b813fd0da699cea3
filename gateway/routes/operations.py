"""Routes about the service itself: alive, ready, measured, described."""

from typing import Any

import msgspec
from aiohttp import web

from gateway.openapi import build_openapi
from gateway.routing import Content, Route
from gateway.service import Service
from gateway.version import VERSION
from kernel import metrics


class Health(msgspec.Struct, frozen=True):
    status: str


class AwayDocument(msgspec.Struct, frozen=True):
    """A partition that nobody answers for now. ``progress`` of a copy that is being made is from 0 to 1."""

    partition: int
    reason: str
    progress: float | None


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """``reasons`` is empty when the service is ready; ``away``, of several nodes: what none of them answers for now."""

    status: str
    reasons: list[str]
    away: list[AwayDocument] = []


class Version(msgspec.Struct, frozen=True):
    name: str
    version: str


async def health(service: Service, request: web.Request) -> web.Response:
    return _json(Health("ok"))


async def readiness(service: Service, request: web.Request) -> web.Response:
    return readiness_of(service.not_ready())


def readiness_of(reasons: list[str], away: list[AwayDocument] | None = None) -> web.Response:
    """Ready without reasons against it."""
    status = 503 if reasons else 200
    response = _json(Readiness("not ready" if reasons else "ready", reasons, away or []), status)
    if reasons:
        response.headers["Retry-After"] = "1"
    return response


async def exposition(service: Service, request: web.Request) -> web.Response:
    return web.Response(body=service.metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})


async def version(service: Service, request: web.Request) -> web.Response:
    return _json(Version("leadwheel", VERSION))


async def openapi(service: Service, request: web.Request) -> web.Response:
    if service.openapi is None:
        service.openapi = msgspec.json.encode(build_openapi(service.routes, VERSION))
    return web.Response(body=service.openapi, content_type="application/json")


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


ROUTES = (
    Route("GET", "/healthz", health, "open", "operations", "The process lives", answers={200: Content(Health)}),
    Route(
        "GET",
        "/readyz",
        readiness,
        "open",
        "operations",
        "Whether requests are served, or why not",
        answers={200: Content(Readiness), 503: Content(Readiness)},
    ),
    Route("GET", "/version", version, "open", "operations", "What runs here", answers={200: Content(Version)}),
    Route(
        "GET",
        "/metrics",
        exposition,
        "local",
        "operations",
        "Prometheus metrics",
        answers={200: Content(media="text/plain")},
    ),
    Route(
        "GET",
        "/openapi.json",
        openapi,
        "local",
        "operations",
        "This document",
        answers={200: Content(dict[str, Any])},
    ),
)
