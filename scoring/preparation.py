"""Rows made fit for linear models and networks: no nulls, no long tails, one scale.

A null becomes the median of its column, and a second column says that it was null, where that happens at all. Numbers
are taken to the signed logarithm of 1 + |x|, centred and scaled, and cut off at six deviations. Columns in which
training rows do not differ are left out.

For a network each number may be given in *pieces* beside: how far it has come through each stretch between two
quantiles, 0 to 1. A threshold, which a small network would have to bend many weights for, is then one weight.
"""

from typing import Any

import numpy as np

from scoring.dataset import Indexes
from scoring.model import Matrix, Vector

#: A column says whether another is null if at least this share of rows has a null there, and not all.
_NULLS_FROM = 0.002
_CUT = 6.0


class Preparation:
    """What was learnt of training rows.

    Attributes
    ----------
    source : the column of the row that each prepared column comes from.
    """

    def __init__(
        self,
        *,
        fill: Vector,
        nulls: Indexes,
        pieces: Indexes,
        from_: Vector,
        to: Vector,
        kept: Indexes,
        centre: Vector,
        scale: Vector,
    ) -> None:
        self._fill, self._nulls, self._kept, self._centre, self._scale = fill, nulls, kept, centre, scale
        self._pieces, self._from, self._to = pieces, from_, to
        self.source = np.concatenate([np.arange(len(fill)), nulls, pieces])[kept]

    @classmethod
    def learn(cls, rows: Matrix, *, pieces: int = 0) -> "Preparation":
        """From training rows; ``pieces`` per column, 0 for none."""
        is_null = np.isnan(rows)
        null_rate = is_null.mean(axis=0)
        # A column without any value has no median; any number will do for it.
        fill = np.nanmedian(np.where(null_rate == 1.0, 0.0, rows), axis=0)
        nulls = np.flatnonzero((null_rate >= _NULLS_FROM) & (null_rate <= 1.0 - _NULLS_FROM))
        stretches = [
            (column, low, high)
            for column in (range(rows.shape[1]) if pieces else ())
            for low, high in _stretches(rows[~is_null[:, column], column], pieces)
        ]
        parts: dict[str, Any] = {
            "fill": fill,
            "nulls": nulls,
            "pieces": np.array([column for column, _, _ in stretches], dtype=np.int64),
            "from_": np.array([low for _, low, _ in stretches], dtype=np.float64),
            "to": np.array([high for _, _, high in stretches], dtype=np.float64),
        }
        width = rows.shape[1] + len(nulls) + len(stretches)
        wide = cls(**parts, kept=np.arange(width), centre=np.zeros(1), scale=np.ones(1))._wide(rows)
        centre, scale = wide.mean(axis=0), wide.std(axis=0)
        kept = np.flatnonzero(scale > 1e-9)
        return cls(**parts, kept=kept, centre=centre[kept], scale=scale[kept])

    def apply(self, rows: Matrix) -> Matrix:
        """Shape (rows, prepared columns); each has mean 0 and deviation 1 among the training rows."""
        scaled = (self._wide(rows)[:, self._kept] - self._centre) / self._scale
        return np.clip(scaled, -_CUT, _CUT, out=scaled)

    def gathered(self, prepared: Matrix, columns: int) -> Matrix:
        """What belongs to prepared columns, summed by the column of the row that they come from."""
        values = np.zeros((len(prepared), columns))
        np.add.at(values.T, self.source, prepared.T)
        return values

    def parts(self) -> dict[str, Any]:
        """As arrays, for a file."""
        return {
            "fill": self._fill,
            "nulls": self._nulls,
            "pieces": self._pieces,
            "from_": self._from,
            "to": self._to,
            "kept": self._kept,
            "centre": self._centre,
            "scale": self._scale,
        }

    @classmethod
    def of_parts(cls, parts: dict[str, Any]) -> "Preparation":
        return cls(**parts)

    def _wide(self, rows: Matrix) -> Matrix:
        is_null = np.isnan(rows)
        filled = np.where(is_null, self._fill, rows)
        through = np.clip((filled[:, self._pieces] - self._from) / (self._to - self._from), 0.0, 1.0)
        return np.hstack([np.sign(filled) * np.log1p(np.abs(filled)), is_null[:, self._nulls], through])


def _stretches(known: Vector, pieces: int) -> list[tuple[float, float]]:
    """Between neighbouring quantiles of a column, where they differ; none for a column of two values."""
    if not len(known):
        return []
    ends = np.unique(np.quantile(known, np.linspace(0.0, 1.0, pieces + 1)))
    return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)) if len(ends) > 2 else []
