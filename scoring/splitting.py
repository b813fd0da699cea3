"""Train, calibrate and test on times that follow one another, never on rows at random.

A row belongs to the slice in which its time lies, if its label's window ends before the next slice begins; rows whose
window crosses a border belong to none. So no lead's label window is seen from two slices, and what is tested is what
the model will do: judge a time after all that it learned from.
"""

from typing import NamedTuple

import numpy as np

from kernel.errors import TooFewRows
from kernel.times import DAY_US
from scoring.dataset import Dataset, Indexes
from scoring.model import Vector

#: Rows that an outcome must have come to, and stayed out of, to be learnt at all.
FEWEST = 20

#: Of the rows of each slice.
SHARES = (0.7, 0.12, 0.18)


class Slices(NamedTuple):
    """Places of rows in a dataset."""

    train: Indexes
    calibration: Indexes
    test: Indexes


def split(dataset: Dataset, within_days: float, *, shares: tuple[float, float, float] = SHARES) -> Slices:
    """Slices for outcomes of a horizon; rows that are censored for it belong to none.

    Raises ``TooFewRows`` where the log is too short for three slices that are a horizon apart.
    """
    horizon_us = round(within_days * DAY_US)
    at_us = dataset.at_us
    open_rows = np.flatnonzero(at_us + horizon_us <= dataset.until_us)
    if not len(open_rows):
        raise TooFewRows("the log is shorter than the horizon", 0)
    train, calibration, _ = shares
    test_from_us = int(np.quantile(at_us[open_rows], train + calibration, method="lower"))
    before = open_rows[at_us[open_rows] + horizon_us <= test_from_us]
    if not len(before):
        raise TooFewRows("the log is too short for rows a horizon before the test", 0)
    calibrate_from_us = int(np.quantile(at_us[before], train / (train + calibration), method="lower"))
    slices = Slices(
        train=before[at_us[before] + horizon_us <= calibrate_from_us],
        calibration=before[at_us[before] >= calibrate_from_us],
        test=open_rows[at_us[open_rows] >= test_from_us],
    )
    for name, rows in slices._asdict().items():
        if not len(rows):
            raise TooFewRows(f"no rows are left for the {name} slice", 0)
    return slices


def enough(label: Vector, slices: Slices, name: str) -> None:
    """Raises ``TooFewRows`` unless the outcome both came and stayed out in training and calibration."""
    for slice_name in ("train", "calibration"):
        rows = label[getattr(slices, slice_name)]
        rarer = int(min(rows.sum(), len(rows) - rows.sum()))
        if rarer < FEWEST:
            raise TooFewRows(f"{name}: the rarer answer has too few rows in the {slice_name} slice", rarer)
