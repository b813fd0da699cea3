"""The bare aiohttp handler that the HTTP benchmarks are compared with: no key, no metrics, no router to speak of."""

import argparse
from pathlib import Path

import uvloop
from aiohttp import web


def make_app(answer: bytes) -> web.Application:
    async def get(_: web.Request) -> web.Response:
        return web.Response(body=answer, content_type="application/json")

    async def post(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=answer, content_type="application/json")

    async def ready(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", get)
    app.router.add_post("/", post)
    app.router.add_get("/ready", ready)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answer", type=Path, required=True)
    options = parser.parse_args()
    app = make_app(options.answer.read_bytes())
    web.run_app(app, host="127.0.0.1", port=options.port, access_log=None, print=None, loop=uvloop.new_event_loop())
