"""Dead letters: accepted events that a fold raised on; listed, and tried again with today's code."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from eventstore.event import NewEvent, Stream
from eventstore.system import DeadLetterRetried
from gateway.listing import Item, Listing, Part, part_of
from gateway.orgs import Org
from gateway.parameters import Page, page_of, query_of
from gateway.problems import Problem
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routing import Content, Route
from gateway.service import Service
from kernel.times import format_time
from projections.poison import DeadLetter

_PAGE = 500
_DECODER = msgspec.msgpack.Decoder(DeadLetter)


class DeadLetterDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """``at`` is when the event was recorded; exactly one of ``lead`` and ``subject``."""

    id: str
    event_id: str
    type: str
    error: str
    at: str
    lead: str | None = None
    subject: str | None = None


class DeadLetterList(msgspec.Struct, frozen=True):
    items: list[DeadLetterDocument]
    cursor: str | None


class Retried(msgspec.Struct, frozen=True):
    folded: bool


class _Place(NamedTuple):
    """Where a dead letter stands: its stream's number and its event's version. Its order in the list, and its id."""

    number: int
    version: int


async def list_dead_letters(service: Service, request: web.Request, org: Org) -> web.Response:
    return await DEAD_LETTERS.answer(service, request, org)


def _page(request: web.Request, org: Org, key: Any) -> Page:
    return page_of(query_of(request, ("limit", "cursor")), "dead-letters", org.name, key=key)


async def _part(service: Service, request: web.Request, org: Org, after: list[Any] | None, limit: int) -> Part:
    found: list[Item] = []
    async for each in _letters(service, org.name, _Place(0, 0) if after is None else _Place(*after)):
        found.append(Item(each[0], list(each[0]), _document(*each)))
        if len(found) > limit:
            break
    return part_of(found, limit)


DEAD_LETTERS = Listing(_page, _part, tuple[int, int])


async def _letters(service: Service, org: str, after: _Place) -> AsyncIterator[tuple[_Place, Stream, DeadLetter]]:
    """Dead letters of an org after a place, those of leads in memory included."""
    await service.host.snapshot()
    await service.host.snapshots.flush()
    cursor = (max(after.number - 1, 0), 0)
    while page := service.host.snapshots.dead(after=cursor, limit=_PAGE):
        cursor = page[-1][:2]
        infos = await service.store.streams_of([number for number, _, _ in page])
        for (number, _, encoded), info in zip(page, infos, strict=True):
            letter = _DECODER.decode(encoded)
            place = _Place(number, letter.version)
            if info is not None and info.stream.org == org and place > after:
                yield place, info.stream, letter


def _document(place: _Place, stream: Stream, letter: DeadLetter) -> DeadLetterDocument:
    return DeadLetterDocument(
        f"{place.number}-{place.version}",
        letter.event_id,
        letter.type,
        letter.error,
        format_time(letter.recorded_us),
        stream.id if stream.kind == "lead" else None,
        stream.id if stream.kind == "subject" else None,
    )


async def retry_dead_letter(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    letter_id = request.match_info["id"]
    place = _place_of(letter_id)
    stream = await _stream_of(service, org, place) if place is not None else None
    entity = await service.host.entity(stream) if stream is not None else None
    if place is None or stream is None or entity is None or not entity.is_dead(place.version):
        raise Problem("dead_letter_not_found", f"no dead letter {letter_id}")
    (event,) = await service.store.read(stream, after_version=place.version - 1, limit=1)
    refolded = await service.host.refold(stream)
    is_folded = refolded is not None and not refolded.is_dead(place.version)
    await _note_retry(service, stream, event.id, is_folded)
    return json_response(Retried(is_folded))


def _place_of(letter_id: str) -> _Place | None:
    number, _, version = letter_id.partition("-")
    is_written = all(part.isascii() and part.isdigit() and len(part) < 19 for part in (number, version))
    return _Place(int(number), int(version)) if is_written else None


async def _stream_of(service: Service, org: Org, place: _Place) -> Stream | None:
    (info,) = await service.store.streams_of([place.number])
    return info.stream if info is not None and info.stream.org == org.name else None


async def _note_retry(service: Service, stream: Stream, event_id: str, is_folded: bool) -> None:
    payload = DeadLetterRetried(event_id, is_folded)
    audit = NewEvent(
        stream,
        f"~dlr:{service.ids.uuid7()}",
        "dead_letter_retried",
        service.clock.now_us(),
        msgspec.json.encode(payload),
        payload,
    )
    await service.ingest.record([audit])


_LETTERS = "/v1/orgs/{org}/dead-letters"

ROUTES = (
    Route(
        "GET",
        _LETTERS,
        list_dead_letters,
        "read",
        "operations",
        "Accepted events that are left out since a fold raised on them",
        query=(LIMIT, CURSOR),
        answers={200: Content(DeadLetterList)},
        problems=(422,),
    ),
    Route(
        "POST",
        _LETTERS + "/{id}/retry",
        retry_dead_letter,
        "admin",
        "operations",
        "Fold the event's lead again with today's code",
        answers={200: Content(Retried)},
        problems=(422, 503),
    ),
)
