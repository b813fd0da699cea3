"""Lists whose items may stand in several logs: each log's part in order, and one page made of all parts.

An item has an order, by which items of all parts are comparable, and a place, which says where its part goes on behind it. A page
of one log is a page made of one part: routes are written once for both.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from gateway.orgs import Org
from gateway.parameters import Page
from gateway.routes.catalogue import json_response
from gateway.service import Service


class Item(NamedTuple):
    """One item.

    Attributes
    ----------
    order : numbers, texts, ``None`` behind all else, and ``[text]`` for a text that counts backwards.
    place : its key in the cursors of its part.
    """

    order: Sequence[Any]
    place: list[Any]
    document: Any


class Part(NamedTuple):
    """The next items of one log, in order.

    Attributes
    ----------
    is_end : nothing comes behind them.
    start : the place before the first of them, where that is not the beginning for good.
    last : where the part goes on, where that is not behind its last item.
    """

    items: list[Item]
    is_end: bool
    start: list[Any] | None = None
    last: list[Any] | None = None

    @property
    def end(self) -> list[Any] | None:
        """Where it goes on; None at its end."""
        if self.is_end:
            return None
        return self.last or (self.items[-1].place if self.items else None)


class Listing(NamedTuple):
    """How a route lists.

    Attributes
    ----------
    page : limit and cursor of a request, for places of a type; raises ``Problem`` for a query that is wrong.
    part : the items of one log behind a place, at most so many.
    place : the type of places.
    """

    page: Callable[[web.Request, Org, Any], Page]
    part: Callable[[Service, web.Request, Org, list[Any] | None, int], Awaitable[Part]]
    place: Any

    async def answer(self, service: Service, request: web.Request, org: Org) -> web.Response:
        """A page of one log."""
        page = self.page(request, org, self.place)
        found = await self.part(service, request, org, page.after, page.limit)
        return json_response(page.answer([each.document for each in found.items], found.end))


def part_of(items: Sequence[Item], limit: int) -> Part:
    """Of items of which one more than the limit was looked for."""
    return Part(list(items[:limit]), len(items) <= limit)


def sort_key(order: Sequence[Any]) -> list[tuple[Any, ...]]:
    """An item's order as something that Python compares."""
    return [_comparable(each) for each in order]


def _comparable(value: Any) -> tuple[Any, ...]:
    if value is None:
        return (1,)
    return (0, Backwards(value[0])) if isinstance(value, (list, tuple)) else (0, value)


class Backwards(NamedTuple):
    """A text that counts backwards."""

    text: str

    def __lt__(self, other: tuple[str, ...]) -> bool:
        return self.text > other[0]


class SentPart(msgspec.Struct, frozen=True, array_like=True):
    """A part whose documents are JSON already."""

    items: list[tuple[list[Any], list[Any], bytes]]
    is_end: bool
    start: list[Any] | None
    last: list[Any] | None


def sent(part: Part) -> SentPart:
    items = [(list(each.order), each.place, msgspec.json.encode(each.document)) for each in part.items]
    return SentPart(items, part.is_end, part.start, part.last)


def received(part: SentPart) -> Part:
    items = [Item(order, place, msgspec.Raw(body)) for order, place, body in part.items]
    return Part(items, part.is_end, part.start, part.last)
