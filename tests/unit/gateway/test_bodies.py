"""Bodies: taken at once where they came with the head, waited for where they did not, the same either way."""

import asyncio
import gzip
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from gateway.bodies import read_body
from gateway.problems import Problem


def request(*parts: bytes, is_whole: bool = True, encoding: str = "identity") -> tuple[web.Request, StreamReader]:
    """A request of which these parts have come."""
    loop = asyncio.get_running_loop()
    content = StreamReader(Mock(_reading_paused=False, connected=True), 2**16, loop=loop)
    for part in parts:
        content.feed_data(part)
    if is_whole:
        content.feed_eof()
    made = make_mocked_request(
        "POST", "/", headers={"Content-Encoding": encoding}, payload=content, client_max_size=100
    )
    return made, content


async def test_a_body_that_is_there_is_taken_without_waiting_and_can_be_read_again() -> None:
    made, _ = request(b'{"a":', b"1}")
    reading = read_body(made)
    with pytest.raises(StopIteration) as done:
        reading.send(None)
    assert done.value.value == b'{"a":1}'
    assert await made.read() == await read_body(made) == b'{"a":1}'


async def test_a_body_that_was_read_before_is_given_again() -> None:
    made, _ = request(b"{}")
    assert await made.read() == await read_body(made) == b"{}"


async def test_what_is_still_on_its_way_is_waited_for() -> None:
    made, content = request(b'{"a":', is_whole=False)
    reading = asyncio.ensure_future(read_body(made))
    await asyncio.sleep(0)
    assert not reading.done()
    content.feed_data(b"1}")
    content.feed_eof()
    assert await reading == b'{"a":1}'


async def test_a_body_beyond_the_limit_is_refused() -> None:
    assert len(await read_body(request(b"x" * 100)[0])) == 100
    with pytest.raises(web.HTTPRequestEntityTooLarge):
        await read_body(request(b"x" * 101)[0])
    with pytest.raises(Problem) as refused:
        await read_body(request(gzip.compress(b"x" * 101), encoding="gzip")[0])
    assert refused.value.code == "request_too_large"


async def test_no_body_is_an_empty_one() -> None:
    assert await read_body(request()[0]) == b""
