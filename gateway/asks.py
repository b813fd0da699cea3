"""What a reader asks of features: which, in which form, as of when. From a query string or a body.

Queries repeat: each org keeps the asks that it parsed, by the raw query string, so that a lead's cached answer
is found without parsing anything.
"""

from collections.abc import Sequence
from typing import cast

import msgspec
from aiohttp import web

from gateway.feature_services import FeatureService
from gateway.orgs import Org
from gateway.parameters import choice, names, query_of, time_text
from gateway.problems import invalid_parameter
from gateway.routing import Query
from kernel.errors import UnknownFeature
from projections.answer import Form
from projections.market import Span

PARAMETERS = ("views", "features", "service", "at", "known_at", "format", "on_missing")
TIME = {"type": "string", "description": "RFC 3339 with an offset, or seconds since the epoch"}

VIEWS = Query("views", "Comma-separated views; default all of the lead's own, `*` adds the market")
FEATURES = Query("features", "Comma-separated references view:name, instead of views")
SERVICE = Query("service", "A named list of features, instead of views")
AT = Query("at", "As of this time, up to 400 days ahead; default now", TIME)
KNOWN_AT = Query("known_at", "With only the events recorded by this time", TIME)
FORMAT = Query("format", "An object of values, or lists", {"enum": ["map", "vector"], "default": "map"})
ON_MISSING = Query(
    "on_missing",
    "What an unknown lead answers: 404, or the values of a lead without events",
    {"enum": ["error", "default"], "default": "error"},
)

MAX_KEPT = 1024  # parsed queries of an org


class Ask(msgspec.Struct, frozen=True):
    """A parsed request for features. ``at_us`` and ``known_at_us`` are None for now; ``service`` gave the span."""

    span: Span
    format: Form
    is_default_given: bool = False
    at_us: int | None = None
    known_at_us: int | None = None
    is_timeless: bool = True  # the query names no time, so that it means the same tomorrow
    service: FeatureService | None = None

    @property
    def is_live(self) -> bool:
        """Neither in the past nor in the future."""
        return self.at_us is None and self.known_at_us is None

    @property
    def is_current(self) -> bool:
        """Whether the service, if one was named, is still what it was."""
        return self.service is None or self.service.is_current


def ask_of(org: Org, raw_query: str, request: web.BaseRequest, now_us: int) -> Ask:
    """The ask of a request, parsed once per query while it names no time.

    Raises ``Problem``, or ``UnknownFeature`` for a name that is in no catalogue.
    """
    ask: Ask | None = org.asks.get(raw_query)
    if ask is None or not ask.is_current:
        ask = _parse(org, query_of(request, PARAMETERS), now_us)
        if ask.is_timeless and (len(org.asks) < MAX_KEPT or raw_query in org.asks):
            org.asks[raw_query] = ask
    return ask


def _parse(org: Org, query: dict[str, str], now_us: int) -> Ask:
    form = cast("Form", choice(query, "format", ("map", "vector")))
    on_missing = choice(query, "on_missing", ("error", "default"))
    at_us = time_text(query, "at", now_us)
    known_at_us = not_ahead(time_text(query, "known_at", now_us), now_us)
    span, service = span_of(org, names(query, "views"), names(query, "features"), query.get("service"), form)
    is_timeless = "at" not in query and "known_at" not in query
    return Ask(span, form, on_missing == "default", at_us, known_at_us, is_timeless, service)


def span_of(
    org: Org,
    views: Sequence[str] | None,
    features: Sequence[str] | None,
    service: str | None = None,
    form: Form = "map",
) -> tuple[Span, FeatureService | None]:
    """The features of a lead and of the market that are asked for: of views, by reference, or by a service's name.

    At most one of the three is given. Raises ``Problem`` or ``UnknownFeature``.
    """
    _check_one(views, features, service)
    if service is not None:
        found = service_of(org, service)
        return org.services.span(found), found
    if features is not None and form == "map":
        features = list(dict.fromkeys(features))  # an object has each name once
    return org.catalogue.span(views, features), None


def service_of(org: Org, name: str) -> FeatureService:
    """A service that a query or a body names. Raises ``UnknownFeature``."""
    found = org.services.get(name)
    if found is None:
        raise UnknownFeature(name)
    return found


def _check_one(views: Sequence[str] | None, features: Sequence[str] | None, service: str | None) -> None:
    given = [
        name for name, value in (("views", views), ("features", features), ("service", service)) if value is not None
    ]
    if len(given) > 1:
        raise invalid_parameter(given[1], f"expected not together with {given[0]}", given[1])


def not_ahead(known_at_us: int | None, now_us: int) -> int | None:
    """What will be known is not known yet: a time ahead of the clock is now."""
    return None if known_at_us is None or known_at_us >= now_us else known_at_us
