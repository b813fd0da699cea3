"""Lead scoring, under the paths and names by which its users know it: of one lead, and how good it is.

Many leads at once are predicted by ``bulk_predictions`` and listed by ``lead_rankings``. The org comes with the key.
"""

from typing import cast, get_args

import msgspec
from aiohttp import web

from eventstore.event import Stream
from gateway.bodies import decode_body, read_body
from gateway.orgs import Org
from gateway.parameters import choice, flag, query_of
from gateway.problems import Problem
from gateway.routes.catalogue import json_response
from gateway.routing import Content, Query, Route
from gateway.scoring.importance import ImportanceAnswer, importance_of
from gateway.scoring.predicting import book_of
from gateway.scoring.scores import OrgScores, no_configuration
from gateway.service import Service
from kernel.settings_scoring import DEFAULT_CONFIGURATION
from kernel.times import format_time
from projections.entity import FoldedEntity
from scoring.accuracy import Accuracy, AccuracyReport
from scoring.lead_features import LeadFeatures, lead_features
from scoring.model import PredictionType
from scoring.prediction import Prediction

BASE = "/api/lead-scoring"
TYPES: tuple[PredictionType, ...] = get_args(PredictionType)

CONFIGURATION = Query("configId", "A scoring configuration", {"type": "string", "default": DEFAULT_CONFIGURATION})
TYPE = Query("type", "What is predicted", {"enum": list(TYPES), "default": "CONVERSION"})
BY_MONTH = Query("byMonth", "Also month by month", {"type": "boolean", "default": False})


class PredictRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``forceRefresh`` makes a new prediction though nothing has changed; ``ruleBasedOnly`` asks no model."""

    force_refresh: bool = False
    rule_based_only: bool = False
    config_id: str = DEFAULT_CONFIGURATION


class ValidateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    was_accurate: bool


_PREDICT = msgspec.json.Decoder(PredictRequest)
_VALIDATE = msgspec.json.Decoder(ValidateRequest)


async def predict(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    has_body = bool(await read_body(request)) if request.can_read_body else False
    wanted = await decode_body(request, _PREDICT, PredictRequest) if has_body else PredictRequest()
    scores = await service.scores.of(org)
    prediction = await service.predictor.predict(
        scores,
        request.match_info["lead"],
        wanted.config_id,
        is_forced=wanted.force_refresh,
        rules_only=wanted.rule_based_only,
    )
    return json_response(prediction)


async def get_prediction(service: Service, request: web.Request, org: Org) -> web.Response:
    query = query_of(request, ("type", "configId"))
    kind = cast("PredictionType", choice(query, "type", ("CONVERSION", *TYPES)))
    scores = await service.scores.of(org)
    configuration = query.get("configId", DEFAULT_CONFIGURATION)
    scores.settings(configuration)
    entity = await _lead(service, request, org)
    book = book_of(entity)
    entry = None if book is None else book.latest(configuration, kind)
    if entry is None:
        raise Problem("prediction_not_found", f"no {kind} prediction of lead {entity.stream.id}")
    return json_response(await service.predictor.stored(org.name, entry))


async def get_features(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    entity = await _lead(service, request, org)
    scores = await service.scores.of(org)
    values = scores.lead(entity, entity.as_of_us).values
    return json_response(lead_features(entity.stream.id, format_time(entity.as_of_us), values))


async def validate(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    wanted = await decode_body(request, _VALIDATE, ValidateRequest)
    prediction = request.match_info["prediction"]
    return json_response(await service.predictor.validate(org.name, prediction, wanted.was_accurate))


async def accuracy(service: Service, request: web.Request, org: Org) -> web.Response:
    return accuracy_answer(request, org, (await service.scores.of(org)).accuracy)


def accuracy_answer(request: web.Request, org: Org, known: Accuracy) -> web.Response:
    """The report that a request asks for, from these tallies. Raises ``Problem``."""
    query = query_of(request, ("type", "byMonth"))
    kind = cast("PredictionType", choice(query, "type", ("CONVERSION", *TYPES)))
    is_by_month = flag(query, "byMonth")
    configuration = request.match_info["configId"]
    if org.settings.scoring_of(configuration) is None:
        raise no_configuration(configuration)
    report = known.report(configuration, kind)
    if is_by_month:
        report = msgspec.structs.replace(report, by_month=known.by_month(configuration, kind))
    return json_response(report)


async def feature_importance(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    scores, configuration = await configured(service, request, org)
    return json_response(importance_of(scores, configuration))


async def configured(service: Service, request: web.Request, org: Org) -> tuple[OrgScores, str]:
    """The org's predictions, and the configuration of the path."""
    scores = await service.scores.of(org)
    configuration = request.match_info["configId"]
    scores.settings(configuration)
    return scores, configuration


async def _lead(service: Service, request: web.Request, org: Org) -> FoldedEntity:
    name = request.match_info["lead"]
    entity = await service.read(Stream(org.name, "lead", name))
    if entity is None:
        raise Problem("lead_not_found", f"no lead {name}")
    return entity


ROUTES = (
    Route(
        "POST",
        BASE + "/leads/{lead}/ml/predict",
        predict,
        "admin",
        "lead scoring",
        "Predict a lead",
        "The stored prediction while neither events nor time have changed what it follows from, else a new one.",
        body=(Content(PredictRequest),),
        answers={200: Content(Prediction)},
        problems=(400, 404, 413, 415, 422, 503),
    ),
    Route(
        "GET",
        BASE + "/leads/{lead}/ml/prediction",
        get_prediction,
        "read",
        "lead scoring",
        "The latest prediction of a lead",
        query=(TYPE, CONFIGURATION),
        answers={200: Content(Prediction)},
        problems=(404, 422),
    ),
    Route(
        "GET",
        BASE + "/leads/{lead}/ml/features",
        get_features,
        "read",
        "lead scoring",
        "What the rules look at, by category",
        answers={200: Content(LeadFeatures)},
        problems=(404, 422),
    ),
    Route(
        "POST",
        BASE + "/predictions/{prediction}/validate",
        validate,
        "admin",
        "lead scoring",
        "Say whether a prediction was accurate",
        body=(Content(ValidateRequest),),
        answers={200: Content(Prediction)},
        problems=(400, 404, 413, 415, 422, 503),
    ),
    Route(
        "GET",
        BASE + "/{configId}/ml/accuracy",
        accuracy,
        "read",
        "lead scoring",
        "How good predictions have been",
        query=(TYPE, BY_MONTH),
        answers={200: Content(AccuracyReport)},
        problems=(404, 422),
    ),
    Route(
        "GET",
        BASE + "/{configId}/ml/feature-importance",
        feature_importance,
        "read",
        "lead scoring",
        "What the model, or the rules, go by",
        answers={200: Content(ImportanceAnswer)},
        problems=(404, 422),
    ),
)
