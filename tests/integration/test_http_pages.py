import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.assets import Assets
from gateway.keyring import create_key
from tests.integration.service import Door, running


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def status(door: Door, path: str, **headers: str) -> int:
    response = await door.raw("GET", path, headers=headers)
    await response.read()
    return response.status


async def page(door: Door) -> str:
    response = await door.raw("GET", "/docs")
    assert (response.status, response.content_type) == (200, "text/html")
    return await response.text()


async def test_the_page_loads_nothing_but_our_own_files(door: Door) -> None:
    html = await page(door)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', html)
    ours = [each for each in addresses if each.startswith("static/")]
    assert set(addresses) - set(ours) == {"data:,", "openapi.json"}
    for address in ours:
        response = await door.raw("GET", f"/{address}")
        assert (response.status, bool(await response.read())) == (200, True), address
        assert "immutable" in response.headers["Cache-Control"]
        assert "max-age=31536000" in response.headers["Cache-Control"]
    assert len(ours) == len(Assets.names())


async def test_the_page_has_a_strict_policy_and_no_script_of_its_own(door: Door) -> None:
    response = await door.raw("GET", "/docs")
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert (policy["style-src"], policy["img-src"]) == ("'self' 'unsafe-inline'", "'self' data:")
    assert not policy.keys() & {"script-src", "connect-src", "font-src"}
    assert {policy[name] for name in ("object-src", "base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert re.findall(r"<script(?! src=)|<style|\son\w+=", await response.text()) == []


async def test_a_file_is_asked_for_once(door: Door) -> None:
    for name in Assets.names():
        response = await door.raw("GET", f"/static/{name}")
        assert response.headers["Cache-Control"] == "public, no-cache"
        etag, body = response.headers["ETag"], await response.read()
        assert response.content_type in ("text/javascript", "text/css")
        again = await door.raw("GET", f"/static/{name}", headers={"If-None-Match": etag})
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", etag)
        stale = await door.raw("GET", f"/static/{name}?v=0123", headers={"If-None-Match": '"0123"'})
        assert (stale.status, stale.headers["Cache-Control"]) == (200, "public, no-cache")
        assert await stale.read() == body


@pytest.mark.parametrize("name", ["nothing.js", "manifest.json", "..%2F..%2Fassets.py", "vendor", "%00", "docs.js%2F"])
async def test_nothing_else_is_served(door: Door, name: str) -> None:
    status, problem = await door.get(f"/static/{name}")
    assert (status, problem["code"]) == (404, "not_found")


async def test_elsewhere_the_page_asks_for_the_key_as_a_browser_understands_it(tmp_path: Path) -> None:
    async with running(directory=tmp_path) as door:
        key = create_key(tmp_path, org="acme", scopes=["read"], clock=door.clock)
        door.clock.advance(1)
        afar = {"X-Forwarded-For": "192.0.2.1"}
        for path in ("/docs", "/static/docs.js", "/openapi.json"):
            assert await status(door, path) == 200
            response = await door.raw("GET", path, headers=afar)
            assert (response.status, bool(await response.read())) == (401, True)
            assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
            basic = {"Authorization": f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"}
            assert await status(door, path, **afar, **basic) == 200


def test_an_asset_that_is_not_there_is_a_mistake_of_the_page() -> None:
    assets = Assets()
    assert assets.get("nothing.js") is None
    with pytest.raises(KeyError):
        assets.link("nothing.js")
