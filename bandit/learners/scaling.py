"""Centres and scales of a context's columns, learned as observations come, for learners that keep no sums of their own.

A column far from zero that varies little (a price around 750) is a second constant to a learner that takes small steps.
Sums of the squashed columns and of their squares say where each lies and how far it spreads; the squashing keeps them
small, so nothing cancels. What is used is taken from them anew at counts that grow by an eighth.
"""

from typing import Final

import msgspec
import numpy as np

from bandit.learners.learner import FloatVector

#: A column that hardly varied is not blown up beyond this deviation: its next value would move everything.
SCALE_MIN: Final = 0.5


class _Dumped(msgspec.Struct, array_like=True):
    count: int
    rescale_at: int
    rows: list[bytes]


class Scaling:
    """Folds rows of columns, nulls as NaN-free zeros, and standardises others."""

    def __init__(self, width: int) -> None:
        self.count, self._rescale_at = 0, 1
        self._sums, self._squares = np.zeros(width), np.zeros(width)
        self.centres, self._inverses = np.zeros(width), np.ones(width)

    def take(self, row: FloatVector) -> None:
        """Count a row."""
        self.count += 1
        self._sums += row
        self._squares += row * row
        if self.count >= self._rescale_at:
            self._rescale_at = self.count + 1 + self.count // 8
            # New arrays: copies that readers hold stay as they are.
            self.centres = self._sums / self.count
            spread = np.maximum(self._squares / self.count - self.centres * self.centres, 0.0)
            self._inverses = 1.0 / np.sqrt(spread + SCALE_MIN * SCALE_MIN)

    def of(self, row: FloatVector) -> FloatVector:
        """The row standardised: mean 0 and deviation 1, or less, over what was counted."""
        moved: FloatVector = row - self.centres
        moved *= self._inverses
        return moved

    def copy(self) -> "Scaling":
        """A read copy: it standardises the same for ever, and is not to take rows."""
        copy = Scaling(0)
        copy.count, copy.centres, copy._inverses = self.count, self.centres, self._inverses
        return copy

    def dump(self) -> bytes:
        """The whole, little-endian float64."""
        rows = [self._sums, self._squares, self.centres, self._inverses]
        dumped = _Dumped(self.count, self._rescale_at, [row.astype("<f8", copy=False).tobytes() for row in rows])
        return msgspec.msgpack.encode(dumped)

    @classmethod
    def load(cls, width: int, raw: bytes) -> "Scaling":
        """Raises ``msgspec.DecodeError`` or ``ValueError`` for bytes that are not its own."""
        dumped = msgspec.msgpack.decode(raw, type=_Dumped)
        rows = [np.frombuffer(row, "<f8").astype(np.float64) for row in dumped.rows]
        if [len(row) for row in rows] != [width] * 4:
            raise ValueError("rows of another width")
        loaded = cls(width)
        loaded.count, loaded._rescale_at = dumped.count, dumped.rescale_at
        loaded._sums, loaded._squares, loaded.centres, loaded._inverses = rows
        return loaded
