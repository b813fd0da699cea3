"""Which features a model reads, and how their values become a row of numbers.

Enters: a selection of a lead's own features. Leaves: rows as ``model`` describes them, the names of their columns, and
a fingerprint over all that decides what a column means: the features' definitions with the settings they read, their
order, their vocabularies.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from projections.catalogue import Catalogue
from projections.definitions import digest
from projections.selection import Selection
from scoring.model import Matrix


class FeatureSet:
    """The features of a service, or all of a lead's own."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.references = selection.names
        self.columns = selection.column_names
        meanings = (each.feature + each.fingerprint for each in selection.features)
        self.fingerprint = digest(*meanings, *self.columns)

    @cached_property
    def feature_of(self) -> tuple[str, ...]:
        """The feature that each column belongs to."""
        return tuple(self.references[index] for _, index, _ in self.selection.columns)

    @cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Feature → places of its columns; features without a column (open texts, lists, times) are not there."""
        found: dict[str, list[int]] = {}
        for place, feature in enumerate(self.feature_of):
            found.setdefault(feature, []).append(place)
        return {feature: tuple(places) for feature, places in found.items()}

    def matrix(self, values: Sequence[Sequence[Any]]) -> Matrix:
        """Rows from values in the order of ``references``; null becomes NaN."""
        if not values:
            return np.empty((0, len(self.columns)))
        return np.array([self.selection.vector(each) for each in values], dtype=np.float64)


def feature_set(catalogue: Catalogue, features: Sequence[str] | None = None) -> FeatureSet:
    """The features named, in that order; by default all of a lead's own. Raises ``UnknownFeature``.

    Features of the market are not a lead's own: they have no past in the lead's log.
    """
    return FeatureSet(catalogue.select(features=features))
