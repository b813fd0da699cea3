"""Predictions that nobody asked for: after events that matter, and of leads whose prediction has grown old.

An event marks its lead; a debounce time later the lead is predicted, together with whoever else is due. What is old is
looked at within a budget per minute, oldest first. Marks live in memory: what a crash loses is made up for when the
prediction has grown old. Nothing of this waits on the way of a request.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from heapq import heappop, heappush

import msgspec
import structlog

from eventstore.event import Event, Stream
from gateway.engine import Engine
from gateway.scoring.predicting import Predictor, current_entry, making
from gateway.scoring.scores import OrgScores, Scores
from kernel.errors import LeadwheelError
from kernel.settings_scoring import DEFAULT_CONFIGURATION
from kernel.times import MINUTE_US, SECOND_US
from scoring.events import PREDICTION_MADE
from scoring.predicting import Lead
from scoring.prediction import payload_of
from scoring.triggers import is_old, triggers

_BATCH = 50
_MARKED_MAX = 100_000
_log = structlog.get_logger(__name__)


class Triggered:
    """The worker; one per service. ``tick`` does what is due now."""

    def __init__(self, engine: Engine, *, scores: Scores, predictor: Predictor, tick_s: float = 1.0) -> None:
        self._engine, self._scores, self._predictor = engine, scores, predictor
        self._clock, self._tick_s = engine.clock, tick_s
        scores.on_loaded(self._load)
        self._types: dict[str, frozenset[str]] = {}
        self._marked: OrderedDict[tuple[Stream, str], tuple[int, str]] = OrderedDict()
        #: By org and configuration, so that the budget of one keeps none of another waiting.
        self._aging: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self._made_us: dict[tuple[str, str, str], int] = {}
        self._left: dict[tuple[str, str], tuple[int, int]] = {}
        self._task: asyncio.Task[None] | None = None
        self.made = 0
        self.failures = 0

    def fold(self, event: Event) -> None:
        """An event was delivered. Never waits, never raises."""
        types = self._types.get(event.stream.org)
        if event.type not in (self._types_of(event.stream.org) if types is None else types):
            return
        if event.stream.kind != "lead":
            return
        if event.type == PREDICTION_MADE:
            self._note_made(event)
            return
        org = self._engine.orgs[event.stream.org]
        for name in {DEFAULT_CONFIGURATION, *org.settings.scoring}:
            settings = org.settings.scoring_of(name)
            if settings is None or not triggers(event, settings, org.settings.trigger_max_age_s * SECOND_US):
                continue
            if len(self._marked) < _MARKED_MAX:
                due_us = self._clock.now_us() + round(settings.debounce_s * SECOND_US)
                self._marked.setdefault((event.stream, name), (due_us, event.id))

    def _types_of(self, org: str) -> frozenset[str]:
        """The types that mean anything here, in any configuration of an org: most events are of none."""
        settings = self._engine.orgs[org].settings
        scoring = [settings.scoring_of(name) for name in {DEFAULT_CONFIGURATION, *settings.scoring}]
        types = {PREDICTION_MADE}.union(*(each.triggers for each in scoring if each is not None))
        self._types[org] = found = frozenset(types)
        return found

    def _load(self, scores: OrgScores) -> None:
        """An org's predictions were read: they grow old, too."""
        for configuration, ranking in scores.rankings():
            for standing in ranking.best(len(ranking)):
                self._age((scores.org.name, configuration, standing.lead), standing.made_us)

    def start(self) -> None:
        """Begin to tick."""
        self._task = asyncio.create_task(self._run(), name="predictions")

    async def close(self) -> None:
        """Tick no more. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _note_made(self, event: Event) -> None:
        try:
            configuration = payload_of(event).configuration
        except msgspec.MsgspecError:
            return  # written by another version of this program
        self._age((event.stream.org, configuration, event.stream.id), event.at_us)

    def _age(self, key: tuple[str, str, str], made_us: int) -> None:
        org, configuration, lead = key
        self._made_us[key] = made_us
        heappush(self._aging.setdefault((org, configuration), []), (made_us, lead))

    async def _run(self) -> None:
        unread = list(self._engine.orgs.values())
        while True:
            try:
                while unread:
                    await self._scores.of(unread[-1])
                    unread.pop()
                await self.tick()
            except LeadwheelError as error:
                self.failures += 1
                _log.warning("predictions_failed", error=str(error))
            except Exception:  # noqa: BLE001 - a supervision boundary: counted, logged; who was due is made up for by age
                self.failures += 1
                _log.exception("predictions_failed")
            await self._clock.sleep(self._tick_s)

    async def tick(self) -> int:
        """Predict who is due; how many were."""
        now_us = self._clock.now_us()
        due = [(key, cause) for key, (at_us, cause) in self._marked.items() if at_us <= now_us]
        for key, _ in due:
            del self._marked[key]
        count = 0
        groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for (stream, configuration), cause in due:
            groups.setdefault((stream.org, configuration), []).append((stream.id, cause))
        for (org, configuration), leads in groups.items():
            for start in range(0, len(leads), _BATCH):
                count += await self._predict(org, configuration, leads[start : start + _BATCH])
        return count + await self._refresh(now_us)

    async def _refresh(self, now_us: int) -> int:
        """Look at predictions that have grown old, within the budget."""
        count = 0
        for org, configuration in list(self._aging):
            leads = self._old(org, configuration, now_us)
            for start in range(0, len(leads), _BATCH):
                count += await self._predict(org, configuration, leads[start : start + _BATCH])
        return count

    def _old(self, org: str, configuration: str, now_us: int) -> list[tuple[str, str]]:
        """The leads of a configuration whose prediction is old, the oldest first, as far as the budget goes."""
        aging, due = self._aging[org, configuration], []
        settings = self._engine.orgs[org].settings.scoring_of(configuration)
        if settings is None:
            del self._aging[org, configuration]
            return []
        while aging:
            made_us, lead = aging[0]
            if self._made_us.get((org, configuration, lead)) != made_us:
                heappop(aging)
                continue
            if not is_old(made_us, settings, now_us) or not self._spend(
                org, configuration, settings.refresh_per_minute
            ):
                break
            heappop(aging)
            due.append((lead, "age"))
            # Looked at again a refresh age later, whether or not its inputs have changed.
            self._age((org, configuration, lead), now_us)
        return due

    def _spend(self, org: str, configuration: str, per_minute: int) -> bool:
        minute = self._clock.now_us() // MINUTE_US
        began, left = self._left.get((org, configuration), (minute, per_minute))
        if began != minute:
            left = per_minute
        self._left[org, configuration] = (minute, left - 1)
        return left > 0

    async def _predict(self, org: str, configuration: str, due: Sequence[tuple[str, str]]) -> int:
        try:
            scores = await self._scores.of(self._engine.orgs[org])
            return await self._predict_changed(scores, configuration, dict(due))
        except LeadwheelError as error:
            self.failures += 1
            _log.warning("predictions_failed", org=org, leads=len(due), error=str(error))
            return 0

    async def _predict_changed(self, scores: OrgScores, configuration: str, causes: dict[str, str]) -> int:
        scorer = scores.scorer(configuration)
        entities = await self._engine.read_many([Stream(scores.org.name, "lead", lead) for lead in causes])
        now_us = self._clock.now_us()
        changed: list[Lead] = []
        for entity in entities:
            if entity is None:
                continue
            lead = scores.lead(entity, now_us)
            if current_entry(entity, scorer, lead) is None:
                changed.append(lead)
            await asyncio.sleep(0)
        found = await self._predictor.compute(scorer, changed, because="age")
        made = [
            msgspec.structs.replace(each, because=causes[lead.id]) for each, lead in zip(found, changed, strict=True)
        ]
        if made:
            await self._engine.ingest.record(making(scores, made, changed))
        self.made += len(made)
        return len(made)
