"""Why a feature has its value: the sentence, the events behind it, and what time will make of it."""

from typing import Any, cast

import msgspec
from aiohttp import web

from eventstore.event import Stream
from gateway.asks import AT, KNOWN_AT
from gateway.lookback import NOTHING, Lookback, check_known, look_back, times_of
from gateway.orgs import Org
from gateway.parameters import flag, query_of
from gateway.problems import Problem
from gateway.routing import Content, Query, Route
from gateway.service import Service
from kernel.steps import STEP_ITEMS, Steps, finish_politely
from kernel.times import format_time
from projections.feature import Feature
from projections.hindsight.explain import Explainer, Explanation

SHOWN = 100  # events named, unless all are asked for
ALL = Query("all", f"Name every event, not only the newest {SHOWN}", {"type": "boolean", "default": False})


class EventBehind(msgspec.Struct, frozen=True):
    id: str
    type: str
    time: str


class WindowBounds(msgspec.Struct, frozen=True):
    """The half-open interval (``from``, ``to``]."""

    start: str = msgspec.field(name="from")
    to: str


class ExplainAnswer(msgspec.Struct, frozen=True):
    """``events`` newest first, ``event_count`` how many there are; folded alone they give ``value``. ``window`` is
    null where some part of the value looks back further than any window.
    """

    feature: str
    as_of: str
    value: float | str | list[Any] | None
    sentence: str
    definition: str
    window: WindowBounds | None
    events: list[EventBehind]
    event_count: int
    next_change: str | None
    next_value: float | str | list[Any] | None


async def explain(service: Service, request: web.Request, org: Org) -> web.Response:
    query = query_of(request, ("at", "known_at", "all"))
    at_us, known_at_us = times_of(query, service.clock.now_us())
    shown = None if flag(query, "all") else SHOWN
    lead = Stream(org.name, "lead", request.match_info["lead"])
    explainer, own, feature, stream = _explained(org, lead, request.match_info["view:feature"])
    await check_known(service, lead)
    past = await look_back(service, stream, known_at_us, feature.affected_by) or NOTHING
    body = await finish_politely(_explaining(explainer, own, feature, past, at_us, shown))
    await past.close()
    return web.Response(body=body, content_type="application/json")


def _explaining(
    explainer: Explainer, own: str, feature: Feature, past: Lookback, at_us: int, shown: int | None
) -> Steps[bytes]:
    """The answer's body."""
    found = yield from explainer.explain(own, past.events, at_us, dead=past.dead, shown_as=feature)
    return (yield from _answering(found, shown))


def _explained(org: Org, lead: Stream, reference: str) -> tuple[Explainer, str, Feature, Stream]:
    """Who explains a feature, under which name of its own, as which feature, from whose events."""
    place = org.catalogue.market.places.get(reference)
    if place is not None:
        subject, row = place
        own = org.catalogue.subjects.features[row].feature
        shown = org.catalogue.market.get(reference) or org.catalogue.subjects.features[row]
        return org.market_explainer, own, shown, Stream(org.name, "subject", subject)
    if reference not in org.catalogue.specs:
        raise Problem("feature_not_found", f"no feature {reference}")
    return org.explainer, reference, org.catalogue.feature(reference), lead


def _answering(found: Explanation, shown: int | None) -> Steps[bytes]:
    """The answer's body. A hundred thousand events are ten megabytes of it: they are written part by part."""
    events = (found.events if shown is None else found.events[-shown:])[::-1]
    parts = []
    for start in range(0, len(events), STEP_ITEMS):
        part = [EventBehind(each.id, each.type, format_time(each.at_us)) for each in events[start : start + STEP_ITEMS]]
        parts.append(msgspec.json.encode(part)[1:-1])
        yield
    answer = ExplainAnswer(
        feature=found.feature.feature,
        as_of=format_time(found.as_of_us),
        value=found.value,
        sentence=found.sentence,
        definition=found.definition,
        window=None if found.window is None else WindowBounds(*map(format_time, found.window)),
        events=cast("list[EventBehind]", msgspec.Raw(b"[%b]" % b",".join(parts))),
        event_count=len(found.events),
        next_change=None if found.next_change_us is None else format_time(found.next_change_us),
        next_value=found.next_value,
    )
    return msgspec.json.encode(answer)


ROUTES = (
    Route(
        "GET",
        "/v1/orgs/{org}/leads/{lead}/explain/{view}:{feature}",
        explain,
        "read",
        "leads",
        "Why a feature has its value, and what it becomes if nothing happens",
        "The events named with `all=true`, folded alone, give the value.",
        query=(AT, KNOWN_AT, ALL),
        answers={200: Content(ExplainAnswer)},
        problems=(404, 422),
    ),
)
