"""Events in, features out, nothing stored: the same door and the same fold, on a log that lives for one request."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from eventstore.event import Event, Stream
from eventstore.memory import MemoryEventStore
from eventstore.store import Refused
from gateway.asks import span_of
from gateway.bodies import decode_body, read_body
from gateway.orgs import Org
from gateway.parameters import query_of, time_value
from gateway.problems import Invalid, Problem
from gateway.routes.features import FeaturesAnswer
from gateway.routing import Content, Route
from gateway.service import Service
from projections.answer import encode_answer, own_part, span_answer
from projections.refolding import refolded

Time = str | float
MAX_MEMBERS = 100


class ExtractRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``events`` as they are posted; they need no lead."""

    events: list[msgspec.Raw]
    at: Time | None = None
    views: list[str] | None = None


_ONE = msgspec.json.Decoder(ExtractRequest)
_MANY = msgspec.json.Decoder(Annotated[list[ExtractRequest], Meta(max_length=MAX_MEMBERS)])


async def extract(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    body = await read_body(request)
    if body.lstrip()[:1] != b"[":
        member = await decode_body(request, _ONE, ExtractRequest)
        return web.Response(body=await _member(service, org, member, None), content_type="application/json")
    members = await decode_body(request, _MANY, list[ExtractRequest])
    parts: list[bytes] = []
    for index, member in enumerate(members):
        parts.append(await _member(service, org, member, index))
        await asyncio.sleep(0)  # a hundred folds are many milliseconds: let others in between
    return web.Response(body=b"[" + b",".join(parts) + b"]", content_type="application/json")


async def _member(service: Service, org: Org, member: ExtractRequest, index: int | None) -> bytes:
    """The features answer of one member."""
    now_us = service.clock.now_us()
    at_us = time_value(member.at, "at", now_us)
    at_us = now_us if at_us is None else at_us
    span, _ = span_of(org, member.views, None)
    stream = Stream(org.name, "lead", "")
    events = await _store(service, org, stream, member.events, index)
    entity = refolded(stream, 0, org.catalogue, events, until_us=at_us)
    entity.read(at_us)
    if span.is_own:
        selection = span.own
        change_us = entity.next_change_us(selection)
        return encode_answer(None, entity.as_of_us, change_us, selection, entity.values(selection)).body
    market = service.markets.of(org.name)
    if member.at is None:
        block = await market.block(span, "map")
        entity.read(block.checked_us)
        return span_answer(None, span, own_part(entity, span, "map"), block, "map").body
    part = await market.part_at(span, "map", at_us, None)
    return span_answer(None, span, own_part(entity, span, "map"), part, "map").body


async def _store(
    service: Service, org: Org, stream: Stream, raws: Sequence[msgspec.Raw], index: int | None
) -> list[Event]:
    """The events as a log would keep them: checked, without duplicates, conflicts refused."""
    if len(raws) > org.limits.events:
        raise Problem("request_too_large", f"events: expected at most {org.limits.events}, got {len(raws)}")
    admitted = org.extraction.admit_many(raws, needs_entity=False)
    if admitted.rejected:
        raise _refused(
            [_invalid(each.path, each.expected, each.actual, each.index, index) for each in admitted.rejected]
        )
    for _, event in admitted.events:
        event.stream = stream  # whatever lead each names, together they are one
    log = MemoryEventStore(types=org.catalogue.event_types, clock=service.clock)
    outcomes = await log.append([event for _, event in admitted.events])
    conflicts = [
        _invalid(outcome.path, outcome.expected, outcome.actual, place, index)
        for (place, _), outcome in zip(admitted.events, outcomes, strict=True)
        if isinstance(outcome, Refused)
    ]
    if conflicts:
        raise _refused(conflicts)
    return await log.read(stream)


def _invalid(path: str, expected: str, actual: str, place: int, index: int | None) -> Invalid:
    full = f"events[{place}]" + (f".{path}" if path else "")
    return Invalid(full, expected, actual, index)


def _refused(errors: list[Invalid]) -> Problem:
    first = errors[0]
    return Problem("event_invalid", f"{first.path}: expected {first.expected}, got {first.actual}", errors=errors)


ROUTES = (
    Route(
        "POST",
        "/v1/orgs/{org}/features/extract",
        extract,
        "read",
        "leads",
        "Features of the events in the request; nothing is stored",
        "One object, or a list of up to 100 that is answered by a list.",
        body=(Content(ExtractRequest | list[ExtractRequest]),),
        answers={200: Content(FeaturesAnswer | list[FeaturesAnswer])},
        problems=(400, 413, 415, 422),
    ),
)
