"""Predictions of leads: the stored one while nothing that it follows from has changed, else a new one, made durable.

What is computed, is computed in a thread of its own where there are models; rules alone take a tenth of a millisecond.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from eventstore.event import Event, NewEvent, Stream
from eventstore.store import Refused
from gateway.engine import Engine
from gateway.llm import LanguageModel
from gateway.lookback import look_back
from gateway.problems import Problem
from gateway.scoring.scores import OrgScores
from kernel.steps import finish_politely
from kernel.threads import Worker
from projections.entity import FoldedEntity
from scoring.book import BOOK, Book, Entry
from scoring.estimates import Estimate
from scoring.events import PredictionMade, PredictionValidated, Verdict
from scoring.identity import PredictionId, opinion_event_id, outcome_event_id, parse_prediction_id
from scoring.llm import FAILURES
from scoring.model import PredictionType
from scoring.predicting import Lead, Scorer
from scoring.prediction import (
    Prediction,
    made_event,
    opinion,
    opinion_event,
    payload_of,
    predicted_of,
    record,
)
from scoring.rules import rule_score

#: Leads predicted at a time: by rules 2 ms, of the loop; by models 25 ms, of their thread.
_BY_RULES, _BY_MODELS = 20, 50

_VALIDATED: msgspec.json.Decoder[PredictionValidated] = msgspec.json.Decoder(PredictionValidated)


class Predictor:
    """Makes predictions for all orgs of a service."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._language_models: dict[tuple[str, str], LanguageModel] = {}
        self._judging: dict[str, asyncio.Lock] = {}  # by org: a verdict says which one it replaces
        self._worker: Worker | None = None

    async def close(self) -> None:
        for each in self._language_models.values():
            await each.close()
        if self._worker is not None:
            await self._worker.close()

    async def predict(
        self, scores: OrgScores, lead: str, configuration: str, *, is_forced: bool, rules_only: bool
    ) -> Prediction:
        """A lead's prediction of conversion, as it is now.

        Raises
        ------
        Problem
            ``lead_not_found``, ``configuration_not_found``.
        StoreUnavailable, IntakeFull
        """
        scorer = scores.scorer(configuration)
        entity = await self._engine.read(Stream(scores.org.name, "lead", lead))
        if entity is None:
            raise Problem("lead_not_found", f"no lead {lead}")
        known = scores.lead(entity, self._engine.clock.now_us())
        entry = None if is_forced else current_entry(entity, scorer, known, rules_only=rules_only)
        if entry is not None:
            return await self.stored(scores.org.name, entry)
        answers, notes = await self._asked(scores, configuration, known, rules_only=rules_only)
        (made,) = await self.compute(
            scorer, [known], because="request", rules_only=rules_only, answers=answers, notes=notes
        )
        event = await self._write(entity.stream, made, known.at_us)
        main = predicted_of(payload_of(event), "CONVERSION")
        if main is None:
            raise AssertionError("conversion is always predicted")
        return record(event, main)

    async def compute(
        self,
        scorer: Scorer,
        leads: Sequence[Lead],
        *,
        because: str,
        rules_only: bool = False,
        answers: dict[str, Estimate] | None = None,
        notes: dict[str, str] | None = None,
    ) -> list[PredictionMade]:
        """``Scorer.predict``, off the loop where models are asked, in slices between which others have their turn.

        One thread for all: several would contend for the interpreter, and the loop would wait for each of them.
        """
        is_short = rules_only or not scorer.models.versions
        size = _BY_RULES if is_short else _BY_MODELS
        made: list[PredictionMade] = []
        for start in range(0, len(leads), size):
            work = partial(
                scorer.predict,
                leads[start : start + size],
                because=because,
                rules_only=rules_only,
                answers=answers,
                notes=notes,
            )
            if is_short:
                made += work()
                await asyncio.sleep(0)
                continue
            if self._worker is None:
                self._worker = Worker("models")
            made += await self._worker.run(work)
        return made

    async def stored(self, org: str, entry: Entry) -> Prediction:
        """A prediction whose entry stands in a book, from the log."""
        event, kind = await self.event(org, entry.id)
        predicted = predicted_of(payload_of(event), kind)
        if predicted is None:
            raise Problem("prediction_not_found", f"no prediction {entry.id}")
        return record(event, predicted, entry.verdict)

    async def event(self, org: str, prediction: str) -> tuple[Event, PredictionType]:
        """The event that a prediction stands in. Raises ``Problem`` (``prediction_not_found``)."""
        found = parse_prediction_id(prediction)
        event = None if found is None else await self._engine.store.find(org, found.event_id)
        if found is None or event is None:
            raise Problem("prediction_not_found", f"no prediction {prediction}")
        return event, found.type

    async def validate(self, org: str, prediction: str, was_accurate: bool) -> Prediction:
        """Store what a person says of a prediction; saying the same again changes nothing. Raises ``Problem``."""
        event, kind = await self.event(org, prediction)
        predicted = predicted_of(payload_of(event), kind)
        if predicted is None:
            raise Problem("prediction_not_found", f"no prediction {prediction}")
        verdict = opinion(predicted, was_accurate)
        async with self._judging.setdefault(org, asyncio.Lock()):
            previous, opinions = await self._verdicts(org, prediction)
            if previous is None or previous != verdict:
                now_us = self._engine.clock.now_us()
                new = opinion_event(event, predicted, verdict, previous=previous, place=opinions + 1, at_us=now_us)
                await self._engine.ingest.submit([new])
        return record(event, predicted, verdict)

    async def _verdicts(self, org: str, prediction: str) -> tuple[Verdict | None, int]:
        """The verdict in force, and how many people have given."""
        found: list[Event] = []
        while event := await self._engine.store.find(org, opinion_event_id(prediction, len(found) + 1)):
            found.append(event)
        opinions = len(found)
        outcome = await self._engine.store.find(org, outcome_event_id(prediction))
        latest = max([*found, *([outcome] if outcome else [])], key=lambda each: each.position, default=None)
        return (None if latest is None else _VALIDATED.decode(latest.data).verdict), opinions

    async def _write(self, stream: Stream, made: PredictionMade, made_us: int) -> Event:
        """The event in the log. Of one instant and the same inputs it is the first one, also where they are not all.

        A language model may have answered two requests of one microsecond differently.
        """
        new = made_event(stream, made, made_us)
        receipt = await self._engine.ingest.submit([new])
        outcome = receipt.outcomes[0]
        if not isinstance(outcome, Refused):
            return outcome.event
        stored = await self._engine.store.find(stream.org, new.id)
        if stored is None:
            raise AssertionError(f"{stream}: {new.id} was refused, and stands nowhere")
        return stored

    async def _asked(
        self, scores: OrgScores, configuration: str, lead: Lead, *, rules_only: bool
    ) -> tuple[dict[str, Estimate], dict[str, str]]:
        """What a language model says of a lead, or why it says nothing; neither where none is wanted."""
        settings = scores.settings(configuration)
        if rules_only or not settings.language_model.enabled:
            return {}, {}
        asked = self._language_models.setdefault(
            (scores.org.name, configuration), LanguageModel(settings, self._engine.clock)
        )
        scored = rule_score(lead.values, settings.weights)
        found = await asked.estimate(await self._facts(scores, lead, settings.language_model.prompt_chars), scored)
        return ({lead.id: found}, {}) if isinstance(found, Estimate) else ({}, {lead.id: FAILURES[found]})

    async def _facts(self, scores: OrgScores, lead: Lead, max_chars: int) -> str:
        past = await look_back(self._engine, Stream(scores.org.name, "lead", lead.id))
        if past is None:
            return ""
        steps = scores.org.prompter.block(lead.id, past.events, lead.at_us, max_chars, dead=past.dead)
        return (await finish_politely(steps)).text


def book_of(entity: FoldedEntity) -> Book | None:
    """A lead's predictions; None while it has none."""
    found = entity.companion(BOOK)
    return found if isinstance(found, Book) else None


def current_entry(entity: FoldedEntity, scorer: Scorer, lead: Lead, *, rules_only: bool = False) -> Entry | None:
    """The newest prediction of conversion, if all that it follows from is still the same."""
    book = book_of(entity)
    entry = None if book is None else book.latest(scorer.name)
    if entry is None or entry.inputs != scorer.inputs(lead, rules_only=rules_only):
        return None
    return entry


def making(scores: OrgScores, made: Sequence[PredictionMade], leads: Sequence[Lead]) -> list[NewEvent]:
    """The events of what was computed for these leads."""
    streams = [Stream(scores.org.name, "lead", lead.id) for lead in leads]
    return [made_event(stream, each, lead.at_us) for stream, each, lead in zip(streams, made, leads, strict=True)]


def prediction_id(event: Event) -> PredictionId | None:
    """The id of the prediction of conversion in an event."""
    return parse_prediction_id(f"{event.id.removeprefix('~pm:')}.conversion")
