"""A service in memory for tests over HTTP: the real components, a virtual clock, a client."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from gateway.app import Paths, build_app, open_service
from gateway.service import Service
from kernel.clock import VirtualClock
from kernel.settings import Settings
from kernel.settings_sources import load_settings
from kernel.times import format_time, parse_rfc3339

NOW = parse_rfc3339("2026-11-21T10:00:00Z")
#: A list is waited for, however busy the machine is: what is built in no time elsewhere must not be a 503 here.
PATIENT: dict[str, object] = {"lists.build_wait_s": 30}
BASE = "/v1/orgs/default"


class Door:
    """A client with the few calls that tests make, and the service behind it."""

    def __init__(self, client: Any, service: Service, clock: VirtualClock) -> None:
        self.client, self.service, self.clock = client, service, clock
        self.headers: dict[str, str] = {}

    async def send(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and decoded body. A path without a slash is below the default org."""
        response = await self.raw(method, path, **options)
        body = await response.read()
        return response.status, msgspec.json.decode(body) if body else None

    async def raw(self, method: str, path: str, **options: Any) -> ClientResponse:
        headers = {**self.headers, **options.pop("headers", {})}
        full = path if path.startswith("/") else f"{BASE}/{path}"
        url = URL(str(self.client.make_url("/")).rstrip("/") + full, encoded=True)
        return await self.client.session.request(method, url, headers=headers, **options)  # type: ignore[no-any-return]

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        return await self.send("GET", path, **options)

    async def post(self, path: str, body: Any, **options: Any) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        data = io.BytesIO(body if isinstance(body, bytes) else msgspec.json.encode(body))
        return await self.send("POST", path, data=data, headers=headers, **options)

    async def events(self, *events: dict[str, Any], query: str = "") -> dict[str, Any]:
        """Post events that must be taken."""
        status, body = await self.post("events" + query, list(events))
        assert status == 200, body
        assert not body["rejected"], body
        answer: dict[str, Any] = body
        return answer

    async def values(self, lead: str, query: str = "") -> dict[str, Any]:
        status, body = await self.get(f"leads/{lead}/features{query}")
        assert status == 200, body
        values: dict[str, Any] = body["values"]
        return values


def purchase(lead: str, event_id: str | None, amount: object = 10, at_us: int = NOW, **more: Any) -> dict[str, Any]:
    event = {"lead": lead, "type": "purchase_completed", "time": format_time(at_us), "data": {"amount": amount}}
    return event | ({"id": event_id} if event_id is not None else {}) | more


@asynccontextmanager
async def running(
    settings: Settings | None = None, directory: Path | None = None, clock: VirtualClock | None = None
) -> AsyncIterator[Door]:
    """A service that lives as long as the context."""
    clock = clock or VirtualClock(NOW)
    paths = Paths(directory) if directory is not None else None
    service = await open_service(settings or load_settings(flags=PATIENT), paths=paths, clock=clock, seed=1)
    async with door_to(service, clock) as door:
        yield door


@asynccontextmanager
async def door_to(service: Service, clock: VirtualClock) -> AsyncIterator[Door]:
    """A door to a service that is closed with it."""
    client: Any = TestClient(TestServer(build_app(service)))
    await client.server.start_server(auto_decompress=False)
    await client.start_server()
    try:
        yield Door(client, service, clock)
    finally:
        await client.close()
        await service.close()
