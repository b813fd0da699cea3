"""One lead's features: the hot path. An awake lead's answer is bytes that were encoded once.

Until the lead changes or ``next_change`` is reached, a read costs two dictionary look-ups and one response.
"""

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from eventstore.event import Stream
from gateway.asks import AT, FEATURES, FORMAT, KNOWN_AT, ON_MISSING, SERVICE, VIEWS, Ask, ask_of
from gateway.etags import matches
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.ready import ReadyResponse, fits, head_of
from gateway.routing import IF_NONE_MATCH, Content, Query, Route
from gateway.seam import seam_of
from gateway.served import ServedAnswer, joined_answer, own_answer, renewed
from gateway.service import Service
from kernel.ids import format_position
from projections.answer import Answer
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


async def lead_features(service: Service, request: web.Request, org: Org) -> web.StreamResponse:
    raw_query = request.rel_url.raw_query_string
    stream = Stream(org.name, "lead", request.match_info["lead"])
    now_us = service.clock.now_us()
    entity = service.awake(stream)
    if entity is not None and entity.answers is not None:
        answer = entity.answers.get(raw_query)
        if answer is not None:
            if answer.holds(now_us):
                service.answers.hits += 1
                return _again(service, request, entity, answer, now_us)
            if answer.seam is not None and (ready := _rejoined(service, request, entity, answer, now_us)) is not None:
                service.answers.joins += 1
                return ready
    ask = ask_of(org, raw_query, request, now_us)
    if not ask.is_live:
        return await _at(service, request, stream, ask, now_us)
    service.answers.misses += 1
    if ask.span.is_own:
        return await _live(service, request, stream, ask, raw_query)
    return await _joined(service, request, stream, ask, raw_query)


async def _live(service: Service, request: web.Request, stream: Stream, ask: Ask, raw_query: str) -> web.Response:
    entity = await service.read(stream)
    if entity is None:
        entity = _without_events(service, stream, ask)
        entity.read(service.clock.now_us())
        return respond(request, entity, own_answer(entity, ask), LIVE)
    answer = own_answer(entity, ask)
    if ask.is_timeless:
        service.answers.keep(entity, raw_query, answer)
    return respond(request, entity, answer, LIVE)


async def _joined(
    service: Service, request: web.Request, stream: Stream, ask: Ask, raw_query: str
) -> web.StreamResponse:
    """A live answer with the market's part in it."""
    market = service.markets.of(stream.org)
    entity = service.awake(stream) or await service.read(stream)
    if entity is None or not entity.has_outside_event:
        entity = _without_events(service, stream, ask)
        block = await market.block(ask.span, ask.format)
        entity.read(block.checked_us)
        return respond(request, entity, renewed(None, entity, ask, block), LIVE)
    block = await market.block(ask.span, ask.format)
    entity = service.awake(stream) or entity  # it may have been replaced meanwhile
    entity.read(block.checked_us)
    kept = None if entity.answers is None else entity.answers.get(raw_query)
    answer = renewed(kept, entity, ask, block)
    if answer.own is not None:
        answer.seam = seam_of(market, stream.id, ask, answer.own, block, _address(entity, answer, LIVE))
    if kept is not None and entity.answers is not None:
        entity.answers[raw_query] = answer  # in its place, for the budget of what is kept
    elif ask.is_timeless:
        service.answers.keep(entity, raw_query, answer)
    return _again(service, request, entity, answer, block.checked_us)


async def _at(service: Service, request: web.Request, stream: Stream, ask: Ask, now_us: int) -> web.Response:
    at_us = now_us if ask.at_us is None else ask.at_us
    entity = await service.read_at(stream, at_us, ask.known_at_us)
    if entity is None:
        entity = _without_events(service, stream, ask)
        entity.read(at_us)
    if ask.span.is_own:
        answer = own_answer(entity, ask)
    else:
        part = await service.markets.of(stream.org).part_at(ask.span, ask.format, at_us, ask.known_at_us)
        answer = joined_answer(entity, ask, part)
    is_settled = ask.at_us is not None and ask.at_us < now_us and ask.known_at_us is not None
    return respond(request, entity, answer, SETTLED if is_settled else LIVE)


def _without_events(service: Service, stream: Stream, ask: Ask) -> FoldedEntity:
    if not ask.is_default_given:
        raise Problem("lead_not_found", f"no lead {stream.id}")
    return service.empty(stream)


def _again(
    service: Service, request: web.Request, entity: FoldedEntity, answer: ServedAnswer, now_us: int
) -> web.StreamResponse:
    """A live answer as bytes, where nothing about the request asks for more."""
    if answer.version != entity.version:
        _address(entity, answer, LIVE)
    if answer.version == entity.version and fits(request) and "If-None-Match" not in request.headers:
        return ReadyResponse(answer.head, service.dates.line(now_us), answer.body)
    return respond(request, entity, answer, LIVE)


def _rejoined(
    service: Service, request: web.Request, entity: FoldedEntity, answer: ServedAnswer, now_us: int
) -> web.StreamResponse | None:
    """An answer that only the market has changed, where the bytes of both sides are at hand.

    None where more is to be done.
    """
    seam = answer.seam
    if seam is None or answer.version != entity.version or (block := seam.current(now_us)) is None:
        return None
    if (answer.service is not None and not answer.service.is_current) or not fits(request):
        return None
    if "If-None-Match" in request.headers:
        return None
    head, body = seam.join(block)
    return ReadyResponse(head, service.dates.line(now_us), *body)


def respond(request: web.Request, entity: FoldedEntity, answer: ServedAnswer, caching: str) -> web.Response:
    """The answer, or ``304`` for a reader that has it. Version and position are headers: no part of the ETag."""
    headers = answer.headers
    if headers is None or answer.version != entity.version:
        headers = _address(entity, answer, caching)
    wanted = request.headers.get("If-None-Match")
    if wanted is not None and matches(wanted, answer.etag):
        bare = headers.copy()
        del bare["Content-Type"], bare["Content-Length"]
        return web.Response(status=304, headers=bare)
    return web.Response(body=answer.body, headers=headers.copy())  # some versions of aiohttp write into it


def _address(entity: FoldedEntity, answer: ServedAnswer, caching: str) -> CIMultiDict[str]:
    """Give an answer its headers."""
    answer.version = entity.version
    headers = answer.headers = _headers(entity, answer, caching)
    answer.head = head_of(headers)
    return headers


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


_SENDS = (
    Query("ETag", "Over the lead, the catalogue, the names and the values; it survives a restart"),
    Query("Cache-Control", "A `max-age` only when both `at` and `known_at` lie in the past"),
    Query("X-Lead-Version", "Events of the lead so far", {"type": "integer"}),
    Query("X-Log-Position", "Place in the log of the lead's newest event"),
)

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
        headers=(IF_NONE_MATCH,),
        sends=_SENDS,
        answers={200: Content(FeaturesAnswer), 304: None},
        problems=(404, 422),
    ),
)
