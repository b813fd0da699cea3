"""Which features a read asks for, in which order, and what they become as a vector of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import msgspec

from projections.feature import Feature, Features


class Selection:
    """Features in the order of an answer.

    Attributes
    ----------
    picks : their places: (index of the view, index within it).
    runs : the same, where neighbours stand side by side in their view, too: (index of the view, start, stop).
    """

    def __init__(self, entities: Features, features: tuple[Feature, ...]) -> None:
        self.entities, self.features = entities, features
        self.names = tuple(each.feature for each in features)
        places = _places(entities)
        self.picks = tuple(places[name] for name in self.names)
        self.runs = tuple(_runs(self.picks))
        self.views = tuple(sorted({view for view, _ in self.picks}))
        self.is_everything = features == entities.features

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the vector: (name, index of the feature, category it stands for or None for its number).

        A category has a column per word of its vocabulary and one for every other word; open strings, lists and
        times have none.
        """
        return columns_of(self.features)

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self.columns)

    @cached_property
    def encoded_names(self) -> tuple[bytes, ...]:
        """What stands before each value in a JSON object."""
        return tuple(msgspec.json.encode(name) + b":" for name in self.names)

    @cached_property
    def column_starts(self) -> tuple[int, ...]:
        """How many columns stand before each feature's own, and how many there are in all."""
        return tuple(accumulate((len(_columns_of(each)) for each in self.features), initial=0))

    def vector(self, values: Sequence[Any]) -> list[Any]:
        """The numbers of the columns; null stays None, a category's columns are 0 or 1 (all 0 for null)."""
        return vector_of(self.features, self.columns, values)


#: A column of a vector: its name, the index of its feature, the category it stands for or None for its number.
Column = tuple[str, int, str | None]


def columns_of(features: Iterable[Feature]) -> tuple[Column, ...]:
    """The columns of a vector over these features, whatever entities they are of."""
    return tuple((name, index, word) for index, each in enumerate(features) for name, word in _columns_of(each))


def is_values(columns: Sequence[Column], count: int) -> bool:
    """Whether a vector of these columns is just the values of so many features."""
    return [index for _, index, word in columns if word is None] == list(range(count)) and len(columns) == count


def vector_of(features: Sequence[Feature], columns: Iterable[Column], values: Sequence[Any]) -> list[Any]:
    """The numbers of the columns; null stays None, a category's columns are 0 or 1 (all 0 for null)."""
    return [
        values[index] if word is None else _one_hot(features[index], word, values[index]) for _, index, word in columns
    ]


def _one_hot(feature: Feature, word: str, value: str | None) -> int:
    if word == "other":
        return int(value is not None and value not in feature.vocabulary)
    return int(value == word)


def _columns_of(feature: Feature) -> list[tuple[str, str | None]]:
    if feature.dtype in ("int", "float"):
        return [(feature.feature, None)]
    if feature.dtype == "string" and feature.vocabulary:
        return [(f"{feature.feature}={word}", word) for word in (*feature.vocabulary, "other")]
    return []


def _runs(picks: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    view, start, stop = -1, 0, 0
    for at, index in picks:
        if at != view or index != stop:
            if start < stop:
                yield view, start, stop
            view, start = at, index
        stop = index + 1
    if start < stop:
        yield view, start, stop


def _places(entities: Features) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    counts = dict.fromkeys(entities.views, 0)
    index = {view: i for i, view in enumerate(entities.views)}
    for each in entities.features:
        places[each.feature] = (index[each.view], counts[each.view])
        counts[each.view] += 1
    return places
