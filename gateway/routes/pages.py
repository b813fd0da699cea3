"""Pages for people, and the static files that they load. Everything comes from this process: they work offline.

A page carries no script of its own, and its policy lets the browser run none but ours: what a lead's name or
an event's text contains can never become code.
"""

from html import escape

from aiohttp import web

from gateway.assets import Asset
from gateway.etags import matches
from gateway.routing import IF_NONE_MATCH, Content, Query, Route
from gateway.service import Service

#: Swagger UI sets styles from its script and draws its icons from ``data:`` addresses; nothing else is let in.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

_DOCS = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Leadwheel: the HTTP interface</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{swagger_css}">
<link rel="stylesheet" href="{css}">
</head>
<body>
<noscript>This page needs JavaScript; the same is in <a href="openapi.json">openapi.json</a>.</noscript>
<div id="swagger-ui"></div>
<script src="{swagger_js}"></script>
<script src="{js}"></script>
</body>
</html>
"""


async def docs(service: Service, request: web.Request) -> web.Response:
    link = service.assets.link
    page = _DOCS.format(
        swagger_css=escape(link("swagger-ui.css")),
        swagger_js=escape(link("swagger-ui-bundle.js")),
        css=escape(link("docs.css")),
        js=escape(link("docs.js")),
    )
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "private, no-cache", **_HEADERS}
    return web.Response(text=page, content_type="text/html", headers=headers)


async def static(service: Service, request: web.Request) -> web.Response:
    asset = service.assets.get(request.match_info["file"])
    if asset is None:
        raise web.HTTPNotFound
    headers = _headers(asset, request.rel_url.query.get("v"))
    wanted = request.headers.get("If-None-Match")
    if wanted is not None and matches(wanted, asset.etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, headers={**headers, "Content-Type": asset.media_type})


def _headers(asset: Asset, version: str | None) -> dict[str, str]:
    return {"ETag": asset.etag, "Cache-Control": asset.caching(version), **_HEADERS}


ROUTES = (
    Route(
        "GET",
        "/docs",
        docs,
        "local",
        "operations",
        "This interface as a page to read and to try",
        answers={200: Content(media="text/html")},
    ),
    Route(
        "GET",
        "/static/{file}",
        static,
        "local",
        "operations",
        "A script or a style of the pages",
        query=(Query("v", "The digest of the content; with it the file may be kept for a year"),),
        headers=(IF_NONE_MATCH,),
        sends=(Query("ETag", "The digest of the content"), Query("Cache-Control", "How long it may be kept")),
        answers={200: Content(media="application/octet-stream"), 304: None},
        problems=(404,),
    ),
)
