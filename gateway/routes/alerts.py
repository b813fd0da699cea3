"""Alerts: what was raised of which lead, whether somebody has seen it, and whether it is over."""

import asyncio
from collections.abc import Callable
from heapq import nlargest
from typing import Any, get_args

import msgspec
from aiohttp import web

from eventstore.event import NewEvent, Stream
from gateway.listing import Item, Listing, Part, part_of
from gateway.orgs import Org
from gateway.parameters import Page, choice, page_of, query_of
from gateway.problems import Problem
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routing import Content, Query, Route
from gateway.service import Service
from scoring.alert_board import Alert, AlertBoard, State
from scoring.alerts import acknowledged_event, resolved_event
from scoring.events import AlertSeverity
from scoring.identity import acknowledged_event_id, raised_event_id, resolved_event_id

_ALERTS = "/v1/orgs/{org}/alerts"
_AT_ONCE = 2000  # alerts passed over between two turns of the loop: a millisecond
STATES: tuple[State, ...] = get_args(State)
SEVERITIES: tuple[AlertSeverity, ...] = get_args(AlertSeverity)

STATE = Query("state", "Only alerts in this state", {"enum": list(STATES)})
SEVERITY = Query("severity", "Only alerts of this severity", {"enum": list(SEVERITIES)})
RULE = Query("rule", "Only alerts of this rule")
LEAD = Query("lead", "Only alerts of this lead")
_FILTERS = ("state", "severity", "rule", "lead")


class AlertList(msgspec.Struct, frozen=True):
    items: list[Alert]
    cursor: str | None


async def list_alerts(service: Service, request: web.Request, org: Org) -> web.Response:
    return await ALERTS.answer(service, request, org)


def _wanted(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.rel_url.query.items() if name in _FILTERS}


def _page(request: web.Request, org: Org, key: Any) -> Page:
    query = query_of(request, (*_FILTERS, "limit", "cursor"))
    for name, known in (("state", STATES), ("severity", SEVERITIES)):
        if name in query:
            choice(query, name, known)
    wanted = {name: query[name] for name in _FILTERS if name in query}
    return page_of(query, "alerts", org.name, msgspec.json.encode(wanted).decode(), key=key)


async def _part(service: Service, request: web.Request, org: Org, place: list[Any] | None, limit: int) -> Part:
    wanted, after = _wanted(request), None if place is None else tuple(place)
    board = (await service.alerts.of(org)).board
    found: list[Alert] = []
    alerts = list(board.newest_first())
    for start in range(0, len(alerts), _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        chosen = [each for each in alerts[start : start + _AT_ONCE] if _is_wanted(each, wanted, after)]
        found = nlargest(limit + 1, [*found, *chosen], key=_place)
    return part_of([Item([[each.raised_at], [each.id]], list(_place(each)), each) for each in found], limit)


ALERTS = Listing(_page, _part, tuple[str, str])


async def acknowledge(service: Service, request: web.Request, org: Org) -> web.Response:
    return await _change(service, request, org, _acknowledged)


async def resolve(service: Service, request: web.Request, org: Org) -> web.Response:
    return await _change(service, request, org, _resolved)


def _place(alert: Alert) -> tuple[str, str]:
    """Newest first, in an order that stays the same whatever happens to the alerts."""
    return alert.raised_at, alert.id


def _is_wanted(alert: Alert, wanted: dict[str, str], after: tuple[Any, ...] | None) -> bool:
    return all(getattr(alert, name) == value for name, value in wanted.items()) and (
        after is None or _place(alert) < after
    )


async def _change(
    service: Service, request: web.Request, org: Org, event_of: Callable[[Stream, Alert, int], NewEvent | None]
) -> web.Response:
    """Write what a person says of an alert, where that changes anything, and answer the alert as it is then."""
    query_of(request, ())
    alert_id = request.match_info["id"]
    alert = await _alert(service, org, alert_id)
    event = event_of(Stream(org.name, "lead", alert.lead), alert, service.clock.now_us())
    if event is not None:
        await service.ingest.submit([event])  # refused: it ended by itself meanwhile, which is as good
        alert = await _alert(service, org, alert_id)
    return json_response(alert)


def _acknowledged(stream: Stream, alert: Alert, now_us: int) -> NewEvent | None:
    return acknowledged_event(stream, alert.rule, alert.episode, now_us) if alert.state == "open" else None


def _resolved(stream: Stream, alert: Alert, now_us: int) -> NewEvent | None:
    if alert.state == "resolved":
        return None
    return resolved_event(stream, alert.rule, alert.episode, "person", now_us)


async def _alert(service: Service, org: Org, alert_id: str) -> Alert:
    """From the board, or, of one that was over long ago, from the log. Raises ``Problem``."""
    found = (await service.alerts.of(org)).board.get(alert_id)
    if found is None:
        board = AlertBoard()
        for id_of in (raised_event_id, acknowledged_event_id, resolved_event_id):
            event = await service.store.find(org.name, id_of(alert_id))
            if event is not None:
                board.fold(event)
        found = board.get(alert_id)
    if found is None:
        raise Problem("alert_not_found", f"no alert {alert_id}")
    return found


ROUTES = (
    Route(
        "GET",
        _ALERTS,
        list_alerts,
        "read",
        "alerts",
        "Alerts, the newest first",
        "All that are open or acknowledged, and the newest 10,000 that are resolved; the others stand in the timelines "
        "of their leads.",
        query=(STATE, SEVERITY, RULE, LEAD, LIMIT, CURSOR),
        answers={200: Content(AlertList)},
        problems=(422,),
    ),
    Route(
        "POST",
        _ALERTS + "/{id}/acknowledge",
        acknowledge,
        "admin",
        "alerts",
        "Say that somebody has seen an alert",
        "It stays open. Of one that is acknowledged or resolved nothing changes.",
        answers={200: Content(Alert)},
        problems=(404, 422, 503),
    ),
    Route(
        "POST",
        _ALERTS + "/{id}/resolve",
        resolve,
        "admin",
        "alerts",
        "End an alert",
        "If its rule still holds when the cooldown is over, another one is raised.",
        answers={200: Content(Alert)},
        problems=(404, 422, 503),
    ),
)
