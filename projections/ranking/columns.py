"""Columns of a table: one feature of every lead, as numbers that sort like the feature's values.

A column is an array of float64 keys, NaN for null, indexed by the row. Numbers are their own keys (all integers that
features take are below 2⁵³). A text's key is a label: labels are spread over the numbers in the order of the
texts, so a new text gets one between its neighbours', and comparing labels is comparing texts.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Keys: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Comparison = Literal["<", "<=", "=", "!=", ">=", ">"]

COMPARE: dict[Comparison, Callable[[Any, Any], Mask]] = {
    "<": np.less,
    "<=": np.less_equal,
    "=": np.equal,
    "!=": np.not_equal,
    ">=": np.greater_equal,
    ">": np.greater,
}

#: Distance of labels at first: a float64 can be halved between neighbours some fifty times.
_SPREAD = 2.0**20
#: Texts that no row has any more are dropped when they outnumber the others by so many.
_UNUSED = 10_000


class NumberColumn:
    """A feature of type ``int`` or ``float``."""

    is_sortable = True

    def __init__(self, capacity: int, *, is_whole: bool) -> None:
        self.keys: Keys = np.full(capacity, np.nan)
        self._is_whole = is_whole

    def put(self, row: int, value: Any) -> None:
        self.keys[row] = np.nan if value is None else value

    def values(self, rows: Sequence[int]) -> list[float | int | None]:
        """What was put, of each of the rows."""
        keys = self.keys[rows].tolist()
        if self._is_whole:
            return [None if key != key else int(key) for key in keys]
        return [None if key != key else key for key in keys]

    def grow(self, capacity: int) -> None:
        self.keys = grown(self.keys, capacity)

    def where(self, comparison: Comparison, operand: Any) -> Mask:
        """Rows whose value compares so; null never does."""
        mask = COMPARE[comparison](self.keys, operand)
        return mask & ~np.isnan(self.keys) if comparison == "!=" else mask


class TextColumn:
    """A feature of type ``string``, in code-point order."""

    is_sortable = True

    def __init__(self, capacity: int) -> None:
        self.keys: Keys = np.full(capacity, np.nan)
        self._values: list[str | None] = [None] * capacity
        self._labels: dict[str, float] = {}
        self._texts: list[str] = []  # all that have a label, sorted

    def put(self, row: int, value: str | None) -> None:
        self._values[row] = value
        if value is None:
            self.keys[row] = np.nan
            return
        label = self._labels.get(value)
        self.keys[row] = self._add(value) if label is None else label

    def values(self, rows: Sequence[int]) -> list[str | None]:
        """What was put, of each of the rows."""
        return [self._values[row] for row in rows]

    def grow(self, capacity: int) -> None:
        self.keys = grown(self.keys, capacity)
        self._values += [None] * (capacity - len(self._values))

    def where(self, comparison: Comparison, operand: str) -> Mask:
        """Rows whose text compares so; null never does."""
        if comparison in ("=", "!="):
            same: Mask = self.keys == self._labels.get(operand, np.nan)
            return same if comparison == "=" else ~same & ~np.isnan(self.keys)
        place = (bisect_left if comparison in ("<", ">=") else bisect_right)(self._texts, operand)
        edge = self._labels[self._texts[place]] if place < len(self._texts) else np.inf
        mask: Mask = self.keys < edge if comparison in ("<", "<=") else self.keys >= edge
        return mask

    def _add(self, text: str) -> float:
        """Label a text that has none. O(texts) for a moment of copying; rarely all rows are labelled anew."""
        texts, labels = self._texts, self._labels
        place = bisect_left(texts, text)
        below = labels[texts[place - 1]] if place else None
        above = labels[texts[place]] if place < len(texts) else None
        if below is None:
            label = 0.0 if above is None else above - _SPREAD
        else:
            label = below + _SPREAD if above is None else (below + above) / 2
        texts.insert(place, text)
        labels[text] = label
        if label in (below, above) or len(texts) > 2 * len(self._values) + _UNUSED:
            self._label_anew()
        return self._labels[text]  # perhaps a new one

    def _label_anew(self) -> None:
        used = set(self._values)
        self._texts = [text for text in self._texts if text in used]
        self._labels = {text: place * _SPREAD for place, text in enumerate(self._texts)}
        self.keys[:] = [np.nan if value is None else self._labels[value] for value in self._values]


class ListColumn:
    """A feature of type ``list``: shown, and neither sorted nor compared."""

    is_sortable = False

    def __init__(self, capacity: int) -> None:
        self._values: list[list[str] | None] = [None] * capacity

    def put(self, row: int, value: list[str] | None) -> None:
        self._values[row] = value

    def values(self, rows: Sequence[int]) -> list[list[str] | None]:
        """What was put, of each of the rows."""
        return [self._values[row] for row in rows]

    def grow(self, capacity: int) -> None:
        self._values += [None] * (capacity - len(self._values))


Column = NumberColumn | TextColumn | ListColumn


def column_of(dtype: str, capacity: int) -> Column:
    """An empty column for features of a type."""
    match dtype:
        case "string":
            return TextColumn(capacity)
        case "list":
            return ListColumn(capacity)
        case _:
            return NumberColumn(capacity, is_whole=dtype == "int")


def grown(keys: Keys, capacity: int) -> Keys:
    """The keys in a longer array, null where there was none."""
    longer: Keys = np.full(capacity, np.nan)
    longer[: len(keys)] = keys
    return longer
