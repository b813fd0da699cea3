"""Answers that may be old: asked for with ``?stale=ok``, given where the owner is away, and marked so."""

from typing import Final

from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from gateway.nodes.forwarding.link import Reply
from gateway.nodes.forwarding.wire import STALE
from gateway.problems import invalid_parameter
from gateway.ready import ReadyResponse
from gateway.routing import Query

PARAMETER: Final = Query(
    "stale",
    "`ok`: while an owner is away, answer what another node has of its leads, marked by `Leadwheel-Stale: true` "
    'and, in an object, `"stale": true`',
    {"enum": ["ok"]},
)

#: What a cache could take an old answer for a current one by.
_CURRENT: Final = ("ETag", "Cache-Control", "Content-Length", "Date", "Server")


def without_parameter(request: web.Request) -> tuple[web.Request, bool]:
    """The request as a route knows it, and whether an old answer will do. Raises ``Problem``."""
    raw_query = request.rel_url.raw_query_string
    if "stale=" not in raw_query:
        return request, False
    kept = []
    is_wanted = False
    for part in raw_query.split("&"):
        if part.startswith("stale="):
            if part != "stale=ok" or is_wanted:
                raise invalid_parameter("stale", "expected ok, once", part.removeprefix("stale="))
            is_wanted = True
        else:
            kept.append(part)
    if not is_wanted:
        return request, False
    query = f"?{'&'.join(kept)}" if kept else ""
    return request.clone(rel_url=URL(request.rel_url.raw_path + query, encoded=True)), True


def unconditional(request: web.Request) -> web.Request:
    """The request without ``If-None-Match``: an old answer has no ETag that could be compared."""
    headers = CIMultiDict(request.headers)
    headers.popall("If-None-Match", None)
    return request.clone(headers=headers)


def reply_of(response: web.StreamResponse) -> Reply:
    """A finished answer of a route as bytes."""
    if isinstance(response, ReadyResponse):
        head, body = response.parts()
        return Reply(200, head, body)
    made = response.body if isinstance(response, web.Response) else None
    body = bytes(made) if isinstance(made, bytes | bytearray) else b""
    lines = [f"HTTP/1.1 {response.status} -", *(f"{name}: {value}" for name, value in response.headers.items())]
    return Reply(response.status, "\r\n".join(lines).encode("utf-8", "surrogateescape"), body)


def marked(reply: Reply) -> web.Response:
    """An answer that may be old, saying so."""
    headers = reply.headers()
    for name in _CURRENT:
        headers.popall(name, None)
    headers[STALE] = "true"
    headers["Cache-Control"] = "no-store"
    body = reply.body
    if reply.status == 200 and headers.get("Content-Type", "").startswith("application/json") and body[:1] == b"{":
        body = b'{"stale":true' + (b"," if body[1:2] != b"}" else b"") + body[1:]
    return web.Response(status=reply.status, body=body, headers=headers)
