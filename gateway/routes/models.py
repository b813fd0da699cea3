"""Scoring models: the versions with their cards, and which of them are in use."""

import msgspec
from aiohttp import web

from gateway.orgs import Org
from gateway.parameters import page_of, query_of
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routing import Content, Route
from gateway.scoring.models import ModelRecord
from gateway.service import Service


class ScoringModelList(msgspec.Struct, frozen=True):
    items: list[ModelRecord]
    cursor: str | None


async def list_models(service: Service, request: web.Request, org: Org) -> web.Response:
    page = page_of(query_of(request, ("limit", "cursor")), "models", org.name, key=tuple[str, int])
    records = await service.models.records(org)
    if page.after is not None:
        records = [each for each in records if _key(each) > page.after]
    shown = records[: page.limit]
    return json_response(page.answer(shown, _key(shown[-1]) if len(records) > page.limit else None))


async def promote(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    return json_response(await service.models.promote(org, request.match_info["id"]))


async def roll_back(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    return json_response(await service.models.roll_back(org, request.match_info["id"]))


def _key(record: ModelRecord) -> list[object]:
    return [record.family, -int(record.id.rpartition("-")[2])]


_MODELS = "/v1/orgs/{org}/models"

ROUTES = (
    Route(
        "GET",
        _MODELS,
        list_models,
        "read",
        "models",
        "Scoring models with their cards, the newest of each family first",
        "One that cannot be used says why in `refused`; predictions of its kind are then made by the rules.",
        query=(LIMIT, CURSOR),
        answers={200: Content(ScoringModelList)},
        problems=(422,),
    ),
    Route(
        "POST",
        _MODELS + "/{id}/promote",
        promote,
        "admin",
        "models",
        "Use a model from now on",
        "Refused where its file is damaged, or its features are others today.",
        answers={200: Content(ModelRecord)},
        problems=(404, 409, 422, 503),
    ),
    Route(
        "POST",
        _MODELS + "/{id}/rollback",
        roll_back,
        "admin",
        "models",
        "Use the model again that was in use before this one",
        answers={200: Content(ModelRecord)},
        problems=(404, 409, 422, 503),
    ),
)
