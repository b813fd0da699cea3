"""A prediction as it is answered, and the event that it stands in.

Enters: what was predicted (``events.PredictionMade``). Leaves: the event for the log, and the records that the routes
answer, one for each prediction in it, together with the latest verdict.
"""

from typing import Any

import msgspec

from eventstore.event import Event, NewEvent, Stream
from kernel.times import format_time
from scoring.events import (
    PREDICTION_MADE,
    PREDICTION_VALIDATED,
    Predicted,
    PredictionMade,
    PredictionValidated,
    Source,
    Verdict,
)
from scoring.explanation import Explanation
from scoring.identity import PredictionId, made_event_id, making_of, opinion_event_id
from scoring.model import PredictionType
from scoring.pace import DaysToClose
from scoring.priority import Tier
from scoring.recommend import Recommendation
from scoring.risks import RiskFactor
from scoring.rules import Breakdown

_DECODER: msgspec.json.Decoder[PredictionMade] = msgspec.json.Decoder(PredictionMade)


class Prediction(msgspec.Struct, frozen=True, rename="camel"):
    """The record of one prediction, keys in camelCase."""

    id: str
    lead_id: str
    config_id: str
    type: PredictionType
    probability: float
    confidence: float
    score: float
    priority: int
    tier: Tier
    days_to_close: DaysToClose
    breakdown: Breakdown
    explanation: Explanation
    risk_factors: tuple[RiskFactor, ...]
    recommendations: tuple[Recommendation, ...]
    source: Source
    model_version: str | None
    created_at: str
    validated: bool
    was_accurate: bool | None


def made_event(stream: Stream, made: PredictionMade, made_us: int) -> NewEvent:
    """The event that stores what was predicted of a lead."""
    event_id = made_event_id(stream.id, made.configuration, made.inputs, made_us)
    return NewEvent(stream, event_id, PREDICTION_MADE, made_us, msgspec.json.encode(made), made)


def payload_of(event: Event | NewEvent) -> PredictionMade:
    """What a ``prediction_made`` says, decoded if need be. Raises ``msgspec.MsgspecError``."""
    made: PredictionMade | None = event.payload
    return _DECODER.decode(event.data) if made is None else made


def record(event: Event | NewEvent, predicted: Predicted, verdict: Verdict | None = None) -> Prediction:
    """One prediction of a ``prediction_made`` as it is answered."""
    made = payload_of(event)
    return Prediction(
        id=str(PredictionId(making_of(event.id), predicted.type)),
        lead_id=event.stream.id,
        config_id=made.configuration,
        type=predicted.type,
        probability=predicted.probability,
        confidence=predicted.confidence,
        score=predicted.score,
        priority=predicted.priority,
        tier=predicted.tier,
        days_to_close=made.days,
        breakdown=made.breakdown,
        explanation=predicted.explanation,
        risk_factors=made.risks,
        recommendations=made.recommendations,
        source=predicted.source,
        model_version=predicted.model_version,
        created_at=format_time(event.at_us),
        validated=verdict is not None,
        was_accurate=None if verdict is None else verdict.was_accurate,
    )


def predicted_of(made: PredictionMade, kind: PredictionType) -> Predicted | None:
    """The prediction of that type among those made."""
    return next((each for each in made.predictions if each.type == kind), None)


def says_yes(probability: float, threshold: float) -> bool:
    """Whether a prediction says that its outcome will come."""
    return probability >= threshold


def judged(predicted: Predicted, outcome: bool) -> Verdict:
    """The verdict that an outcome gives."""
    return Verdict("outcome", says_yes(predicted.probability, predicted.threshold) == outcome, outcome)


def opinion(predicted: Predicted, was_accurate: bool) -> Verdict:
    """The verdict that a person gives, and the outcome that it implies."""
    yes = says_yes(predicted.probability, predicted.threshold)
    return Verdict("person", was_accurate, yes == was_accurate)


def opinion_event(
    event: Event, predicted: Predicted, verdict: Verdict, *, previous: Verdict | None, place: int, at_us: int
) -> NewEvent:
    """The event of a person's verdict on a prediction of ``event``.

    Parameters
    ----------
    previous : the verdict that counted until now.
    place : how many verdicts people have given on it, this one included.
    """
    prediction = str(PredictionId(making_of(event.id), predicted.type))
    event_id = opinion_event_id(prediction, place)
    payload = validation(prediction, payload_of(event).configuration, predicted, event.at_us, verdict, previous)
    return validated_event(event.stream, event_id, payload, at_us, has_time=False)


def validation(
    prediction: str,
    configuration: str,
    predicted: Predicted,
    made_us: int,
    verdict: Verdict,
    previous: Verdict | None,
) -> PredictionValidated:
    """What a ``prediction_validated`` says of a prediction."""
    return PredictionValidated(
        prediction=prediction,
        configuration=configuration,
        type=predicted.type,
        source=predicted.source,
        tier=predicted.tier,
        probability=predicted.probability,
        made_us=made_us,
        verdict=verdict,
        previous=previous,
    )


def validated_event(
    stream: Stream, event_id: str, payload: PredictionValidated, at_us: int, **options: Any
) -> NewEvent:
    """The event of a verdict."""
    data = msgspec.json.encode(payload)
    return NewEvent(stream, event_id, PREDICTION_VALIDATED, at_us, data, payload, **options)
