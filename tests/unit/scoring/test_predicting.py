from math import fsum
from typing import Any

import msgspec
import numpy as np
import pytest

from eventstore.types import EventTypes
from kernel.errors import ModelSchemaMismatch
from kernel.settings_scoring import LanguageModelSettings, ScoringSettings, ThresholdSettings
from kernel.times import format_time
from scoring.classifier import fit_boosting
from scoring.conversion import ConversionModel
from scoring.estimates import Estimate, threshold_of
from scoring.events import PREDICTION_MADE, SCORING_TYPES, Predicted, PredictionMade
from scoring.explanation import Explanation, shap_is_installed
from scoring.identity import parse_prediction_id
from scoring.predicting import was_active
from scoring.prediction import judged, made_event, opinion, payload_of, predicted_of, record
from scoring.priority import priority, tier, urgency
from scoring.trained import Models, Trained
from tests.unit.scoring.leads import FEATURES, KEEN, NOW_US, STREAM, Linear, card, lead, models, scorer, stored

TYPES = EventTypes(SCORING_TYPES)


def predicted(made: PredictionMade, kind: Any = "CONVERSION") -> Predicted:
    found = predicted_of(made, kind)
    assert found is not None
    return found


def one(values: dict[str, Any], trained: Models | None = None, **options: Any) -> PredictionMade:
    return scorer(trained).predict([lead(values)], because="request", **options)[0]


def test_without_a_model_the_rules_predict_conversion_alone() -> None:
    made = one(KEEN)
    assert [each.type for each in made.predictions] == ["CONVERSION"]
    main = predicted(made)
    assert (main.source, main.model_version, main.fingerprint) == ("rules", None, None)
    assert main.score == pytest.approx(100)
    assert main.probability == pytest.approx(1)
    assert main.tier == "top"


def test_every_type_that_has_a_model_is_predicted() -> None:
    made = one(KEEN, models())
    assert [each.type for each in made.predictions] == ["CONVERSION", "TIME_TO_CLOSE", "CHURN", "CALL_RISK", "HEALTH"]
    assert {each.type: each.model_version for each in made.predictions} == {
        "CONVERSION": "c1",
        "TIME_TO_CLOSE": "t1",
        "CHURN": "m1",
        "CALL_RISK": "m1",
        "HEALTH": "m1",
    }
    assert {each.source for each in made.predictions} == {"model"}
    assert {each.fingerprint for each in made.predictions} == {FEATURES.fingerprint}


def test_a_conversion_model_that_is_missing_leaves_conversion_to_the_rules() -> None:
    made = one(KEEN, Models(multitask=models().multitask))
    assert [(each.type, each.source) for each in made.predictions] == [
        ("CONVERSION", "rules"),
        ("CHURN", "model"),
        ("CALL_RISK", "model"),
        ("HEALTH", "model"),
    ]


def test_rules_can_be_asked_for() -> None:
    made = one(KEEN, models(), rules_only=True)
    assert [(each.type, each.source) for each in made.predictions] == [("CONVERSION", "rules")]


def test_the_breakdown_is_always_the_rules() -> None:
    assert one(KEEN, models()).breakdown == one(KEEN).breakdown


@pytest.mark.parametrize("trained", [None, models()], ids=["rules", "models"])
@pytest.mark.parametrize("values", [KEEN, {}, {"activity:meeting_count": 3}], ids=["keen", "unknown", "met"])
def test_base_and_contributions_add_up_to_every_score(trained: Models | None, values: dict[str, Any]) -> None:
    for each in one(values, trained).predictions:
        total = fsum((each.explanation.base, *(item.contribution for item in each.explanation.items)))
        assert total == pytest.approx(each.score, abs=1e-6), each.type
        assert each.score == pytest.approx(100 * each.probability)


def test_priority_and_tier_follow_from_probability_and_urgency() -> None:
    made = one({**KEEN, "timing:days_since_last_activity": 9, "rfm:recency_days": 9}, models())
    assert made.urgency == pytest.approx(
        urgency({**KEEN, "timing:days_since_last_activity": 9, "rfm:recency_days": 9}, made.days.expected)
    )
    for each in made.predictions:
        assert each.priority == priority(each.probability, made.urgency)
        assert each.tier == tier(each.priority, ThresholdSettings())


def test_a_model_of_the_wait_gives_the_days() -> None:
    with_model, without = one(KEEN, models()), one(KEEN)
    assert with_model.days.expected != without.days.expected
    assert with_model.days.optimistic < with_model.days.expected < with_model.days.pessimistic
    assert with_model.days.accelerators == without.days.accelerators


def test_the_wait_is_predicted_within_the_configurations_horizon() -> None:
    near, far = (
        scorer(models(), ScoringSettings(horizon_days=days)).predict([lead(KEEN)], because="request")[0]
        for days in (15, 60)
    )
    assert predicted(far, "TIME_TO_CLOSE").probability == pytest.approx(
        4 * predicted(near, "TIME_TO_CLOSE").probability
    )


def test_health_is_explained_by_its_parts() -> None:
    health = predicted(one(KEEN, models()), "HEALTH")
    assert {item.feature for item in health.explanation.items} == {
        "prediction:churn_risk_30d",
        "prediction:ib_call_risk_14d",
        "ratings",
    }


def boosted() -> Models:
    """Real trees, calibrated, over the columns of ``FEATURES``."""
    draw = np.random.default_rng(7)
    rows = draw.integers(0, 4, size=(600, len(FEATURES.columns))).astype(float)
    rows[draw.random(rows.shape) < 0.2] = np.nan
    label = (np.nan_to_num(rows[:, 0]) + draw.normal(size=600) > 2).astype(float)
    classifier = fit_boosting(rows[:400], label[:400], rows[400:], label[400:], seed=1)
    return Models(conversion=Trained("c3", card(), FEATURES, ConversionModel(card(), classifier)))


@pytest.mark.parametrize("has_shap", [False, True])
@pytest.mark.filterwarnings("ignore")  # what shap's own imports warn of
def test_boosted_trees_are_explained_with_shap_and_without(monkeypatch: pytest.MonkeyPatch, has_shap: bool) -> None:
    if has_shap and not shap_is_installed():
        pytest.skip("the extra `explain` is not installed")
    monkeypatch.setattr("scoring.trained.shap_is_installed", lambda: has_shap)
    found = predicted(one({"activity:meeting_count": 3, "window:ib_call_count_14d": None}, boosted()))
    parts = [item.contribution for item in found.explanation.items]
    assert found.source == "model"
    assert found.explanation.items[0].feature == "activity:meeting_count"
    assert parts[0] > 0
    assert found.explanation.base + fsum(parts) == pytest.approx(found.score, abs=1e-6)


def test_a_model_that_has_no_number_to_give_leaves_it_to_the_rules() -> None:
    class Broken(Linear):
        def predict_proba(self, rows: Any) -> Any:
            return np.full(len(rows), np.nan)

    broken = Models(conversion=Trained("c2", card(), FEATURES, Broken(FEATURES, {}, 0.0)))
    assert predicted(one(KEEN, broken)).source == "rules"


def test_a_model_of_other_features_is_refused_by_name() -> None:
    model = Linear(FEATURES, {}, 0.0)
    model.fingerprint = "other"
    with pytest.raises(ModelSchemaMismatch, match="c9"):
        Trained("c9", card(), FEATURES, model)


def test_many_leads_are_answered_in_order_and_as_one_by_one() -> None:
    leads = [lead(KEEN), lead({}, name="bob"), lead({"activity:meeting_count": 1}, name="cyd")]
    together = scorer(models()).predict(leads, because="bulk")
    alone = [scorer(models()).predict([each], because="bulk")[0] for each in leads]
    assert [predicted(each).probability for each in together] == pytest.approx(
        [predicted(each).probability for each in alone]
    )
    assert [each.inputs for each in together] == [each.inputs for each in alone]
    assert scorer(models()).predict([], because="bulk") == []


def test_inputs_change_with_what_is_read_and_with_nothing_else() -> None:
    ours = scorer(models())
    before = ours.inputs(lead(KEEN))
    assert ours.inputs(lead(KEEN, NOW_US + 5)) == before
    assert ours.inputs(lead({**KEEN, "segment:student_grade_level": 7})) == before
    assert ours.inputs(lead({**KEEN, "activity:meeting_count": 9})) != before
    assert ours.inputs(lead({**KEEN, "window:ib_call_count_14d": 2})) != before
    assert ours.inputs(lead(KEEN), rules_only=True) != before
    assert scorer().inputs(lead(KEEN)) != before
    assert scorer(models(), ScoringSettings(horizon_days=7)).inputs(lead(KEEN)) != before
    assert one(KEEN, models()).inputs == before


def test_a_language_model_reads_everything() -> None:
    on = ScoringSettings(language_model=LanguageModelSettings(enabled=True, base_url="http://x", model="m"))
    ours = scorer(settings=on)
    assert ours.inputs(lead({"a": 1})) != ours.inputs(lead({"a": 2}))
    assert ours.inputs(lead({"a": 1}), rules_only=True) == ours.inputs(lead({"a": 2}), rules_only=True)


def answer(probability: float) -> Estimate:
    return Estimate(probability, 100 * probability, Explanation(100 * probability, ()), "llm", 0.5, 30, None, 1.0, "m")


def test_a_language_models_answer_stands_in_for_conversion_alone() -> None:
    made = one(KEEN, models(), answers={"ann": answer(0.25)})
    assert (predicted(made).source, predicted(made).score, predicted(made).model_version) == ("llm", 25, "m")
    assert predicted(made, "CHURN").source == "model"
    assert predicted(one(KEEN, rules_only=True, answers={"ann": answer(0.25)})).source == "rules"


def test_why_a_language_model_gave_no_answer_is_kept() -> None:
    assert one(KEEN, models(), notes={"ann": "slow"}).note == "slow"


def test_the_threshold_is_the_configurations_the_cards_or_one_half() -> None:
    assert predicted(one(KEEN)).threshold == 0.5
    assert predicted(one(KEEN, models())).threshold == 0.3
    chosen = scorer(models(), ScoringSettings(accurate_from=0.1)).predict([lead(KEEN)], because="request")[0]
    assert (predicted(chosen).threshold, predicted(chosen, "CHURN").threshold) == (0.1, 0.5)
    assert threshold_of({"bestF1": 0.2}, "conversion") == 0.2
    assert threshold_of({"churnBestF1": 0.2, "callsBestF1": 0.4}, "calls") == 0.4


@pytest.mark.parametrize(("days", "active"), [(0, True), (29, True), (30, False), (None, False)])
def test_a_lead_was_active_with_an_interaction_in_30_days(days: int | None, active: bool) -> None:
    assert was_active({"rfm:recency_days": days}) is active


def test_a_measured_error_of_the_rules_raises_confidence() -> None:
    sure = scorer(rules_error=0.0).predict([lead(KEEN)], because="request")[0]
    assert predicted(sure).confidence == pytest.approx(predicted(one(KEEN)).confidence + 0.4)


# The event and the record.


def test_what_was_made_comes_back_from_the_log() -> None:
    made = one({**KEEN, "timing:days_since_last_activity": 40}, models(), notes={"ann": "slow"})
    event = stored(made_event(STREAM, made, NOW_US), 1)
    assert event.id.startswith("~pm:")
    assert (event.type, event.at_us) == (PREDICTION_MADE, NOW_US)
    assert TYPES.payload_of(event) == made
    assert payload_of(stored(made_event(STREAM, made, NOW_US), 1)) == made


def test_ids_follow_from_causes() -> None:
    made = one(KEEN)
    assert made_event(STREAM, made, NOW_US).id == made_event(STREAM, one(KEEN), NOW_US).id
    assert made_event(STREAM, made, NOW_US + 1).id != made_event(STREAM, made, NOW_US).id
    assert made_event(STREAM._replace(id="bob"), made, NOW_US).id != made_event(STREAM, made, NOW_US).id


def test_a_record_has_the_keys_of_the_interface() -> None:
    made = one({**KEEN, "demographic:has_title": 0, "timing:days_since_last_activity": 3}, models())
    event = stored(made_event(STREAM, made, NOW_US), 1)
    shown = msgspec.json.decode(msgspec.json.encode(record(event, predicted(made, "CHURN"))))
    assert list(shown) == [
        "id",
        "leadId",
        "configId",
        "type",
        "probability",
        "confidence",
        "score",
        "priority",
        "tier",
        "daysToClose",
        "breakdown",
        "explanation",
        "riskFactors",
        "recommendations",
        "source",
        "modelVersion",
        "createdAt",
        "validated",
        "wasAccurate",
    ]
    assert list(shown["daysToClose"]) == ["expected", "optimistic", "pessimistic", "factors", "accelerators"]
    assert list(shown["breakdown"]) == ["demographic", "behavioral", "temporal", "engagement"]
    assert list(shown["explanation"]) == ["base", "items"]
    assert list(shown["explanation"]["items"][0]) == ["feature", "value", "contribution"]
    assert shown["riskFactors"][0] == {"code": "missing_title", "severity": "low", "text": "No title is known"}
    assert list(shown["recommendations"][0]) == ["kind", "priority", "text", "reason", "dueAt"]
    assert (shown["leadId"], shown["type"], shown["createdAt"]) == ("ann", "CHURN", format_time(NOW_US))
    assert (shown["validated"], shown["wasAccurate"]) == (False, None)


def test_a_records_id_leads_back_to_its_event() -> None:
    made = one(KEEN, models())
    event = stored(made_event(STREAM, made, NOW_US), 1)
    found = parse_prediction_id(record(event, predicted(made, "TIME_TO_CLOSE")).id)
    assert found is not None
    assert (found.event_id, found.type) == (event.id, "TIME_TO_CLOSE")


@pytest.mark.parametrize("text", ["", "42", "a" * 64, "a" * 64 + ".other", "g" * 64 + ".churn", "a" * 63 + ".churn"])
def test_what_is_no_id_of_a_prediction_is_none(text: str) -> None:
    assert parse_prediction_id(text) is None


def test_a_verdict_compares_what_was_said_with_what_came() -> None:
    yes = msgspec.structs.replace(predicted(one(KEEN)), probability=0.7, threshold=0.5)
    assert (judged(yes, True).was_accurate, judged(yes, False).was_accurate) == (True, False)
    assert (opinion(yes, True).outcome, opinion(yes, False).outcome) == (True, False)
    no = msgspec.structs.replace(yes, probability=0.2)
    assert (judged(no, True).was_accurate, judged(no, False).was_accurate) == (False, True)
    assert (opinion(no, True).outcome, opinion(no, False).outcome) == (False, True)
    event = stored(made_event(STREAM, one(KEEN), NOW_US), 1)
    assert record(event, yes, opinion(yes, False)).was_accurate is False
    assert record(event, yes, opinion(yes, False)).validated
