"""Lists of leads by the priority of their latest predictions."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from aiohttp import web

from eventstore.event import Stream
from gateway.listing import Item, Listing, Part
from gateway.orgs import Org
from gateway.parameters import Page, choice, page_of, query_of
from gateway.problems import invalid_parameter
from gateway.routes.catalogue import CURSOR, LIMIT
from gateway.routes.lead_scoring import BASE, configured
from gateway.routing import Content, Query, Route
from gateway.scoring.predicting import book_of
from gateway.scoring.scores import no_configuration
from gateway.service import Service
from scoring.prediction import Prediction
from scoring.priority import TIERS, Tier, least_of
from scoring.ranking import Standing

_SHOWN_DEFAULT, _SHOWN_MAX = 20, 1000

TIER = Query("tier", "Only leads of this tier", {"enum": list(TIERS), "default": "top"})
MIN_SCORE = Query(
    "minScore", "Only leads of this priority or more", {"type": "number", "minimum": 0, "maximum": 100, "default": 0}
)
N = Query("n", "How many", {"type": "integer", "minimum": 1, "maximum": _SHOWN_MAX, "default": 10})


class PredictionList(msgspec.Struct, frozen=True):
    items: list[Prediction]
    cursor: str | None


async def ranked_leads(service: Service, request: web.Request, org: Org) -> web.Response:
    return await RANKED.answer(service, request, org)


def _ranked_page(request: web.Request, org: Org, key: Any) -> Page:
    query = query_of(request, ("limit", "cursor", "minScore"))
    return _ranking_page(request, org, query, _limit(query, "limit", _SHOWN_DEFAULT), key)


async def top_leads(service: Service, request: web.Request, org: Org) -> web.Response:
    return await TOP.answer(service, request, org)


def _top_page(request: web.Request, org: Org, key: Any) -> Page:
    query = query_of(request, ("n", "cursor"))
    return _ranking_page(request, org, query, _limit(query, "n", 10), key)


async def leads_by_tier(service: Service, request: web.Request, org: Org) -> web.Response:
    return await OF_TIER.answer(service, request, org)


def _tier_page(request: web.Request, org: Org, key: Any) -> Page:
    query = query_of(request, ("limit", "cursor", "tier"))
    return _ranking_page(request, org, query, _limit(query, "limit", _SHOWN_DEFAULT), key, _tier(query))


def _tier(query: dict[str, str]) -> Tier:
    return cast("Tier", choice(query, "tier", TIERS))


def _ranking_page(
    request: web.Request, org: Org, query: dict[str, str], limit: int, key: Any, tier: Tier | None = None
) -> Page:
    """Of the configuration that the path names. Raises ``Problem``."""
    configuration = request.match_info["configId"]
    if org.settings.scoring_of(configuration) is None:
        raise no_configuration(configuration)
    identity = ("predictions", org.name, configuration, tier or "", str(_min_score(query)))
    return page_of({**query, "limit": str(limit)}, *identity, key=key)


async def _ranking_part(service: Service, request: web.Request, org: Org, after: list[Any] | None, limit: int) -> Part:
    return await _best(service, request, org, after, limit, None)


async def _tier_part(service: Service, request: web.Request, org: Org, after: list[Any] | None, limit: int) -> Part:
    return await _best(service, request, org, after, limit, _tier(dict(request.rel_url.query)))


async def _best(
    service: Service, request: web.Request, org: Org, after: list[Any] | None, limit: int, tier: Tier | None
) -> Part:
    scores, configuration = await configured(service, request, org)
    least = _min_score(dict(request.rel_url.query))
    place = None if after is None else Standing(*after)
    standings = scores.ranking(configuration).best(limit + 1, least=least, tier=tier, after=place)
    items = [
        Item([-standing.priority, standing.unlikely, standing.lead], list(standing), prediction)
        for standing, prediction in await _predictions(service, org, standings[:limit])
    ]
    last = list(standings[limit - 1]) if len(standings) > limit else None
    return Part(items, last is None, last=last)


_STANDING = tuple[float, str, str, int, str, int]
RANKED = Listing(_ranked_page, _ranking_part, _STANDING)
TOP = Listing(_top_page, _ranking_part, _STANDING)
OF_TIER = Listing(_tier_page, _tier_part, _STANDING)


async def _predictions(service: Service, org: Org, standings: Sequence[Standing]) -> list[tuple[Standing, Prediction]]:
    """The latest prediction of each lead, in their order."""
    entities = await service.wake([Stream(org.name, "lead", standing.lead) for standing in standings])
    found = []
    for standing, entity in zip(standings, entities, strict=True):
        book = None if entity is None else book_of(entity)
        entry = None if book is None else book.entry(standing.prediction)
        if entry is not None:
            found.append((standing, await service.predictor.stored(org.name, entry)))
    return found


def _limit(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    is_number = text.isascii() and text.isdigit() and len(text) <= 6
    if not is_number or not 1 <= int(text) <= _SHOWN_MAX:
        raise invalid_parameter(name, f"expected 1 to {_SHOWN_MAX}", text, "invalid_limit")
    return int(text)


def _min_score(query: dict[str, str]) -> int:
    text = query.get("minScore", "0")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise invalid_parameter("minScore", "expected a number from 0 to 100", text)
    return least_of(value)


ROUTES = (
    Route(
        "GET",
        BASE + "/{configId}/ml/ranked-leads",
        ranked_leads,
        "read",
        "lead scoring",
        "Leads by priority",
        query=(LIMIT, CURSOR, MIN_SCORE),
        answers={200: Content(PredictionList)},
        problems=(404, 422),
    ),
    Route(
        "GET",
        BASE + "/{configId}/ml/top-leads",
        top_leads,
        "read",
        "lead scoring",
        "The first leads by priority",
        query=(N, CURSOR),
        answers={200: Content(PredictionList)},
        problems=(404, 422),
    ),
    Route(
        "GET",
        BASE + "/{configId}/ml/leads-by-tier",
        leads_by_tier,
        "read",
        "lead scoring",
        "Leads of one tier, by priority",
        query=(TIER, LIMIT, CURSOR),
        answers={200: Content(PredictionList)},
        problems=(404, 422),
    ),
)
