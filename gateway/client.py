"""The command line's way to a service: one over the network, or one built here on a stopped data directory.

Both speak the same HTTP, so each command is written once. The service built here listens on a socket file in
a private directory and asks for no key: whoever may read the data directory may read it all.
"""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from gateway.app import Paths, build_app, open_service
from gateway.service import Service
from kernel.clock import Clock, SystemClock
from kernel.errors import LeadwheelError
from kernel.settings import Settings

TIMEOUT_S = 300.0
ATTEMPTS = 60  # of a request that is answered 503; Retry-After says how long to wait


class Unreachable(LeadwheelError):
    """No service answers there."""


class Refused(LeadwheelError):
    """The service refused the request."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail", f"status {status}")))
        self.status, self.problem = status, problem


class Client:
    """Requests to one service, for one org."""

    def __init__(self, session: aiohttp.ClientSession, base: URL, org: str, clock: Clock) -> None:
        self._session, self._base, self._org, self._clock = session, base, org, clock

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The answer to ``GET /v1/orgs/{org}{path}``; ``path`` is percent-encoded."""
        return await self.send("GET", path, query=query)

    async def items(self, path: str, *, limit: int) -> list[Any]:
        """Everything that a list has, page after page of ``limit`` items."""
        found: list[Any] = []
        query = {"limit": str(limit)}
        while True:
            page = await self.get(path, query)
            found += page["items"]
            if page["cursor"] is None:
                return found
            query["cursor"] = page["cursor"]

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        media: str = "application/json",
    ) -> Any:
        """One request, repeated while the service is too busy.

        Raises
        ------
        Refused, Unreachable
        """
        url = self._base.with_path(f"/v1/orgs/{self._org}{path}", encoded=True).with_query(query or {})
        headers = {"Content-Type": media} if body is not None else {}
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._session.request(method, url, data=body, headers=headers) as response:
                    answer = _decode(await response.read())
                    if response.status < 400:
                        return answer
                    if response.status != 503 or attempt == ATTEMPTS:
                        raise Refused(response.status, answer if isinstance(answer, dict) else {})
                    wait_s = float(response.headers.get("Retry-After", "1"))
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Unreachable(f"{self._base}: {error or type(error).__name__}") from error
            await self._clock.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else None
    except msgspec.DecodeError:
        return None


@asynccontextmanager
async def remote(url: str, key: str | None, org: str) -> AsyncIterator[Client]:
    """A client of a running service."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield Client(session, URL(url), org, SystemClock())


@asynccontextmanager
async def local(directory: Path, settings: Settings, org: str) -> AsyncIterator[Client]:
    """A client of a service that lives as long as this context, on a data directory nobody else has open."""
    service = await open_service(settings, paths=Paths(directory), clock=SystemClock(), is_trusting=True)
    try:
        async with attached(service, org) as client:
            yield client
    finally:
        await service.close()


@asynccontextmanager
async def attached(service: Service, org: str) -> AsyncIterator[Client]:
    """A client of a service of this process, which stays open after it."""
    runner = web.AppRunner(build_app(service), access_log=None, handle_signals=False)
    with tempfile.TemporaryDirectory(prefix="leadwheel-") as private:
        socket = str(Path(private) / "socket")
        try:
            await runner.setup()
            await web.UnixSite(runner, socket).start()
            connector = aiohttp.UnixConnector(socket)
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                yield Client(session, URL("http://leadwheel"), org, SystemClock())
        finally:
            await runner.cleanup()
