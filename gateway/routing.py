"""One table of routes: what dispatches a request is what the OpenAPI document is made from.

aiohttp asks its resources one by one, in order of registration; this table is a single resource that finds
any route by walking the path's segments through a tree, so a hundred routes cost a hot one nothing. It also
answers for what is in no route (404, 405 with ``Allow``), so that no middleware is needed for it. Segments are
split before they are decoded: ``%2F`` in a lead's name does not end it.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Literal
from urllib.parse import unquote

import msgspec
from aiohttp import web
from aiohttp.web_urldispatcher import AbstractResource, AbstractRoute, UrlMappingMatchInfo
from yarl import URL

from gateway.keyring import Scope
from gateway.problems import respond

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: A key's scope; ``open``: nobody needs a key; ``local``: on this machine nobody does, else ``read``.
Access = Scope | Literal["open", "local"]


#: What is raised by a request that no route takes.
MISSING: web.RequestKey[web.HTTPException] = web.RequestKey("missing", web.HTTPException)


class Query(msgspec.Struct, frozen=True):
    """One query parameter, or one header."""

    name: str
    meaning: str
    schema: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "string"})  # JSON Schema


IF_NONE_MATCH = Query("If-None-Match", "ETags that the caller has: one that still holds is answered by 304")


class Content(msgspec.Struct, frozen=True):
    """A body: media type and, for JSON, the struct that is decoded or encoded; ``also`` a media type of plain text."""

    type: Any = None
    media: str = "application/json"
    also: str = ""


class Route(msgspec.Struct, frozen=True):
    """A route: dispatched by ``method`` and ``path``, guarded by ``access``, documented by the rest.

    Attributes
    ----------
    path : canonical pattern; ``{name}`` stands for one segment, or with others for parts of one.
    headers : what the route reads of the request's headers, beside the key.
    sends : headers of the answers that are no refusals.
    answers : status → body of what is not a problem document.
    problems : statuses of the problem documents that this route answers beside 401, 403 and 404 of the key.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[web.StreamResponse]]
    access: Access
    tag: str
    summary: str
    description: str = ""
    query: tuple[Query, ...] = ()
    headers: tuple[Query, ...] = ()
    sends: tuple[Query, ...] = ()
    body: tuple[Content, ...] = ()
    answers: dict[int, Content | None] = {}
    problems: tuple[int, ...] = ()


class _Node:
    """One segment's place in the tree of paths."""

    __slots__ = ("fixed", "methods", "name", "open")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.open: _Node | None = None
        self.name = ""
        self.methods: dict[str, _Bound] = {}


class _Bound(AbstractRoute):
    """A route with the handler that serves it."""

    def __init__(self, method: str, handler: Handler, path: str, resource: "RouteTable") -> None:
        super().__init__(method, handler, expect_handler=_expect, resource=resource)
        self.path = path

    @property
    def name(self) -> str | None:
        return None

    def get_info(self) -> Any:
        return {"formatter": self.path}

    def url_for(self, *args: str, **kwargs: str) -> URL:
        return URL(self.path.format(**kwargs))


class RouteTable(AbstractResource):
    """All routes of a service, as one aiohttp resource.

    Parameters
    ----------
    bind : makes a route's handler, with its key check, metrics and errors around it.
    missing : answers a request that no route takes; why is in ``request[MISSING]``.
    """

    def __init__(self, routes: Iterable[Route], bind: Callable[[Route], Handler], missing: Handler) -> None:
        super().__init__()
        self.routes = tuple(routes)
        self._root = _Node()
        self._missing = missing
        for route in self.routes:
            bound = _Bound(route.method, bind(route), route.path, self)
            node = self._plant(route.path)
            if route.method in node.methods:
                raise ValueError(f"two routes for {route.method} {route.path}")
            node.methods[route.method] = bound
            if route.method == "GET":
                node.methods["HEAD"] = bound

    def _plant(self, path: str) -> _Node:
        node = self._root
        for segment in path.split("/")[1:]:
            if "{" not in segment:
                node = node.fixed.setdefault(segment, _Node())
                continue
            name = segment.replace("{", "").replace("}", "")
            if node.open is None:
                node.open = _Node()
                node.open.name = name
            elif node.open.name != name:
                raise ValueError(f"{path}: this segment is called {node.open.name} by another route")
            node = node.open
        return node

    @property
    def canonical(self) -> str:
        return "/"

    async def resolve(self, request: web.Request) -> tuple[UrlMappingMatchInfo | None, set[str]]:
        """Find the route by the raw path. Never None: what is missing is a match, too."""
        node, names = self._find(request.rel_url.raw_path)
        if node is None or not node.methods:
            return self._miss(web.HTTPNotFound())
        bound = node.methods.get(request.method)
        if bound is None:
            return self._miss(web.HTTPMethodNotAllowed(request.method, sorted(node.methods)))
        return UrlMappingMatchInfo(names, bound), _ANY

    def _find(self, raw_path: str) -> tuple[_Node | None, dict[str, str]]:
        node = self._root
        names: dict[str, str] = {}
        for segment in raw_path.split("/")[1:]:
            if "%" in segment or not segment.isascii():
                try:
                    segment = unquote(segment, errors="strict")
                    segment.encode()  # raw bytes that are no UTF-8 arrive as surrogates
                except UnicodeError:
                    return None, names
            following = node.fixed.get(segment)
            if following is None:
                following = node.open
                if following is None or not segment:
                    return None, names
                names[following.name] = segment
            node = following
        return node, names

    def _miss(self, error: web.HTTPException) -> tuple[UrlMappingMatchInfo, set[str]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            request[MISSING] = error
            return await self._missing(request)

        return UrlMappingMatchInfo({}, _Bound("GET", handler, "(none)", self)), _ANY

    def url_for(self, **kwargs: str) -> URL:
        raise TypeError("a table of routes has no URL of its own")

    def add_prefix(self, prefix: str) -> None:
        raise TypeError("the routes are absolute")

    def get_info(self) -> Any:
        return {"path": "/"}

    def raw_match(self, path: str) -> bool:
        return path == "/"

    def __len__(self) -> int:
        return len(self.routes)

    def __iter__(self) -> Iterator[AbstractRoute]:
        stack = [self._root]
        while stack:
            node = stack.pop()
            yield from node.methods.values()
            stack.extend(node.fixed.values())
            if node.open is not None:
                stack.append(node.open)


_ANY: set[str] = set()


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """``Expect: 100-continue`` is granted; anything else is refused where refusals are written."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
        return None
    return respond(web.HTTPExpectationFailed())
