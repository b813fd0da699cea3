"""The change feed as server-sent events: one stream a listener, written as fast as it reads, and ended at once."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from gateway.asks import FEATURES, VIEWS
from gateway.feed.listener import Listener
from gateway.orgs import Org
from gateway.parameters import names, query_of
from gateway.problems import invalid_parameter
from gateway.routing import Content, Query, Route
from gateway.service import Service
from kernel.settings import StreamSettings

PARAMETERS = ("lead", "views", "features")
LEAD = Query("lead", "Only this lead, known or not yet; default all")
LAST_EVENT_ID = Query("Last-Event-ID", "The id of the last event that was received: what came after it is sent first")

RETRY_MS = 2_000
LEAD_MAX = 256
SEND_BUFFER_BYTES = 256 * 1024  # of the socket: what a listener that does not read may hold in the kernel

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a proxy that gathers would make it late
}


async def stream(service: Service, request: web.Request, org: Org) -> web.StreamResponse:
    query = query_of(request, PARAMETERS)
    lead, chosen = lead_of(query), names_of(org, query)
    if request.method == "HEAD":
        return web.Response(headers=HEADERS)
    last_id = request.headers.get("Last-Event-ID") or None
    listener, is_whole = await service.feed.listen(org.name, lead, chosen, last_id)
    response = web.StreamResponse(headers=HEADERS)

    def abort() -> None:
        if request.transport is not None:
            request.transport.abort()

    try:
        await _begin(request, response, listener, is_whole)
        await _write(service, response, listener, abort)
    except (ConnectionResetError, TimeoutError):
        abort()  # it reads nothing: what waits for it in the kernel goes, too
    finally:
        service.feed.leave(org.name, listener)
    return response


async def _begin(request: web.Request, response: web.StreamResponse, listener: Listener, is_whole: bool) -> None:
    await response.prepare(request)
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    await response.write(b"retry: %d\n\n%b" % (RETRY_MS, first_words(listener, is_whole)))


def first_words(listener: Listener, is_whole: bool) -> bytes:
    """From where on it has everything, and whether it missed something before."""
    first = b"" if is_whole else listener.reset("the id is too old, or of another run of the service")
    return first or listener.mark()


async def _write(service: Service, response: web.StreamResponse, listener: Listener, abort: Callable[[], None]) -> None:
    """Write until the listener ends, is lost, or takes nothing for too long."""
    settings = service.feed.settings
    async for chunk in chunks(settings, listener):
        listener.interrupt = abort
        async with asyncio.timeout(settings.send_timeout_s):
            await response.write(chunk)
        listener.interrupt = None


async def chunks(settings: StreamSettings, listener: Listener) -> AsyncIterator[bytes]:
    """What is told to a listener, until it ends or is lost."""
    while not listener.has_ended:
        try:
            async with asyncio.timeout(settings.heartbeat_s):
                await listener.wait()
            chunk = listener.take()
        except TimeoutError:
            chunk = b": alive\n" + listener.mark()
        if chunk:
            yield chunk
        await asyncio.sleep(0)  # a write to a socket that takes all does not wait: others have their turn
    if listener.is_lost:
        yield listener.reset("the stream was not read fast enough")


def lead_of(query: dict[str, str]) -> str | None:
    """The only lead to be told of. Raises ``Problem``."""
    lead = query.get("lead")
    if lead is not None and not (1 <= len(lead) <= LEAD_MAX and lead.isprintable()):
        raise invalid_parameter("lead", f"expected 1 to {LEAD_MAX} printable characters", lead)
    return lead


def names_of(org: Org, query: dict[str, str]) -> frozenset[str] | None:
    """The features to narrow to. Raises ``Problem`` or ``UnknownFeature``."""
    views, features = names(query, "views"), names(query, "features")
    if views is None and features is None:
        return None
    if views is not None and features is not None:
        raise invalid_parameter("features", "expected not together with views", "features")
    return frozenset(org.catalogue.select(views=views, features=features).names)


ROUTES = (
    Route(
        "GET",
        "/v1/orgs/{org}/stream",
        stream,
        "read",
        "leads",
        "The change feed: what changes of which lead and what is decided or raised, while it happens",
        "Server-sent events of kind `features`, whose data say `lead`, `at`, `cause` (the event's `id` and `type`, or "
        "`time`) and `changes` (feature → [from, to]); of kind `decision`, whose data say `lead` (or null), `at`, "
        "`decision_id`, `policy`, `policy_version`, `model_version`, `arm`, `probability`, `reason` and `deferred`; of kind `alert`, whose "
        "data say `lead`, `at`, `id`, `rule`, `state`, and `severity`, `when`, `values` or `resolved_by`. What "
        "is told of one lead is in order. After `reset` something is missing: read anew what you need, and go on. Other "
        "kinds of events may be added; `views` and `features` narrow those of kind `features` only.",
        query=(LEAD, VIEWS, FEATURES),
        headers=(LAST_EVENT_ID,),
        answers={200: Content(media="text/event-stream")},
        problems=(422, 503),
    ),
)
