"""Models in use, trained anew: by the calendar, or when leads no longer look like those they were trained on.

Looked at once an hour. What a model was trained on is asked for again as its card has it; the new version waits beside
the one in use, or replaces it, as the configuration says. When a training is due follows from the cards, so a restart
forgets nothing but when drift was last measured. A training that has begun is not repeated within a day, whatever
became of it.
"""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from eventstore.event import Stream
from eventstore.store import EventStore
from gateway.engine import Engine
from gateway.jobs import Job, Jobs
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.scoring.models import ModelDrift, OrgModels, ScoringModels
from gateway.scoring.training import TrainingRequest, train_org
from kernel.settings_scoring import DEFAULT_CONFIGURATION, RetrainingSettings
from kernel.times import DAY_US, HOUR_US, format_time
from scoring.drift import drift, drifted_share
from scoring.features import FeatureSet, feature_set
from scoring.model import FAMILIES, Card, Family, Matrix
from scoring.registry import Version

_PAGE, _BATCH = 1000, 50  # leads listed, and read, at a time
_SHOWN = 10  # columns of a drift that are told
#: Between a training and the next one because of drift: where leads keep moving, no model can be as they are now.
_DRIFT_PAUSE_US = 7 * DAY_US
_log = structlog.get_logger(__name__)


class Retraining:
    """The worker; one per service. ``tick`` does what is due now."""

    def __init__(self, engine: Engine, *, models: ScoringModels, jobs: Jobs, tick_s: float = 3600.0) -> None:
        self._engine, self._models, self._jobs = engine, models, jobs
        self._clock, self._tick_s = engine.clock, tick_s
        self._tried_us: dict[tuple[str, str, tuple[Family, ...]], int] = {}
        self._measured_us: dict[tuple[str, str], int] = {}  # org and model → when its drift was measured
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tick."""
        self._task = asyncio.create_task(self._run(), name="retraining")

    async def close(self) -> None:
        """Tick no more. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._tick_s)
            try:
                await self.tick()
            except Exception:  # noqa: BLE001 - a supervision boundary: logged, and looked at again an hour later
                _log.exception("retraining_failed")

    async def tick(self) -> list[Job]:
        """Measure drift where it is time to, and start the trainings that are due, at most one per org."""
        started = []
        for org in list(self._engine.orgs.values()):
            if not self._models.has_any(org):
                continue
            models = await self._models.of(org)
            versions = await asyncio.to_thread(models.versions)
            for configuration in sorted({DEFAULT_CONFIGURATION, *org.settings.scoring}):
                job = await self._look(org, models, versions, configuration)
                if job is not None:
                    started.append(job)
                    break
        return started

    async def _look(self, org: Org, models: OrgModels, versions: Sequence[Version], configuration: str) -> Job | None:
        """The training of a configuration's models that are due and were asked for alike, if there are any."""
        settings = org.settings.scoring_of(configuration)
        if settings is None:
            return None
        due: list[tuple[Family, Version, str]] = []
        for family in FAMILIES:
            champion = models.promotions.champion(family, configuration)
            mine = [each for each in versions if each.family == family and each.config == configuration]
            if champion is None or not mine:
                continue
            for each in mine:
                if each is mine[-1] or each.id == champion.version:
                    await self._measure(org, models, each, settings.retraining)
            reason = self._due(models, mine[-1], settings.retraining)
            if reason is not None:
                due.append((family, mine[-1], reason))
        for _, first, _ in due:
            alike = [each for each in due if each[1].card.asked == first.card.asked]
            families = tuple(family for family, _, _ in alike)
            tried_us = self._tried_us.get((org.name, configuration, families))
            if tried_us is None or self._clock.now_us() >= tried_us + DAY_US:
                reasons = "; ".join(f"{version.id}: {reason}" for _, version, reason in alike)
                return self._start(org, configuration, families, first.card, settings.retraining, reasons)
        return None

    def _start(
        self,
        org: Org,
        configuration: str,
        families: tuple[Family, ...],
        card: Card,
        settings: RetrainingSettings,
        reasons: str,
    ) -> Job | None:
        asked = {**card.asked, "config": configuration, "families": list(families), "promote": settings.promote}
        try:
            wanted = msgspec.convert(asked, TrainingRequest)
        except msgspec.ValidationError as error:
            _log.warning("retraining_failed", org=org.name, configuration=configuration, error=str(error))
            return None

        async def work(job: Job) -> dict[str, object]:
            job.say(reasons)
            return await train_org(self._engine, self._models, job, org, wanted)

        try:
            job = self._jobs.start("train", org.name, work, is_alone=False)
        except Problem:
            return None  # somebody has a training run at this moment; the next tick looks again
        self._tried_us[org.name, configuration, families] = self._clock.now_us()
        _log.info("retraining", org=org.name, configuration=configuration, job=job.id, because=reasons)
        return job

    def _due(self, models: OrgModels, newest: Version, settings: RetrainingSettings) -> str | None:
        """Why a newer version is due; None where none is."""
        age_us = self._clock.now_us() - newest.card.created_us
        if settings.every_days and age_us >= settings.every_days * DAY_US:
            return f"{age_us // DAY_US} days old"
        if not settings.on_drift or age_us < _DRIFT_PAUSE_US:
            return None
        if (reason := models.unfit(newest)) is not None:
            return reason
        measured = models.drift.get(newest.id)
        if measured is not None and measured.share > settings.drift_share_max:
            return f"{measured.share:.0%} of its importance is on features that have drifted"
        return None

    async def _measure(self, org: Org, models: OrgModels, found: Version, settings: RetrainingSettings) -> None:
        """Compare leads as they are now with those of the training, if that was long ago and can be done."""
        now_us = self._clock.now_us()
        last_us = self._measured_us.get((org.name, found.id))
        if last_us is not None and now_us < last_us + settings.drift_check_h * HOUR_US:
            return
        self._measured_us[org.name, found.id] = now_us
        if models.unfit(found) is not None:
            models.drift.pop(found.id, None)
            return
        features = feature_set(org.catalogue, found.card.features)
        rows = await self._rows(org, features, settings.drift_leads)
        if not len(rows):
            return
        columns = await asyncio.to_thread(drift, found.card, rows)
        models.drift[found.id] = ModelDrift(
            measured=format_time(now_us),
            leads=len(rows),
            share=drifted_share(found.card, columns),
            columns={each.column: each.psi for each in columns[:_SHOWN]},
        )

    async def _rows(self, org: Org, features: FeatureSet, most: int) -> Matrix:
        """Leads as they are now, spread over all in the order in which they came."""
        streams = await _leads(self._engine.store, org.name)
        chosen = streams[:: max(1, len(streams) // most)][:most]
        values = []
        for start in range(0, len(chosen), _BATCH):
            for entity in await self._engine.read_many(chosen[start : start + _BATCH]):
                if entity is not None:
                    values.append(entity.values(features.selection))
                await asyncio.sleep(0)
        return features.matrix(values)


async def _leads(store: EventStore, org: str) -> list[Stream]:
    """An organisation's leads, in the order in which they came."""
    found: list[Stream] = []
    after = 0
    while page := await store.list_streams(after_number=after, limit=_PAGE):
        after = page[-1].number
        found += [
            info.stream for info in page if info.stream.org == org and info.stream.kind == "lead" and info.is_known
        ]
    return found
