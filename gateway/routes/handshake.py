"""The handshake of CloudEvents webhooks: a sender asks whether its deliveries are wanted, and at what rate.

It needs no key: by its own words it establishes no authorisation, senders hold their key back until the first
delivery, and the answer is the same for every org, existing or not. Each delivery needs a key of its own.

References
----------
CloudEvents 1.0.2, HTTP 1.1 Web Hooks for Event Delivery, section 4.
"""

import re

from aiohttp import web

from gateway.problems import Problem
from gateway.routing import Query, Route
from gateway.service import Service

_ORIGIN = re.compile(r"[\x21-\x7e]{1,253}")
_ANY_RATE = "*"  # a service that is busy says so with 503 and Retry-After, whatever was agreed


async def handshake(service: Service, request: web.Request) -> web.Response:
    """Permission for any origin at any rate; without an origin, what OPTIONS asks for: the methods."""
    headers = {"Allow": "OPTIONS, POST"}
    origin = request.headers.get("WebHook-Request-Origin")
    if origin is not None:
        if not _ORIGIN.fullmatch(origin):
            raise Problem("malformed_request", "WebHook-Request-Origin: expected the name of the sending system")
        headers |= {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": _ANY_RATE}
    return web.Response(headers=headers)


ROUTES = (
    Route(
        "OPTIONS",
        "/v1/orgs/{org}/events",
        handshake,
        "open",
        "events",
        "A CloudEvents sender asks whether it may deliver here",
        "Any origin may ask, and is answered for every org alike; each delivery needs a key.",
        headers=(
            Query("WebHook-Request-Origin", "The sending system, a DNS name"),
            Query("WebHook-Request-Rate", "Deliveries per minute that it asks for", {"type": "integer", "minimum": 1}),
        ),
        sends=(
            Query("Allow", "The methods of this address"),
            Query("WebHook-Allowed-Origin", "The origin that asked"),
            Query("WebHook-Allowed-Rate", "`*`: no limit is agreed"),
        ),
        answers={200: None},
        problems=(400,),
    ),
)
