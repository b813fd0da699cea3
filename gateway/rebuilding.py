"""Replay and verification as jobs: the log folded again, to take the cache's place or to be compared with it."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from actors.entity import Entity
from actors.rebuild import Progress, Rebuild
from actors.verification import Verification
from gateway.jobs import Job
from gateway.service import Service
from kernel.clock import Clock
from projections.entity import FoldedEntity


async def replay(service: Service, job: Job, views: Sequence[str] | None = None) -> dict[str, Any]:
    """Fold the whole log into a fresh cache and let the host use it.

    ``views`` bring it about only where one of them is stale. Leads are then folded whole all the same: the events have to
    be read for one view as for all.
    """
    stale = service.staleness.stale(job.org) if service.host.is_recovering else ()
    if views is not None and not set(views) & set(stale):
        job.say(f"not stale: {', '.join(views)}")
        return {"events": 0, "events_per_s": 0, "views": []}
    target = await service.caches.fresh()

    def tell(progress: Progress) -> None:
        job.report(progress.done, progress.total)

    rebuild = Rebuild(
        store=service.store,
        folds=service.folds,
        target=target,
        clock=service.clock,
        max_entities=service.settings.actors.max_awake,
        on_progress=tell,
    )
    is_adopted = False
    try:
        job.say("folding the log beside the cache in use")
        progress = await rebuild.run()
        old = await rebuild.adopt(service.host)
        is_adopted = True
        job.say("the new cache is in use")
    finally:
        if not is_adopted:
            await service.caches.discard(target)
    await service.caches.replace(old, target)
    service.staleness.settle()
    return {"events": progress.done, "events_per_s": round(progress.events_per_s), "views": list(stale)}


async def verify(service: Service, job: Job, sample: int | None) -> dict[str, Any]:
    """Fold leads from the log and compare them with what is served; of another org's only the number is told."""
    job.progress.unit = "leads"
    verification = Verification(
        store=service.store,
        folds=service.folds,
        differs=_difference(service.clock),
        host=service.host,
        on_progress=job.report,
    )
    verdict = await verification.run(sample=sample)
    own = [{stream.kind: stream.id} for stream in verdict.differing if stream.org == job.org]
    job.say(f"{verdict.checked} compared, {len(verdict.differing)} differ")
    return {
        "checked": verdict.checked,
        "unsaved": verdict.unsaved,
        "differing": own,
        "differing_count": len(verdict.differing),
    }


def _difference(clock: Clock) -> Callable[[Entity, Entity], bool]:
    """Whether two entities of one version have other values now, to the bit."""

    def differs(served: Entity, folded: Entity) -> bool:
        mine, log = cast("FoldedEntity", served), cast("FoldedEntity", folded)
        now_us = clock.now_us()
        mine.read(now_us)
        log.read(now_us)
        if mine.has_outside_event != log.has_outside_event or (mine.dead or {}) != (log.dead or {}):
            return True
        everything = mine.entities.everything
        return repr(mine.values(everything)) != repr(log.values(everything))

    return differs
