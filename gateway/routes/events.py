"""Events in: one, an array, NDJSON, CloudEvents; answered when they are durable and folded."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, cast

import msgspec
from aiohttp import web
from msgspec import Meta

from actors.ingest import Receipt
from eventstore.admission import Admitted, Refusal, refusal
from eventstore.store import Stored
from gateway.bodies import read_body
from gateway.compat import cloudevents
from gateway.orgs import Org
from gateway.parameters import flag, query_of
from gateway.problems import Invalid, Problem
from gateway.ready import ready_json
from gateway.routing import Content, Query, Route
from gateway.service import Service
from kernel.ids import Position, format_position
from kernel.steps import Steps, finish_politely

_encode = msgspec.json.Encoder().encode

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

    type: Annotated[str, Meta(description="An event type that a pack of the org declares")]
    id: Annotated[str | None, Meta(description="Unique within its stream; makes a repeated post a duplicate")] = None
    lead: Annotated[str | None, Meta(description="Whom it is about, 1 to 256 printable characters")] = None
    subject: Annotated[str | None, Meta(description="For types of the market: one of the org's subjects")] = None
    time: Annotated[
        str | float | None,
        Meta(description="When it happened: RFC 3339 with an offset, or seconds since the epoch; default now"),
    ] = None
    data: Annotated[dict[str, Any], Meta(description="The payload; its fields are the type's")] = {}
    source: Annotated[str | None, Meta(description="Where it came from")] = None


class Offered(NamedTuple):
    """What a request brings, as the door let it in."""

    admitted: Admitted
    mode: cloudevents.Mode | None
    is_atomic: bool


async def post_events(service: Service, request: web.Request, org: Org) -> web.StreamResponse:
    admitted, mode, is_atomic = await offered(service, request, org)
    receipt = await service.ingest.submit([event for _, event in admitted.events], is_atomic=is_atomic)
    answer = _answer(admitted, receipt, mode)
    service.count(answer.accepted, answer.duplicates, len(answer.rejected), answer.dead)
    if answer.rejected:
        service.count_refused(each.code for each in answer.rejected)
    if answer.rejected and (is_atomic or len(answer.rejected) == admitted.total):
        raise refused(answer.rejected)
    return ready_json(request, service.dates.line(service.clock.now_us()), _encode(answer))


async def offered(service: Service, request: web.Request, org: Org) -> Offered:
    """Read a request and let its events in. Raises ``Problem``, too, where all or nothing is wanted and one breaks a rule."""
    is_atomic = flag(query_of(request, ("atomic",)), "atomic")
    body = await read_body(request)
    mode = cloudevents.mode_of(request.headers)
    admitted = await finish_politely(_admitting(org, mode, request.headers, body))
    if is_atomic and admitted.rejected:
        service.outcomes["rejected"] += len(admitted.rejected)
        service.count_refused(each.code for each in admitted.rejected)
        raise refused(admitted.rejected)
    return Offered(admitted, mode, is_atomic)


def _admitting(org: Org, mode: cloudevents.Mode | None, headers: cloudevents.Headers, body: bytes) -> Steps[Admitted]:
    """The door of the org, through the adapter where the events are CloudEvents."""
    if mode is None:
        return org.admission.admitting_body(body, headers.get("Content-Type", "application/json"))
    types, limits = org.catalogue.event_types, org.limits
    return cloudevents.admitting(mode, headers, body, admission=org.admission, types=types, limits=limits)


def _answer(admitted: Admitted, receipt: Receipt, mode: cloudevents.Mode | None) -> IngestAnswer:
    outcomes = receipt.outcomes
    if outcomes and receipt.new == len(outcomes) == admitted.total:  # all is new: the last one stands last in the log
        position = cast("Stored", outcomes[-1]).event.position
        return IngestAnswer(receipt.new, 0, [], receipt.dead, format_position(position))
    accepted = duplicates = 0
    last: Position | None = None
    rejected = list(admitted.rejected)
    for (index, _), outcome in zip(admitted.events, outcomes, strict=True):
        if not isinstance(outcome, Stored):
            told = refusal(index, outcome.code, outcome.path, outcome.expected, outcome.actual)
            rejected.append(cloudevents.in_terms(mode, told))
            continue
        if outcome.is_duplicate:
            duplicates += 1
        else:
            accepted += 1
        position = outcome.event.position
        if last is None or position > last:
            last = position
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
_ATTRIBUTES = (
    Query("ce-specversion", "Binary mode: `1.0`"),
    Query("ce-id", "Binary mode: the event's id at its source"),
    Query("ce-source", "Binary mode: where it came from; with `ce-id` it makes the id here"),
    Query("ce-type", "Binary mode: the event type"),
    Query("ce-subject", "Binary mode: the lead, or the subject of a market event; percent-encoded"),
    Query("ce-time", "Binary mode: when it happened; default now"),
)

ROUTES = (
    Route(
        "POST",
        "/v1/orgs/{org}/events",
        post_events,
        "ingest",
        "events",
        "Store events: one, a list, NDJSON, or CloudEvents",
        "Answers when the events are durable and folded. Events that break a rule are named in `rejected`. With the"
        " headers `ce-…` the body is the data of one CloudEvent (binary mode).",
        query=(ATOMIC,),
        headers=_ATTRIBUTES,
        body=(
            Content(_EVENTS),
            Content(media="application/x-ndjson"),
            Content(cloudevents.CloudEvent, media=cloudevents.STRUCTURED),
            Content(list[cloudevents.CloudEvent], media=cloudevents.BATCH),
        ),
        answers={200: Content(IngestAnswer)},
        problems=(400, 409, 413, 415, 422, 503),
    ),
)
