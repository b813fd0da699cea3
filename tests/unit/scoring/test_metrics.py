import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as their_log_loss

from scoring.calibration import ISOTONIC_MIN, calibrated
from scoring.metrics import auc, best_f1, brier, calibration_bins, calibration_error, judged, log_loss

RNG = np.random.default_rng(4)
SAID = np.round(RNG.random(3000), 2)  # with ties
CAME = (RNG.random(3000) < SAID).astype(float)
LEADS = RNG.integers(0, 400, 3000)


def test_measures_are_scikit_learns() -> None:
    assert auc(SAID, CAME) == pytest.approx(roc_auc_score(CAME, SAID))
    assert brier(SAID, CAME) == pytest.approx(brier_score_loss(CAME, SAID))
    clipped = np.clip(SAID, 1e-9, 1 - 1e-9)
    assert log_loss(clipped, CAME) == pytest.approx(their_log_loss(CAME, clipped))


def test_weights_count_rows_as_often_as_they_say() -> None:
    weight = RNG.integers(0, 4, len(CAME)).astype(float)
    repeated = np.repeat(np.arange(len(CAME)), weight.astype(int))
    for measure in (auc, brier, log_loss):
        assert measure(SAID, CAME, weight) == pytest.approx(measure(SAID[repeated], CAME[repeated]))


def test_the_auc_of_one_class_is_not_a_number_and_left_out_of_cards() -> None:
    assert np.isnan(auc(SAID, np.ones(len(SAID))))
    assert set(judged(SAID, np.ones(len(SAID)), LEADS, seed=1).measures) == {"brier", "logLoss", "calibrationError"}
    assert judged(SAID[:0], CAME[:0], LEADS[:0], seed=1).measures == {}


def test_the_calibration_error_is_that_of_ten_bins_of_equal_mass() -> None:
    bins = calibration_bins(SAID, CAME)
    assert [each.rows for each in bins] == [300] * 10
    by_hand = np.mean([abs(each.predicted - each.observed) for each in bins])
    assert calibration_error(SAID, CAME) == pytest.approx(by_hand)
    assert calibration_error(np.clip(SAID + 0.2, 0, 1), CAME) > 0.15


def test_intervals_hold_the_value_and_draw_leads_not_rows() -> None:
    measures = judged(SAID, CAME, LEADS, seed=1).measures
    assert all(each.low < each.value < each.high for name, each in measures.items() if name != "calibrationError")
    one_each = judged(np.repeat(SAID, 5), np.repeat(CAME, 5), np.repeat(np.arange(3000), 5), seed=1).measures["auc"]
    alone = judged(SAID, CAME, np.arange(3000), seed=1).measures["auc"]
    assert one_each.high - one_each.low == pytest.approx(alone.high - alone.low)


def test_the_best_threshold_is_found() -> None:
    assert best_f1(np.array([0.1, 0.4, 0.6, 0.9]), np.array([0.0, 0.0, 1.0, 1.0])) == 0.6


@pytest.mark.parametrize(("rows", "kind"), [(5000, "isotonic"), (400, "sigmoid")])
def test_calibration_is_scikit_learns_chosen_by_the_size_of_data(rows: int, kind: str) -> None:
    rng = np.random.default_rng(rows)
    margin = rng.normal(size=rows)
    label = (rng.random(rows) < expit(2 * margin - 1)).astype(float)
    model = LogisticRegression().fit(margin[:, None], label.astype(int))
    said = model.decision_function(margin[:, None])
    ours = calibrated(said, label)
    assert ours.kind == kind
    assert bool(min(label.sum(), rows - label.sum()) >= ISOTONIC_MIN) is (kind == "isotonic")
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method=kind).fit(margin[:, None], label.astype(int))
    np.testing.assert_allclose(ours.probabilities(said), theirs.predict_proba(margin[:, None])[:, 1], atol=2e-3)


def test_no_probability_is_certain_and_none_falls_with_the_margin() -> None:
    rng = np.random.default_rng(1)
    margin = rng.normal(size=4000)
    label = (margin + rng.normal(size=4000) * 0.1 > 0).astype(float)
    said = calibrated(margin, label).probabilities(np.linspace(-50, 50, 999))
    assert said.min() > 0
    assert said.max() < 1
    assert (np.diff(said) >= 0).all()


def test_a_handful_of_answers_calibrates_nothing() -> None:
    few = calibrated(np.array([-1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0]))
    assert few.probabilities(np.array([0.0])).tolist() == [0.5]
