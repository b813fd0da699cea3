"""Places in a linear model's row: one for the constant, one for each service column, and one for each token seen.

A row is ``[1, columns…, slots…]``. A token gets its slot when it is first learned, for good, so an observation that
is encoded again later gives the same row, longer by zeros. Past ``OWN`` slots of a block, further tokens share
``SHARED`` of them by hash: names without end (a city, a campaign) cost accuracy then, never memory.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandit.chance import digest
from bandit.learners.encoding import Token, column_rows, columns, null_column, tokens
from bandit.learners.learner import Arm, Context, FloatMatrix, FloatVector

#: Slots of one's own: tokens of contexts (nulls of columns and what requests add), tokens of arms.
OWN: Final = {"context": 64, "arm": 32}
#: Slots that the tokens after them share.
SHARED: Final = 16


class _ContextSlots(NamedTuple):
    """Looked up once, for as long as no token comes.

    ``slots`` : where the slots of context tokens stand in a row of the context alone, by their place; ``of_nulls`` : 1
    where the null of a column (row) has its slot (column).
    """

    slots: dict[int, int]
    of_nulls: FloatMatrix


class Slots:
    """The slots of one model. ``keys`` are their tokens in order of slots; a shared slot's token has no name."""

    def __init__(self, width: int, keys: list[Token] | None = None) -> None:
        self.width = width
        self.keys = keys or []
        self._own: _ContextSlots | None = None
        self._places = {key: 1 + width + index for index, key in enumerate(self.keys)}

    @property
    def size(self) -> int:
        """Length of a row."""
        return 1 + self.width + len(self.keys)

    def context_places(self) -> NDArray[np.intp]:
        """Places that describe the context: columns and context tokens, without the constant."""
        slots = [index for index, key in enumerate(self.keys, 1 + self.width) if key.block != "arm"]
        return np.array([*range(1, 1 + self.width), *slots], dtype=np.intp)

    def arm_places(self) -> NDArray[np.intp]:
        """Places that describe the arm."""
        slots = [index for index, key in enumerate(self.keys, 1 + self.width) if key.block == "arm"]
        return np.array(slots, dtype=np.intp)

    def row(self, context: Context, arm: Arm) -> FloatVector:
        """Encode, giving every new token a slot: the row is as long as ``size`` is then."""
        numbers, nulls = columns(context, self.width)
        pairs = [
            (self._place(token), value)
            for token, value in (*_context_tokens(context, nulls), *tokens("arm", arm.features))
        ]
        row = np.zeros(self.size)
        row[0] = 1.0
        row[1 : 1 + self.width] = numbers
        for place, value in pairs:
            row[place] += value
        return row

    def context_rows(self, contexts: Sequence[Context]) -> FloatMatrix:
        """Encode contexts alone, a row each, of the constant and ``context_places``. A token without a slot is left out."""
        width = self.width
        numbers, nulls = column_rows(contexts, width)
        own = self._context_slots()
        rows = np.empty((len(contexts), 1 + width + len(own.slots)))
        rows[:, 0] = 1.0
        rows[:, 1 : 1 + width] = numbers
        # Sums of ones: exact in any order.
        rows[:, 1 + width :] = 0.0 if nulls is None else nulls @ own.of_nulls
        for row, context in zip(rows, contexts, strict=True):
            if context.named:
                for token, value in tokens("request", context.named):
                    if (place := self._known(token)) is not None:
                        row[own.slots[place]] += value
        return rows

    def _context_slots(self) -> "_ContextSlots":
        if self._own is None:
            places = enumerate(self.context_places()[self.width :].tolist(), 1 + self.width)
            slots = {place: at for at, place in places}
            of_nulls = np.zeros((self.width, len(slots)))
            for index in range(self.width):
                if (place := self._known(null_column(index))) is not None:
                    of_nulls[index, slots[place] - 1 - self.width] = 1.0
            self._own = _ContextSlots(slots, of_nulls)
        return self._own

    def _known(self, token: Token) -> int | None:
        return self._places.get(token) or self._places.get(_shared(token))

    def arm_row(self, arm: Arm) -> FloatVector:
        """Encode an arm alone."""
        row = np.zeros(self.size)
        self._add(row, tokens("arm", arm.features))
        return row

    def _add(self, row: FloatVector, pairs: Iterator[tuple[Token, float]]) -> None:
        for token, value in pairs:
            place = self._known(token)
            if place is not None:
                row[place] += value

    def _place(self, token: Token) -> int:
        place = self._places.get(token)
        if place is not None:
            return place
        block = "arm" if token.block == "arm" else "context"
        taken = sum((key.block == "arm") == (block == "arm") and key.kind != "shared" for key in self.keys)
        key = token if taken < OWN[block] else _shared(token)
        if key not in self._places:
            self._places[key] = self.size
            self._own = None
            self.keys.append(key)
        return self._places[key]


def _context_tokens(context: Context, nulls: list[int]) -> Iterator[tuple[Token, float]]:
    for index in nulls:
        yield null_column(index), 1.0
    yield from tokens("request", context.named)


def _shared(token: Token) -> Token:
    """The slot that a token shares with others where it has none of its own."""
    block = "arm" if token.block == "arm" else "request"
    number = int.from_bytes(digest(0, "slot", *token)[:4], "little") % SHARED
    return Token(block, "", "shared", str(number))
