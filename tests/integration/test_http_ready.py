"""An answer from bytes equals one that aiohttp builds, header by header."""

import asyncio
import re
from collections.abc import AsyncIterator

import msgspec
import pytest

from kernel.times import DAY_US
from tests.integration.service import BASE, NOW, Door, purchase, running

PATH = "leads/42/features"


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        await door.events(purchase("42", "1", 10, NOW - 3 * DAY_US))
        yield door


async def _raw(door: Door, request: bytes) -> bytes:
    """What the service sends back over one connection, until it closes it."""
    host, port = door.client.host, door.client.port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def _request(version: str = "1.1", method: str = "GET", **headers: str) -> bytes:
    lines = [f"{method} {BASE}/{PATH} HTTP/{version}", "Host: x", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def test_the_second_answer_is_the_first_header_by_header(door: Door) -> None:
    first, second = await door.raw("GET", PATH), await door.raw("GET", PATH)
    assert set(second.headers) == set(first.headers)
    assert dict(second.headers) | {"Date": ""} == dict(first.headers) | {"Date": ""}
    assert await second.read() == await first.read()
    assert second.headers["Date"].endswith("GMT")


async def test_many_answers_share_a_connection(door: Door) -> None:
    await door.get(PATH)
    answers = await _raw(door, _request() * 3 + _request(Connection="close"))
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 4
    assert len({part.partition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 200 OK\r\n")[1:]}) == 1


async def test_requests_out_of_the_ordinary_get_their_own_answer(door: Door) -> None:
    await door.get(PATH)
    assert (await _raw(door, _request("1.0"))).startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"Connection: close" in await _raw(door, _request(Connection="close"))
    etag = (await door.raw("GET", PATH)).headers["ETag"]
    assert (await door.raw("GET", PATH, headers={"If-None-Match": etag})).status == 304


def _post(number: int, version: str = "1.1", **headers: str) -> bytes:
    body = msgspec.json.encode(purchase("43", str(number), 1))
    head = [f"POST {BASE}/events HTTP/{version}", "Host: x", f"Content-Length: {len(body)}"]
    lines = [*head, *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def test_a_receipt_in_bytes_is_the_one_that_aiohttp_builds(door: Door) -> None:
    answers = await _raw(door, _post(1) + _post(2, Connection="close"))
    first, _, rest = answers.partition(b"\r\n\r\n")
    body, _, second = rest.partition(b"HTTP/1.1 ")
    head = sorted(re.sub(rb"Date: [^\r]+", b"Date: ", first).split(b"\r\n"))
    built, _, other = second.partition(b"\r\n\r\n")
    lines = (b"HTTP/1.1 " + re.sub(rb"Date: [^\r]+", b"Date: ", built)).split(b"\r\n")
    assert head == sorted(line for line in lines if line != b"Connection: close")
    assert msgspec.json.decode(body)["accepted"] == msgspec.json.decode(other)["accepted"] == 1
    assert (await _raw(door, _post(3, "1.0"))).startswith(b"HTTP/1.0 200 OK\r\n")


async def test_an_event_or_a_day_makes_a_new_answer(door: Door) -> None:
    await door.get(PATH)
    before = await door.raw("GET", PATH)
    await door.events(purchase("42", "2", 5))
    after = await door.raw("GET", PATH)
    assert (after.headers["X-Lead-Version"], before.headers["X-Lead-Version"]) == ("2", "1")
    assert after.headers["ETag"] != before.headers["ETag"]
    door.clock.advance(86_400)
    assert (await door.raw("GET", PATH)).headers["ETag"] != after.headers["ETag"]


async def test_a_caller_that_is_gone_harms_nobody(door: Door) -> None:
    await door.get(PATH)
    host, port = door.client.host, door.client.port
    for _ in range(5):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(_request() * 50)
        writer.transport.abort()
    assert (await door.get(PATH))[0] == 200
