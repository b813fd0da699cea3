from math import fsum

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from kernel.settings_scoring import CategoryWeights
from scoring.explanation import (
    OTHER,
    STEEPEST,
    Explanation,
    Grouping,
    Part,
    TreeExplainer,
    by_logits,
    by_rules,
    explained,
    shap_is_installed,
)
from scoring.rules import rule_score
from tests.unit.scoring.leads import KEEN


def total(explanation: Explanation) -> float:
    return fsum((explanation.base, *(item.contribution for item in explanation.items)))


def test_the_greatest_are_named_and_the_others_summed() -> None:
    parts = [Part("a", 1, 5.0), Part("b", "x", -20.0), Part("c", None, 1.0), Part("d", 0, 0.0)]
    found = explained(50.0, 36.0, parts, 2)
    assert [item.feature for item in found.items] == ["b", "a", OTHER]
    assert (found.items[0].value, found.items[-1].value, found.items[-1].contribution) == ("x", None, 1.0)


def test_nothing_is_left_for_others_where_all_are_named() -> None:
    assert [item.feature for item in explained(0.0, 3.0, [Part("a", 1, 3.0)], 5).items] == ["a"]


def test_logits_are_scaled_from_the_margin_to_the_score() -> None:
    found = by_logits(10.0, 40.0, ("a", "b"), np.array([2.0, -0.5]), {"a": 7}, 5)
    assert [(item.feature, item.value, item.contribution) for item in found.items] == [
        ("a", 7, 40.0),
        ("b", None, -10.0),
    ]


def test_contributions_that_cancel_out_are_not_blown_up() -> None:
    found = by_logits(10.0, 12.0, ("a", "b"), np.array([1.0, -0.9999]), {}, 5)
    assert abs(found.items[0].contribution) <= STEEPEST
    assert found.items[-1].feature == OTHER
    assert total(found) == pytest.approx(12.0)


def test_a_score_that_goes_against_its_logits_is_not_explained_by_them() -> None:
    found = by_logits(10.0, 5.0, ("a",), np.array([1.0]), {}, 5)
    assert [(item.feature, item.contribution) for item in found.items] == [(OTHER, -5.0)]


def test_a_level_calibration_makes_all_features_count_for_nothing() -> None:
    assert by_logits(10.0, 10.0, ("a",), np.array([1.0]), {}, 5).items == ()


def test_the_rules_explain_themselves_by_their_points() -> None:
    scored = rule_score(KEEN, CategoryWeights())
    found = by_rules(scored, 4)
    assert found.base == 0
    assert len(found.items) == 5
    assert total(found) == pytest.approx(scored.score, abs=1e-9)


def test_columns_of_one_feature_are_one() -> None:
    grouping = Grouping({"a": (0,), "b": (1, 2)}, 4)
    assert grouping.features == ("a", "b")
    assert grouping.summed(np.array([[1.0, 2.0, 3.0, 99.0]])).tolist() == [[1.0, 5.0]]


@pytest.mark.skipif(not shap_is_installed(), reason="the extra `explain` is not installed")
@pytest.mark.filterwarnings("ignore")  # what shap's own imports warn of
def test_shap_adds_up_to_the_margin_of_boosted_trees_with_nulls() -> None:
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(400, 5))
    rows[draw.random(rows.shape) < 0.2] = np.nan
    label = (np.nan_to_num(rows[:, 0]) + draw.normal(size=400) > 0).astype(int)
    trees = HistGradientBoostingClassifier(max_iter=20, early_stopping=False).fit(rows, label)
    found = TreeExplainer(trees).contributions(rows[:50])
    assert found.method == "shap"
    assert np.allclose(found.base + found.values.sum(axis=1), trees.decision_function(rows[:50]), atol=1e-6)
