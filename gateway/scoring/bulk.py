"""Predictions of many leads as a job: the best first, a batch at a time, each batch durable before the next.

What was predicted stands in the log, and a lead whose prediction is still good is passed over, so a job that was
cancelled, or died with its process, is resumed by starting it again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from eventstore.event import Stream
from gateway.jobs import Job
from gateway.scoring.predicting import computed, current_entry, making
from gateway.scoring.scores import OrgScores
from gateway.service import Service
from scoring.predicting import Lead

BATCH = 100
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
        async for lead in _all_leads(service, scores.org.name):
            if lead not in known:
                leads.append(lead)
            if len(leads) == limit:
                break
    predicted = current = 0
    for start in range(0, len(leads), BATCH):
        changed = await _changed(service, scores, configuration, leads[start : start + BATCH], is_forced=is_forced)
        made = await computed(scorer, changed, because="bulk") if changed else []
        if made:
            await service.ingest.submit(making(scores, made, changed))
        predicted += len(changed)
        current = min(start + BATCH, len(leads)) - predicted
        job.report(start + len(leads[start : start + BATCH]), len(leads))
        await asyncio.sleep(0)
    job.say(f"{predicted} predicted, {current} still as they were or no longer known")
    return {"predicted": predicted, "current": current, "configuration": configuration}


async def _changed(
    service: Service, scores: OrgScores, configuration: str, leads: Sequence[str], *, is_forced: bool
) -> list[Lead]:
    """Those of some leads whose prediction would follow from something else than the stored one."""
    scorer = scores.scorer(configuration)
    entities = await service.read_many([Stream(scores.org.name, "lead", lead) for lead in leads])
    now_us = service.clock.now_us()
    changed = []
    for count, entity in enumerate(entities, start=1):
        if entity is not None:
            known = scores.lead(entity, now_us)
            if is_forced or current_entry(entity, scorer, known) is None:
                changed.append(known)
        if count % 20 == 0:
            await asyncio.sleep(0)
    return changed


async def _all_leads(service: Service, org: str) -> AsyncIterator[str]:
    after = 0
    while page := await service.store.list_streams(after_number=after, limit=_PAGE):
        for info in page:
            if info.is_known and info.stream.kind == "lead" and info.stream.org == org:
                yield info.stream.id
        after = page[-1].number
