"""Routes about definitions: the features of an org, and its settings as loaded."""

from typing import Any

import msgspec
from aiohttp import web

from gateway.orgs import Org
from gateway.parameters import page_of, query_of
from gateway.problems import Problem
from gateway.routing import Content, Query, Route
from gateway.service import Service
from kernel.settings_sources import public_settings
from projections.feature import Feature

LIMIT = Query("limit", "How many items, 1 to 1000", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100})
CURSOR = Query("cursor", "From the answer before")


class FeatureDocument(msgspec.Struct, frozen=True):
    """A feature as documented.

    ``fingerprint`` names what it is computed from; ``definition`` the same under default settings; ``settings`` are
    those that decide on it: the time zone, and what is not at its default.
    """

    feature: str
    view: str
    dtype: str
    unit: str
    range: str
    null_means: str
    description: str
    affected_by: list[str]
    windows: list[str]
    fingerprint: str
    definition: str
    settings: dict[str, Any]
    pack: str
    vocabulary: list[str]


class FeatureList(msgspec.Struct, frozen=True):
    items: list[FeatureDocument]
    cursor: str | None


def document(feature: Feature) -> FeatureDocument:
    """The catalogue's entry of one feature."""
    return FeatureDocument(
        feature.reference,
        feature.view,
        feature.dtype,
        feature.unit,
        feature.range,
        feature.null_means,
        feature.description,
        list(feature.affected_by),
        list(feature.windows),
        feature.fingerprint,
        feature.definition,
        feature.settings,
        feature.pack,
        list(feature.vocabulary),
    )


async def list_features(service: Service, request: web.Request, org: Org) -> web.Response:
    query = query_of(request, ("limit", "cursor"))
    page = page_of(query, "catalogue", org.name, key=tuple[str])
    features = org.catalogue.all_features
    start = 0
    if page.after is not None:
        places = {feature.reference: place for place, feature in enumerate(features)}
        start = places.get(page.after[0], len(features) - 1) + 1
    chosen = features[start : start + page.limit]
    has_more = start + page.limit < len(features)
    body = page.answer([document(each) for each in chosen], [chosen[-1].reference] if has_more else None)
    return json_response(body)


async def one_feature(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    reference = request.match_info["view:feature"]
    for feature in org.catalogue.all_features:
        if feature.reference == reference:
            return json_response(document(feature))
    raise Problem("feature_not_found", f"no feature {reference}")


async def settings(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    return json_response(public_settings(service.settings, org.name))


def json_response(body: Any, status: int = 200) -> web.Response:
    """A struct or plain values as JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


ROUTES = (
    Route(
        "GET",
        "/v1/orgs/{org}/catalogue",
        list_features,
        "read",
        "catalogue",
        "All features, in catalogue order",
        query=(LIMIT, CURSOR),
        answers={200: Content(FeatureList)},
        problems=(422,),
    ),
    Route(
        "GET",
        "/v1/orgs/{org}/catalogue/{view}:{feature}",
        one_feature,
        "read",
        "catalogue",
        "One feature's definition",
        answers={200: Content(FeatureDocument)},
        problems=(422,),
    ),
    Route(
        "GET",
        "/v1/orgs/{org}/settings",
        settings,
        "read",
        "operations",
        "The settings as loaded, secrets hidden",
        answers={200: Content(dict[str, Any])},
        problems=(422,),
    ),
)
