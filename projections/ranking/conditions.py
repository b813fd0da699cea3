"""Conditions of a list: ``view:feature``, a comparison, and what to compare with, as written in a query.

``rfm:recency_days<=30``, ``segment:geographic_region=EU``, ``engagement:sentiment_avg_30d!=null``. Null fulfils no
comparison but ``=null``.
"""

import math
import re
from typing import Any, NamedTuple, cast

import numpy as np

from projections.catalogue import Entities
from projections.ranking.columns import Column, Comparison, ListColumn, Mask

_WRITTEN = re.compile(r"\s*([^<>=!\s]+)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
EXPECTED = "expected view:feature, one of < <= = != >= >, and a value, like rfm:recency_days<=30"


class Condition(NamedTuple):
    """A claim about one feature. ``operand`` None means null."""

    reference: str
    comparison: Comparison
    operand: float | str | None

    def mask(self, column: Column, rows: int) -> Mask:
        """Which of the first rows fulfil it."""
        if isinstance(column, ListColumn):
            raise ValueError(f"{self.reference} cannot be compared")
        if self.operand is None:
            is_null = np.isnan(column.keys[:rows])
            return is_null if self.comparison == "=" else ~is_null
        return column.where(self.comparison, cast("Any", self.operand))[:rows]


def condition_of(text: str, entities: Entities) -> Condition:
    """A written condition.

    Raises
    ------
    ValueError
        It is not of the form, or the feature cannot be compared so; the text says what was expected.
    UnknownFeature
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(EXPECTED)
    reference, comparison, operand = match[1], cast("Comparison", match[2]), match[3]
    dtype = entities.feature(reference).dtype
    if dtype == "list":
        raise ValueError(f"expected a feature that is one value; {reference} is a list")
    if operand == "null":
        if comparison not in ("=", "!="):
            raise ValueError("expected = or != before null")
        return Condition(reference, comparison, None)
    if dtype == "string":
        return Condition(reference, comparison, operand)
    return Condition(reference, comparison, _number(operand, reference))


def _number(text: str, reference: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"expected a number to compare {reference} with")
    return value
