"""Trained models as predictions use them: each with its version, its card, and the features that its rows are made of.

A model is only ever asked about rows of the features that it was trained on: what does not fit is refused by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from kernel.errors import ModelSchemaMismatch
from scoring.explanation import Grouping, TreeExplainer, shap_is_installed
from scoring.features import FeatureSet
from scoring.model import (
    FAMILIES,
    Card,
    Contributions,
    DurationModel,
    Matrix,
    PredictionType,
    ProbabilityModel,
    RiskModel,
)

_M = TypeVar("_M", ProbabilityModel, DurationModel, RiskModel)


class Trained(Generic[_M]):
    """One model in use.

    Parameters
    ----------
    version : as the registry names it.
    features : what its rows are made of, under today's catalogue.

    Raises
    ------
    ModelSchemaMismatch
        The model was trained on other features, or on the same under other definitions.
    """

    def __init__(self, version: str, card: Card, features: FeatureSet, model: _M) -> None:
        if model.fingerprint != features.fingerprint or model.columns != features.columns:
            raise ModelSchemaMismatch(version, model.fingerprint, features.fingerprint)
        self.version, self.card, self.features = version, card, features
        self.model: _M = model
        self.grouping = Grouping(features.groups, len(features.columns))
        self._trees = getattr(model, "trees", None) if shap_is_installed() else None
        self._explainer: TreeExplainer | None = None

    def rows(self, values: Sequence[Mapping[str, Any]]) -> Matrix:
        """One row of each lead's values, by reference."""
        references = self.features.references
        return self.features.matrix([[each.get(name) for name in references] for each in values])

    def coverage(self, values: Mapping[str, Any]) -> float:
        """The share of the model's features that are known of a lead."""
        features: tuple[str, ...] = self.grouping.features
        known = len(features) - [*map(values.get, features)].count(None)
        return known / len(features) if features else 0.0

    def warm(self) -> None:
        """Load what the first explanation needs. With shap some seconds: not on the event loop."""
        if self._trees is not None and self._explainer is None:
            self._explainer = TreeExplainer(self._trees)

    def contributions(self, model: ProbabilityModel | DurationModel, rows: Matrix) -> Contributions:
        """Of each column to the margin of a model (this one, or one of the parts of a network)."""
        self.warm()
        return model.contributions(rows) if self._explainer is None else self._explainer.contributions(rows)


class Models(NamedTuple):
    """The champions of one organisation, those that there are."""

    conversion: Trained[ProbabilityModel] | None = None
    time_to_close: Trained[DurationModel] | None = None
    multitask: Trained[RiskModel] | None = None

    @property
    def types(self) -> tuple[PredictionType, ...]:
        """What is predicted: conversion in any case, by rules if need be."""
        families = FAMILIES.items()
        trained = tuple(kind for family, kinds in families if getattr(self, family) is not None for kind in kinds)
        return trained if "CONVERSION" in trained else ("CONVERSION", *trained)

    @property
    def versions(self) -> tuple[str, ...]:
        """Of the models that there are, in a fixed order."""
        return tuple(each.version for each in self if each is not None)

    @property
    def references(self) -> frozenset[str]:
        """The features that any of them reads."""
        return frozenset(name for each in self if each is not None for name in each.features.references)


RULES_ONLY = Models()
