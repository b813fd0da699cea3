"""Estimators on small made-up rows: nulls, sums of contributions, hazards with censored rows, health."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.neural_network import MLPClassifier

from kernel.steps import finish
from scoring.classifier import Classifier, fit_boosting, fit_logistic
from scoring.hazard import EDGES_DAYS, Hazard, days_of, fit_hazard, person_periods
from scoring.importance import importances
from scoring.multitask import health_of
from scoring.network import Network, fit_network
from scoring.preparation import Preparation

RNG = np.random.default_rng(8)
EDGES = np.array(EDGES_DAYS, dtype=np.float64)


def rows_with_nulls(count: int) -> np.ndarray:
    rows = RNG.normal(size=(count, 5))
    rows[:, 2] = RNG.integers(0, 4, count)
    rows[RNG.random(count) < 0.3, 1] = np.nan
    rows[:, 4] = np.nan  # a feature of a pack that nobody uses
    return rows


ROWS = rows_with_nulls(3000)
#: What is null here comes true more often.
LABEL = (RNG.random(3000) < expit(ROWS[:, 0] + 1.5 * np.isnan(ROWS[:, 1]) - 1)).astype(float)


@pytest.mark.parametrize("kind", ["boosting", "logistic"])
def test_contributions_add_up_to_the_margin_and_files_answer_the_same(kind: str) -> None:
    if kind == "boosting":
        fitted = fit_boosting(ROWS[:2000], LABEL[:2000], ROWS[2000:], LABEL[2000:], seed=1)
    else:
        fitted = fit_logistic(ROWS[:2000], LABEL[:2000], ROWS[2000:], LABEL[2000:])
    why = fitted.contributions(ROWS)
    np.testing.assert_allclose(why.base + why.values.sum(axis=1), fitted.margin(ROWS), atol=1e-9)
    assert (why.values[:, 4] == 0).all()
    assert np.abs(why.values[:, 0]).mean() > 5 * np.abs(why.values[:, 3]).mean()
    again = Classifier.of_parts(fitted.parts())
    np.testing.assert_array_equal(again.predict_proba(ROWS), fitted.predict_proba(ROWS))
    null = fitted.predict_proba(np.array([[0.0, np.nan, 1.0, 0.0, np.nan]]))
    assert null[0] > fitted.predict_proba(np.array([[0.0, 0.0, 1.0, 0.0, np.nan]]))[0] + 0.15


def test_a_tree_contribution_is_the_change_of_the_mean_along_the_way() -> None:
    fitted = fit_boosting(ROWS[:2000], LABEL[:2000], ROWS[2000:], LABEL[2000:], seed=1)
    why = fitted.contributions(ROWS[:2000])
    assert why.method == "paths"
    assert abs(why.values.sum(axis=1).mean()) < 0.02  # the base is the mean over the training rows


def test_preparation_takes_nulls_tails_and_constants() -> None:
    rows = ROWS.copy()
    rows[0, 3] = 1e12
    prepared = Preparation.learn(rows, pieces=8)
    done = prepared.apply(rows)
    assert np.isfinite(done).all()
    assert np.abs(done).max() <= 6
    assert 4 not in prepared.source
    assert (prepared.source == 1).sum() > 2  # itself, its null, its pieces
    np.testing.assert_array_equal(Preparation.of_parts(prepared.parts()).apply(rows), done)
    np.testing.assert_allclose(prepared.gathered(done, 5).sum(axis=1), done.sum(axis=1))


def test_the_network_is_scikit_learns_and_its_gradients_add_up() -> None:
    labels = np.column_stack([LABEL, (RNG.random(3000) < expit(-ROWS[:, 0])).astype(float)])
    network = finish(fit_network(ROWS[:2000], labels[:2000], ROWS[2000:], labels[2000:], seed=1))
    margins = network.margins(ROWS)
    assert margins.shape == (3000, 2)
    theirs = MLPClassifier((4,), max_iter=1, random_state=1)
    theirs.partial_fit(np.nan_to_num(ROWS), labels.astype(int), classes=[0, 1])
    plain = Network(_as_they_are(5), theirs.coefs_, theirs.intercepts_)
    np.testing.assert_allclose(expit(plain.margins(np.nan_to_num(ROWS))), theirs.predict_proba(np.nan_to_num(ROWS)))
    for task in (0, 1):
        why = network.contributions(ROWS[:50], task)
        np.testing.assert_allclose(why.base + why.values.sum(axis=1), margins[:50, task], atol=1e-9)
    assert np.corrcoef(network.contributions(ROWS[:500], 1).values[:, 0], ROWS[:500, 0])[0, 1] < -0.8
    np.testing.assert_array_equal(Network.of_parts(network.parts()).margins(ROWS), margins)


def _as_they_are(columns: int) -> Preparation:
    """A preparation that changes nothing."""

    class Plain(Preparation):
        def apply(self, rows: np.ndarray) -> np.ndarray:
            return rows

    none = np.empty(0, dtype=np.int64)
    zeros, places = np.zeros(columns), np.arange(columns)
    return Plain(
        fill=zeros, nulls=none, pieces=none, from_=np.empty(0), to=np.empty(0), kept=places, centre=zeros, scale=zeros
    )


def waits(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with an exponential wait that halves for every second lead, and how long each was seen."""
    rows = np.column_stack([RNG.integers(0, 2, count), RNG.normal(size=count)]).astype(float)
    wait = RNG.exponential(np.where(rows[:, 0] > 0, 40.0, 120.0))
    return rows, wait, RNG.uniform(0, 120, count)


def test_open_leads_count_so_that_waits_are_not_taken_for_shorter_than_they_are() -> None:
    rows, wait, seen = waits(6000)
    is_later = np.arange(6000) >= 4500
    hazard, losses = finish(
        fit_hazard(rows, np.where(wait <= seen, wait, np.inf), seen, is_later, seed=1, edges_days=EDGES)
    )
    assert set(losses) == {"boosting", "logistic"}
    assert losses[hazard.kind] == min(losses.values())
    asked = np.array([[1.0, 0.0], [0.0, 0.0]])
    curve = hazard.curve(asked)
    true = 1 - np.exp(-EDGES / np.array([[40.0], [120.0]]))
    np.testing.assert_allclose(curve, true, atol=0.06)
    mean = hazard.days(asked).mean
    for place, scale in enumerate((40.0, 120.0)):
        within = scale - 90 * np.exp(-90 / scale) / (1 - np.exp(-90 / scale))
        assert mean[place] == pytest.approx(within, rel=0.08)
    closed = wait <= seen
    assert wait[closed & (wait <= 90) & (rows[:, 0] == 0)].mean() < 0.9 * mean[1]  # what closed leads alone would say
    why = hazard.contributions(rows[:20])
    assert why.values.shape == (20, 2)
    assert why.values[rows[:20, 0] > 0, 0].mean() > why.values[rows[:20, 0] == 0, 0].mean()
    again = Hazard.of_parts(hazard.parts())
    np.testing.assert_array_equal(again.curve(asked), curve)


@pytest.mark.parametrize("kind", ["boosting", "logistic"])
def test_a_hazards_contributions_add_up_in_the_middle_period(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, wait, seen = waits(2000)
    monkeypatch.setattr("scoring.hazard._loss", lambda hazard, later: float(hazard.kind != kind))
    hazard, _ = finish(fit_hazard(rows, wait, seen, np.arange(2000) >= 1500, seed=1, edges_days=EDGES))
    assert hazard.kind == kind
    middle = (EDGES[6] + EDGES[7]) / 2
    why = hazard.contributions(rows[:30])
    expected = hazard.logits(rows[:30], np.full(30, middle))
    assert np.abs(why.base + why.values.sum(axis=1) - expected).max() < 1e-9


@pytest.mark.parametrize("kind", ["logistic", "boosting"])
def test_a_curve_multiplies_the_chances_of_its_periods(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, wait, seen = waits(2000)
    monkeypatch.setattr("scoring.hazard._loss", lambda hazard, later: float(hazard.kind != kind))
    hazard, _ = finish(fit_hazard(rows, wait, seen, np.arange(2000) >= 1500, seed=1, edges_days=EDGES))
    middles = (np.concatenate([[0.0], EDGES[:-1]]) + EDGES) / 2
    left = np.ones(20)
    for place, middle in enumerate(middles):
        left = left * (1.0 - expit(hazard.logits(rows[:20], np.full(20, middle))))
        assert np.abs(hazard.curve(rows[:20])[:, place] - (1.0 - left)).max() < 1e-12


def test_the_networks_contributions_are_its_slopes_along_the_way() -> None:
    draw = np.random.default_rng(4)
    shapes = ((5, 7), (7, 6), (6, 2))
    network = Network(
        _as_they_are(5), [draw.normal(size=each) for each in shapes], [draw.normal(size=n) for _, n in shapes]
    )
    row = draw.normal(size=(1, 5))
    points = (np.arange(24) + 0.5) / 24
    step = 1e-6 * np.eye(5)
    slopes = [
        [(network.margins(row * p + d)[0, 1] - network.margins(row * p - d)[0, 1]) / 2e-6 for d in step] for p in points
    ]
    parts = row[0] * np.mean(slopes, axis=0)
    missing = network.margins(row)[0, 1] - network.margins(0 * row)[0, 1] - parts.sum()
    expected = parts + missing * np.abs(parts) / np.abs(parts).sum()
    assert np.abs(network.contributions(row, 1).values[0] - expected).max() < 1e-5


def test_a_person_period_is_there_only_if_it_could_come_and_was_seen_whole() -> None:
    rows = np.arange(3.0)[:, None]
    found = person_periods(rows, np.array([2.5, np.inf, 0.5]), np.array([100.0, 5.0, 0.9]), EDGES, seed=1)
    by_row = {row: found.label[found.rows[:, 0] == row].tolist() for row in (0.0, 1.0, 2.0)}
    assert by_row == {0.0: [0, 0, 1], 1.0: [0, 0, 0, 0], 2.0: []}


def test_thinned_rows_stand_for_those_left_out() -> None:
    rows, wait, seen = waits(4000)
    whole = person_periods(rows, wait, seen, EDGES, seed=1)
    thin = person_periods(rows, wait, seen, EDGES, seed=1, most=len(whole.label) // 2)
    assert thin.weight is not None
    assert len(thin.label) < 0.7 * len(whole.label)
    assert thin.label.sum() == whole.label.sum()
    assert thin.weight.sum() == pytest.approx(len(whole.label), rel=0.1)


def test_days_are_given_that_the_outcome_comes() -> None:
    half = days_of(np.array([[0.1, 0.2, 0.4], [0.0, 0.0, 0.0]]), np.array([10.0, 20.0, 40.0]))
    assert half.expected[0] == pytest.approx(20)
    assert half.optimistic[0] == pytest.approx(8)
    assert half.pessimistic[0] == pytest.approx(32)
    assert np.isfinite(np.array(half)).all()


def test_health_is_freedom_from_risks_and_ratings() -> None:
    best = health_of(
        np.array([0.0, 1.0, 0.0, 0.5]), np.array([0.0, 1.0, 0.0, 0.5]), np.array([5.0, 1.0, np.nan, np.nan])
    )
    assert best.score.tolist() == pytest.approx([100, 0, 100, 50])
    rated = health_of(np.array([0.2]), np.array([0.1]), np.array([4.0]))
    assert rated.score.tolist() == pytest.approx([40 + 18 + 22.5])


def test_importance_shuffles_a_features_columns_together() -> None:
    rows = RNG.normal(size=(1500, 3))
    label = (rows[:, 0] + rows[:, 1] > 0).astype(float)
    groups = {"both": [0, 1], "none": [2]}
    found = finish(importances(lambda each: each[:, 0] + each[:, 1], rows, label, groups, seed=1))
    assert [each.feature for each in found] == ["both", "none"]
    assert found[0].importance == pytest.approx(0.5, abs=0.05)
    assert found[1].importance == 0
