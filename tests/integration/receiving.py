"""A webhook's receiver: keeps what it gets, and answers as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks.webhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Received(NamedTuple):
    """One request."""

    id: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded

    def signature(self, secret: str = SECRET) -> str:
        """What the header must say, made from what was received alone."""
        sent = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        return Webhook(secret).sign(self.id, sent, self.body.decode())


class Receiver:
    """``answers`` are given in turn, then ``always``; ``"slow"``: no answer until it is released."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[int | str] = []
        self.always: int | str = 204
        self.headers: dict[str, str] = {}
        self.url = ""
        self._news = asyncio.Event()
        self._release = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(headers["webhook-id"], headers, await request.read()))
        self._news.set()
        answer = self.answers.pop(0) if self.answers else self.always
        if answer == "slow":
            await self._release.wait()
            answer = 204
        return web.Response(status=int(answer), headers=self.headers, text="" if answer == 204 else "no")

    async def wait(self, count: int) -> list[Received]:
        """Until so many requests came."""
        async with asyncio.timeout(10):
            while len(self.received) < count:
                self._news.clear()
                await self._news.wait()
        return self.received

    def release(self) -> None:
        self._release.set()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    server = TestServer(app)
    await server.start_server()
    receiver.url = str(server.make_url("/hook"))
    try:
        yield receiver
    finally:
        receiver.release()
        await server.close()
