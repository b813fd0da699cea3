"""The bare aiohttp handler that the HTTP benchmarks are compared with: no key, no metrics, no router to speak of."""

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from aiohttp import web


def make_app(answer: bytes, before_post: Callable[[], Awaitable[None]] | None = None) -> web.Application:
    """Answers every request with the same bytes; ``before_post`` is waited for before a POST is."""

    async def get(_: web.Request) -> web.Response:
        return web.Response(body=answer, content_type="application/json")

    async def post(request: web.Request) -> web.Response:
        await request.read()
        if before_post is not None:
            await before_post()
        return web.Response(body=answer, content_type="application/json")

    async def ready(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", get)
    app.router.add_post("/", post)
    app.router.add_get("/ready", ready)
    return app


def options_of_peer(*paths: str) -> argparse.Namespace:
    """The port, the file with the answer, and more paths."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    for name in ("answer", *paths):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


def run(app: "web.Application | Awaitable[web.Application]", port: int) -> None:
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    options = options_of_peer()
    run(make_app(options.answer.read_bytes()), options.port)
