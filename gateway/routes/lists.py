"""Ranked lists and search: the leads of an org by a feature's value, filtered, searched, page by page."""

import sys
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from gateway.listing import Item, Listing, Part
from gateway.lists.org_lists import LeadPage, Question
from gateway.orgs import Org
from gateway.parameters import Page, choice, names, page_of, query_of
from gateway.problems import invalid_parameter
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routing import Content, Query, Route
from gateway.service import Service
from kernel.settings_scoring import DEFAULT_CONFIGURATION
from kernel.times import format_time
from projections.ranking.conditions import EXPECTED, Condition, condition_of
from projections.ranking.paging import Place
from projections.ranking.table import Row
from scoring.priority import TIERS
from scoring.ranking import Ranking

PARAMETERS = ("sort", "filter", "q", "tier", "features", "limit", "cursor")
Q_MAX = 256
FILTERS_MAX = 16

SORT = Query(
    "sort",
    "`view:feature`, ascending, or `-view:feature`, descending; null last in both. Default: as they were first heard of",
    {"type": "string", "examples": ["-rfm:monetary_total"]},
)
FILTER = Query(
    "filter",
    "`view:feature`, one of `<` `<=` `=` `!=` `>=` `>`, and a number, a text or `null`; may be repeated: all must hold. "
    "Null fulfils only `=null`",
    {"type": "array", "items": {"type": "string"}, "maxItems": FILTERS_MAX, "examples": [["rfm:recency_days<=30"]]},
)
Q = Query(
    "q",
    "Only leads whose id, name, e-mail or company contains this text, in any case",
    {"type": "string", "minLength": 1, "maxLength": Q_MAX},
)
TIER = Query(
    "tier",
    "Only leads whose latest prediction of conversion, under the configuration `default`, is in this tier",
    {"enum": list(TIERS)},
)
SHOWN = Query("features", "Comma-separated references view:name to show beside the one sorted by")


class LeadItem(msgspec.Struct, frozen=True, gc=False):
    """A lead in a list: ``values`` hold at ``as_of``."""

    lead: str
    values: dict[str, float | str | list[str] | None]
    name: str | None
    email: str | None
    company: str | None
    as_of: str


class LeadList(msgspec.Struct, frozen=True):
    items: list[LeadItem]
    cursor: str | None


async def list_leads(service: Service, request: web.Request, org: Org) -> web.Response:
    page = _page(request, org, _PLACE)
    found = await _found(service, request, org, page.after, page.limit)
    question = _question(org, request)
    last_key = None if found.last is None else [found.list_id, *found.last]
    return json_response(page.answer([_document(found, row, question) for _, row in found.rows], last_key))


def _page(request: web.Request, org: Org, key: Any) -> Page:
    query = query_of(request, PARAMETERS, repeatable=("filter",))
    filters = request.rel_url.query.getall("filter", [])
    _question(org, request)
    tier = choice(query, "tier", TIERS) if "tier" in query else None
    identity = (query.get("sort", ""), *filters, "", query.get("q", ""), *([] if tier is None else [tier]))
    return page_of(query, "leads", org.name, *identity, key=key)


async def _found(
    service: Service, request: web.Request, org: Org, after: list[Any] | None, limit: int, *, is_part: bool = False
) -> LeadPage:
    question, tier = _question(org, request), request.rel_url.query.get("tier")
    place = None if after is None else (after[0], Place(after[1], after[2]))
    is_wanted = None if tier is None else _in_tier((await service.scores.of(org)).ranking(DEFAULT_CONFIGURATION), tier)
    return await service.lists.of(org.name).page(question, limit, place, is_wanted, is_part=is_part)


async def _part(service: Service, request: web.Request, org: Org, after: list[Any] | None, limit: int) -> Part:
    """Leads of some log among those of others: of equal value, the ones come first that were early in their own."""
    found = await _found(service, request, org, after, limit, is_part=True)
    question = _question(org, request)
    items = [
        Item(
            [*_order(question, place, row), place.number],
            [found.list_id, *place],
            _document(found, row, question),
        )
        for place, row in found.rows
    ]
    last = None if found.last is None else [found.list_id, *found.last]
    return Part(items, found.last is None, [found.list_id, _FIRST, -1], last)


def _order(question: Question, place: Place, row: Row) -> list[Any]:
    """Keys of texts mean something in one log only: there the texts themselves are compared, as they are now."""
    if question.sort is None or place.key is None or not isinstance(row.values[0], str):
        return [place.key]
    return [[row.values[0]] if question.is_descending else row.values[0]]


_PLACE = tuple[str, float | None, int]
_FIRST = -sys.float_info.max  # before every key
LEADS = Listing(_page, _part, _PLACE)


def _question(org: Org, request: web.Request) -> Question:
    """Raises ``Problem``, or ``UnknownFeature``."""
    query: dict[str, str] = dict(request.rel_url.query)
    filters = request.rel_url.query.getall("filter", [])
    sort = query.get("sort")
    is_descending = sort is not None and sort.startswith("-")
    reference = None if sort is None else sort.removeprefix("-")
    if reference is not None and org.catalogue.feature(reference).dtype == "list":
        raise invalid_parameter("sort", "expected a feature that is one value", reference)
    wanted = query.get("q")
    if wanted is not None and not 1 <= len(wanted) <= Q_MAX:
        raise invalid_parameter("q", f"expected 1 to {Q_MAX} characters", wanted)
    if len(filters) > FILTERS_MAX:
        raise invalid_parameter("filter", f"expected at most {FILTERS_MAX}", str(len(filters)))
    features = names(query, "features") or []
    for each in features:
        org.catalogue.feature(each)
    return Question(reference, is_descending, tuple(_condition(org, text) for text in filters), wanted, tuple(features))


def _in_tier(ranking: Ranking, tier: str) -> Callable[[str], bool]:
    def is_wanted(lead: str) -> bool:
        standing = ranking.get(lead)
        return standing is not None and standing.tier == tier

    return is_wanted


def _condition(org: Org, text: str) -> Condition:
    try:
        return condition_of(text, org.catalogue)
    except ValueError as error:
        raise invalid_parameter("filter", str(error) or EXPECTED, text) from None


def _document(page: LeadPage, row: Row, question: Question) -> LeadItem:
    values = dict(zip(question.shown, row.values, strict=True))
    return LeadItem(row.lead, values, row.name, row.email, row.company, format_time(page.as_of_us))


ROUTES = (
    Route(
        "GET",
        "/v1/orgs/{org}/leads",
        list_leads,
        "read",
        "leads",
        "Leads by the value of a feature, filtered and searched",
        "Every value is the lead's live one as of `as_of`. Leads of equal value stand in the order in which they were "
        "first heard of. Pages after the first go on in the order of the first, so that each lead comes exactly once, "
        "with its values of now. The first question about a feature builds its list: `503 list_building` with "
        "`progress` until it stands.",
        query=(SORT, FILTER, Q, TIER, SHOWN, LIMIT, CURSOR),
        answers={200: Content(LeadList)},
        problems=(422, 503),
    ),
)
