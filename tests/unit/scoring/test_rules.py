import pytest

from kernel.settings_scoring import CategoryWeights
from scoring.points import CATEGORIES, SCORED_FEATURES
from scoring.predicting import TABLE_FEATURES
from scoring.risks import RISK_FEATURES
from scoring.rules import RuleScorer, rule_score
from tests.unit.scoring.leads import CATALOGUE, KEEN


@pytest.mark.parametrize("category", CATEGORIES, ids=lambda category: category.name)
def test_the_best_lines_of_a_category_add_up_to_100(category: object) -> None:
    assert sum(scored.best for scored in category.scored) == 100  # type: ignore[attr-defined]


def test_the_lines_of_a_feature_stand_with_the_best_first() -> None:
    for category in CATEGORIES:
        for scored in category.scored:
            points = [line.points for line in scored.lines]
            assert points == sorted(points, reverse=True), scored.feature


def test_every_feature_of_the_tables_is_in_the_catalogue() -> None:
    names = {feature.reference for feature in CATALOGUE.features}
    assert set(SCORED_FEATURES) - names == set()
    assert TABLE_FEATURES - names == set()
    assert RISK_FEATURES <= TABLE_FEATURES


def test_words_that_the_tables_compare_with_are_in_the_features_vocabularies() -> None:
    for category in CATEGORIES:
        for scored in category.scored:
            words = {line.operand for line in scored.lines if isinstance(line.operand, str)}
            assert words <= set(CATALOGUE.feature(scored.feature).vocabulary), scored.feature


def test_a_lead_with_everything_has_100_points() -> None:
    scored = rule_score(KEEN, CategoryWeights())
    assert scored.score == pytest.approx(100)
    assert (scored.breakdown.demographic, scored.breakdown.behavioral) == pytest.approx((25, 35))
    assert (scored.breakdown.temporal, scored.breakdown.engagement) == pytest.approx((20, 20))
    assert scored.coverage == 1.0


def test_a_lead_without_any_feature_has_none() -> None:
    scored = rule_score({}, CategoryWeights())
    assert (scored.score, scored.given, scored.coverage) == (0, (), 0)


def test_the_breakdown_and_what_features_gave_add_up_to_the_score() -> None:
    values = {**KEEN, "activity:page_view_count": 6, "demographic:title_seniority": None}
    scored = rule_score(values, CategoryWeights(demographic=10, behavioral=60, temporal=20, engagement=10))
    whole = scored.breakdown
    assert whole.demographic + whole.behavioral + whole.temporal + whole.engagement == pytest.approx(scored.score)
    assert sum(each.points for each in scored.given) == pytest.approx(scored.score)
    assert whole.demographic == pytest.approx(7.5)  # ten per cent of the 75 points without a title's rank


def test_the_first_line_that_holds_gives_the_points() -> None:
    for pages, points in ((0, 0), (1, 3), (4, 3), (5, 7), (19, 7), (20, 12)):
        scored = rule_score({"activity:page_view_count": pages}, CategoryWeights())
        assert scored.score == pytest.approx(points * 0.35)


def test_the_yardstick_is_the_same_score() -> None:
    rules = RuleScorer(CategoryWeights())
    assert rules.points(dict(KEEN)) == rule_score(KEEN, CategoryWeights()).score
    assert tuple(rules.features) == SCORED_FEATURES
