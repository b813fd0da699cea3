"""Bulk predictions: many leads of an organisation predicted in one job, the best first."""

from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from gateway.bodies import decode_body, read_body
from gateway.jobs import Job, JobDocument, Work
from gateway.orgs import Org
from gateway.parameters import query_of
from gateway.problems import Problem
from gateway.routes.catalogue import json_response
from gateway.routes.lead_scoring import BASE, configured
from gateway.routing import Content, Route
from gateway.scoring.bulk import bulk_predict
from gateway.service import Service
from scoring.priority import least_of

BULK = "bulk_predict"
_Score = Annotated[float, Meta(ge=0, le=100)]


class BulkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """At most ``limit`` leads, the best first; with ``minScore`` only those whose latest priority reaches it."""

    limit: Annotated[int, Meta(ge=1, le=10_000_000)] = 50
    min_score: _Score = 0
    force_refresh: bool = False


class BulkAnswer(msgspec.Struct, frozen=True, rename="camel"):
    job_id: str


_DECODER = msgspec.json.Decoder(BulkRequest)


async def start_bulk(service: Service, request: web.Request, org: Org) -> web.Response:
    wanted = await bulk_asked(request)
    _, configuration = await configured(service, request, org)
    job = service.jobs.start(BULK, org.name, bulk_work(service, org, configuration, wanted), is_alone=False)
    return json_response(BulkAnswer(job.id), 202)


async def bulk_asked(request: web.Request) -> BulkRequest:
    """What a body asks for. Raises ``Problem``."""
    query_of(request, ())
    has_body = bool(await read_body(request)) if request.can_read_body else False
    return await decode_body(request, _DECODER, BulkRequest) if has_body else BulkRequest()


def bulk_work(service: Service, org: Org, configuration: str, wanted: BulkRequest) -> Work:
    """Predicts leads of a service."""

    async def work(job: Job) -> dict[str, Any]:
        scores = await service.scores.of(org)
        least, is_forced = least_of(wanted.min_score), wanted.force_refresh
        return await bulk_predict(
            service, job, scores, configuration, limit=wanted.limit, least=least, is_forced=is_forced
        )

    return work


async def get_bulk(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    await configured(service, request, org)
    return json_response(_bulk_job(service, request, org).document())


async def cancel_bulk(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    await configured(service, request, org)
    job = _bulk_job(service, request, org)
    await service.jobs.cancel(job)
    return json_response(job.document())


def _bulk_job(service: Service, request: web.Request, org: Org) -> Job:
    job = service.jobs.get(org.name, request.match_info["job"])
    if job.kind != BULK:
        raise Problem("job_not_found", f"no bulk job {job.id}")
    return job


ROUTES = (
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
)
