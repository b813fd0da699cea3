import numpy as np
import pytest

from kernel.errors import TooFewRows
from kernel.times import DAY_US
from scoring.dataset import Dataset
from scoring.features import feature_set
from scoring.splitting import enough, split
from tests.unit.scoring.leads import CATALOGUE

FEATURES = feature_set(CATALOGUE, ["rfm:recency_days"])


def rows_on(days: np.ndarray, until: int) -> Dataset:
    at_us = np.sort(days) * DAY_US
    return Dataset(
        features=FEATURES,
        leads=("ann", "bob"),
        rows=np.zeros((len(at_us), 1)),
        at_us=at_us,
        lead=np.arange(len(at_us)) % 2,
        labels={"conversion": np.arange(len(at_us)) % 2.0},
        wait_days=np.full(len(at_us), np.inf),
        seen_days=until - at_us / DAY_US,
        points=None,
        until_us=until * DAY_US,
    )


@pytest.mark.parametrize("horizon", [1, 14, 30])
def test_no_labels_window_is_seen_from_two_slices(horizon: int) -> None:
    dataset = rows_on(np.random.default_rng(horizon).integers(0, 300, 2000), 300)
    slices = split(dataset, horizon)
    ends = [(dataset.at_us[rows] + horizon * DAY_US).max() for rows in slices]
    starts = [dataset.at_us[rows].min() for rows in slices]
    assert ends[0] <= starts[1]
    assert ends[1] <= starts[2]
    assert ends[2] <= dataset.until_us
    assert min(len(rows) for rows in slices) > 100


def test_rows_whose_outcome_is_not_known_yet_judge_nobody() -> None:
    dataset = rows_on(np.arange(300), 300)
    assert dataset.at_us[split(dataset, 30).test].max() == 270 * DAY_US


@pytest.mark.parametrize("until", [5, 20, 40])
def test_a_log_that_is_too_short_for_three_slices_is_refused(until: int) -> None:
    with pytest.raises(TooFewRows):
        split(rows_on(np.arange(until), until), 30)


def test_an_outcome_that_never_came_is_refused_by_name() -> None:
    dataset = rows_on(np.arange(300), 300)
    with pytest.raises(TooFewRows, match="conversion"):
        enough(np.zeros(300), split(dataset, 30), "conversion")
