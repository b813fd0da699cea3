"""A lead's features through time, and its market's: one pass over each log, a row for each step."""

from typing import Any

import msgspec
from aiohttp import web

from eventstore.event import Stream
from gateway.asks import FEATURES, KNOWN_AT, SERVICE, TIME, VIEWS, not_ahead, span_of
from gateway.lookback import NOTHING, check_known, look_back
from gateway.orgs import Org
from gateway.parameters import names, query_of, time_text
from gateway.problems import invalid_parameter
from gateway.routing import Content, Query, Route
from gateway.service import Service
from kernel.steps import finish_politely
from kernel.times import DAY_US, MIN_US, SECOND_US, parse_seconds
from projections.hindsight.history import history

MAX_STEPS = 10_000
SPAN_US = 30 * DAY_US  # when no beginning is given
STEP_US = DAY_US  # when no step is given

FROM = Query("from", "The first instant; default 30 days before `to`", TIME)
TO = Query("to", "No instant after this one, up to 400 days ahead; default now", TIME)
STEP = Query("step", f"Seconds between instants, at most {MAX_STEPS:,} of them; default a day", {"type": "number"})


class HistoryRow(msgspec.Struct, frozen=True):
    """``values`` in the order of ``names``."""

    at: str
    values: list[Any]


class HistoryAnswer(msgspec.Struct, frozen=True):
    names: list[str]
    items: list[HistoryRow]


async def lead_history(service: Service, request: web.Request, org: Org) -> web.Response:
    query = query_of(request, ("views", "features", "service", "from", "to", "step", "known_at"))
    now_us = service.clock.now_us()
    instants = _instants(query, now_us)
    known_at_us = not_ahead(time_text(query, "known_at", now_us), now_us)
    views, features = names(query, "views"), names(query, "features")
    span, _ = span_of(org, views, features, query.get("service"), "list")
    stream = Stream(org.name, "lead", request.match_info["lead"])
    await check_known(service, stream)
    past = (await look_back(service, stream, known_at_us) or NOTHING) if span.own.names else NOTHING
    market = None if span.is_own else await service.markets.of(org.name).rows_at(span, instants, known_at_us)
    compiled, types = org.catalogue.compiled, org.catalogue.event_types
    rows = await finish_politely(history(compiled, types, past.events, span, instants, dead=past.dead, market=market))
    await past.close()
    head = b'{"names":' + msgspec.json.encode(span.names) + b',"items":['
    return web.Response(body=head + b",".join(rows) + b"]}", content_type="application/json")


def _instants(query: dict[str, str], now_us: int) -> range:
    """The instants asked for, from ``from`` on in steps."""
    to_us = time_text(query, "to", now_us)
    to_us = now_us if to_us is None else to_us
    from_us = time_text(query, "from", now_us)
    from_us = max(MIN_US, to_us - SPAN_US) if from_us is None else from_us
    if from_us > to_us:
        raise invalid_parameter("from", "expected not after `to`", query.get("from", ""))
    step_us = _step_us(query)
    instants = range(from_us, to_us + 1, step_us)
    if len(instants) > MAX_STEPS:
        least_us = -(-(to_us - from_us) // (MAX_STEPS - 1))
        expected = f"expected at least {least_us / SECOND_US}, which makes {MAX_STEPS} instants from `from` to `to`"
        raise invalid_parameter("step", expected, query.get("step", str(STEP_US // SECOND_US)))
    return instants


def _step_us(query: dict[str, str]) -> int:
    text = query.get("step")
    if text is None:
        return STEP_US
    try:
        step_us = parse_seconds(float(text)) if text.isascii() and "_" not in text else 0
    except ValueError:
        step_us = 0
    if step_us < 1:
        raise invalid_parameter("step", "expected a number of seconds above 0", text)
    return step_us


ROUTES = (
    Route(
        "GET",
        "/v1/orgs/{org}/leads/{lead}/features/history",
        lead_history,
        "read",
        "leads",
        "A lead's features through time, folded once from the log",
        "Each row holds what a read as of its instant answers.",
        query=(FEATURES, VIEWS, SERVICE, FROM, TO, STEP, KNOWN_AT),
        answers={200: Content(HistoryAnswer)},
        problems=(404, 422),
    ),
)
