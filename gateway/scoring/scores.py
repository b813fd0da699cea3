"""What is known of the predictions of each org: who comes first, how good they were, and which models make them.

Folds of ``prediction_made`` and ``prediction_validated`` of all leads: read from the log when an org is first asked
about, newest first, since no order matters to them, and kept up by what is delivered. They live in memory; the
predictions of one lead are in its book, and every prediction in the log.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from eventstore.event import Event
from eventstore.store import EventStore
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.scoring.models import OrgModels, ScoringModels
from kernel.ids import Position
from kernel.settings_scoring import ScoringSettings
from projections.entity import FoldedEntity
from scoring.accuracy import Accuracy
from scoring.events import PREDICTION_MADE, PREDICTION_VALIDATED, PredictionValidated
from scoring.predicting import Lead, Scorer
from scoring.prediction import payload_of
from scoring.ranking import Ranking
from scoring.trained import RULES_ONLY, Models

_PAGE = 500
#: Deliveries that may come twice do so soon.
_REMEMBERED = 100_000
#: Verdicts on predictions by rules before their calibration counts for confidence.
_LEAST_VERDICTS = 100

_VALIDATED: msgspec.json.Decoder[PredictionValidated] = msgspec.json.Decoder(PredictionValidated)


class OrgScores:
    """The predictions of one org."""

    def __init__(self, org: Org) -> None:
        self.org = org
        self.accuracy = Accuracy()
        self._rankings: dict[str, Ranking] = {}
        self._scorers: dict[str, Scorer] = {}
        self._models: Callable[[str], Models] = lambda configuration: RULES_ONLY
        self._taken: OrderedDict[Position, None] = OrderedDict()
        self._everything = org.catalogue.everything

    def use(self, models: Callable[[str], Models]) -> None:
        """From now on the models of each configuration are these; they are asked for once."""
        self._models = models
        self._scorers.clear()

    def settings(self, configuration: str) -> ScoringSettings:
        """Raises ``Problem`` (``configuration_not_found``)."""
        found = self.org.settings.scoring_of(configuration)
        if found is None:
            raise no_configuration(configuration)
        return found

    def scorer(self, configuration: str) -> Scorer:
        """Predicts under a configuration. Raises ``Problem``."""
        found = self._scorers.get(configuration)
        if found is None:
            found = self._scorers[configuration] = Scorer(
                configuration,
                self.settings(configuration),
                self._models(configuration),
                definitions=self.org.catalogue.fingerprint,
                rules_error=self.accuracy.calibration_error(configuration, "CONVERSION", "rules", _LEAST_VERDICTS),
            )
        return found

    def ranking(self, configuration: str) -> Ranking:
        """The leads by their latest prediction. Raises ``Problem``."""
        self.settings(configuration)
        return self._rankings.setdefault(configuration, Ranking())

    def rankings(self) -> list[tuple[str, Ranking]]:
        """Of every configuration under which anything was predicted."""
        return list(self._rankings.items())

    def lead(self, entity: FoldedEntity, now_us: int) -> Lead:
        """All that a prediction may read of a lead that was read."""
        values = zip(self._everything.names, entity.values(self._everything), strict=True)
        return Lead(entity.stream.id, now_us, dict(values))

    def fold(self, event: Event) -> None:
        """Take a prediction or a verdict, once however often it is told. Never raises for what it contains."""
        if event.position in self._taken:
            return
        self._taken[event.position] = None
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)
        try:
            if event.type == PREDICTION_MADE:
                made = payload_of(event)
                self.accuracy.made(made, event.at_us)
                ranking = self._rankings.setdefault(made.configuration, Ranking())
                ranking.note(event.stream.id, event.id, made, event.at_us)
            elif event.type == PREDICTION_VALIDATED:
                self.accuracy.validated(event.payload or _VALIDATED.decode(event.data))
        except msgspec.MsgspecError:
            return  # written by another version of this program


class Scores:
    """The predictions of all orgs.

    Parameters
    ----------
    models : those that predict.
    """

    def __init__(self, store: EventStore, models: ScoringModels) -> None:
        self._store, self._models = store, models
        models.tell(self._use)
        self._listeners: list[Callable[[OrgScores], None]] = []
        self._orgs: dict[str, OrgScores] = {}
        self._loading: dict[str, tuple[asyncio.Lock, OrgScores | None]] = {}
        self._waiting: dict[str, list[Event]] = {}

    def fold(self, event: Event) -> None:
        """An event was delivered."""
        if event.type not in (PREDICTION_MADE, PREDICTION_VALIDATED):
            return
        found = self._orgs.get(event.stream.org)
        if found is not None:
            found.fold(event)
        elif event.stream.org in self._waiting:
            self._waiting[event.stream.org].append(event)

    def on_loaded(self, listener: Callable[[OrgScores], None]) -> None:
        """Tell it of an org when its predictions were read, before anybody is answered from them."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Use other models no more."""
        self._models.tell_no_more(self._use)

    def _use(self, models: OrgModels) -> None:
        found = self._orgs.get(models.org.name)
        if found is not None:
            found.use(models.models)

    def loaded(self, org: str) -> OrgScores | None:
        """Those of an org, if somebody has asked about it before."""
        return self._orgs.get(org)

    async def of(self, org: Org) -> OrgScores:
        """Those of an org; the first call reads its predictions from the log."""
        found = self._orgs.get(org.name)
        if found is not None:
            return found
        lock, _ = self._loading.setdefault(org.name, (asyncio.Lock(), None))
        async with lock:
            if org.name not in self._orgs:
                await self._load(org)
            return self._orgs[org.name]

    async def _load(self, org: Org) -> None:
        scores = OrgScores(org)
        scores.use((await self._models.of(org)).models)
        waiting = self._waiting[org.name] = []
        last = await self._store.last_position()
        for event_type in (PREDICTION_MADE, PREDICTION_VALIDATED):
            before: Position | None = Position(last + 1)
            while page := await self._store.read_type(org.name, event_type, before=before, limit=_PAGE):
                await _fold_all(scores, page)
                before = page[-1].position
        await _fold_all(scores, [event for event in waiting if event.position > last])
        for listener in self._listeners:
            listener(scores)
        for event in waiting:
            if event.position > last:
                scores.fold(event)
        del self._waiting[org.name]
        self._orgs[org.name] = scores


async def _fold_all(scores: OrgScores, events: Sequence[Event]) -> None:
    for count, event in enumerate(events, start=1):
        scores.fold(event)
        if count % 50 == 0:
            await asyncio.sleep(0)


def no_configuration(configuration: str) -> Problem:
    """The refusal of a configuration that there is not."""
    return Problem("configuration_not_found", f"no scoring configuration {configuration}")
