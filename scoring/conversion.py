"""The conversion model: boosted trees against a logistic model and the rules, the better model kept.

Both learn from the training slice and are calibrated on the one after it; the likelihood there decides which is kept.
All that is said of them, and of the rules beside them, comes from the test slice, which decided nothing. The rules'
points are calibrated for it in the same way, so that they are judged by what they know and not by their scale.
"""

from typing import Any

import numpy as np

from kernel.steps import Steps
from scoring.calibration import calibrated
from scoring.cards import coverage, libraries, references, spans
from scoring.classifier import Classifier, fit_boosting, fit_logistic
from scoring.dataset import Dataset
from scoring.importance import importances
from scoring.leakage import suspects
from scoring.metrics import best_f1, judged, log_loss
from scoring.model import Card, Contributions, Matrix, Metrics, Vector
from scoring.outcomes import Happens
from scoring.splitting import Slices, enough, split

TASK = "conversion"


class ConversionModel:
    """``ProbabilityModel`` of CONVERSION.

    Attributes
    ----------
    trees : scikit-learn's boosted trees, for explanations from outside; None where a logistic model was kept.
    """

    def __init__(self, card: Card, classifier: Classifier) -> None:
        self.card, self.classifier = card, classifier
        self.columns, self.fingerprint = card.columns, card.fingerprint

    @property
    def calibration_error(self) -> float | None:
        return measured(self.card.metrics.get(TASK), "calibrationError")

    def margin(self, rows: Matrix) -> Vector:
        return self.classifier.margin(rows)

    def predict_proba(self, rows: Matrix) -> Vector:
        return self.classifier.predict_proba(rows)

    @property
    def trees(self) -> Any | None:
        """The boosted trees, for explainers that know such; None where a logistic model was kept."""
        return self.classifier.estimator if self.classifier.kind == "boosting" else None

    def probabilities(self, margin: Vector) -> Vector:
        return self.classifier.probabilities(margin)

    def contributions(self, rows: Matrix) -> Contributions:
        return self.classifier.contributions(rows)

    def parts(self) -> dict[str, Any]:
        return self.classifier.parts()

    @classmethod
    def of_parts(cls, card: Card, parts: dict[str, Any]) -> "ConversionModel":
        return cls(card, Classifier.of_parts(parts))


def measured(metrics: Metrics | None, name: str) -> float | None:
    """A figure of a card; None where it could not be computed."""
    measure = metrics.measures.get(name) if metrics is not None else None
    return None if measure is None else measure.value


def train_conversion(dataset: Dataset, outcome: Happens, *, seed: int, now_us: int) -> Steps[ConversionModel]:
    """Train, choose, and judge. Raises ``TooFewRows``."""
    slices = split(dataset, outcome.within_days)
    label = dataset.labels[outcome.name]
    enough(label, slices, outcome.name)
    train, later = slices.train, slices.calibration
    yield
    contenders = {
        "boosting": fit_boosting(dataset.rows[train], label[train], dataset.rows[later], label[later], seed=seed)
    }
    yield
    contenders["logistic"] = fit_logistic(dataset.rows[train], label[train], dataset.rows[later], label[later])
    yield
    losses = {
        name: log_loss(each.predict_proba(dataset.rows[later]), label[later]) for name, each in contenders.items()
    }
    kept = min(losses, key=lambda name: losses[name])
    metrics = yield from _metrics(dataset, slices, label, contenders, seed)
    metrics[TASK] = metrics[kept]
    beats = _beats_rules(metrics)
    chosen = contenders[kept]
    importance = yield from importances(
        chosen.margin, dataset.rows[slices.test], label[slices.test], dataset.features.groups, seed=seed
    )
    card = Card(
        family="conversion",
        estimator=kept,
        created_us=now_us,
        log_until_us=dataset.until_us,
        horizon_days=outcome.within_days,
        seed=seed,
        slices=spans(dataset, slices),
        outcomes={TASK: outcome.words()},
        metrics=metrics,
        beats_rules=beats,
        notes=_notes(dataset, slices, label, kept, losses, metrics, beats),
        features=dataset.features.references,
        columns=dataset.features.columns,
        fingerprint=dataset.features.fingerprint,
        calibration={TASK: chosen.calibration.kind},
        thresholds={"bestF1": best_f1(chosen.predict_proba(dataset.rows[later]), label[later])},
        coverage=coverage(dataset, slices),
        reference=references(dataset, slices),
        importance=importance,
        libraries=libraries(),
    )
    return ConversionModel(card, chosen)


def _metrics(
    dataset: Dataset, slices: Slices, label: Vector, contenders: dict[str, Classifier], seed: int
) -> Steps[dict[str, Metrics]]:
    """Of both models and of the rules, on the test slice."""
    test, later = slices.test, slices.calibration
    said = {name: each.predict_proba(dataset.rows[test]) for name, each in contenders.items()}
    if dataset.points is not None:
        said["rules"] = calibrated(dataset.points[later] / 10.0, label[later]).probabilities(
            dataset.points[test] / 10.0
        )
    metrics: dict[str, Metrics] = {}
    for name, probability in said.items():
        metrics[name] = judged(probability, label[test], dataset.lead[test], seed=seed)
        yield
    return metrics


def _beats_rules(metrics: dict[str, Metrics]) -> bool | None:
    """Whether the model's likelihood is better than that of the calibrated rules."""
    own, rules = measured(metrics[TASK], "logLoss"), measured(metrics.get("rules"), "logLoss")
    return None if own is None or rules is None else own < rules


def _notes(
    dataset: Dataset,
    slices: Slices,
    label: Vector,
    kept: str,
    losses: dict[str, float],
    metrics: dict[str, Metrics],
    beats: bool | None,
) -> tuple[str, ...]:
    said = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    notes = [f"{kept} was kept for its log loss on the calibration rows ({said})"]
    other = next(name for name in losses if name != kept)
    own, theirs = measured(metrics[kept], "logLoss"), measured(metrics[other], "logLoss")
    if own is not None and theirs is not None and theirs < own:
        notes.append(f"on the test rows {other} was the likelier one: log loss {theirs:.4f} against {own:.4f}")
    if beats is False:
        notes.append("the rules were better on the test rows: this model is not worth promoting")
    elif beats is None:
        notes.append("no rules were handed in to compare with")
    if found := suspects(dataset.rows[slices.train], label[slices.train], dataset.features.columns):
        notes.append(
            f"single columns tell the outcome nearly without fault, do they know the future? {', '.join(found)}"
        )
    positives = int(np.nansum(label[slices.test]))
    if positives < 100:
        notes.append(f"only {positives} test rows came true: the figures are rough")
    return tuple(notes)
