"""Lead scoring, under the paths and names by which its users know it. The org comes with the key."""

from collections.abc import Sequence
from typing import Annotated, Any, cast, get_args

import msgspec
from aiohttp import web
from msgspec import Meta

from eventstore.event import Stream
from gateway.bodies import decode_body, read_body
from gateway.jobs import Job, JobDocument, Work
from gateway.listing import Item, Listing, Part
from gateway.orgs import Org
from gateway.parameters import Page, choice, flag, page_of, query_of
from gateway.problems import Problem, invalid_parameter
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routing import Content, Query, Route
from gateway.scoring.bulk import bulk_predict
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
from scoring.priority import TIERS, Tier
from scoring.ranking import Standing

BASE = "/api/lead-scoring"
TYPES: tuple[PredictionType, ...] = get_args(PredictionType)
BULK = "bulk_predict"
_SHOWN_DEFAULT, _SHOWN_MAX = 20, 1000

CONFIGURATION = Query("configId", "A scoring configuration", {"type": "string", "default": DEFAULT_CONFIGURATION})
TYPE = Query("type", "What is predicted", {"enum": list(TYPES), "default": "CONVERSION"})
TIER = Query("tier", "Only leads of this tier", {"enum": list(TIERS), "default": "top"})
MIN_SCORE = Query(
    "minScore", "Only leads of this priority or more", {"type": "number", "minimum": 0, "maximum": 100, "default": 0}
)
BY_MONTH = Query("byMonth", "Also month by month", {"type": "boolean", "default": False})
N = Query("n", "How many", {"type": "integer", "minimum": 1, "maximum": _SHOWN_MAX, "default": 10})
Score = Annotated[float, Meta(ge=0, le=100)]


class PredictRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``forceRefresh`` makes a new prediction though nothing has changed; ``ruleBasedOnly`` asks no model."""

    force_refresh: bool = False
    rule_based_only: bool = False
    config_id: str = DEFAULT_CONFIGURATION


class BulkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """At most ``limit`` leads, the best first; with ``minScore`` only those whose latest priority reaches it."""

    limit: Annotated[int, Meta(ge=1, le=10_000_000)] = 50
    min_score: Score = 0
    force_refresh: bool = False


class BulkAnswer(msgspec.Struct, frozen=True, rename="camel"):
    job_id: str


class ValidateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    was_accurate: bool


class PredictionList(msgspec.Struct, frozen=True):
    items: list[Prediction]
    cursor: str | None


_PREDICT = msgspec.json.Decoder(PredictRequest)
_BULK_DECODER = msgspec.json.Decoder(BulkRequest)
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


async def start_bulk(service: Service, request: web.Request, org: Org) -> web.Response:
    wanted = await bulk_asked(request)
    _, configuration = await _configured(service, request, org)
    job = service.jobs.start(BULK, org.name, bulk_work(service, org, configuration, wanted), is_alone=False)
    return json_response(BulkAnswer(job.id), 202)


async def bulk_asked(request: web.Request) -> BulkRequest:
    """What a body asks for. Raises ``Problem``."""
    query_of(request, ())
    has_body = bool(await read_body(request)) if request.can_read_body else False
    return await decode_body(request, _BULK_DECODER, BulkRequest) if has_body else BulkRequest()


def bulk_work(service: Service, org: Org, configuration: str, wanted: BulkRequest) -> Work:
    """Predicts leads of a service."""

    async def work(job: Job) -> dict[str, Any]:
        scores = await service.scores.of(org)
        least, is_forced = least_of(wanted.min_score), wanted.force_refresh
        return await bulk_predict(
            service, job, scores, configuration, limit=wanted.limit, least=least, is_forced=is_forced
        )

    return work


def least_of(min_score: float) -> int:
    """The least priority, a whole number: 79.5 asks for 80 or more."""
    return -int(-min_score // 1)


async def get_bulk(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    await _configured(service, request, org)
    return json_response(_bulk_job(service, request, org).document())


async def cancel_bulk(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    await _configured(service, request, org)
    job = _bulk_job(service, request, org)
    await service.jobs.cancel(job)
    return json_response(job.document())


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
    scores, configuration = await _configured(service, request, org)
    return json_response(importance_of(scores, configuration))


async def _lead(service: Service, request: web.Request, org: Org) -> FoldedEntity:
    name = request.match_info["lead"]
    entity = await service.read(Stream(org.name, "lead", name))
    if entity is None:
        raise Problem("lead_not_found", f"no lead {name}")
    return entity


async def _configured(service: Service, request: web.Request, org: Org) -> tuple[OrgScores, str]:
    """The org's predictions, and the configuration of the path."""
    scores = await service.scores.of(org)
    configuration = request.match_info["configId"]
    scores.settings(configuration)
    return scores, configuration


def _bulk_job(service: Service, request: web.Request, org: Org) -> Job:
    job = service.jobs.get(org.name, request.match_info["job"])
    if job.kind != BULK:
        raise Problem("job_not_found", f"no bulk job {job.id}")
    return job


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
    scores, configuration = await _configured(service, request, org)
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
        "POST",
        BASE + "/{configId}/ml/bulk-predict",
        start_bulk,
        "admin",
        "lead scoring",
        "Predict many leads, as a job",
        "A lead whose prediction is still good is passed over, so that a job that was cut short is resumed by another.",
        body=(Content(BulkRequest),),
        answers={202: Content(BulkAnswer)},
        problems=(400, 404, 409, 413, 415, 422),
    ),
    Route(
        "GET",
        BASE + "/{configId}/ml/jobs/{job}",
        get_bulk,
        "read",
        "lead scoring",
        "How far a bulk prediction is",
        answers={200: Content(JobDocument)},
        problems=(404, 422),
    ),
    Route(
        "DELETE",
        BASE + "/{configId}/ml/jobs/{job}",
        cancel_bulk,
        "admin",
        "lead scoring",
        "Cancel a bulk prediction",
        answers={200: Content(JobDocument)},
        problems=(404, 422),
    ),
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
