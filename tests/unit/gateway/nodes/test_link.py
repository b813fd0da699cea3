"""Connections between nodes, against a peer that answers what a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway.nodes.forwarding.link import Links, Reply
from kernel.errors import NodeUnreachable
from tests.patience import eventually

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: "x"\r\n\r\nhi'
GET = b"GET / HTTP/1.1\r\n\r\n"

Answers = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """Listens, cuts requests at their empty line, and hands each to ``answers``."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []
        self.answers: Answers = self._ok

    async def _ok(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(request)
                await self.answers(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def cut(self) -> None:
        """Close every connection, as a server does with idle ones."""
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()
        self._writers.clear()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    found = Peer()
    server = await asyncio.start_server(found.connected, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield found
    await found.cut()
    server.close()


@pytest.fixture
async def links() -> AsyncIterator[Links]:
    found = Links()
    yield found
    found.close()
    await asyncio.sleep(0)


async def ask(
    links: Links, peer: Peer, *, is_head: bool = False, is_repeatable: bool = True, deadline_s: float = 5
) -> Reply:
    return await links.ask(peer.url, GET, is_head=is_head, is_repeatable=is_repeatable, deadline_s=deadline_s)


def saying(*pieces: bytes, then_close: bool = False) -> Answers:
    async def answers(request: bytes, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if then_close:
            writer.close()

    return answers


async def test_an_answer_comes_as_it_was_sent_and_the_connection_is_kept(links: Links, peer: Peer) -> None:
    for _ in range(3):
        reply = await ask(links, peer)
        assert (reply.status, reply.body, reply.headers()["etag"]) == (200, b"hi", '"x"')
        assert reply.head == OK[: OK.index(b"\r\n\r\n")]
    assert len(peer.requests) == 3
    assert peer.connections <= 3


@pytest.mark.parametrize("size", [1, 3, 7, 20, 59])
async def test_an_answer_in_pieces_is_put_together(links: Links, peer: Peer, size: int) -> None:
    body = bytes(range(256)) * 300
    whole = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    pieces = [whole[start : start + size] for start in range(0, 120, size)]
    peer.answers = saying(*pieces, whole[len(b"".join(pieces)) :])
    reply = await ask(links, peer)
    assert (reply.status, reply.body) == (201, body)
    assert (await ask(links, peer)).body == body


@pytest.mark.parametrize("head", [b"HTTP/1.1 304 Not Modified\r\nETag: 1\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"])
async def test_what_has_no_body_has_no_length(links: Links, peer: Peer, head: bytes) -> None:
    peer.answers = saying(head)
    assert (await ask(links, peer)).body == b""
    peer.answers = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    assert (await ask(links, peer, is_head=True)).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"x" * 70_000,
    ],
)
async def test_what_a_node_would_not_send_ends_the_connection(links: Links, peer: Peer, wrong: bytes) -> None:
    peer.answers = saying(wrong)
    with pytest.raises(NodeUnreachable) as caught:
        await ask(links, peer)
    assert caught.value.was_sent
    peer.answers = saying(OK)
    assert (await ask(links, peer)).body == b"hi"


async def test_more_than_an_answer_is_never_taken_for_the_next_one(links: Links, peer: Peer) -> None:
    peer.answers = saying(OK + OK.replace(b"hi", b"no"))
    assert (await ask(links, peer)).body == b"hi"
    peer.answers = saying(OK)
    assert (await ask(links, peer)).body == b"hi"


async def test_a_connection_that_was_closed_meanwhile_is_made_anew(links: Links, peer: Peer) -> None:
    await ask(links, peer)
    await peer.cut()
    assert (await ask(links, peer)).body == b"hi"
    assert peer.connections >= 2


async def test_what_ends_without_an_answer_is_sent_once_more_only_if_that_is_harmless(links: Links, peer: Peer) -> None:
    peer.answers = saying(then_close=True)
    with pytest.raises(NodeUnreachable) as caught:
        await ask(links, peer, is_repeatable=False)
    assert (caught.value.was_sent, len(peer.requests)) == (True, 1)
    with pytest.raises(NodeUnreachable):
        await ask(links, peer)
    assert len(peer.requests) == 3, "twice, and no more"


async def test_an_answer_that_breaks_off_is_not_asked_for_again(links: Links, peer: Peer) -> None:
    peer.answers = saying(OK[:-1], then_close=True)
    with pytest.raises(NodeUnreachable):
        await ask(links, peer)
    assert len(peer.requests) == 1


async def test_a_deadline_ends_the_request_and_not_the_next_one(links: Links, peer: Peer) -> None:
    peer.answers = saying()
    with pytest.raises(NodeUnreachable, match=r"within 0\.1 s") as caught:
        await ask(links, peer, deadline_s=0.1)
    assert caught.value.was_sent
    assert not caught.value.was_closed
    peer.answers = saying(OK)
    assert (await ask(links, peer)).body == b"hi"


async def test_nobody_there_is_told_as_not_sent(links: Links, peer: Peer) -> None:
    with pytest.raises(NodeUnreachable) as caught:
        await links.ask("http://127.0.0.1:9", GET, is_head=False, is_repeatable=True, deadline_s=1)
    assert not caught.value.was_sent
    with pytest.raises(ValueError, match="expected http"):
        links.authority("ftp://x")


async def test_who_finds_all_connections_in_use_waits_for_one_or_is_told(peer: Peer) -> None:
    links = Links(connections=1)
    release = asyncio.Event()

    async def later(request: bytes, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(OK)

    peer.answers = later
    first = asyncio.create_task(ask(links, peer))
    await eventually(lambda: len(peer.requests) > 0)
    with pytest.raises(NodeUnreachable, match="in use") as caught:
        await ask(links, peer, deadline_s=0.05)
    assert not caught.value.was_sent
    second = asyncio.create_task(ask(links, peer))
    release.set()
    assert [(await each).body for each in (first, second)] == [b"hi", b"hi"]
    links.close()


async def test_a_caller_that_is_gone_takes_its_answer_with_it(links: Links, peer: Peer) -> None:
    started, is_gone, is_written = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(request: bytes, writer: asyncio.StreamWriter) -> None:
        started.set()
        await is_gone.wait()
        writer.write(OK.replace(b"hi", b"no"))
        is_written.set()

    peer.answers = slow
    gone = asyncio.create_task(ask(links, peer))
    await started.wait()
    gone.cancel()
    await asyncio.wait([gone])
    is_gone.set()
    await is_written.wait()
    peer.answers = saying(OK)
    assert (await ask(links, peer)).body == b"hi"


# Shared by light reads.


async def sharing(links: Links, peer: Peer) -> None:
    await ask(links, peer)


def numbered(links: Links, peer: Peer, count: int, timeout_s: float = 5) -> list[asyncio.Future[Reply]]:
    found = []
    for number in range(count):
        answer = links.share(peer.url, b"GET /%d HTTP/1.1\r\n\r\n" % number, timeout_s)
        assert answer is not None, number
        found.append(answer)
    return found


async def test_light_reads_go_behind_each_other_and_get_their_own_answers(links: Links, peer: Peer) -> None:
    assert links.share(peer.url, GET, 5) is None, "nothing is open yet"
    await sharing(links, peer)

    async def echo(request: bytes, writer: asyncio.StreamWriter) -> None:
        name = request.split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))

    peer.answers = echo
    answers = numbered(links, peer, 32)
    assert [(await each).body for each in answers] == [b"/%d" % number for number in range(32)]
    assert peer.connections == 1


async def test_there_is_a_bound_to_light_reads_on_one_connection(links: Links, peer: Peer) -> None:
    await sharing(links, peer)
    release = asyncio.Event()

    async def later(request: bytes, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(OK)

    peer.answers = later
    answers = numbered(links, peer, 32)
    assert links.share(peer.url, GET, 5) is None
    release.set()
    assert {(await each).body for each in answers} == {b"hi"}
    assert links.share(peer.url, GET, 5) is not None


async def test_those_behind_one_that_is_too_slow_are_told_that_it_was_not_they(links: Links, peer: Peer) -> None:
    await sharing(links, peer)
    peer.answers = saying()
    first, *others = numbered(links, peer, 3, timeout_s=0.1)
    with pytest.raises(NodeUnreachable) as caught:
        await first
    assert not caught.value.was_closed
    for each in others:
        with pytest.raises(NodeUnreachable) as caught:
            await each
        assert caught.value.was_closed
    assert links.share(peer.url, GET, 5) is None, "that connection is given up"


async def test_a_shared_connection_that_breaks_off_loses_the_first_answer_only(links: Links, peer: Peer) -> None:
    await sharing(links, peer)
    peer.answers = saying(OK[:-1], then_close=True)
    first, second = numbered(links, peer, 2)
    with pytest.raises(NodeUnreachable) as caught:
        await first
    assert not caught.value.was_closed, "a part of its answer had come"
    with pytest.raises(NodeUnreachable) as caught:
        await second
    assert caught.value.was_closed


async def test_an_answer_that_closes_ends_what_was_asked_behind_it(links: Links, peer: Peer) -> None:
    await sharing(links, peer)
    peer.answers = saying(OK.replace(b"ETag", b"Connection: close\r\nETag"))
    first, second = numbered(links, peer, 2)
    reply = await first
    assert (reply.body, reply.closes) == (b"hi", True)
    with pytest.raises(NodeUnreachable) as caught:
        await second
    assert caught.value.was_closed
