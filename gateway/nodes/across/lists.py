"""Lists of which every partition has a part: merged in their order, page by page.

A cursor holds a place for each partition, so that pages go on whichever node is asked, and wherever partitions are by then. Each
item comes once: within a partition behind its place, and no lead is in two.
"""

import asyncio
import base64
import heapq
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from aiohttp import web

from gateway.listing import Item, Listing, Part, SentPart, received, sent, sort_key
from gateway.nodes.forwarding import stale, wire
from gateway.nodes.forwarding.front import AWAY, Front
from gateway.nodes.forwarding.link import Reply
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.routes.catalogue import json_response
from gateway.routing import Route
from gateway.service import Service

K = TypeVar("K", int, str)

Answer = Callable[[Front, Route, web.Request, Org], Awaitable[web.StreamResponse]]
Renamed = Callable[[int, Any], Any]  # a partition's document, as it is called among those of all

_DECODER = msgspec.msgpack.Decoder(SentPart)


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """Which part of a list a node wants."""

    after: list[Any] | None
    limit: int


class Cursor(NamedTuple, Generic[K]):
    """A part that has not ended, by its partition or its node, and where it goes on."""

    part: K
    after: Sequence[Any] | None


def merged(
    listing: Listing, renamed: Renamed | None = None, *, with_shared: bool = False, takes_stale: bool = False
) -> Answer:
    """Answers a page of the list that all partitions of leads make together, and the shared one if it has a part.

    Parameters
    ----------
    takes_stale : copies have the list, too, and may stand in for owners that are away.
    """
    place = list[tuple[int, listing.place | None]]  # type: ignore[name-defined]

    async def answer(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
        is_stale_wanted = False
        if takes_stale:
            request, is_stale_wanted = stale.without_parameter(request)
        page = listing.page(request, org, place)
        partitions = range(front.cluster.partitions) if with_shared else front.leads()
        cursors = [Cursor(*each) for each in page.after or [(partition, None) for partition in partitions]]
        asked = _Asking(front, listing, request, org, page.limit, is_stale_wanted)
        answers = await asyncio.gather(*(asked.part(each) for each in cursors))
        chosen, left = cut(cursors, [part for part, _ in answers], page.limit)
        documents = [
            each.document if renamed is None else renamed(partition, each.document) for partition, each in chosen
        ]
        response = json_response(page.answer(documents, [list(each) for each in left] or None))
        if any(is_old for _, is_old in answers):
            front.tallies.stale += 1
            return stale.marked(stale.reply_of(response))
        return response

    return answer


async def part_answer(listing: Listing, service: Service, request: web.Request, org: Org) -> web.Response:
    """A part that another node asks for. Raises ``Problem``."""
    try:
        asked = msgspec.msgpack.decode(base64.b64decode(request.headers[wire.PART]), type=Asked)
        after = None if asked.after is None else msgspec.convert(asked.after, listing.place)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Problem("malformed_request", f"{wire.PART}: {error}") from error
    part = await listing.part(service, request, org, None if after is None else list(after), asked.limit)
    return web.Response(body=msgspec.msgpack.encode(sent(part)), content_type="application/x-msgpack")


class _Asking(NamedTuple):
    """A page that is asked for, of every partition."""

    front: Front
    listing: Listing
    request: web.Request
    org: Org
    limit: int
    is_stale_wanted: bool

    async def part(self, cursor: Cursor[int]) -> tuple[Part, bool]:
        """A partition's part, and whether it is an old one. Raises ``Problem``."""
        service = self.front.local(cursor.part)
        if service is not None:
            return await self._of(service, cursor), False

        async def here(service: Service) -> Part:
            return await self._of(service, cursor)

        asked = base64.b64encode(msgspec.msgpack.encode(Asked(_place(cursor), self.limit))).decode()
        header = f"{wire.PART}: {asked}\r\n".encode()
        try:
            waits = not self.is_stale_wanted
            found = await self.front.part(cursor.part, self.request, self.org, header, here, waits=waits)
            return _decoded(found) if isinstance(found, Reply) else found, False
        except Problem as problem:
            if not self.is_stale_wanted or problem.code not in AWAY:
                raise
            follower = self.front.cluster.follower(cursor.part)
            if follower is not None:
                return await self._of(follower, cursor), True
            old = await self.front.old_part(cursor.part, self.request, self.org, header)
            if old is None:
                raise
            return _decoded(old), True

    async def _of(self, service: Service, cursor: Cursor[int]) -> Part:
        return await self.listing.part(service, self.request, self.org, _place(cursor), self.limit)


def _place(cursor: Cursor[int]) -> list[Any] | None:
    return None if cursor.after is None else list(cursor.after)


def _decoded(reply: Reply) -> Part:
    try:
        return received(_DECODER.decode(reply.body))
    except msgspec.MsgspecError as error:
        raise Problem("owner_away", f"the nodes run versions that do not understand each other: {error}") from error


def cut(
    cursors: Sequence[Cursor[K]], parts: Sequence[Part], limit: int
) -> tuple[list[tuple[K, Item]], list[Cursor[K]]]:
    """The first items of all parts, each with where it is from, and where every part goes on that has not ended.

    A part of which more is to come, and nothing more is at hand, ends the page: what comes may belong before the others'.
    """
    of = {each.part: part for each, part in zip(cursors, parts, strict=True)}
    taken = dict.fromkeys(of, 0)
    chosen: list[tuple[K, Item]] = []
    if all(part.items or part.is_end for part in parts):
        for _, key, index, item in heapq.merge(*(_ordered(*each) for each in of.items())):
            chosen.append((key, item))
            taken[key] = index + 1
            if len(chosen) == limit or (index + 1 == len(of[key].items) and not of[key].is_end):
                break
    left = []
    for key, after in cursors:
        part, count = of[key], taken[key]
        if count == len(part.items):
            if not part.is_end:
                left.append(Cursor(key, part.end))
        elif count:
            left.append(Cursor(key, part.items[count - 1].place))
        else:
            left.append(Cursor(key, after or part.start))
    return chosen, left


def _ordered(key: K, part: Part) -> Iterator[tuple[list[tuple[Any, ...]], K, int, Item]]:
    return ((sort_key(item.order), key, index, item) for index, item in enumerate(part.items))
