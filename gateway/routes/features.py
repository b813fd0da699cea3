"""One lead's features: the hot path. An awake lead's answer is bytes that were encoded once.

Until the lead changes or ``next_change`` is reached, a read costs two dictionary look-ups and one response.
"""

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from eventstore.event import Stream
from gateway.asks import AT, FEATURES, FORMAT, KNOWN_AT, ON_MISSING, SERVICE, VIEWS, Ask, ask_of
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.routing import Content, Route
from gateway.service import Service
from kernel.ids import format_position
from projections.answer import Answer, encode_answer
from projections.entity import FoldedEntity

LIVE = "private, no-cache"
SETTLED = "private, max-age=3600"  # both times lie in the past: only an erasure can change it


class FeaturesAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """``values`` by name; with ``format=vector`` a list in the order of ``names``."""

    as_of: str
    next_change: str | None
    catalogue: str
    values: dict[str, float | str | list[str] | None] | list[float | None]
    lead: str | None = None
    names: list[str] | None = None


class ServedAnswer(Answer, gc=False):
    """An answer with the headers it was sent with, good for one version of the lead."""

    version: int = -1
    headers: CIMultiDict[str] | None = None


async def lead_features(service: Service, request: web.Request, org: Org) -> web.Response:
    raw_query = request.rel_url.raw_query_string
    stream = Stream(org.name, "lead", request.match_info["lead"])
    now_us = service.clock.now_us()
    entity = service.awake(stream)
    if entity is not None and entity.answers is not None:
        answer = entity.answers.get(raw_query)
        if answer is not None and (answer.next_change_us is None or now_us < answer.next_change_us):
            return respond(request, entity, answer, LIVE)
    ask = ask_of(org, raw_query, request, now_us)
    if ask.is_live:
        return await _live(service, request, stream, ask, raw_query)
    return await _at(service, request, stream, ask, now_us)


async def _live(service: Service, request: web.Request, stream: Stream, ask: Ask, raw_query: str) -> web.Response:
    entity = await service.read(stream)
    if entity is None:
        entity = _without_events(service, stream, ask)
        entity.read(service.clock.now_us())
        return respond(request, entity, _answer(entity, ask), LIVE)
    answer = _answer(entity, ask)
    if ask.is_timeless:
        service.answers.keep(entity, raw_query, answer)
    return respond(request, entity, answer, LIVE)


async def _at(service: Service, request: web.Request, stream: Stream, ask: Ask, now_us: int) -> web.Response:
    at_us = now_us if ask.at_us is None else ask.at_us
    entity = await service.read_at(stream, at_us, ask.known_at_us)
    if entity is None:
        entity = _without_events(service, stream, ask)
        entity.read(at_us)
    is_settled = ask.at_us is not None and ask.at_us < now_us and ask.known_at_us is not None
    return respond(request, entity, _answer(entity, ask), SETTLED if is_settled else LIVE)


def _without_events(service: Service, stream: Stream, ask: Ask) -> FoldedEntity:
    if not ask.is_default_given:
        raise Problem("lead_not_found", f"no lead {stream.id}")
    return service.empty(stream)


def _answer(entity: FoldedEntity, ask: Ask) -> ServedAnswer:
    """The encoded answer of an entity that was read."""
    answer = encode_answer(
        entity.stream.id,
        entity.as_of_us,
        entity.next_change_us(ask.selection),
        ask.selection,
        entity.values(ask.selection),
        "vector" if ask.format == "vector" else "map",
    )
    return ServedAnswer(answer.body, answer.etag, answer.next_change_us)


def respond(request: web.Request, entity: FoldedEntity, answer: ServedAnswer, caching: str) -> web.Response:
    """The answer, or ``304`` for a reader that has it. Version and position are headers: no part of the ETag."""
    headers = answer.headers
    if headers is None or answer.version != entity.version:
        answer.version = entity.version
        headers = answer.headers = _headers(entity, answer, caching)
    wanted = request.headers.get("If-None-Match")
    if wanted is not None and _matches(wanted, answer.etag):
        bare = headers.copy()
        del bare["Content-Type"], bare["Content-Length"]
        return web.Response(status=304, headers=bare)
    return web.Response(body=answer.body, headers=headers.copy())  # some versions of aiohttp write into it


def _headers(entity: FoldedEntity, answer: Answer, caching: str) -> CIMultiDict[str]:
    return CIMultiDict(
        {
            "Content-Type": "application/json",
            "Content-Length": str(len(answer.body)),
            "ETag": answer.etag,
            "Cache-Control": caching,
            "X-Lead-Version": str(entity.version),
            "X-Log-Position": format_position(entity.position),
        }
    )


def _matches(wanted: str, etag: str) -> bool:
    """Weak comparison, as RFC 9110 asks for it here."""
    if wanted == etag or wanted.strip() == "*":
        return True
    bare = etag.removeprefix("W/")
    return any(part.strip().removeprefix("W/") == bare for part in wanted.split(","))


ROUTES = (
    Route(
        "GET",
        "/v1/orgs/{org}/leads/{lead}/features",
        lead_features,
        "read",
        "leads",
        "A lead's features, now or as of another time",
        "The same bytes are served until `next_change` unless an event arrives; `ETag` and `If-None-Match` spare them.",
        query=(VIEWS, FEATURES, SERVICE, AT, KNOWN_AT, FORMAT, ON_MISSING),
        answers={200: Content(FeaturesAnswer), 304: None},
        problems=(404, 422),
    ),
)
