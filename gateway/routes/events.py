"""Events in: one, an array, NDJSON; answered when they are durable and folded."""

from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from actors.ingest import Receipt
from eventstore.admission import Admitted, Refusal, refusal
from eventstore.store import Refused
from gateway.bodies import read_body
from gateway.orgs import Org
from gateway.parameters import flag, query_of
from gateway.problems import Invalid, Problem
from gateway.routes.catalogue import json_response
from gateway.routing import Content, Query, Route
from gateway.service import Service
from kernel.ids import Position, format_position
from kernel.steps import finish_politely

ATOMIC = Query("atomic", "Store nothing unless all events are valid", {"type": "boolean", "default": False})


class IngestAnswer(msgspec.Struct, frozen=True):
    """accepted + duplicates + rejected = events sent; ``dead`` counts among the accepted."""

    accepted: int
    duplicates: int
    rejected: list[Refusal]
    dead: int
    last_position: str | None


class EventDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event as sent: exactly one of ``lead`` and ``subject``."""

    type: str
    id: str | None = None
    lead: str | None = None
    subject: str | None = None
    time: str | float | None = None
    data: dict[str, Any] = {}
    source: str | None = None


async def post_events(service: Service, request: web.Request, org: Org) -> web.Response:
    is_atomic = flag(query_of(request, ("atomic",)), "atomic")
    media_type = request.headers.get("Content-Type", "application/json")
    admitted = await finish_politely(org.admission.admitting_body(await read_body(request), media_type))
    if is_atomic and admitted.rejected:
        service.outcomes["rejected"] += len(admitted.rejected)
        raise refused(admitted.rejected)
    receipt = await service.ingest.submit([event for _, event in admitted.events], is_atomic=is_atomic)
    answer = _answer(admitted, receipt)
    service.count(answer.accepted, answer.duplicates, len(answer.rejected), answer.dead)
    if answer.rejected and (is_atomic or len(answer.rejected) == admitted.total):
        raise refused(answer.rejected)
    return json_response(answer)


def _answer(admitted: Admitted, receipt: Receipt) -> IngestAnswer:
    accepted = duplicates = 0
    last: Position | None = None
    rejected = list(admitted.rejected)
    for (index, _), outcome in zip(admitted.events, receipt.outcomes, strict=True):
        if isinstance(outcome, Refused):
            rejected.append(refusal(index, outcome.code, outcome.path, outcome.expected, outcome.actual))
            continue
        if outcome.is_duplicate:
            duplicates += 1
        else:
            accepted += 1
        last = outcome.event.position if last is None else max(last, outcome.event.position)
    rejected.sort(key=lambda each: each.index)
    return IngestAnswer(accepted, duplicates, rejected, receipt.dead, None if last is None else format_position(last))


def refused(rejected: Sequence[Refusal]) -> Problem:
    """The refusal of a whole request: the events' own code where they share one, else ``event_invalid``."""
    codes = {each.code for each in rejected}
    code = codes.pop() if len(codes) == 1 else "event_invalid"
    first = rejected[0]
    detail = first.detail if len(rejected) == 1 else f"{len(rejected)} events are refused; the first: {first.detail}"
    errors = [Invalid(each.path, each.expected, each.actual, each.index) for each in rejected]
    members = {"rejected": msgspec.to_builtins(list(rejected))}
    return Problem(code, detail, errors=errors, members=members)


_EVENTS = EventDocument | list[EventDocument]

ROUTES = (
    Route(
        "POST",
        "/v1/orgs/{org}/events",
        post_events,
        "ingest",
        "events",
        "Store events: one, a list, or NDJSON",
        "Answers when the events are durable and folded. Events that break a rule are named in `rejected`.",
        query=(ATOMIC,),
        body=(Content(_EVENTS), Content(media="application/x-ndjson")),
        answers={200: Content(IngestAnswer)},
        problems=(400, 409, 413, 415, 422, 503),
    ),
)
