"""Places in a linear model's row: one for the constant, one for each service column, and one for each token seen.

A row is ``[1, columns…, slots…]``. A token gets its slot when it is first learned, for good, so an observation that
is encoded again later gives the same row, longer by zeros. Past ``OWN`` slots of a block, further tokens share
``SHARED`` of them by hash: names without end (a city, a campaign) cost accuracy then, never memory.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bandit.chance import digest
from bandit.learners.encoding import Token, columns, null_column, tokens
from bandit.learners.learner import Arm, Context, FloatVector

#: Slots of one's own: tokens of contexts (nulls of columns and what requests add), tokens of arms.
OWN: Final = {"context": 64, "arm": 32}
#: Slots that the tokens after them share.
SHARED: Final = 16


class Slots:
    """The slots of one model. ``keys`` are their tokens in order of slots; a shared slot's token has no name."""

    def __init__(self, width: int, keys: list[Token] | None = None) -> None:
        self.width = width
        self.keys = keys or []
        self._nulls: list[int | None] | None = None
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

    def context_row(self, context: Context) -> FloatVector:
        """Encode a context alone: a token without a slot is left out."""
        numbers, nulls = columns(context, self.width)
        row = np.zeros(self.size)
        row[0] = 1.0
        row[1 : 1 + self.width] = numbers
        if nulls:
            places = self._places_of_nulls()
            for index in nulls:
                if (place := places[index]) is not None:
                    row[place] += 1.0
        if context.named:
            self._add(row, tokens("request", context.named))
        return row

    def _places_of_nulls(self) -> list[int | None]:
        """Where the null of each column stands: looked up once for as long as no token comes."""
        if self._nulls is None:
            self._nulls = [self._known(null_column(index)) for index in range(self.width)]
        return self._nulls

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
            self._nulls = None
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
