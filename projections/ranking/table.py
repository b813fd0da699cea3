"""The table of an org's leads: who they are, their values of the features kept, and until when those hold.

A lead's row never moves; that of a lead that is gone stays empty, so that a list begun earlier cannot take another
lead for it. Everything is derived state: the keeper puts a row whenever a lead changed or its values ran out.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernel.errors import UnknownFeature
from projections.aggregators.runtime import NEVER
from projections.ranking.columns import Column, Keys, Mask, column_of
from projections.ranking.conditions import Condition
from projections.ranking.paging import Standing
from projections.ranking.search import Haystack

_CAPACITY = 1024
_CHOSEN_AT_ONCE = 4096


class Row(NamedTuple):
    """A lead as it is shown, with its values in the order asked."""

    lead: str
    name: str | None
    email: str | None
    company: str | None
    values: tuple[Any, ...]


class Table:
    """Leads by number.

    Parameters
    ----------
    features : what has a column, by reference, with its type.
    """

    def __init__(self, features: Sequence[tuple[str, str]]) -> None:
        self._row_of: dict[int, int] = {}
        self._numbers = np.zeros(_CAPACITY, dtype=np.int64)
        self._is_listed: Mask = np.zeros(_CAPACITY, dtype=np.bool_)
        self._changes = np.full(_CAPACITY, NEVER, dtype=np.int64)
        self._who: list[tuple[str, str | None, str | None, str | None] | None] = [None] * _CAPACITY
        self._haystack = Haystack()
        self.features = tuple(reference for reference, _ in features)
        self._columns: list[Column] = [column_of(dtype, _CAPACITY) for _, dtype in features]
        self._place = {reference: place for place, reference in enumerate(self.features)}
        self._rows = 0
        self._next_change_us = NEVER
        self.leads = 0
        self.version = 0  #: counts changes: an equal number means equal lists

    def put(
        self,
        number: int,
        lead: str,
        who: tuple[str | None, str | None, str | None],
        values: Sequence[Any],
        next_change_us: int,
    ) -> None:
        """Set a lead's row.

        Parameters
        ----------
        who : name, e-mail, company.
        values : of the table's features, in their order.
        next_change_us : until when they hold; ``NEVER`` without an end.
        """
        row = self._row_of.get(number)
        if row is None:
            row = self._add(number)
        identity = (lead, *who)
        if self._who[row] != identity:
            self._who[row] = identity
            self._haystack.put(row, identity)
        for column, value in zip(self._columns, values, strict=True):
            column.put(row, value)
        self._changes[row] = next_change_us
        self._next_change_us = min(self._next_change_us, next_change_us)
        self.version += 1

    def remove(self, number: int) -> None:
        """Forget a lead."""
        row = self._row_of.pop(number, None)
        if row is None:
            return
        self._is_listed[row], self._changes[row], self._who[row] = False, NEVER, None
        self._haystack.put(row, ())
        for column in self._columns:
            column.put(row, None)
        self.leads -= 1
        self.version += 1

    def due(self, now_us: int) -> list[tuple[int, str]]:
        """Number and id of the leads whose values no longer hold. O(1) while there is none, else O(leads)."""
        if now_us < self._next_change_us:
            return []
        changes = self._changes[: self._rows]
        rows = np.flatnonzero(changes <= now_us).tolist()
        if not rows:
            self._next_change_us = int(changes.min(initial=NEVER))
        return [(int(self._numbers[row]), who[0]) for row in rows if (who := self._who[row]) is not None]

    def next_change_us(self) -> int:
        """No row runs out before; it may be early."""
        return self._next_change_us

    def has(self, references: Iterable[str]) -> bool:
        """Whether all of these features have a column."""
        return all(each in self._place for each in references)

    def search(self, wanted: str) -> Iterator[bytes]:
        """Whether a lead's id, name, e-mail or company contains a text, in any case: a byte for each row, in chunks."""
        return self._haystack.find(wanted)

    def choose(self, is_wanted: Callable[[str], bool]) -> Iterator[bytes]:
        """Whether each lead is wanted, by its id: a byte for each row, in chunks of a millisecond."""
        for start in range(0, self._rows, _CHOSEN_AT_ONCE):
            chunk = self._who[start : min(start + _CHOSEN_AT_ONCE, self._rows)]
            yield bytes(who is not None and is_wanted(who[0]) for who in chunk)

    def select(
        self,
        sort: str | None,
        *,
        is_descending: bool,
        conditions: Sequence[Condition] = (),
        found: bytes | None = None,
        chosen: bytes | None = None,
    ) -> Standing:
        """The leads that fulfil every condition, in the order in which they were first heard of without ``sort``.

        Parameters
        ----------
        found, chosen : the chunks of ``search`` and of ``choose``, joined; rows that are younger are not among them.
        """
        mask = self._is_listed[: self._rows].copy()
        for each in (found, chosen):
            if each is not None:
                is_found = np.frombuffer(each, dtype=np.bool_)[: self._rows]
                mask[: len(is_found)] &= is_found
                mask[len(is_found) :] = False
        for condition in conditions:
            mask &= condition.mask(self._column(condition.reference), self._rows)
        rows = np.flatnonzero(mask)
        numbers = self._numbers[rows]
        if sort is None:
            return Standing(numbers.astype(np.float64) * (-1 if is_descending else 1), numbers)
        keys: Keys = self._sortable(sort)[rows]
        return Standing(-keys if is_descending else keys, numbers)

    def is_listed(self, number: int) -> bool:
        """Whether a lead has a row."""
        return number in self._row_of

    def rows(self, numbers: Iterable[int], references: Sequence[str]) -> list[Row]:
        """Leads as they are now, without those that are gone."""
        rows = [row for number in numbers if (row := self._row_of.get(number)) is not None]
        shown = [self._column(each).values(rows) for each in references]
        values = zip(*shown, strict=True) if shown else repeat(())
        return [Row(*who, each) for row, each in zip(rows, values, strict=False) if (who := self._who[row]) is not None]

    def _column(self, reference: str) -> Column:
        try:
            return self._columns[self._place[reference]]
        except KeyError:
            raise UnknownFeature(reference) from None

    def _sortable(self, reference: str) -> Keys:
        column = self._column(reference)
        if not column.is_sortable:
            raise ValueError(f"{reference} cannot be sorted by")
        keys: Keys = column.keys  # type: ignore[union-attr]
        return keys

    def _add(self, number: int) -> int:
        row = self._rows
        if row == len(self._numbers):
            self._grow(2 * row)
        self._rows += 1
        self.leads += 1
        self._row_of[number] = row
        self._numbers[row], self._is_listed[row] = number, True
        return row

    def _grow(self, capacity: int) -> None:
        self._numbers = _longer(self._numbers, capacity, 0)
        self._is_listed = _longer(self._is_listed, capacity, False)
        self._changes = _longer(self._changes, capacity, NEVER)
        self._who += [None] * (capacity - len(self._who))
        for column in self._columns:
            column.grow(capacity)


def _longer(values: npt.NDArray[Any], capacity: int, filling: int) -> npt.NDArray[Any]:
    longer = np.full(capacity, filling, dtype=values.dtype)
    longer[: len(values)] = values
    return longer
