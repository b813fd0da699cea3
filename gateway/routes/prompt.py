"""A lead's facts as a text block for a language model's prompt. Whoever asks gets an answer: an empty one, if need be."""

import msgspec
import structlog
from aiohttp import web

from eventstore.event import Stream
from gateway.asks import AT, KNOWN_AT
from gateway.lookback import look_back, times_of
from gateway.orgs import Org
from gateway.parameters import query_of
from gateway.problems import invalid_parameter
from gateway.routing import Content, Query, Route
from gateway.service import Service
from kernel.steps import finish_politely
from kernel.times import format_time
from projections.hindsight.prompt import EMPTY, Block, Fact

_log = structlog.get_logger(__name__)

CHARS_DEFAULT = 2000  # about 500 tokens
CHARS_MAX = 100_000

MAX_CHARS = Query(
    "max_chars",
    "Length of the text in characters; the least important facts are left out",
    {"type": "integer", "minimum": 0, "maximum": CHARS_MAX, "default": CHARS_DEFAULT},
)
VARYING = {"Vary": "Accept", "Cache-Control": "private, no-cache"}


class PromptAnswer(msgspec.Struct, frozen=True):
    """``omitted`` is how many facts more were known than the length has room for."""

    lead: str
    as_of: str
    text: str
    facts: list[Fact]
    omitted: int


async def prompt(service: Service, request: web.Request, org: Org) -> web.Response:
    query = query_of(request, ("max_chars", "at", "known_at"))
    max_chars = _max_chars(query)
    at_us, known_at_us = times_of(query, service.clock.now_us())
    lead = request.match_info["lead"]
    block = await _block(service, org, lead, at_us, known_at_us, max_chars)
    if not wants_json(request.headers.get("Accept", "")):
        return web.Response(text=block.text, content_type="text/plain", charset="utf-8", headers=VARYING)
    answer = PromptAnswer(lead, format_time(at_us), block.text, block.facts, block.omitted)
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json", headers=VARYING)


async def _block(service: Service, org: Org, lead: str, at_us: int, known_at_us: int | None, max_chars: int) -> Block:
    """The block; an empty one for a lead nobody has heard of, and for whatever goes wrong here."""
    try:
        past = await look_back(service, Stream(org.name, "lead", lead), known_at_us)
        if past is None:
            return EMPTY
        block = await finish_politely(org.prompter.block(lead, past.events, at_us, max_chars, dead=past.dead))
        await past.close()
        return block
    except Exception as error:  # noqa: BLE001 - the caller writes to a customer now: counted, logged, answered empty
        service.prompt_failures += 1
        _log.error("prompt_failed", org=org.name, exc_info=error)
        return EMPTY


def _max_chars(query: dict[str, str]) -> int:
    text = query.get("max_chars", str(CHARS_DEFAULT))
    is_number = text.isascii() and text.isdigit() and len(text) <= 6
    if not is_number or int(text) > CHARS_MAX:
        raise invalid_parameter("max_chars", f"expected 0 to {CHARS_MAX}", text)
    return int(text)


def wants_json(accept: str) -> bool:
    """Whether an ``Accept`` names JSON, and text not above it.

    Examples
    --------
    >>> wants_json("application/json"), wants_json("*/*"), wants_json("application/json;q=0.5, text/plain")
    (True, False, False)
    """
    qualities = {"application/json": 0.0, "text/plain": 0.0}
    for item in accept.split(","):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        if media in qualities:
            qualities[media] = next((_quality(each) for each in parameters if each.startswith("q=")), 1.0)
    return qualities["application/json"] > 0 and qualities["application/json"] >= qualities["text/plain"]


def _quality(parameter: str) -> float:
    try:
        return float(parameter[2:])
    except ValueError:
        return 0.0


ROUTES = (
    Route(
        "GET",
        "/v1/orgs/{org}/leads/{lead}/prompt",
        prompt,
        "read",
        "leads",
        "A lead's known facts as a text block for a language model's prompt",
        "An unknown lead has an empty block and `200`. `text/plain`, or JSON where `Accept` asks for it.",
        query=(MAX_CHARS, AT, KNOWN_AT),
        answers={200: Content(PromptAnswer, also="text/plain")},
        problems=(422,),
    ),
)
