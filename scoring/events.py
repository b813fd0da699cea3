"""What scoring writes into the log: predictions, verdicts on them, alerts and their rules.

A ``prediction_made`` holds all that was predicted of a lead at once, so that what is the same for each type (risks,
days, recommendations) stands in it once. It is self-contained: what counts as a conversion and from which probability
on the source says yes are in it, so a verdict never depends on settings that have changed since.
"""

from typing import Literal

import msgspec

from eventstore.fields import Count, Id, Positive, Text, Unit
from eventstore.types import EventType, Payload
from scoring.explanation import Explanation
from scoring.model import PredictionType
from scoring.pace import DaysToClose
from scoring.priority import Tier
from scoring.recommend import Recommendation
from scoring.risks import RiskFactor
from scoring.rules import Breakdown

Source = Literal["model", "rules", "llm"]
Judge = Literal["outcome", "person"]
AlertSeverity = Literal["critical", "high", "medium", "low"]
Resolver = Literal["itself", "person", "rule"]
Transition = Literal["raised", "resolved"]
Delivery = Literal["delivered", "dead"]

PREDICTION_MADE = "prediction_made"
PREDICTION_VALIDATED = "prediction_validated"
ALERT_RAISED = "alert_raised"
ALERT_RESOLVED = "alert_resolved"
ALERT_ACKNOWLEDGED = "alert_acknowledged"
ALERT_DELIVERED = "alert_delivered"
ALERT_RULE_DEFINED = "alert_rule_defined"


class Predicted(msgspec.Struct, frozen=True, gc=False):
    """One prediction.

    Attributes
    ----------
    score : 100 · probability; of rules their points, of health the health.
    threshold : the probability from which on the source says yes.
    horizon_days : within which the outcome is to come; then a verdict is due.
    model_version, fingerprint : of the model and of the features that it reads; null for rules.
    """

    type: PredictionType
    probability: Unit
    confidence: Unit
    score: float
    priority: Count
    tier: Tier
    explanation: Explanation
    source: Source
    threshold: Unit
    horizon_days: float
    model_version: Text | None = None
    fingerprint: Text | None = None


class PredictionMade(Payload, frozen=True, gc=False):
    """All that was predicted of a lead at one time.

    Attributes
    ----------
    inputs : digest of everything that the answers follow from; while it is the same, nothing needs to be made anew.
    because : ``request``, ``bulk``, ``age``, or the id of the event that triggered it.
    was_active : whether the lead had an interaction in the 30 days before; only then can silence be churn.
    note : why the language model did not answer, where it was asked.
    """

    configuration: Id
    inputs: Text
    because: Text
    urgency: Unit
    days: DaysToClose
    breakdown: Breakdown
    risks: tuple[RiskFactor, ...]
    recommendations: tuple[Recommendation, ...]
    predictions: tuple[Predicted, ...]
    conversion_events: tuple[Text, ...]
    was_active: bool
    note: Text | None = None


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What is held of a prediction: by whom, whether it was accurate, and whether the outcome came."""

    by: Judge
    was_accurate: bool
    outcome: bool


class PredictionValidated(Payload, frozen=True, gc=False):
    """A verdict on a prediction; the latest one counts, and says which one it replaces."""

    prediction: Id
    configuration: Id
    type: PredictionType
    source: Source
    tier: Tier
    probability: Unit
    made_us: int
    verdict: Verdict
    previous: Verdict | None = None


class AlertRaised(Payload, frozen=True, gc=False):
    """A rule began to hold of a lead. ``episode`` counts the alerts of this rule and lead."""

    rule: Id
    version: Count
    episode: Positive
    severity: AlertSeverity
    when: Text
    sinks: tuple[Text, ...]
    values: dict[str, int | float | str | list[str] | None]


class AlertResolved(Payload, frozen=True, gc=False):
    """An alert is over: by itself, by a person, or since its rule was changed or deleted.

    ``is_old_news``: by an event that was recorded long after its time; then no webhook tells of it.
    """

    alert: Id
    rule: Id
    episode: Positive
    by: Resolver
    is_old_news: bool = False


class AlertAcknowledged(Payload, frozen=True, gc=False):
    """Somebody has seen the alert; it stays open."""

    alert: Id
    rule: Id
    episode: Positive


class AlertDelivered(Payload, frozen=True, gc=False):
    """A webhook has taken what was to be told of an alert; or it is ``dead``: not taken, and not tried again by itself.

    Attributes
    ----------
    sink : the webhook's name.
    attempts : how often it was tried.
    error : why it is dead.
    """

    alert: Id
    transition: Transition
    sink: Text
    outcome: Delivery
    attempts: Positive
    error: Text | None = None


class AlertRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When to raise an alert.

    Attributes
    ----------
    when : an expression over features and predictions of a lead.
    until : where given, an alert is over only once this holds (and ``when`` no longer does): the hysteresis.
    cooldown_s : after an alert of a lead was raised, so long no other of this rule is raised for it.
    sinks : where it is told besides the log and the change feed: names of the settings.
    """

    when: Text
    severity: AlertSeverity = "medium"
    cooldown_s: Count = 3600
    sinks: tuple[Text, ...] = ()
    until: Text | None = None


class AlertRuleDefined(Payload, frozen=True, gc=False):
    """The rule of this name from now on; none: it is deleted. ``version`` counts both."""

    name: Id
    version: Positive
    rule: AlertRule | None = None


SCORING_TYPES: tuple[EventType, ...] = tuple(
    EventType(name, payload, pack="system", by="system")
    for name, payload in (
        (PREDICTION_MADE, PredictionMade),
        (PREDICTION_VALIDATED, PredictionValidated),
        (ALERT_RAISED, AlertRaised),
        (ALERT_RESOLVED, AlertResolved),
        (ALERT_ACKNOWLEDGED, AlertAcknowledged),
        (ALERT_DELIVERED, AlertDelivered),
        (ALERT_RULE_DEFINED, AlertRuleDefined),
    )
)
