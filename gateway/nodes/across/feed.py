"""The change feed of all partitions, from any node: their streams merged as they come, resumable by one id.

An id says, for each partition, up to where its entries were sent; so whichever node is asked next can go on, if the partitions' owners
still have what came since. Where a partition has moved, or was away for a moment, its new owner has not: the listener gets
``reset``. Of one lead all is in order; of several, as it came here.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Final, NamedTuple

import aiohttp
from aiohttp import web
from yarl import URL

from gateway.feed.entries import event
from gateway.feed.listener import Listener
from gateway.nodes.forwarding import wire
from gateway.nodes.forwarding.cluster import Away, Local
from gateway.nodes.forwarding.front import Front, away, unreachable
from gateway.nodes.forwarding.link import Reply
from gateway.nodes.forwarding.procedures import problem_of
from gateway.orgs import Org
from gateway.parameters import query_of
from gateway.routes import stream
from gateway.routing import Route
from gateway.service import Service
from kernel.errors import LeadwheelError, NodeUnreachable

_QUEUE_MAX: Final = (
    500  # blocks that wait for one listener; past them its partitions wait, and reset it if that is too long
)
_UNKNOWN: Final = "-"  # an id that no feed gave


class Block(NamedTuple):
    """What a partition sends at a time: an entry, or, without a kind, only how far it is."""

    partition: int
    entry_id: str
    kind: str
    data: bytes


async def listen(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """One stream of all owners' streams. Raises ``Problem`` where one of them is away before it begins."""
    query = query_of(request, stream.PARAMETERS)
    lead = stream.lead_of(query)
    stream.names_of(org, query)
    if request.method == "HEAD":
        return web.Response(headers=stream.HEADERS)
    partitions = list(front.leads()) if lead is None else [front.partition_of_lead(org, lead)]
    last = request.headers.get("Last-Event-ID")
    ids = dict.fromkeys(partitions, "") if not last else read_id(last, partitions)
    sources = [_Source(front, request, org, partition, ids[partition]) for partition in partitions]
    async with contextlib.AsyncExitStack() as stack:
        for source in sources:
            stack.push_async_callback(source.close)
        await asyncio.gather(*(source.open() for source in sources))
        response = web.StreamResponse(headers=stream.HEADERS)
        await _begin(request, response)
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            await _write(front, request, response, sources, ids)
    return response


async def _begin(request: web.Request, response: web.StreamResponse) -> None:
    await response.prepare(request)
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, stream.SEND_BUFFER_BYTES)
    await response.write(b"retry: %d\n\n" % stream.RETRY_MS)


async def _write(
    front: Front, request: web.Request, response: web.StreamResponse, sources: "list[_Source]", ids: dict[int, str]
) -> None:
    """Write what comes until the listener is gone, takes nothing for too long, or this node stops."""
    blocks: asyncio.Queue[Block | None] = asyncio.Queue(_QUEUE_MAX)
    send_timeout_s = front.shared.feed.settings.send_timeout_s
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(source.run(blocks), name="feed-part") for source in sources]
        front.on_stop(blocks)
        try:
            silent = set(ids)  # an id is of use when all partitions have their part in it
            held: list[Block] = []
            while (block := await blocks.get()) is not None:
                ids[block.partition] = block.entry_id
                silent.discard(block.partition)
                held.append(block)
                if silent:
                    continue
                chunk, held = _framed(held, write_id(ids)), []
                try:
                    async with asyncio.timeout(send_timeout_s):
                        await response.write(chunk)
                except (ConnectionResetError, TimeoutError):
                    if request.transport is not None:
                        request.transport.abort()  # it reads nothing: what waits for it in the kernel goes, too
                    break
        finally:
            front.off_stop(blocks)
            for task in tasks:
                task.cancel()


def _framed(blocks: list[Block], entry_id: str) -> bytes:
    """Entries under the id that holds behind all of them, or a sign of life."""
    told = [event(each.kind, entry_id, each.data) for each in blocks if each.kind]
    return b"".join(told) or b": alive\nid: %b\n\n" % entry_id.encode()


class _Source:
    """One partition's stream, from wherever it is led; opened again when it ends."""

    def __init__(self, front: Front, request: web.Request, org: Org, partition: int, last_id: str) -> None:
        self._front, self._request, self._org = front, request, org
        self._partition, self._last_id = partition, last_id
        self._chunks: AsyncIterator[bytes] | None = None
        self._closing = contextlib.AsyncExitStack()

    async def open(self) -> None:
        """Returns when the partition is listened to. Raises ``Problem``."""
        front, partition = self._front, self._partition
        place = await front.settled(partition, front.room.patience())
        if isinstance(place, Away):
            raise away(partition, place)
        self._chunks = await (self._local(place.service) if isinstance(place, Local) else self._remote(place.url))

    async def run(self, blocks: "asyncio.Queue[Block | None]") -> None:
        """Hand over what comes, for good: where the stream ends, it is opened anew behind its last entry."""
        while True:
            if self._chunks is not None:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async for block in _blocks(self._partition, self._chunks):
                        self._last_id = block.entry_id or self._last_id
                        await blocks.put(block._replace(entry_id=self._last_id))
            await self.close()
            await asyncio.sleep(self._front.options.poll_s)
            with contextlib.suppress(LeadwheelError):
                await self.open()

    async def close(self) -> None:
        self._chunks = None
        await self._closing.aclose()

    async def _local(self, service: Service) -> AsyncIterator[bytes]:
        query = dict(self._request.rel_url.query)
        names = stream.names_of(self._org, query)
        listener, is_whole = await service.feed.listen(self._org.name, query.get("lead"), names, self._last_id or None)

        async def leave() -> None:
            service.feed.leave(self._org.name, listener)

        self._closing.push_async_callback(leave)
        return _told(service, listener, is_whole)

    async def _remote(self, url: str) -> AsyncIterator[bytes]:
        front = self._front
        headers = {
            wire.NODE: front.address(self._org, self._partition, waits=True).decode(),
            **({"Last-Event-ID": self._last_id} if self._last_id else {}),
        }
        target = URL(url.rstrip("/") + self._request.rel_url.raw_path_qs, encoded=True)
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=front.options.forward_timeout_s,
            sock_read=front.options.forward_timeout_s + 2 * front.shared.feed.settings.heartbeat_s,
        )
        try:
            response = await self._closing.enter_async_context(
                front.session().get(target, headers=headers, timeout=timeout)
            )
            if response.status != 200:
                raise problem_of(Reply(response.status, b"", await response.read()))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unreachable(
                self._partition, NodeUnreachable(str(error) or "no answer", was_sent=False), is_safe=True
            ) from error
        return response.content.iter_any()


async def _told(service: Service, listener: Listener, is_whole: bool) -> AsyncIterator[bytes]:
    yield stream.first_words(listener, is_whole)
    async for chunk in stream.chunks(service.feed.settings, listener):
        yield chunk


async def _blocks(partition: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[Block]:
    """Cut a stream where its blocks end."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n\n")
        for each in whole:
            for block in _parsed(partition, each):
                yield block


def _parsed(partition: int, block: bytes) -> Iterator[Block]:
    fields: dict[bytes, bytes] = {}
    for line in block.split(b"\n"):
        name, _, value = line.partition(b": ")
        fields[name] = value
    if b"id" in fields:
        yield Block(partition, fields[b"id"].decode(), fields.get(b"event", b"").decode(), fields.get(b"data", b""))


def write_id(ids: dict[int, str]) -> str:
    """One id of the ids of all partitions.

    Examples
    --------
    >>> write_id({1: "0a-03", 4: "0b-00"})
    '1:0a-03,4:0b-00'
    """
    return ",".join(f"{partition}:{entry_id}" for partition, entry_id in ids.items() if entry_id)


def read_id(text: str, partitions: list[int]) -> dict[int, str]:
    """The ids of these partitions; one that no feed gave for those of which it says nothing.

    Examples
    --------
    >>> read_id("1:0a-03,x", [1, 2])
    {1: '0a-03', 2: '-'}
    """
    found = dict.fromkeys(partitions, _UNKNOWN)
    for part in text.split(","):
        number, _, entry_id = part.partition(":")
        if number.isascii() and number.isdigit() and len(number) < 10 and int(number) in found and entry_id:
            found[int(number)] = entry_id
    return found
