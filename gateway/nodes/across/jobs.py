"""Jobs over all partitions: one job at the node that was asked, which has each owner do its part, and watches.

The job lives in that node's memory, as jobs do; any node finds it by asking the others. A partition that moves while a job runs ends
its part, and with it the job: what was done is done, and starting it again does the rest.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

from gateway.jobs import Job, JobDocument, Progress, Work
from gateway.listing import SentPart, received, sent
from gateway.nodes.across.lists import Cursor, cut
from gateway.nodes.forwarding.front import SHARED, Front
from gateway.nodes.forwarding.procedures import Procedure
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.routes import bulk_predictions, jobs
from gateway.routes.bulk_predictions import BULK, BulkAnswer, BulkRequest
from gateway.routes.catalogue import json_response
from gateway.routes.jobs import JobRequest
from gateway.routing import Route
from gateway.scoring.bulk import all_leads
from gateway.service import Service
from kernel.errors import LeadwheelError
from scoring.priority import least_of


class Begin(msgspec.Struct, frozen=True):
    """What a partition is to do: a job, or predictions under a configuration."""

    job: JobRequest | None = None
    bulk: BulkRequest | None = None
    configuration: str = ""


class Named(msgspec.Struct, frozen=True, array_like=True):
    """A job, by its id; ``cancel`` ends it first."""

    id: str
    action: Literal["look", "cancel"] = "look"


class Looked(msgspec.Struct, frozen=True, array_like=True):
    job: JobDocument | None


class PageAsked(msgspec.Struct, frozen=True, array_like=True):
    after: tuple[int, str] | None
    limit: int


class ShareAsked(msgspec.Struct, frozen=True, array_like=True):
    configuration: str
    most: int


class Shares(msgspec.Struct, frozen=True, array_like=True):
    """How many leads stand at each priority, and how many, up to the most that may be asked for, have none."""

    standing: list[int]
    others: int


async def _begin(service: Service, org: Org, wanted: Begin) -> Looked:
    if wanted.job is not None:
        kind, work = wanted.job.kind, jobs.work_of(service, org, wanted.job)
        return Looked(service.part_jobs.start(kind, org.name, work, is_alone=kind != "train").document())
    work = bulk_predictions.bulk_work(service, org, wanted.configuration, wanted.bulk or BulkRequest())
    return Looked(service.part_jobs.start(BULK, org.name, work, is_alone=False).document())


async def _look_part(service: Service, org: Org, named: Named) -> Looked:
    return await _look(service.part_jobs, org, named)


async def _look_whole(service: Service, org: Org, named: Named) -> Looked:
    return await _look(service.jobs, org, named)


async def _look(among: Any, org: Org, named: Named) -> Looked:
    try:
        job = among.get(org.name, named.id)
    except Problem:
        return Looked(None)
    if named.action == "cancel":
        await among.cancel(job)
    return Looked(job.document())


async def _page(service: Service, org: Org, asked: PageAsked) -> SentPart:
    return sent(jobs.part(service, org, None if asked.after is None else list(asked.after), asked.limit))


async def _share(service: Service, org: Org, asked: ShareAsked) -> Shares:
    ranking = (await service.scores.of(org)).ranking(asked.configuration)
    others = 0
    async for lead in all_leads(service, org.name):
        others += ranking.get(lead) is None
        if others >= asked.most:
            break
    return Shares(ranking.counts(), others)


BEGIN: Final = Procedure("job-begin", Begin, Looked, _begin, is_repeatable=False)
LOOK: Final = Procedure("job-part", Named, Looked, _look_part)
LOOK_WHOLE: Final = Procedure("job", Named, Looked, _look_whole)
PAGE: Final = Procedure("jobs", PageAsked, SentPart, _page)
SHARE: Final = Procedure("share", ShareAsked, Shares, _share)


# Starting.


async def start(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """Begin a job everywhere; models of policies are learned anew by the owner of policies alone."""
    wanted = await jobs.job_asked(request, org)
    if wanted.kind == "train":
        raise Problem(
            "needs_whole_log", "a training reads the whole log: train in one directory, made by leadwheel migrate"
        )
    partitions = [SHARED] if wanted.policies else list(range(front.cluster.partitions))
    samples = _divided(wanted.sample, len(partitions))
    begins = {
        partition: Begin(job=msgspec.structs.replace(wanted, sample=sample))
        for partition, sample in zip(partitions, samples, strict=True)
        if sample != 0
    }
    job = await _started(front, org, wanted.kind, begins, is_alone=True)
    return json_response(job.document(), 202)


async def start_bulk(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """Predict the best leads of all partitions."""
    wanted = await bulk_predictions.bulk_asked(request)
    configuration = request.match_info["configId"]
    (await front.shared.scores.of(org)).settings(configuration)
    asked = ShareAsked(configuration, wanted.limit)
    found = await asyncio.gather(*(front.call(SHARE, partition, org, asked) for partition in front.leads()))
    limits = shares(found, wanted.limit, least_of(wanted.min_score))
    begins = {
        partition: Begin(bulk=msgspec.structs.replace(wanted, limit=limit), configuration=configuration)
        for partition, limit in zip(front.leads(), limits, strict=True)
        if limit
    }
    job = await _started(front, org, BULK, begins, is_alone=False)
    return json_response(BulkAnswer(job.id), 202)


def shares(found: Sequence[Shares], limit: int, least: int) -> list[int]:
    """How many leads each partition predicts, so that together they are the best ``limit``.

    Examples
    --------
    >>> shares([Shares([0, 2, 1], 5), Shares([0, 3, 0], 5)], 4, 1), shares([Shares([1], 5), Shares([0], 1)], 9, 0)
    ([3, 1], [6, 1])
    """
    given = [0] * len(found)
    left = limit
    for priority in range(len(found[0].standing) - 1, least - 1, -1):
        left -= _give(given, [each.standing[priority] for each in found], left)
    if least == 0:
        _give(given, [each.others for each in found], left)
    return given


def _give(given: list[int], wanted: Sequence[int], left: int) -> int:
    """Give each what it wants, or, where that is too much, about equal parts; how many were given."""
    open_ = list(wanted)
    before = left
    while left and any(open_):
        part = max(1, left // sum(map(bool, open_)))
        for place, count in enumerate(open_):
            more = min(count, part, left)
            given[place] += more
            open_[place] -= more
            left -= more
    return before - left


def _divided(whole: int | None, parts: int) -> list[int | None]:
    if whole is None:
        return [None] * parts
    return [whole // parts + (place < whole % parts) for place in range(parts)]


async def _started(front: Front, org: Org, kind: str, begins: Mapping[int, Begin], *, is_alone: bool) -> Job:
    """The job that watches its parts, all of which have begun. Raises ``Problem``: then none goes on."""
    begun: dict[int, str] = {}
    try:
        for partition, begin in begins.items():
            looked = await front.call(BEGIN, partition, org, begin)
            if looked.job is not None:
                begun[partition] = looked.job.id
        return front.shared.jobs.start(kind, org.name, _watching(front, org, begun), is_alone=is_alone)
    except BaseException:
        await _cancel(front, org, begun)
        raise


# Watching.


def _watching(front: Front, org: Org, begun: Mapping[int, str]) -> Work:
    async def work(job: Job) -> dict[str, Any]:
        try:
            async for found in _looks(front, org, begun):
                job.progress = _together([each.progress for each in found.values()])
            for partition, each in found.items():
                for line in each.log:
                    job.say(f"partition {partition}: {line.text}")
        except BaseException:
            await asyncio.shield(_cancel(front, org, begun))
            raise
        failed = next((p for p in found if found[p].state != "done"), None)
        if failed is not None:
            raise _PartFailed(f"partition {failed}: {found[failed].error or found[failed].state}")
        return combined([each.result or {} for each in found.values()])

    return work


class _PartFailed(LeadwheelError):
    """A partition's part of a job did not end well."""


async def _looks(front: Front, org: Org, begun: Mapping[int, str]) -> AsyncIterator[dict[int, JobDocument]]:
    """All parts, again and again until all have ended."""
    while True:
        answers = await asyncio.gather(*(front.call(LOOK, p, org, Named(job)) for p, job in begun.items()))
        found: dict[int, JobDocument] = {}
        for partition, answer in zip(begun, answers, strict=True):
            if answer.job is None:
                raise _PartFailed(f"partition {partition} has moved to another node")
            found[partition] = answer.job
        yield found
        if all(each.state != "running" for each in found.values()):
            return
        await asyncio.sleep(front.options.poll_s)


async def _cancel(front: Front, org: Org, begun: Mapping[int, str]) -> None:
    for partition, job in begun.items():
        with contextlib.suppress(LeadwheelError):
            await front.call(LOOK, partition, org, Named(job, "cancel"))


def _together(parts: Sequence[Progress]) -> Progress:
    totals = [each.total for each in parts]
    rates = [each.rate for each in parts if each.rate is not None]
    etas = [each.eta_s for each in parts if each.eta_s is not None]
    total = None if any(each is None for each in totals) else sum(each or 0 for each in totals)
    return Progress(
        sum(each.done for each in parts),
        total,
        parts[0].unit if parts else "events",
        sum(rates) if rates else None,
        max(etas) if etas else None,
    )


def combined(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The result of the whole: numbers added, lists joined, what is the same once.

    Examples
    --------
    >>> combined([{"n": 1, "views": ["a"], "of": "x"}, {"n": 2, "views": ["a", "b"], "of": "x"}])
    {'n': 3, 'views': ['a', 'b'], 'of': 'x'}
    """
    whole: dict[str, Any] = {}
    for result in results:
        for name, value in result.items():
            if isinstance(value, list):
                found = whole.setdefault(name, [])
                found += [each for each in value if each not in found]
            elif isinstance(value, int | float) and not isinstance(value, bool):
                whole[name] = whole.get(name, 0) + value
            else:
                whole.setdefault(name, value)
    return whole


# Looking.


async def list_all(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """The jobs of all nodes, newest first."""
    page = jobs.JOBS.page(request, org, list[tuple[str, tuple[int, str] | None]])
    cursors = [Cursor(url, after) for url, after in page.after or [(url, None) for url in front.cluster.nodes()]]
    found = await asyncio.gather(
        *(front.call_node(PAGE, each.part, org, PageAsked(_pair(each.after), page.limit)) for each in cursors)
    )
    chosen, left = cut(cursors, [received(each) for each in found], page.limit)
    return json_response(page.answer([item.document for _, item in chosen], [list(each) for each in left] or None))


def _pair(after: Sequence[Any] | None) -> tuple[int, str] | None:
    return None if after is None else (after[0], after[1])


async def look(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """A job, or its end, wherever it was started."""
    names = request.match_info
    if "configId" in names:
        (await front.shared.scores.of(org)).settings(names["configId"])
    named = Named(names["job"] if "job" in names else names["id"], "cancel" if route.method == "DELETE" else "look")
    missing: list[Problem] = []
    for url in sorted(front.cluster.nodes(), key=lambda url: url != front.cluster.url):
        try:
            found = await front.call_node(LOOK_WHOLE, url, org, named)
        except Problem as problem:
            missing.append(problem)
            continue
        if found.job is not None and ("job" not in names or found.job.kind == BULK):
            return json_response(found.job)
    if missing:
        raise Problem("owner_away", f"no node has it that could be asked; {missing[0].detail}")
    raise Problem("job_not_found", f"no job {named.id}")
