"""Jobs: replay the log into new snapshots, verify what is served against it, train models; watch and cancel."""

from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from gateway.bodies import decode_body
from gateway.jobs import Job, JobDocument, Work
from gateway.listing import Item, Listing, Part, part_of
from gateway.orgs import Org
from gateway.parameters import Page, page_of, query_of
from gateway.problems import invalid_parameter
from gateway.rebuilding import replay, replay_policies, verify
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routing import Content, Route
from gateway.scoring.training import TrainingRequest, check_training, train_org
from gateway.service import Service
from kernel.errors import UnknownFeature


class JobRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``sample`` is for ``verify``: how many leads; default all. ``views`` is for ``replay``: only if one is stale.

    ``policies``, for ``replay``: only the models of the org's policies, learned anew and compared with those in use.
    ``training`` is for ``train``; without it the configuration ``default`` is trained for.
    """

    kind: Literal["replay", "verify", "train"]
    sample: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    views: Annotated[list[str], Meta(min_length=1, max_length=1000)] | None = None
    policies: bool = False
    training: TrainingRequest | None = None


class JobList(msgspec.Struct, frozen=True):
    items: list[JobDocument]
    cursor: str | None


_DECODER = msgspec.json.Decoder(JobRequest)


async def start_job(service: Service, request: web.Request, org: Org) -> web.Response:
    wanted = await job_asked(request, org)
    job = service.jobs.start(wanted.kind, org.name, work_of(service, org, wanted), is_alone=wanted.kind != "train")
    return json_response(job.document(), 202)


async def job_asked(request: web.Request, org: Org) -> JobRequest:
    """The job that a body asks for. Raises ``Problem`` or ``UnknownFeature``."""
    query_of(request, ())
    wanted = await decode_body(request, _DECODER, JobRequest)
    if wanted.kind != "verify" and wanted.sample is not None:
        raise invalid_parameter("sample", "expected with verify only", str(wanted.sample), "invalid_body")

    if wanted.kind != "replay" and wanted.views is not None:
        raise invalid_parameter("views", "expected with replay only", ",".join(wanted.views), "invalid_body")
    if wanted.kind != "train" and wanted.training is not None:
        raise invalid_parameter("training", "expected with train only", wanted.kind, "invalid_body")
    if wanted.policies and (wanted.kind != "replay" or wanted.views is not None):
        raise invalid_parameter("policies", "expected with replay, and without views", "true", "invalid_body")
    known = (*org.catalogue.views, *org.catalogue.subjects.views)
    for view in wanted.views or ():
        if view not in known:
            raise UnknownFeature(view)
    if wanted.kind == "train":
        check_training(org, wanted.training or TrainingRequest())
    return wanted


def work_of(service: Service, org: Org, wanted: JobRequest) -> Work:
    """What a job does to the log of a service."""

    async def work(job: Job) -> dict[str, Any]:
        if wanted.kind == "train":
            return await train_org(service, service.models, job, org, wanted.training or TrainingRequest())
        if wanted.policies:
            return await replay_policies(service, job, org)
        return await (
            replay(service, job, wanted.views) if wanted.kind == "replay" else verify(service, job, wanted.sample)
        )

    return work


async def list_jobs(service: Service, request: web.Request, org: Org) -> web.Response:
    return await JOBS.answer(service, request, org)


def _page(request: web.Request, org: Org, key: Any) -> Page:
    return page_of(query_of(request, ("limit", "cursor")), "jobs", org.name, key=key)


async def _part(service: Service, request: web.Request, org: Org, after: list[Any] | None, limit: int) -> Part:
    return part(service, org, after, limit)


def part(service: Service, org: Org, after: list[Any] | None, limit: int) -> Part:
    """The jobs of a service behind a place, newest first."""
    jobs = service.jobs.of_org(org.name)
    if after is not None:
        jobs = [job for job in jobs if [job.created_us, job.id] < after]
    chosen = [Item([-job.created_us, [job.id]], [job.created_us, job.id], job.document()) for job in jobs[: limit + 1]]
    return part_of(chosen, limit)


JOBS = Listing(_page, _part, tuple[int, str])


async def get_job(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    return json_response(service.jobs.get(org.name, request.match_info["id"]).document())


async def cancel_job(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    job = service.jobs.get(org.name, request.match_info["id"])
    await service.jobs.cancel(job)
    return json_response(job.document())


_JOBS = "/v1/orgs/{org}/jobs"

ROUTES = (
    Route(
        "POST",
        _JOBS,
        start_job,
        "admin",
        "jobs",
        "Start a replay, a verification or a training",
        "A replay folds the whole log into new snapshots beside the live ones and swaps them in; with views, only "
        "if one of them was changed since all leads were folded. A verification "
        "folds leads from the log and compares them with what is served. A training makes scoring models from the log; "
        "they are used once they are promoted.",
        body=(Content(JobRequest),),
        answers={202: Content(JobDocument)},
        problems=(400, 404, 409, 413, 415, 422),
    ),
    Route(
        "GET",
        _JOBS,
        list_jobs,
        "read",
        "jobs",
        "Jobs since the start, newest first",
        query=(LIMIT, CURSOR),
        answers={200: Content(JobList)},
        problems=(422,),
    ),
    Route(
        "GET",
        _JOBS + "/{id}",
        get_job,
        "read",
        "jobs",
        "One job: progress, log, result",
        answers={200: Content(JobDocument)},
        problems=(422,),
    ),
    Route(
        "DELETE",
        _JOBS + "/{id}",
        cancel_job,
        "admin",
        "jobs",
        "Cancel a job; one that has ended stays as it is",
        answers={200: Content(JobDocument)},
        problems=(422,),
    ),
)
