"""Features of many leads in one answer: each lead's values are encoded once and kept until they change."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from eventstore.event import Stream
from gateway.asks import Ask, not_ahead, span_of
from gateway.bodies import decode_body
from gateway.orgs import Org
from gateway.parameters import query_of, time_value
from gateway.routing import Content, Route
from gateway.service import Service
from kernel.times import format_time
from projections.answer import Form, Part, own_part, span_values
from projections.entity import FoldedEntity

WAKING = 256  # leads woken at once for one request
Time = str | float


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which features of which leads: by views, by reference, or by a service's name; default all views."""

    leads: Annotated[list[str], Meta(min_length=1, max_length=1000)]
    views: list[str] | None = None
    features: list[str] | None = None
    service: str | None = None
    at: Time | None = None
    known_at: Time | None = None
    format: Form | None = None


class BatchResult(msgspec.Struct, frozen=True):
    """``values`` in the order of ``names``; an object with ``format=map``; null when not found."""

    lead: str
    status: Literal["found", "not_found"]
    values: list[float | str | list[str] | None] | dict[str, float | str | list[str] | None] | None


class BatchAnswer(msgspec.Struct, frozen=True):
    names: list[str]
    as_of: str
    catalogue: str
    results: list[BatchResult]


_DECODER = msgspec.json.Decoder(BatchRequest)
_ENCODER = msgspec.json.Encoder()


async def batch_features(service: Service, request: web.Request, org: Org) -> web.Response:
    wanted, ask = await asked(service, request, org)
    found = await values(service, org, wanted.leads, ask)
    return answer(ask, found, wanted.leads)


class BatchValues(msgspec.Struct, frozen=True):
    """Encoded values, in the order of the leads asked for; None for one that is not known. All as of one instant."""

    as_of_us: int
    catalogue: str
    parts: list[bytes | None]


async def asked(service: Service, request: web.Request, org: Org) -> tuple[BatchRequest, Ask]:
    """The body, and what it asks for. Raises ``Problem`` or ``UnknownFeature``."""
    query_of(request, ())
    wanted = await decode_body(request, _DECODER, BatchRequest)
    return wanted, ask_of_batch(service, org, wanted)


def ask_of_batch(service: Service, org: Org, wanted: BatchRequest) -> Ask:
    """What a body asks for. Raises ``Problem`` or ``UnknownFeature``."""
    now_us = service.clock.now_us()
    at_us = time_value(wanted.at, "at", now_us)
    known_at_us = not_ahead(time_value(wanted.known_at, "known_at", now_us), now_us)
    form = wanted.format or "list"
    span, service_asked = span_of(org, wanted.views, wanted.features, wanted.service, form)
    return Ask(span, form, False, at_us, known_at_us, service=service_asked)


async def values(service: Service, org: Org, leads: Sequence[str], ask: Ask) -> BatchValues:
    """The values of leads."""
    if ask.is_live:
        parts, as_of_us = await _live(service, org, leads, ask)
    else:
        as_of_us = service.clock.now_us() if ask.at_us is None else ask.at_us
        parts = await _at(service, org, leads, ask, as_of_us)
    return BatchValues(as_of_us, ask.span.fingerprint, parts)


def answer(ask: Ask, found: BatchValues, leads: Sequence[str]) -> web.Response:
    """The answer to a batch."""
    return web.Response(body=_body(ask, found.as_of_us, leads, found.parts), content_type="application/json")


async def _live(service: Service, org: Org, leads: Sequence[str], ask: Ask) -> tuple[list[bytes | None], int]:
    """The encoded values of each lead, all of one instant."""
    streams = [Stream(org.name, "lead", lead) for lead in leads]
    asleep = list(dict.fromkeys(stream for stream in streams if service.awake(stream) is None))
    woken: dict[Stream, FoldedEntity | None] = {}
    for start in range(0, len(asleep), WAKING):
        chunk = asleep[start : start + WAKING]
        woken |= zip(chunk, await service.wake(chunk), strict=True)
    key = _cache_key(ask)
    market = None if ask.span.is_own else await service.markets.of(org.name).block(ask.span, ask.format)
    now_us = service.clock.now_us() if market is None else market.checked_us
    parts: list[bytes | None] = []
    for stream in streams:
        entity = service.awake(stream) or woken.get(stream)
        parts.append(None if entity is None else _values(service, entity, ask, key, market, now_us))
    return parts, now_us


async def _at(service: Service, org: Org, leads: Sequence[str], ask: Ask, at_us: int) -> list[bytes | None]:
    market = None
    if not ask.span.is_own:
        market = await service.markets.of(org.name).part_at(ask.span, ask.format, at_us, ask.known_at_us)
    folded: dict[str, bytes | None] = {}
    for lead in leads:
        if lead not in folded:
            entity = await service.read_at(Stream(org.name, "lead", lead), at_us, ask.known_at_us)
            own = None if entity is None else own_part(entity, ask.span, ask.format)
            folded[lead] = None if own is None else span_values(ask.span, own, market, ask.format)
            await asyncio.sleep(0)  # a thousand folds are many milliseconds: let others in between
    return [folded[lead] for lead in leads]


def _cache_key(ask: Ask) -> str:
    """Beside the raw query strings in a lead's cache, and never equal to one."""
    return f"\0{ask.format}\0{ask.span.key}"


def _values(
    service: Service, entity: FoldedEntity, ask: Ask, key: str, market: Part | None, now_us: int
) -> bytes | None:
    """A lead's encoded values, its market's joined; None for one that is not known."""
    if not entity.has_outside_event:
        return None
    kept = None if entity.answers is None else entity.answers.get(key)
    if kept is None or not kept.holds(now_us):
        entity.read(now_us)
        kept = own_part(entity, ask.span, ask.format)
        service.answers.keep(entity, key, kept)
    return span_values(ask.span, kept, market, ask.format)


def _body(ask: Ask, as_of_us: int, leads: Sequence[str], parts: Sequence[bytes | None]) -> bytes:
    """The answer from its encoded parts: nothing that was encoded is looked at again."""
    encode = _ENCODER.encode
    head = b'{"names":%b,"as_of":%b,"catalogue":%b,"results":[' % (
        encode(ask.span.column_names if ask.format == "vector" else ask.span.names),
        encode(format_time(as_of_us)),
        encode(ask.span.fingerprint),
    )
    results = [
        b'{"lead":%b,"status":"not_found","values":null}' % encode(lead)
        if part is None
        else b'{"lead":%b,"status":"found","values":%b}' % (encode(lead), part)
        for lead, part in zip(leads, parts, strict=True)
    ]
    return head + b",".join(results) + b"]}"


ROUTES = (
    Route(
        "POST",
        "/v1/orgs/{org}/features",
        batch_features,
        "read",
        "leads",
        "Features of up to 1,000 leads",
        body=(Content(BatchRequest),),
        answers={200: Content(BatchAnswer)},
        problems=(400, 413, 415, 422),
    ),
)
