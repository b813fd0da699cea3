"""Estimates: what one source says of a lead for one type, before urgency, tier and words are put to it.

Models are asked about many leads at once, for that costs them little more than one. A number that is not finite is no
estimate: the rules answer then, or nobody.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, log, tanh
from typing import Any, NamedTuple

import numpy as np

from kernel.settings_scoring import ScoringSettings
from scoring.events import Source
from scoring.explanation import Explanation, Part, by_logits, by_rules, explained
from scoring.model import DurationModel, Health, Matrix, PredictionType, ProbabilityModel, RiskModel
from scoring.outcomes import CALLS, CHURN
from scoring.rules import RuleScore
from scoring.trained import Models, Trained

RULES_THRESHOLD = 0.5

Values = Mapping[str, Any]


class Estimate(NamedTuple):
    """One source's word on one type.

    ``score`` is 100 · probability. ``calibration_error`` None: never measured. ``coverage`` is the share of the features
    it reads that are known; ``threshold`` the probability from which on it says yes.
    """

    probability: float
    score: float
    explanation: Explanation
    source: Source
    threshold: float
    horizon_days: float
    calibration_error: float | None
    coverage: float
    model_version: str | None = None
    fingerprint: str | None = None


class Waiting(NamedTuple):
    """Days to close."""

    expected: float
    optimistic: float
    pessimistic: float


Found = tuple[dict[PredictionType, Estimate], Waiting | None]


def rules_estimate(scored: RuleScore, settings: ScoringSettings, calibration_error: float | None) -> Estimate:
    """Conversion by the rules: their points are the score."""
    return Estimate(
        probability=min(1.0, max(0.0, scored.score / 100)),
        score=scored.score,
        explanation=by_rules(scored, settings.explained_features),
        source="rules",
        threshold=RULES_THRESHOLD,
        horizon_days=settings.horizon_days,
        calibration_error=calibration_error,
        coverage=scored.coverage,
    )


def estimates_of(leads: Sequence[Values], models: Models, settings: ScoringSettings) -> list[Found]:
    """What the models say of each lead, in order; nothing of a type without a model."""
    found: list[dict[PredictionType, Estimate]] = [{} for _ in leads]
    waiting: list[Waiting | None] = [None] * len(leads)
    if not leads:
        return []
    most = settings.explained_features
    asked = _Asked(leads)
    if (conversion := models.conversion) is not None:
        _put(found, "CONVERSION", _probable(conversion, conversion.model, "conversion", asked, most))
    if (closing := models.time_to_close) is not None:
        _put(found, "TIME_TO_CLOSE", _closing(closing, asked, settings))
        waiting = _waiting(closing.model, asked.rows(closing))
    if (network := models.multitask) is not None:
        for kind, part, task in (("CHURN", network.model.churn, "churn"), ("CALL_RISK", network.model.calls, "calls")):
            _put(found, kind, _probable(network, part, task, asked, most))
        _put(found, "HEALTH", _healthy(network, asked, found, most))
    return list(zip(found, waiting, strict=True))


class _Asked:
    """Leads as models are asked about them: models of the same features share rows and what is known of each lead."""

    def __init__(self, leads: Sequence[Values]) -> None:
        self.leads = leads
        self._rows: dict[str, Matrix] = {}
        self._coverage: dict[str, list[float]] = {}

    def rows(self, trained: Trained[Any]) -> Matrix:
        fingerprint = trained.features.fingerprint  # over the columns and their order, too
        found = self._rows.get(fingerprint)
        if found is None:
            found = self._rows[fingerprint] = trained.rows(self.leads)
        return found

    def coverage(self, trained: Trained[Any]) -> list[float]:
        """Of each lead."""
        fingerprint = trained.features.fingerprint
        found = self._coverage.get(fingerprint)
        if found is None:
            found = self._coverage[fingerprint] = [trained.coverage(each) for each in self.leads]
        return found


def _put(found: list[dict[PredictionType, Estimate]], kind: Any, estimates: Iterator[Estimate]) -> None:
    for each, estimate in zip(found, estimates, strict=True):
        if isfinite(estimate.score):
            each[kind] = estimate


_HORIZON_DAYS = {"churn": CHURN.within_days, "calls": CALLS.within_days}


def _probable(
    trained: Trained[Any], model: ProbabilityModel, task: str, asked: _Asked, most: int
) -> Iterator[Estimate]:
    """Of a calibrated probability: its explanation runs from what the model says of nobody in particular."""
    rows, leads, coverage = asked.rows(trained), asked.leads, asked.coverage(trained)
    why = trained.contributions(model, rows)
    base = 100 * _unit(float(model.probabilities(np.array([why.base]))[0]))
    logits = trained.grouping.summed(why.values)
    for place, probability in enumerate(model.predict_proba(rows).tolist()):
        score = 100 * _unit(probability)
        values = leads[place]
        yield _estimate(
            trained,
            probability,
            by_logits(base, score, trained.grouping.features, logits[place], values, most),
            coverage[place],
            threshold=threshold_of(trained.card.thresholds, task),
            horizon_days=_HORIZON_DAYS.get(task, trained.card.horizon_days),
            calibration_error=model.calibration_error,
        )


def _closing(trained: Trained[DurationModel], asked: _Asked, settings: ScoringSettings) -> Iterator[Estimate]:
    """Of the wait: the probability is that of an outcome within the configuration's horizon."""
    rows, leads, coverage = asked.rows(trained), asked.leads, asked.coverage(trained)
    model, features = trained.model, trained.grouping.features
    why = trained.contributions(model, rows)
    logits = trained.grouping.summed(why.values)
    edges = np.concatenate([[0.0], model.edges_days])
    for place, curve in enumerate(model.curve(rows)):
        probability = float(np.interp(settings.horizon_days, edges, np.concatenate([[0.0], curve])))
        score = 100 * _unit(probability)
        base = 100 * _logistic(_logit(probability) - float(logits[place].sum()))
        values = leads[place]
        yield _estimate(
            trained,
            probability,
            by_logits(base, score, features, logits[place], values, settings.explained_features),
            coverage[place],
            threshold=threshold_of(trained.card.thresholds, "time_to_close"),
            horizon_days=settings.horizon_days,
            calibration_error=model.calibration_error,
        )


def _waiting(model: DurationModel, rows: Matrix) -> list[Waiting | None]:
    days = model.days(rows)
    rounds = zip(days.expected.tolist(), days.optimistic.tolist(), days.pessimistic.tolist(), strict=True)
    return [Waiting(*each) if all(map(isfinite, each)) else None for each in rounds]


def _healthy(
    trained: Trained[RiskModel], asked: _Asked, found: Sequence[Mapping[PredictionType, Estimate]], most: int
) -> Iterator[Estimate]:
    """Of health: its three parts are its explanation; ``found`` are the risks that two of them rest on."""
    health: Health = trained.model.health(asked.rows(trained))
    coverage = asked.coverage(trained)
    churn, calls = trained.model.churn, trained.model.calls
    errors = [each for each in (churn.calibration_error, calls.calibration_error) if each is not None]
    for place, score in enumerate(health.score.tolist()):
        parts = [
            Part("prediction:churn_risk_30d", _said(found[place], "CHURN"), float(health.from_churn[place])),
            Part("prediction:ib_call_risk_14d", _said(found[place], "CALL_RISK"), float(health.from_calls[place])),
            Part("ratings", None, float(health.from_ratings[place])),
        ]
        yield _estimate(
            trained,
            score / 100,
            explained(0.0, 100 * _unit(score / 100), parts, most),
            coverage[place],
            threshold=threshold_of(trained.card.thresholds, "health"),
            horizon_days=CHURN.within_days,
            calibration_error=max(errors, default=None),
        )


def _said(found: Mapping[PredictionType, Estimate], kind: PredictionType) -> float | None:
    return found[kind].probability if kind in found else None


def _estimate(
    trained: Trained[Any],
    probability: float,
    explanation: Explanation,
    coverage: float,
    *,
    threshold: float,
    horizon_days: float,
    calibration_error: float | None,
) -> Estimate:
    probability = _unit(probability)
    return Estimate(
        probability=probability,
        score=100 * probability,
        explanation=explanation,
        source="model",
        threshold=threshold,
        horizon_days=horizon_days,
        calibration_error=calibration_error,
        coverage=coverage,
        model_version=trained.version,
        fingerprint=trained.features.fingerprint,
    )


def threshold_of(thresholds: Mapping[str, float], task: str) -> float:
    """The probability from which on a model says yes: the card's for the task, else its best, else one half."""
    found = thresholds.get(task, thresholds.get(f"{task}BestF1", thresholds.get("bestF1", RULES_THRESHOLD)))
    return _unit(found)


def _logit(probability: float) -> float:
    inside = min(1 - 1e-9, max(1e-9, probability))
    return log(inside / (1 - inside))


def _logistic(margin: float) -> float:
    return 0.5 * (1 + tanh(margin / 2))


def _unit(probability: float) -> float:
    """Within 0 and 1; what is no number stays none."""
    return min(1.0, max(0.0, probability)) if isfinite(probability) else probability
