"""One subject's features: its part of the market, read alone."""

import msgspec
from aiohttp import web

from gateway.asks import AT, FEATURES, FORMAT, KNOWN_AT, ON_MISSING, PARAMETERS, SERVICE, VIEWS, not_ahead, service_of
from gateway.etags import matches
from gateway.market_past import Fragment
from gateway.orgs import Org
from gateway.parameters import choice, names, query_of, time_text
from gateway.problems import Problem, invalid_parameter
from gateway.routes.features import LIVE, SETTLED
from gateway.routing import IF_NONE_MATCH, Content, Query, Route
from gateway.service import Service
from kernel.ids import format_position
from projections.answer import Answer, encode_answer
from projections.selection import Selection


class SubjectAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """``values`` by name, as in the answers of leads; with ``format=vector`` a list in the order of ``names``."""

    subject: str
    as_of: str
    next_change: str | None
    catalogue: str
    values: dict[str, float | str | list[str] | None] | list[float | None]
    names: list[str] | None = None


async def subject_features(service: Service, request: web.Request, org: Org) -> web.Response:
    subject = request.match_info["subject"]
    query = query_of(request, PARAMETERS)
    market = service.markets.of(org.name)
    if subject not in market:
        raise Problem("subject_not_found", f"no subject {subject}")
    form = choice(query, "format", ("map", "vector"))
    choice(query, "on_missing", ("error", "default"))  # a subject without events has the values of an empty one anyway
    now_us = service.clock.now_us()
    at_us = time_text(query, "at", now_us)
    known_at_us = not_ahead(time_text(query, "known_at", now_us), now_us)
    selection = _selection(org, subject, query)
    if at_us is None and known_at_us is None:
        fragment = await market.fragment(subject)
    else:
        fragment = await market.fragment_at(subject, now_us if at_us is None else at_us, known_at_us)
    values = [fragment.values[place] for place in _places(org, selection)]
    answer = encode_answer(
        subject,
        fragment.as_of_us,
        fragment.next_change_us,
        selection,
        values,
        format="vector" if form == "vector" else "map",
        kind="subject",
    )
    is_settled = at_us is not None and at_us < now_us and known_at_us is not None
    return _respond(request, fragment, answer, SETTLED if is_settled else LIVE)


def _selection(org: Org, subject: str, query: dict[str, str]) -> Selection:
    listing = org.catalogue.market.of_subject[subject]
    given = [name for name in ("views", "features", "service") if name in query]
    if len(given) > 1:
        raise invalid_parameter(given[1], f"expected not together with {given[0]}", given[1])
    if "service" in query:
        return listing.select(features=service_of(org, query["service"]).features)
    views = names(query, "views")
    if views is not None and "*" in views:
        listing.select(views=[view for view in views if view != "*"])
        views = None
    return listing.select(views=views, features=names(query, "features"))


def _places(org: Org, selection: Selection) -> list[int]:
    """Where the features asked for stand among those of the subject."""
    places = org.catalogue.market.places
    return [places[name][1] for name in selection.names]


def _respond(request: web.Request, fragment: Fragment, answer: Answer, caching: str) -> web.Response:
    headers = {
        "ETag": answer.etag,
        "Cache-Control": caching,
        "X-Subject-Version": str(fragment.version),
        "X-Log-Position": format_position(fragment.position),
    }
    wanted = request.headers.get("If-None-Match")
    if wanted is not None and matches(wanted, answer.etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=answer.body, headers=headers, content_type="application/json")


_SENDS = (
    Query("ETag", "Over the subject, the catalogue, the names and the values; it survives a restart"),
    Query("Cache-Control", "A `max-age` only when both `at` and `known_at` lie in the past"),
    Query("X-Subject-Version", "Events of the subject so far", {"type": "integer"}),
    Query("X-Log-Position", "Place in the log of the subject's newest event"),
)

ROUTES = (
    Route(
        "GET",
        "/v1/orgs/{org}/market/{subject}/features",
        subject_features,
        "read",
        "market",
        "A subject's features, now or as of another time",
        "A subject of the org that had no event yet has the values of an empty one.",
        query=(VIEWS, FEATURES, SERVICE, AT, KNOWN_AT, FORMAT, ON_MISSING),
        headers=(IF_NONE_MATCH,),
        sends=_SENDS,
        answers={200: Content(SubjectAnswer), 304: None},
        problems=(404, 422),
    ),
)
