"""Leads, events and models to try scoring on."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from eventstore.event import Event, NewEvent, Stream
from kernel.ids import Position
from kernel.settings import OrgSettings
from kernel.settings_scoring import ScoringSettings
from kernel.times import DAY_US, SECOND_US
from projections.catalogue import Catalogue
from scoring.book import Book, BookKind
from scoring.features import FeatureSet
from scoring.model import Card, Contributions, Days, Health, Matrix, ProbabilityModel, Vector
from scoring.predicting import Lead, Scorer
from scoring.trained import Models, Trained

CATALOGUE = Catalogue("default", OrgSettings(subjects=("algebra",)))
STREAM = Stream("default", "lead", "ann")
NOW_US = 1_800_000_000 * SECOND_US
INTERACTIONS = frozenset(t.name for t in CATALOGUE.event_types if t.by == "lead")

#: A lead that speaks for itself.
KEEN: dict[str, Any] = {
    "demographic:has_company": 1,
    "demographic:has_title": 1,
    "demographic:has_phone": 1,
    "demographic:email_domain_type": "corporate",
    "demographic:title_seniority": "c_level",
    "demographic:company_size_estimate": "enterprise",
    "activity:email_open_count": 12,
    "activity:email_click_count": 6,
    "activity:page_view_count": 30,
    "activity:form_submit_count": 3,
    "activity:meeting_count": 2,
    "activity:call_count": 3,
    "activity:activity_velocity": 2.0,
    "activity:channel_diversity": 6,
    "activity:high_value_action_count": 8,
    "timing:days_since_created": 10,
    "timing:days_since_last_activity": 0,
    "timing:recency_score": 1.0,
    "timing:activity_burst": 1,
    "timing:day_pattern": "weekday",
    "timing:time_pattern": "business_hours",
    "outreach:email_open_rate": 0.9,
    "outreach:email_click_rate": 0.5,
    "outreach:sequence_engagement": 1.0,
    "outreach:avg_response_time": 600.0,
    "outreach:is_in_active_sequence": 1,
    "rfm:recency_days": 0,
}


def event(
    version: int,
    event_type: str,
    at_us: int,
    *,
    event_id: str | None = None,
    recorded_us: int | None = None,
    **data: Any,
) -> Event:
    """An event of Ann's stream."""
    return Event(
        STREAM,
        1,
        version,
        Position(version),
        event_id or f"e{version}",
        event_type,
        at_us,
        at_us if recorded_us is None else recorded_us,
        msgspec.json.encode(data),
    )


def stored(new: NewEvent, version: int, recorded_us: int | None = None) -> Event:
    """A new event as the log gives it back."""
    recorded_us = new.at_us if recorded_us is None else recorded_us
    return Event(new.stream, 1, version, Position(version), new.id, new.type, new.at_us, recorded_us, new.data)


def lead(values: Mapping[str, Any], at_us: int = NOW_US, name: str = "ann") -> Lead:
    return Lead(name, at_us, values)


def scorer(models: Models | None = None, settings: ScoringSettings | None = None, **options: Any) -> Scorer:
    return Scorer("default", settings or ScoringSettings(), models or Models(), definitions="d", **options)


def book_kind() -> BookKind:
    return BookKind(interactions=INTERACTIONS, grace_us=3600 * SECOND_US, trigger_max_age_us=DAY_US)


def book(events: Sequence[Event] = (), *, waiting: Sequence[Event] = (), awaited: Sequence[str] = ()) -> Book:
    """The book of a stream from its first prediction on."""
    folded = book_kind().new(STREAM, waiting, awaited)
    for each in events:
        folded.fold(each)
    return folded


# Models with a law that can be checked by hand: the margin is a weighted sum of columns, null counts as nothing.


class Linear:
    """A probability whose logit is linear in the columns."""

    def __init__(self, features: FeatureSet, weights: Mapping[str, float], base: float, error: float | None = 0.02):
        self.columns, self.fingerprint, self.calibration_error = features.columns, features.fingerprint, error
        self.base = base
        self.weights = np.array([weights.get(column, 0.0) for column in features.columns])

    def margin(self, rows: Matrix) -> Vector:
        return np.asarray(self.base + np.nan_to_num(rows) @ self.weights)

    def predict_proba(self, rows: Matrix) -> Vector:
        return self.probabilities(self.margin(rows))

    def probabilities(self, margin: Vector) -> Vector:
        return np.asarray((1 + np.tanh(margin / 2)) / 2)

    def contributions(self, rows: Matrix) -> Contributions:
        return Contributions(self.base, np.nan_to_num(rows) * self.weights, "coefficients")


class Closing(Linear):
    """A wait of which a share is over at each edge."""

    edges_days = np.array([15.0, 30.0, 60.0])

    def curve(self, rows: Matrix) -> Matrix:
        return self.predict_proba(rows)[:, None] * np.array([0.25, 0.5, 1.0])

    def days(self, rows: Matrix) -> Days:
        middle = 60 * (1 - self.predict_proba(rows))
        return Days(middle, middle / 2, middle * 2, middle)


class Network:
    """Two risks, and health from both."""

    def __init__(self, features: FeatureSet, churn: ProbabilityModel, calls: ProbabilityModel):
        self.columns, self.fingerprint = features.columns, features.fingerprint
        self.churn, self.calls = churn, calls

    def health(self, rows: Matrix) -> Health:
        parts = [
            50 * (1 - self.churn.predict_proba(rows)),
            30 * (1 - self.calls.predict_proba(rows)),
            20 + 0 * rows[:, 0],
        ]
        return Health(np.asarray(sum(parts)), *parts)


FEATURES = FeatureSet(
    CATALOGUE.select(
        features=(
            "activity:meeting_count",
            "demographic:title_seniority",
            "timing:days_since_last_activity",
            "window:ib_call_count_14d",
        )
    )
)
WEIGHTS = {
    "activity:meeting_count": 0.8,
    "demographic:title_seniority=c_level": 0.5,
    "timing:days_since_last_activity": -0.1,
}


def card(family: Any = "conversion", **thresholds: float) -> Card:
    return Card(
        family=family,
        estimator="logistic",
        created_us=0,
        log_until_us=0,
        horizon_days=30.0,
        seed=1,
        slices={},
        outcomes={},
        metrics={},
        beats_rules=None,
        notes=(),
        features=FEATURES.references,
        columns=FEATURES.columns,
        fingerprint=FEATURES.fingerprint,
        calibration={},
        thresholds=thresholds,
        coverage={},
        reference={},
        importance=(),
        libraries={},
    )


def models() -> Models:
    """One of each family."""
    conversion = Linear(FEATURES, WEIGHTS, -2.0)
    churn = Linear(FEATURES, {"timing:days_since_last_activity": 0.2}, -1.0)
    calls = Linear(FEATURES, {"window:ib_call_count_14d": 1.0}, -1.5)
    return Models(
        Trained("c1", card(conversion=0.3), FEATURES, conversion),
        Trained("t1", card("time_to_close"), FEATURES, Closing(FEATURES, WEIGHTS, -1.0)),
        Trained("m1", card("multitask"), FEATURES, Network(FEATURES, churn, calls)),
    )
