"""Replay and verification as jobs: the log folded again, to take the cache's place or to be compared with it."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from actors.entity import Entity
from actors.rebuild import Progress, Rebuild
from actors.slices import fold_in_slices
from actors.verification import Verification
from bandit.policy_entity import PolicyEntity
from bandit.versions import model_sha256
from gateway.folds import policy_folds
from gateway.jobs import Job
from gateway.orgs import Org
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


async def replay_policies(service: Service, job: Job, org: Org) -> dict[str, Any]:
    """Learn the model of each policy anew, from its stream alone, and compare it with the one in use.

    One that differs gives way to the one from the log.
    """
    policies = await service.policies.of(org)
    job.progress.total = 0
    result = []
    for name in sorted(policies.names):
        live = await policies.any_entity(name)
        if live is None or live.learner is None:
            continue
        version, sha256 = live.version, model_sha256(live.model_bytes())
        job.progress.total += version
        folds = policy_folds(service.settings.bandit)
        found = await fold_in_slices(
            service.store, folds, live.stream, live.number, until=version, on_page=_adding(job)
        )
        anew = cast("PolicyEntity", found)
        is_same = anew.learner is not None and model_sha256(anew.model_bytes()) == sha256
        if not is_same:
            await service.host.refold(live.stream)
        job.say(f"{name}: {anew.updates} updates, {'the same bytes' if is_same else 'other bytes'}")
        result.append({"policy": name, "updates": anew.updates, "sha256": sha256, "same": is_same})
    return {"policies": result}


def _adding(job: Job) -> Callable[[int], None]:
    """Adds what was done to a job's progress."""
    return lambda count: job.report(job.progress.done + count, job.progress.total)


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
        if isinstance(served, PolicyEntity) and isinstance(folded, PolicyEntity):
            return served.dump() != folded.dump()
        mine, log = cast("FoldedEntity", served), cast("FoldedEntity", folded)
        now_us = clock.now_us()
        mine.read(now_us)
        log.read(now_us)
        if mine.has_outside_event != log.has_outside_event or (mine.dead or {}) != (log.dead or {}):
            return True
        everything = mine.entities.everything
        return repr(mine.values(everything)) != repr(log.values(everything))

    return differs
