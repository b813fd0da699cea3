"""A node's front: answers any request for all nodes, here where this node owns what it is about, else through the owner.

A request that came from another node is answered here or refused: it is never sent on a second time. A partition that is just being
handed over is waited for, for a bounded time; who was refused by a node that leads it no longer, or not yet, asks again when the map
has changed.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from eventstore.event import Stream
from gateway.nodes.forwarding import stale, wire
from gateway.nodes.forwarding.cluster import LEFT, Away, Cluster, Local, Place, Remote
from gateway.nodes.forwarding.link import Links, Reply
from gateway.nodes.forwarding.patience import Patience, WaitingRoom
from gateway.nodes.forwarding.procedures import Procedure, problem_of
from gateway.nodes.forwarding.remembering import Whereabouts
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.ready import ReadyResponse, fits
from gateway.routing import Route
from gateway.service import Service
from kernel.errors import NodeUnreachable

Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")
B = TypeVar("B")

SHARED = 0  #: the partition of markets, orgs and policies
_SAFE = frozenset(("GET", "HEAD", "PUT", "DELETE"))  # doing it twice is harmless
AWAY = frozenset(("owner_away", "not_owner"))  #: codes of problems that a copy can make up for
_ADDRESSES_MAX = 10_000
_TRIES = 4  # a request that meets more handovers than that is refused, whatever time it has left
_REFUSED = f"\r\n{wire.REFUSED}: ".encode()
_HOP_HEADERS = ("Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length", "Date", "Server")


class FrontOptions(msgspec.Struct, frozen=True):
    """Limits of the front.

    Attributes
    ----------
    forward_timeout_s : how long another node may take to answer.
    fold_timeout_s : events that are durable and not folded so long after are answered by 202.
    connections : to one node at a time.
    decisions_kept : decisions of which this node remembers where they were made.
    handover_wait_s : how long a request waits for a partition that is being handed over.
    gone_wait_s : how much of that where the owner takes no connections: it may have left in order, and this node not know yet.
    waiting : requests that wait at a time.
    shared_timeout_s : how long a writer waits for this node's copy of what it wrote.
    poll_s : between two looks at jobs and copies.
    """

    forward_timeout_s: float = 10.0
    fold_timeout_s: float = 5.0
    connections: int = 64
    decisions_kept: int = 100_000
    handover_wait_s: float = 2.0
    gone_wait_s: float = 0.5
    waiting: int = 1000
    shared_timeout_s: float = 2.0
    poll_s: float = 0.5


class Tallies(msgspec.Struct):
    """Counted since the start, for the metrics: what was sent to other nodes, and what came from them."""

    answered: int = 0
    lost: int = 0
    taken: int = 0
    refused: int = 0
    stale: int = 0


class Front:
    """Answers for all nodes.

    Parameters
    ----------
    cluster : this node's view of them.
    """

    def __init__(self, cluster: Cluster, options: FrontOptions | None = None) -> None:
        self.cluster = cluster
        self.options = options or FrontOptions()
        self.links = Links(connections=self.options.connections)
        self.room = WaitingRoom(self.options.handover_wait_s, self.options.waiting, cluster.changes)
        self.whereabouts = Whereabouts(self.options.decisions_kept)
        self.named: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}  #: turns of decisions that callers named
        self.tallies = Tallies()
        self.secret = wire.digest(cluster.secret)
        self._addresses: dict[tuple[str, int | str], bytes] = {}
        self._session: aiohttp.ClientSession | None = None
        self._streams: set[asyncio.Queue[Any]] = set()

    @property
    def shared(self) -> Service:
        return self.cluster.shared

    def leads(self) -> range:
        """The partitions of leads and decisions."""
        return range(SHARED + 1, self.cluster.partitions)

    async def close(self) -> None:
        self.room.close()
        self.links.close()
        self.close_streams()
        if self._session is not None:
            await self._session.close()

    # Streams.

    def session(self) -> aiohttp.ClientSession:
        """For streams of other nodes, which have no end."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    def on_stop(self, blocks: "asyncio.Queue[B | None]") -> None:
        """A stream begins: it ends with ``None`` when this node stops."""
        self._streams.add(blocks)

    def off_stop(self, blocks: "asyncio.Queue[B | None]") -> None:
        """It has ended."""
        self._streams.discard(blocks)

    def close_streams(self) -> None:
        """End all streams: their listeners go on at another node."""
        for blocks in self._streams:
            while not blocks.empty():
                blocks.get_nowait()
            blocks.put_nowait(None)

    def partition_of_lead(self, org: Org, lead: str) -> int:
        return self.cluster.partition_of(Stream(org.name, "lead", lead))

    # A request as a whole.

    async def at(
        self,
        partition: int,
        route: Route,
        request: web.Request,
        org: Org,
        *,
        is_repeatable: bool | None = None,
        waits: bool = True,
    ) -> web.StreamResponse:
        """The owner's answer.

        Parameters
        ----------
        is_repeatable : carrying it out twice is harmless; None: as its method says.
        waits : for a handover.

        Raises
        ------
        Problem
        """
        may_again = request.method in _SAFE if is_repeatable is None else is_repeatable

        async def here(service: Service) -> web.StreamResponse:
            return await route.handler(service, request, org)

        place = self.cluster.place(partition)
        if type(place) is Local:
            try:
                return await here(place.service)
            except LEFT:
                if not (may_again and waits):
                    raise
        body = await request.read() if request.body_exists else b""

        async def there(url: str) -> Reply:
            return await self._send(url, partition, request, org, body, is_repeatable=may_again, waits=waits)

        found = await self.asked(partition, here, there, is_repeatable=may_again, waits=waits)
        return self.passed(request, found) if isinstance(found, Reply) else found

    async def asked(
        self,
        partition: int,
        here: Callable[[Service], Awaitable[T]],
        there: Callable[[str], Awaitable[Reply]],
        *,
        is_repeatable: bool,
        waits: bool = True,
    ) -> T | Reply:
        """What the owner says, here or there, asked again where the partition has moved meanwhile. Raises ``Problem``."""
        patience = self.room.patience(waits=waits)
        for _ in range(_TRIES):
            place = await self.settled(partition, patience)
            generation, moment = self.cluster.generation, patience
            refusal: Exception
            if isinstance(place, Local):
                try:
                    return await here(place.service)
                except LEFT as error:
                    refusal, may_again = error, is_repeatable
            else:
                try:
                    reply = await there(_url(partition, place))
                except NodeUnreachable as error:
                    refusal, may_again = unreachable(partition, error, is_safe=is_repeatable), not error.was_sent
                    moment = patience.at_most(self.options.gone_wait_s)
                else:
                    if not is_refused(reply):
                        return reply
                    refusal = problem_of(reply)
                    may_again = is_repeatable or wire.refusal(reply) == wire.MOVED
            if not (may_again and await self._moved(partition, place, generation, moment)):
                break
        raise refusal

    async def settled(self, partition: int, patience: Patience) -> Place:
        """Where a partition is answered, once it is not being handed over any more, or has been for too long."""
        while True:
            change = self.cluster.changes.next()
            place = self.cluster.place(partition)
            if not (isinstance(place, Away) and place.is_brief and await patience.wait(change)):
                return place

    async def _moved(self, partition: int, before: Place, generation: int, patience: Patience) -> bool:
        """Wait until this node's map is another one than that by which it was refused; False: it is not in time."""
        while not patience.is_over:
            change = self.cluster.changes.next()
            if self.cluster.generation != generation or self.cluster.place(partition) != before:
                return True
            if not await patience.wait(change):
                break
        return False

    async def at_or_stale(self, partition: int, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
        """The owner's answer; where it is away and ``stale=ok`` was said, what another node has, marked."""
        request, is_stale_wanted = stale.without_parameter(request)
        if not is_stale_wanted:
            return await self.at(partition, route, request, org)
        try:
            return await self.at(partition, route, request, org, waits=False)
        except Problem as problem:
            if problem.code not in AWAY:
                raise
            found = await self._stale(partition, route, request, org)
            if found is None:
                raise
            self.tallies.stale += 1
            return found

    async def _stale(self, partition: int, route: Route, request: web.Request, org: Org) -> web.StreamResponse | None:
        """What this node, or else another one, has of a partition that nobody answers for."""
        request = stale.unconditional(request)
        follower = self.cluster.follower(partition)
        if follower is not None:
            return stale.marked(stale.reply_of(await route.handler(follower, request, org)))
        for url in self.others():
            try:
                reply = await self._send(url, partition, request, org, b"", wire.STALE_OK, waits=False)
            except NodeUnreachable:
                continue
            if not is_refused(reply):
                return self.passed(request, reply)
        return None

    def local(self, partition: int) -> Service | None:
        """The service of a partition that this node leads and is current for."""
        place = self.cluster.place(partition)
        return place.service if isinstance(place, Local) else None

    def address(self, org: Org, partition: int | str, *, waits: bool = False) -> bytes:
        """What a request about a partition says to its owner, who may let it wait until it is."""
        key = (org.name, partition)
        found = self._addresses.get(key)
        if found is None:
            if len(self._addresses) >= _ADDRESSES_MAX:
                self._addresses.clear()
            found = self._addresses[key] = wire.address(self.secret, org.name, partition)
        return wire.with_generation(found, self.cluster.generation) if waits else found

    async def light(self, partition: int, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
        """``at_or_stale`` for a read that takes its owner no time: it shares a connection with others."""
        place = self.cluster.place(partition)
        if type(place) is Local:
            if "stale=" not in request.rel_url.raw_query_string:
                return await route.handler(place.service, request, org)
        elif type(place) is Remote and request.method == "GET" and _is_light(request.rel_url.raw_query_string):
            data = wire.onward(request, self.links.authority(place.url), self.address(org, partition), b"")
            answer = self.links.share(place.url, data, self.options.forward_timeout_s)
            if answer is not None and (reply := await self._light_reply(partition, answer)) is not None:
                return self.passed(request, reply)
        return await self.at_or_stale(partition, route, request, org)

    async def _light_reply(self, partition: int, answer: asyncio.Future[Reply]) -> Reply | None:
        """None: ask again, in the other way."""
        try:
            reply = await answer
        except NodeUnreachable as error:
            self.tallies.lost += 1
            if error.was_closed:
                return None
            raise unreachable(partition, error, is_safe=True) from error
        self.tallies.answered += 1
        return None if is_refused(reply) else reply

    def others(self) -> list[str]:
        """The other nodes."""
        return [url for url in self.cluster.nodes() if url != self.cluster.url]

    async def _send(
        self,
        url: str,
        partition: int,
        request: web.Request,
        org: Org,
        body: bytes,
        more: bytes = b"",
        *,
        is_repeatable: bool = True,
        waits: bool,
    ) -> Reply:
        node = self.address(org, partition, waits=waits)
        data = wire.onward(request, self.links.authority(url), node, body, more)
        return await self._asked(url, data, is_head=request.method == "HEAD", is_repeatable=is_repeatable)

    async def _asked(self, url: str, data: bytes, *, is_head: bool = False, is_repeatable: bool) -> Reply:
        try:
            reply = await self.links.ask(
                url, data, is_head=is_head, is_repeatable=is_repeatable, deadline_s=self.options.forward_timeout_s
            )
        except NodeUnreachable:
            self.tallies.lost += 1
            raise
        self.tallies.answered += 1
        return reply

    def passed(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        """Another node's answer, unchanged."""
        if reply.status == 200 and not reply.closes and fits(request):
            return ReadyResponse(reply.head, b"\r\n\r\n", reply.body)
        headers = reply.headers()
        for name in _HOP_HEADERS:
            if name != "Content-Length" or request.method != "HEAD":
                headers.popall(name, None)
        return web.Response(status=reply.status, headers=headers, body=reply.body or None)

    # Parts of a request.

    async def part(
        self,
        partition: int,
        request: web.Request,
        org: Org,
        header: bytes,
        here: Callable[[Service], Awaitable[T]],
        *,
        waits: bool,
    ) -> T | Reply:
        """A partition's part of an answer that several make together. Raises ``Problem``."""

        async def there(url: str) -> Reply:
            return await self._send(url, partition, request, org, b"", header, waits=waits)

        found = await self.asked(partition, here, there, is_repeatable=True, waits=waits)
        if isinstance(found, Reply) and found.status != 200:
            raise problem_of(found)
        return found

    async def old_part(self, partition: int, request: web.Request, org: Org, header: bytes) -> Reply | None:
        """The same from another node's copy; None where nobody has one."""
        for url in self.others():
            with suppress(Problem, NodeUnreachable):
                reply = await self._send(url, partition, request, org, b"", header + wire.STALE_OK, waits=False)
                if reply.status == 200:
                    return reply
        return None

    async def call(self, procedure: Procedure[Q, A], partition: int, org: Org, question: Q, *, waits: bool = True) -> A:
        """Ask a partition, here or at its owner. Raises ``Problem``, and what the procedure raises here."""
        encoded: list[bytes] = []

        async def here(service: Service) -> A:
            return await procedure.run(service, org, question)

        async def there(url: str) -> Reply:
            if not encoded:
                encoded.append(procedure.encoded(question))
            return await self._called(procedure, url, partition, org, encoded[0], waits=waits)

        found = await self.asked(partition, here, there, is_repeatable=procedure.is_repeatable, waits=waits)
        return procedure.decoded(found) if isinstance(found, Reply) else found

    async def call_or_stale(
        self, procedure: Procedure[Q, A], partition: int, org: Org, question: Q, *, is_stale_wanted: bool
    ) -> tuple[A, bool]:
        """The owner's answer, or, where it is away and an old one will do, that of a copy; whether it is an old one."""
        try:
            return await self.call(procedure, partition, org, question, waits=not is_stale_wanted), False
        except Problem as problem:
            if not is_stale_wanted or problem.code not in AWAY:
                raise
            follower = self.cluster.follower(partition)
            if follower is not None:
                return await procedure.run(follower, org, question), True
            for url in self.others():
                with suppress(Problem, NodeUnreachable):
                    body = procedure.encoded(question)
                    return procedure.decoded(
                        await self._called(procedure, url, partition, org, body, wire.STALE_OK)
                    ), True
            raise

    async def call_node(self, procedure: Procedure[Q, A], url: str, org: Org, question: Q) -> A:
        """Ask a node about itself. Raises ``Problem``."""
        if url == self.cluster.url:
            return await procedure.run(self.shared, org, question)
        try:
            reply = await self._called(procedure, url, wire.NODE_ITSELF, org, procedure.encoded(question))
        except NodeUnreachable as error:
            raise unreachable(wire.NODE_ITSELF, error, is_safe=procedure.is_repeatable) from error
        return procedure.decoded(reply)

    async def _called(
        self,
        procedure: Procedure[Q, A],
        url: str,
        partition: int | str,
        org: Org,
        body: bytes,
        more: bytes = b"",
        *,
        waits: bool = False,
    ) -> Reply:
        node = self.address(org, partition, waits=waits)
        data = wire.call(self.links.authority(url), node, procedure.name, body, more)
        return await self._asked(url, data, is_repeatable=procedure.is_repeatable)


def _is_light(raw_query: str) -> bool:
    """Nothing has to be folded for it: it is about now."""
    return "at=" not in raw_query and "stale=" not in raw_query


def is_refused(reply: Reply) -> bool:
    """Whether a node says that it is not the one to ask, or not any more."""
    return reply.status == 503 and _REFUSED in reply.head


def _url(partition: int, place: Place) -> str:
    """Where to send a question. Raises ``Problem`` where nobody answers for the partition."""
    if isinstance(place, Remote):
        return place.url
    if isinstance(place, Away):
        raise away(partition, place)
    raise TypeError("it is to be answered here")


def away(partition: int, place: Away) -> Problem:
    """Nobody answers for a partition."""
    progress = {} if place.progress is None else {"progress": place.progress}
    return Problem(
        "owner_away",
        f"partition {partition}: {place.reason}",
        headers={"Retry-After": str(max(1, math.ceil(place.retry_after_s)))},
        members={"partition": partition, **progress},
    )


def unreachable(partition: int | str, error: NodeUnreachable, *, is_safe: bool) -> Problem:
    """The owner gave no answer."""
    members: Mapping[str, object] = {"partition": partition} if isinstance(partition, int) else {}
    if error.was_sent and not is_safe:
        detail = f"the owner was asked, and gave no answer: {error}. Look before you ask again, or repeat it with the same id"
        return Problem("answer_lost", detail, members=members)
    return Problem("owner_away", f"the owner gave no answer: {error}", members=members)


def one_problem(problems: Iterable[Problem]) -> Problem:
    """What to say where several partitions did not answer: what is the caller's fault before what is nobody's."""
    found = list(problems)
    return next((each for each in found if each.code not in ("owner_away", "not_owner", "answer_lost")), found[0])
