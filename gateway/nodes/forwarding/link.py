"""Connections to other nodes: HTTP/1.1 by hand, since a forwarded read must cost little more than a local one.

What comes back is cut at the end of its head and by its ``Content-Length``, no more: the head goes on to the caller as it came. The
other side is a node of the same program, and anything that it would not send ends the connection.

A connection is used in one of two ways. What may take long, or must not be done twice, has one to itself while it is under way. Light
reads share a few: they are sent behind each other without waiting, and answered in that order, so that many travel in one packet;
whoever is lost with a shared connection is told so, and may ask again. The client of aiohttp takes several times as long for one
request as either (bench/forwarded_read.py).
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
_SHARED: Final = 4  # connections to one node that light reads share
_SHARED_DEPTH: Final = 32  # light reads under way on one of them
_CONNECT_S: Final = 2.0  # a machine that is lost says nothing: its leads' readers should hear so soon
_SWEEP_S: Final = 0.05  # a deadline is kept to about so much
_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*(?:\r\n|$)", re.IGNORECASE)
_CLOSES: Final = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_BODILESS: Final = frozenset((204, 304))


class Reply(msgspec.Struct, frozen=True, gc=False):
    """An answer as it came: ``head`` up to the empty line, without it. ``closes``: the connection ends with it."""

    status: int
    head: bytes
    body: bytes
    closes: bool = False

    def headers(self) -> CIMultiDict[str]:
        lines = self.head.split(b"\r\n")[1:]
        pairs = (line.decode("utf-8", "surrogateescape").partition(":") for line in lines)
        return CIMultiDict((name.strip(), value.strip()) for name, _, value in pairs)


class _Asked:
    """A request under way: who waits for its answer, until when, and whether that has no body."""

    __slots__ = ("answer", "deadline_s", "is_head", "timeout_s")

    def __init__(self, answer: asyncio.Future[Reply], now_s: float, timeout_s: float, is_head: bool) -> None:
        self.answer, self.is_head, self.timeout_s = answer, is_head, timeout_s
        self.deadline_s = now_s + timeout_s


class _Wire(asyncio.Protocol):
    """One connection; answers come in the order of requests."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: bytes | None = None  # of the answer whose body is not whole yet
        self._body_size = 0
        self._has_begun = False
        self._unsent: list[bytes] = []
        self.asked: deque[_Asked] = deque()
        self.is_open = False
        self.idle_since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.is_open = True

    def ask(self, request: bytes, timeout_s: float, *, is_head: bool = False) -> asyncio.Future[Reply]:
        """Send a request, behind those that are under way; what is asked within one turn of the loop goes together."""
        if self._transport is None:
            raise ValueError("not connected yet")
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self.asked.append(_Asked(answer, self._loop.time(), timeout_s, is_head))
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(request)
        return answer

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and self.is_open:  # else those who ask are told by the connection's end
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
            if self._head is not None and len(self._buffer) < self._body_size:
                return  # a long body: nothing to look at yet
            data = bytes(self._buffer)
            self._buffer.clear()
        rest = self._cut(data)
        if rest and self.is_open:
            self._buffer += rest

    def _cut(self, data: bytes) -> bytes:
        """Hand over every answer that is whole; what is left of the data."""
        start = 0
        while self.is_open:
            if self._head is None:
                if start == len(data):
                    break
                self._has_begun = True
                end = data.find(_END, start)
                if end < 0:
                    if len(data) - start > _HEAD_MAX:
                        self._fail("the head of its answer has no end")
                    break
                if not self._begin(data[start:end]):
                    break
                start = end + len(_END)
            end = start + self._body_size
            if end > len(data):
                break
            self._finish(data[start:end])
            start = end
        return data[start:]

    def _begin(self, head: bytes) -> bool:
        """Take the head of an answer. False: it is none, or nobody asked for it."""
        status = head[9:12]
        if not self.asked or not head.startswith(b"HTTP/1.1 ") or not status.isdigit():
            self._fail("it sent what is no answer")
            return False
        if self.asked[0].is_head or int(status) in _BODILESS:
            self._body_size = 0
        else:
            length = _LENGTH.search(head)
            if length is None:
                self._fail("its answer has no length")
                return False
            self._body_size = int(length[1])
        self._head = head
        return True

    def _finish(self, body: bytes) -> None:
        head, self._head = self._head or b"", None
        self._has_begun = False
        closes = _CLOSES.search(head) is not None
        answer = self.asked.popleft().answer
        if not answer.done():  # else its caller is gone
            answer.set_result(Reply(int(head[9:12]), head, body, closes))
        if closes:
            self._fail("the connection was closed", was_closed=True)

    def expire(self, now_s: float) -> None:
        """End it where the first request under way has waited too long; those behind it may be asked again."""
        if self.asked and self.asked[0].deadline_s <= now_s:
            first = self.asked.popleft()
            if not first.answer.done():
                detail = f"it did not answer within {first.timeout_s:g} s"
                first.answer.set_exception(NodeUnreachable(detail, was_sent=True))
            self._has_begun = False
            self._fail("the connection was given up", was_closed=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the connection was lost", was_closed=True)

    def _fail(self, reason: str, *, was_closed: bool = False) -> None:
        """End it, and tell everybody who waits. Only the first of them may have a part of its answer."""
        asked, self.asked = self.asked, deque()
        for each in asked:
            if not each.answer.done():
                is_clean = was_closed and not self._has_begun
                each.answer.set_exception(NodeUnreachable(reason, was_sent=True, was_closed=is_clean))
            self._has_begun = False
        self.close()

    def close(self) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()


class _Peer:
    """The connections to one node: ``idle`` ones, those that light reads share, and those in use by one request."""

    def __init__(self, url: str, connections: int) -> None:
        parsed = URL(url)
        if parsed.scheme not in ("http", "https") or parsed.host is None or parsed.port is None:
            raise ValueError(f"{url}: expected http://HOST:PORT")
        self.host, self.port = parsed.host, parsed.port
        self.ssl = ssl.create_default_context() if parsed.scheme == "https" else None
        self.authority = (f"[{self.host}]" if ":" in self.host else self.host).encode() + b":%d" % self.port
        self.room = asyncio.Semaphore(connections)
        self.idle: deque[_Wire] = deque()
        self.shared: list[_Wire] = []
        self.busy: set[_Wire] = set()


class Links:
    """Asks other nodes, by URL.

    Parameters
    ----------
    connections : to one node, each with a request to itself; who finds all of them in use waits.
    idle_s : a connection unused for longer is not used again: below what servers keep (``server.keep_alive_s``).
    """

    def __init__(self, *, connections: int = 64, idle_s: float = 20.0) -> None:
        self._connections, self._idle_s = connections, idle_s
        self._peers: dict[str, _Peer] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    def authority(self, url: str) -> bytes:
        """What goes into ``Host``."""
        return self._peer(url).authority

    def share(self, url: str, request: bytes, timeout_s: float) -> asyncio.Future[Reply] | None:
        """Send a light read at once, behind others; None where no shared connection has room.

        The answer may be ``NodeUnreachable``; with ``was_closed`` it was another one's fault.
        """
        peer = self._peer(url)
        best: _Wire | None = None
        least = _SHARED_DEPTH
        for wire in peer.shared:
            depth = len(wire.asked)
            if depth < least and wire.is_open:
                best, least = wire, depth
                if not depth:
                    break
        if best is None or (not best.asked and best.idle_since_s + self._idle_s < asyncio.get_running_loop().time()):
            if best is not None:
                peer.shared.remove(best)
                best.close()
            return None
        self._watch()
        best.idle_since_s = asyncio.get_running_loop().time()
        return best.ask(request, timeout_s)

    async def ask(self, url: str, request: bytes, *, is_head: bool, is_repeatable: bool, deadline_s: float) -> Reply:
        """Send a request on a connection of its own and wait for its answer.

        Parameters
        ----------
        is_repeatable : carrying it out twice is harmless: it is sent once more where the connection ended without an answer.
        deadline_s : for the answer; a connection is waited for no longer than ``_CONNECT_S``.

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
        if self._sweep is not None:
            self._sweep.cancel()
        for peer in self._peers.values():
            for wire in (*peer.idle, *peer.shared, *peer.busy):
                wire.close()

    async def _on(self, peer: _Peer, wire: _Wire, request: bytes, is_head: bool, deadline_s: float) -> Reply:
        peer.busy.add(wire)
        self._watch()
        try:
            reply = await wire.ask(request, deadline_s, is_head=is_head)
        except BaseException:
            wire.close()  # its answer would come to who asks next
            raise
        finally:
            peer.busy.discard(wire)
        if wire.is_open and not self._is_closed:
            wire.idle_since_s = asyncio.get_running_loop().time()
            peer.shared = [each for each in peer.shared if each.is_open]
            (peer.idle if len(peer.shared) >= _SHARED else peer.shared).append(wire)
        else:
            wire.close()
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
            async with asyncio.timeout(min(deadline_s, _CONNECT_S)):
                _, wire = await loop.create_connection(lambda: _Wire(loop), peer.host, peer.port, ssl=peer.ssl)
        except TimeoutError:
            raise NodeUnreachable("it does not take connections", was_sent=False) from None
        except OSError as error:
            raise NodeUnreachable(f"it cannot be reached: {error}", was_sent=False) from error
        return wire

    def _peer(self, url: str) -> _Peer:
        peer = self._peers.get(url)
        if peer is None:
            peer = self._peers[url] = _Peer(url, self._connections)
        return peer

    # Deadlines: one timer for all, since a timer for each request costs as much as sending it.

    def _watch(self) -> None:
        if self._sweep is None and not self._is_closed:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._expire)

    def _expire(self) -> None:
        self._sweep = None
        now_s = asyncio.get_running_loop().time()
        is_any = False
        for peer in self._peers.values():
            for wire in (*peer.shared, *peer.busy):
                wire.expire(now_s)
                is_any = is_any or bool(wire.asked)
        if is_any:
            self._watch()


async def _entered(room: asyncio.Semaphore, deadline_s: float) -> None:
    try:
        async with asyncio.timeout(deadline_s):
            await room.acquire()
    except TimeoutError:
        raise NodeUnreachable("all connections to it are in use", was_sent=False) from None
