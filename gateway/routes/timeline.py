"""The timeline of a lead: its events as they stand in the log, newest first."""

from bisect import bisect_left
from typing import Any

import msgspec
from aiohttp import web

from eventstore.event import Event, Stream, order_key
from eventstore.retraction import retracted_ids
from gateway.orgs import Org
from gateway.parameters import page_of, query_of
from gateway.problems import Problem
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routing import Content, Route
from gateway.service import Service
from kernel.ids import format_position
from kernel.steps import finish_politely, ordering, releasing
from kernel.times import format_time


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event as it was sent, and what the log added."""

    id: str
    lead: str
    type: str
    time: str
    data: Any
    source: str | None
    version: int
    position: str
    recorded: str
    retracted: bool


class Timeline(msgspec.Struct, frozen=True):
    items: list[LoggedEvent]
    cursor: str | None


async def timeline(service: Service, request: web.Request, org: Org) -> web.Response:
    lead = request.match_info["lead"]
    query = query_of(request, ("limit", "cursor"))
    page = page_of(query, "timeline", org.name, lead, key=tuple[int, str])
    stream = Stream(org.name, "lead", lead)
    (info,) = await service.store.info([stream])
    if info is None or not info.is_known:
        raise Problem("lead_not_found", f"no lead {lead}")
    log = await service.store.read(stream)
    events = await finish_politely(ordering(log, order_key))
    retracted = retracted_ids(events)
    log.clear()
    end = len(events) if page.after is None else bisect_left(events, tuple(page.after), key=order_key)
    chosen = events[max(0, end - page.limit) : end][::-1]
    last_key = list(order_key(chosen[-1])) if end > page.limit else None
    response = json_response(page.answer([document(event, retracted) for event in chosen], last_key))
    await finish_politely(releasing(events))
    return response


def document(event: Event, retracted: frozenset[str]) -> LoggedEvent:
    """The envelope with the log's additions; the payload is the text as it was sent."""
    return LoggedEvent(
        event.id,
        event.stream.id,
        event.type,
        format_time(event.at_us),
        msgspec.Raw(event.data),
        event.source,
        event.version,
        format_position(event.position),
        format_time(event.recorded_us),
        event.id in retracted,
    )


ROUTES = (
    Route(
        "GET",
        "/v1/orgs/{org}/leads/{lead}/events",
        timeline,
        "read",
        "leads",
        "The timeline: by time and id, newest first, system events included",
        query=(LIMIT, CURSOR),
        answers={200: Content(Timeline)},
        problems=(404, 422),
    ),
)
