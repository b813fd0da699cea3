"""A reader of server-sent events over the tests' client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from aiohttp import ClientResponse

from tests.integration.service import Door


class Told(NamedTuple):
    """One event of a stream."""

    id: str
    kind: str
    data: dict[str, Any]


class Ear:
    """An open stream. ``last_id`` is what a browser would send when it comes back."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.last_id = ""

    async def next(self) -> Told:
        """The next event; blank ones, as at the beginning, only move ``last_id``."""
        async with asyncio.timeout(20):
            while True:
                fields = await self._block()
                if "event" in fields:
                    return Told(self.last_id, fields["event"], msgspec.json.decode(fields["data"]))

    async def opened(self) -> "Ear":
        """Read the beginning."""
        async with asyncio.timeout(20):
            while not self.last_id:
                await self._block()
        return self

    async def rest(self) -> list[Told]:
        """Everything until the stream ends."""
        told = []
        while True:
            try:
                told.append(await self.next())
            except EOFError:
                return told

    async def _block(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        while line := await self.response.content.readline():
            text = line.decode().rstrip("\n")
            if not text:
                return fields
            name, _, value = text.partition(": ")
            fields[name] = value
            if name == "id":
                self.last_id = value
        raise EOFError


@asynccontextmanager
async def listening(
    door: Door, query: str = "", last_id: str | None = None, path: str = "stream"
) -> AsyncIterator[Ear]:
    """A stream that is open, its lead followed."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    response = await door.raw("GET", path + query, headers=headers)
    assert response.status == 200, await response.read()
    try:
        yield Ear(response)
    finally:
        response.close()
