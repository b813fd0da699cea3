"""Predictions of many leads as a job: the best first, a batch at a time, each written while the next is computed.

What was predicted stands in the log, and a lead whose prediction is still good is passed over, so a job that was
cancelled, or died with its process, is resumed by starting it again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from eventstore.event import NewEvent, Stream
from gateway.jobs import Job
from gateway.scoring.predicting import current_entry, making
from gateway.scoring.scores import OrgScores
from gateway.service import Service
from scoring.events import PredictionMade
from scoring.predicting import Lead

BATCH = 100
_READ, _ENCODED = 20, 20  # leads read, and predictions encoded, between two turns of the loop
_PAGE = 1000


async def bulk_predict(
    service: Service, job: Job, scores: OrgScores, configuration: str, *, limit: int, least: int, is_forced: bool
) -> dict[str, Any]:
    """Predict the first ``limit`` leads by priority, and after them those that have none yet.

    Parameters
    ----------
    least : only leads whose latest prediction has this priority or more; with 0 also those without a prediction.
    """
    scorer = scores.scorer(configuration)
    job.progress.unit = "leads"
    leads = [standing.lead for standing in scores.ranking(configuration).best(limit, least=least)]
    if least == 0 and len(leads) < limit:
        known = set(leads)
        async for lead in all_leads(service, scores.org.name):
            if lead not in known:
                leads.append(lead)
            if len(leads) == limit:
                break
    predicted = 0
    job.report(0, len(leads))
    writing: asyncio.Task[None] | None = None
    try:
        for start in range(0, len(leads), BATCH):
            changed = await _changed(service, scores, configuration, leads[start : start + BATCH], is_forced=is_forced)
            made = await service.predictor.compute(scorer, changed, because="bulk")
            predicted += len(made)
            if writing is not None:
                await writing  # one batch is written while the next one is computed, not more
            done = min(start + BATCH, len(leads))
            writing = asyncio.create_task(_write(service, job, scores, made, changed, done=done), name="bulk write")
        if writing is not None:
            await writing
    finally:
        if writing is not None:  # of a job that is cancelled, what is on its way into the log still counts
            await asyncio.gather(writing, return_exceptions=True)
    current = len(leads) - predicted
    job.say(f"{predicted} predicted, {current} still as they were or no longer known")
    return {"predicted": predicted, "current": current, "configuration": configuration}


async def _write(
    service: Service, job: Job, scores: OrgScores, made: Sequence[PredictionMade], leads: Sequence[Lead], *, done: int
) -> None:
    """Make a batch durable; only then it counts as done."""
    events: list[NewEvent] = []
    for start in range(0, len(made), _ENCODED):
        events += making(scores, made[start : start + _ENCODED], leads[start : start + _ENCODED])
        await asyncio.sleep(0)
    if events:
        await service.ingest.submit(events)
    job.report(done, job.progress.total)


async def _changed(
    service: Service, scores: OrgScores, configuration: str, leads: Sequence[str], *, is_forced: bool
) -> list[Lead]:
    """Those of some leads whose prediction would follow from something else than the stored one."""
    scorer = scores.scorer(configuration)
    changed = []
    for start in range(0, len(leads), _READ):
        streams = [Stream(scores.org.name, "lead", lead) for lead in leads[start : start + _READ]]
        entities = await service.read_many(streams)
        now_us = service.clock.now_us()
        for entity in entities:
            if entity is not None:
                known = scores.lead(entity, now_us)
                if is_forced or current_entry(entity, scorer, known) is None:
                    changed.append(known)
        await asyncio.sleep(0)
    return changed


async def all_leads(service: Service, org: str) -> AsyncIterator[str]:
    """The known leads of an organisation, as they were first heard of."""
    after = 0
    while page := await service.store.list_streams(after_number=after, limit=_PAGE):
        for info in page:
            if info.is_known and info.stream.kind == "lead" and info.stream.org == org:
                yield info.stream.id
        after = page[-1].number
