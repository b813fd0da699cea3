"""Connections to other nodes: HTTP/1.1 by hand, since a forwarded read must cost little more than a local one.

A connection carries one request at a time and is kept for the next one. What comes back is cut at the end of its head and by its
``Content-Length``, no more: the head goes on to the caller as it came. The other side is a node of the same program, and
anything that it would not send ends the connection.

The client of aiohttp takes about 200 µs for what takes 25 µs here (bench/forwarded_read.py).
"""

import asyncio
import re
import ssl
from collections import deque
from typing import Final

import msgspec
from multidict import CIMultiDict
from yarl import URL

from kernel.errors import NodeUnreachable

_HEAD_MAX: Final = 64 * 1024
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*(?:\r\n|$)", re.IGNORECASE)
_CLOSES: Final = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_BODILESS: Final = frozenset((204, 304))


class Reply(msgspec.Struct, frozen=True, gc=False):
    """An answer as it came: ``head`` up to the empty line, without it."""

    status: int
    head: bytes
    body: bytes

    def headers(self) -> CIMultiDict[str]:
        lines = self.head.split(b"\r\n")[1:]
        pairs = (line.decode("utf-8", "surrogateescape").partition(":") for line in lines)
        return CIMultiDict((name.strip(), value.strip()) for name, _, value in pairs)

    @property
    def closes(self) -> bool:
        return _CLOSES.search(self.head) is not None


class _Wire(asyncio.Protocol):
    """One connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._buffer = bytearray()
        self._head: bytes | None = None
        self._body_end = 0
        self._is_head_only = False
        self.is_open = False
        self._has_begun = False
        self.idle_since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.is_open = True

    def ask(self, request: bytes, is_head: bool) -> asyncio.Future[Reply]:
        if self._transport is None:
            raise ValueError("not connected yet")
        self._waiter = self._loop.create_future()
        self._is_head_only, self._has_begun = is_head, False
        self._transport.write(request)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.close()  # nobody asked for it: whatever it is, the next answer would not be told from it
            return
        self._has_begun = True
        if self._head is None and not self._buffer:
            end = data.find(b"\r\n\r\n")
            if end >= 0 and self._begin(data[:end]) and len(data) == end + 4 + self._body_end:
                self._finish(data[end + 4 :])  # the usual case: all at once
                return
            if not self.is_open:
                return
            self._buffer += data[end + 4 :] if self._head is not None else data
        else:
            self._buffer += data
        self._go_on()

    def _go_on(self) -> None:
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _HEAD_MAX:
                    self._fail("the head of its answer has no end")
                return
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            if not self._begin(head):
                return
        if len(self._buffer) > self._body_end:
            self._fail("it sent more than an answer")
        elif len(self._buffer) == self._body_end:
            self._finish(bytes(self._buffer))

    def _begin(self, head: bytes) -> bool:
        """Take the head of an answer. False: it is none."""
        status = head[9:12]
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 ") or not status.isdigit():
            self._fail("its answer is not HTTP/1.1")
            return False
        if self._is_head_only or int(status) in _BODILESS:
            self._body_end = 0
        elif length is None:
            self._fail("its answer has no length")
            return False
        else:
            self._body_end = int(length[1])
        self._head = head
        return True

    def _finish(self, body: bytes) -> None:
        head, waiter = self._head, self._waiter
        self._head, self._waiter = None, None
        self._buffer.clear()
        if head is not None and waiter is not None:
            waiter.set_result(Reply(int(head[9:12]), head, body))

    def _fail(self, reason: str, *, was_closed: bool = False) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(NodeUnreachable(reason, was_sent=True, was_closed=was_closed))
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._fail("the connection was lost", was_closed=not self._has_begun)

    def close(self) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()


class _Peer:
    """The connections to one node."""

    def __init__(self, url: str) -> None:
        parsed = URL(url)
        if parsed.scheme not in ("http", "https") or parsed.host is None or parsed.port is None:
            raise ValueError(f"{url}: expected http://HOST:PORT")
        self.host, self.port = parsed.host, parsed.port
        self.ssl = ssl.create_default_context() if parsed.scheme == "https" else None
        self.authority = (f"[{self.host}]" if ":" in self.host else self.host).encode() + b":%d" % self.port
        self.idle: deque[_Wire] = deque()
        self.room: asyncio.Semaphore


class Links:
    """Asks other nodes, by URL.

    Parameters
    ----------
    connections : to one node at a time; who finds all of them in use waits.
    idle_s : a connection unused for longer is not used again: below what servers keep (``server.keep_alive_s``).
    """

    def __init__(self, *, connections: int = 64, idle_s: float = 20.0) -> None:
        self._connections, self._idle_s = connections, idle_s
        self._peers: dict[str, _Peer] = {}
        self._is_closed = False

    def authority(self, url: str) -> bytes:
        """What goes into ``Host``."""
        return self._peer(url).authority

    async def ask(self, url: str, request: bytes, *, is_head: bool, is_repeatable: bool, deadline_s: float) -> Reply:
        """Send a request and wait for its answer.

        Parameters
        ----------
        is_repeatable : carrying it out twice is harmless: it is sent once more where the connection ended without an answer.
        deadline_s : for the answer, and as long for a connection.

        Raises
        ------
        NodeUnreachable
        """
        peer = self._peer(url)
        if peer.room.locked():
            await _entered(peer.room, deadline_s)
        else:
            await peer.room.acquire()  # does not wait
        try:
            wire = self._kept(peer) or await self._connect(peer, deadline_s)
            try:
                return await self._on(peer, wire, request, is_head, deadline_s)
            except NodeUnreachable as error:
                if not (is_repeatable and error.was_closed):
                    raise
            return await self._on(peer, await self._connect(peer, deadline_s), request, is_head, deadline_s)
        finally:
            peer.room.release()

    def close(self) -> None:
        """Close every connection; what waits is lost."""
        self._is_closed = True
        for peer in self._peers.values():
            while peer.idle:
                peer.idle.pop().close()

    async def _on(self, peer: _Peer, wire: _Wire, request: bytes, is_head: bool, deadline_s: float) -> Reply:
        loop = asyncio.get_running_loop()
        answer = wire.ask(request, is_head)
        timer = loop.call_later(deadline_s, _expire, answer, deadline_s)
        try:
            reply = await answer
        except BaseException:
            wire.close()  # its answer would come to who asks next
            raise
        finally:
            timer.cancel()
        if reply.closes or self._is_closed:
            wire.close()
        else:
            wire.idle_since_s = loop.time()
            peer.idle.append(wire)
        return reply

    def _kept(self, peer: _Peer) -> _Wire | None:
        since_s = asyncio.get_running_loop().time() - self._idle_s
        while peer.idle:
            wire = peer.idle.pop()
            if wire.is_open and wire.idle_since_s > since_s:
                return wire
            wire.close()
        return None

    async def _connect(self, peer: _Peer, deadline_s: float) -> _Wire:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline_s):
                _, wire = await loop.create_connection(lambda: _Wire(loop), peer.host, peer.port, ssl=peer.ssl)
        except TimeoutError:
            raise NodeUnreachable("it does not take connections", was_sent=False) from None
        except OSError as error:
            raise NodeUnreachable(f"it cannot be reached: {error}", was_sent=False) from error
        return wire

    def _peer(self, url: str) -> _Peer:
        peer = self._peers.get(url)
        if peer is None:
            peer = self._peers[url] = _Peer(url)
            peer.room = asyncio.Semaphore(self._connections)
        return peer


async def _entered(room: asyncio.Semaphore, deadline_s: float) -> None:
    try:
        async with asyncio.timeout(deadline_s):
            await room.acquire()
    except TimeoutError:
        raise NodeUnreachable("all connections to it are in use", was_sent=False) from None


def _expire(answer: asyncio.Future[Reply], deadline_s: float) -> None:
    if not answer.done():
        answer.set_exception(NodeUnreachable(f"it did not answer within {deadline_s:g} s", was_sent=True))
