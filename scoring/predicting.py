"""Predicting: leads' features in, all that is predicted of each of them out. No clock, no chance, no log.

Models are asked about many leads at once; then each lead's estimates become a ``PredictionMade``. Every type that has a
model is predicted; conversion always is, by the rules where there is no model, where a caller asks for rules, or where
a model has no number to give. A language model's estimate, where one came, stands in for conversion's.

What the answers follow from has a digest, ``inputs``: the configuration, the models, the definitions of the features,
and the values of those that anything here reads. While it is the same, a stored prediction is as good as a new one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from kernel.settings_scoring import ScoringSettings
from scoring.confidence import confidence
from scoring.estimates import Estimate, Waiting, estimates_of, rules_estimate
from scoring.events import Predicted, PredictionMade
from scoring.identity import hashed
from scoring.model import PredictionType
from scoring.outcomes import ACTIVE_DAYS
from scoring.pace import PACE_FEATURES, days_by_rules, days_to_close
from scoring.points import SCORED_FEATURES
from scoring.priority import BURST_FEATURE, SINCE_FEATURES, priority, tier, urgency
from scoring.recommend import ADVICE_FEATURES, recommendations
from scoring.risks import RISK_FEATURES, risk_factors
from scoring.rules import RuleScore, rule_score
from scoring.trained import RULES_ONLY, Models

#: Says how active a lead was, in whole days since its last interaction.
_INTERACTION_FEATURE = "rfm:recency_days"

#: What every prediction reads, with models or without.
TABLE_FEATURES: frozenset[str] = frozenset(
    (*SCORED_FEATURES, *SINCE_FEATURES, BURST_FEATURE, *RISK_FEATURES, *PACE_FEATURES, *ADVICE_FEATURES)
)


class Lead(NamedTuple):
    """A lead as of a time: its features by reference, null as None."""

    id: str
    at_us: int
    values: Mapping[str, Any]


class Scorer:
    """Predicts under one scoring configuration, with the models that there are.

    Parameters
    ----------
    name : of the configuration.
    definitions : the catalogue's fingerprint: values under another one are other inputs.
    rules_error : measured calibration error of the rules; None while too few outcomes are known.
    """

    def __init__(
        self,
        name: str,
        settings: ScoringSettings,
        models: Models,
        *,
        definitions: str,
        rules_error: float | None = None,
    ) -> None:
        self.name, self.settings, self.models = name, settings, models
        self._rules_error = rules_error
        self._read = tuple(sorted(TABLE_FEATURES | models.references))
        self._reads_everything = settings.language_model.enabled
        self._own = hashed(definitions, msgspec.to_builtins(settings, enc_hook=str), models.versions)

    @property
    def types(self) -> tuple[PredictionType, ...]:
        """What is predicted unless only rules are asked for."""
        return self.models.types

    def inputs(self, lead: Lead, *, rules_only: bool = False) -> str:
        """Digest of what a prediction of this lead would follow from. Some 10 µs."""
        values = lead.values
        if self._reads_everything and not rules_only:
            return hashed(self._own, rules_only, sorted(values.items()))
        return hashed(self._own, rules_only, [values.get(name) for name in self._read])

    def predict(
        self,
        leads: Sequence[Lead],
        *,
        because: str,
        rules_only: bool = False,
        answers: Mapping[str, Estimate] | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> list[PredictionMade]:
        """What is predicted of each lead, in the order given.

        Parameters
        ----------
        because : why it is predicted: ``request``, ``bulk``, ``age``, or the id of an event.
        answers : a language model's estimates of conversion, by lead.
        notes : why a language model gave none, by lead.
        """
        models = RULES_ONLY if rules_only else self.models
        found = estimates_of([lead.values for lead in leads], models, self.settings)
        return [
            self._made(
                lead,
                estimates,
                waiting,
                because=because,
                rules_only=rules_only,
                answer=None if rules_only or answers is None else answers.get(lead.id),
                note=None if notes is None else notes.get(lead.id),
            )
            for lead, (estimates, waiting) in zip(leads, found, strict=True)
        ]

    def _made(
        self,
        lead: Lead,
        estimates: Mapping[PredictionType, Estimate],
        waiting: Waiting | None,
        *,
        because: str,
        rules_only: bool,
        answer: Estimate | None,
        note: str | None,
    ) -> PredictionMade:
        values = lead.values
        scored = rule_score(values, self.settings.weights)
        main = answer or estimates.get("CONVERSION") or self._by_rules(scored)
        chosen: dict[PredictionType, Estimate] = {"CONVERSION": main, **_without_main(estimates)}
        days = days_by_rules(values) if waiting is None else days_to_close(values, *waiting)
        how_urgent = urgency(values, days.expected)
        predicted = {kind: self._predicted(kind, each, how_urgent) for kind, each in chosen.items()}
        risks = risk_factors(values)
        return PredictionMade(
            configuration=self.name,
            inputs=self.inputs(lead, rules_only=rules_only),
            because=because,
            urgency=how_urgent,
            days=days,
            breakdown=scored.breakdown,
            risks=tuple(risks),
            recommendations=tuple(recommendations(values, risks, _for_advice(predicted), lead.at_us)),
            predictions=tuple(predicted.values()),
            conversion_events=self.settings.conversion_events,
            was_active=was_active(values),
            note=note,
        )

    def _by_rules(self, scored: RuleScore) -> Estimate:
        return rules_estimate(scored, self.settings, self._rules_error)

    def _predicted(self, kind: PredictionType, estimate: Estimate, how_urgent: float) -> Predicted:
        rank = priority(estimate.probability, how_urgent)
        threshold = estimate.threshold
        if kind == "CONVERSION" and self.settings.accurate_from is not None:
            threshold = self.settings.accurate_from
        return Predicted(
            type=kind,
            probability=estimate.probability,
            confidence=confidence(
                estimate.probability,
                calibration_error=estimate.calibration_error,
                coverage=estimate.coverage,
                threshold=threshold,
            ),
            score=estimate.score,
            priority=rank,
            tier=tier(rank, self.settings.thresholds),
            explanation=estimate.explanation,
            source=estimate.source,
            threshold=threshold,
            horizon_days=estimate.horizon_days,
            model_version=estimate.model_version,
            fingerprint=estimate.fingerprint,
        )


def was_active(values: Mapping[str, Any]) -> bool:
    """Whether the lead had an interaction in the 30 days before; where nothing says so, it had none."""
    days = values.get(_INTERACTION_FEATURE)
    return days is not None and days < ACTIVE_DAYS


def _without_main(estimates: Mapping[PredictionType, Estimate]) -> dict[PredictionType, Estimate]:
    return {kind: each for kind, each in estimates.items() if kind != "CONVERSION"}


def _for_advice(predicted: Mapping[PredictionType, Predicted]) -> dict[str, Any]:
    main, churn = predicted["CONVERSION"], predicted.get("CHURN")
    calls, health = predicted.get("CALL_RISK"), predicted.get("HEALTH")
    return {
        "tier": main.tier,
        "priority": main.priority,
        "churn_risk_30d": None if churn is None else churn.probability,
        "ib_call_risk_14d": None if calls is None else calls.probability,
        "customer_health_score": None if health is None else health.score,
    }
