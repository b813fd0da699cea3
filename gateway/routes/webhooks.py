"""What webhooks did not take: listed, and tried again."""

from typing import Any

import msgspec
from aiohttp import web

from gateway.alerts.deliveries import DeadDelivery
from gateway.listing import Item, Listing, Part, part_of
from gateway.orgs import Org
from gateway.parameters import Page, page_of, query_of
from gateway.problems import Problem
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routing import Content, Route
from gateway.service import Service
from kernel.times import format_time

_LETTERS = "/v1/orgs/{org}/webhook-dead-letters"


class WebhookDeadLetterDocument(msgspec.Struct, frozen=True):
    """A message that was given up at ``at``, after so many ``attempts``; ``type`` and ``webhook_id`` are the message's."""

    id: str
    webhook: str
    webhook_id: str
    type: str
    alert: str
    lead: str
    attempts: int
    error: str
    at: str


class WebhookDeadLetterList(msgspec.Struct, frozen=True):
    items: list[WebhookDeadLetterDocument]
    cursor: str | None


class Redelivered(msgspec.Struct, frozen=True):
    delivered: bool


async def list_letters(service: Service, request: web.Request, org: Org) -> web.Response:
    return await LETTERS.answer(service, request, org)


def _page(request: web.Request, org: Org, key: Any) -> Page:
    return page_of(query_of(request, ("limit", "cursor")), "webhook-dead-letters", org.name, key=key)


async def _part(service: Service, request: web.Request, org: Org, after: list[Any] | None, limit: int) -> Part:
    dead = (await service.alerts.of(org)).deliveries.dead
    places = sorted((letter.at_us, name) for name, letter in dead.items())
    if after is not None:
        places = [place for place in places if place > tuple(after)]
    return part_of(
        [Item(place, list(place), _document(place[1], dead[place[1]])) for place in places[: limit + 1]], limit
    )


LETTERS = Listing(_page, _part, tuple[int, str])


async def retry_letter(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    deliveries = (await service.alerts.of(org)).deliveries
    letter = request.match_info["id"]
    dead = deliveries.dead.get(letter)
    if dead is None:
        raise Problem("dead_letter_not_found", f"no dead letter {letter}")
    if dead.delivery.sink not in org.settings.webhooks:
        raise Problem("webhook_gone", f"webhook {dead.delivery.sink} is no longer in the settings")
    return json_response(Redelivered(await deliveries.retry(letter)))


def _document(letter: str, dead: DeadDelivery) -> WebhookDeadLetterDocument:
    return WebhookDeadLetterDocument(
        id=letter,
        webhook=dead.delivery.sink,
        webhook_id=dead.delivery.message_id,
        type=f"alert.{dead.delivery.transition}",
        alert=dead.delivery.alert,
        lead=dead.lead,
        attempts=dead.attempts,
        error=dead.error,
        at=format_time(dead.at_us),
    )


ROUTES = (
    Route(
        "GET",
        _LETTERS,
        list_letters,
        "read",
        "operations",
        "Messages that a webhook's receiver did not take",
        query=(LIMIT, CURSOR),
        answers={200: Content(WebhookDeadLetterList)},
        problems=(422,),
    ),
    Route(
        "POST",
        _LETTERS + "/{id}/retry",
        retry_letter,
        "admin",
        "operations",
        "Post the message once more, now",
        answers={200: Content(Redelivered)},
        problems=(404, 409, 422, 503),
    ),
)
