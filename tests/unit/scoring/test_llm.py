import msgspec
import pytest

from kernel.settings_scoring import CategoryWeights, LanguageModelSettings, ScoringSettings
from scoring.llm import MOST_REASONS, MalformedAnswer, answer_schema, checked, estimate_of, request_of
from scoring.rules import rule_score
from tests.unit.scoring.leads import KEEN

SETTINGS = ScoringSettings(
    horizon_days=14,
    language_model=LanguageModelSettings(enabled=True, base_url="http://x", model="tiny", prompt_chars=200),
)
SCORED = rule_score(KEEN, CategoryWeights())


def test_the_request_holds_facts_rules_and_schema() -> None:
    request = request_of("Services completed: 8", SCORED, SETTINGS)
    assert request["model"] == "tiny"
    system, user = (message["content"] for message in request["messages"])
    assert "14 days" in system
    assert "deal_won or purchase_completed" in system
    assert "Services completed: 8" in user
    assert "100 of 100" in user
    schema = request["response_format"]["json_schema"]
    assert (schema["strict"], schema["schema"]) == (True, answer_schema())
    assert msgspec.json.encode(request)


def test_facts_are_cut_to_their_length_and_none_are_said_to_be_none() -> None:
    assert "x" * 201 not in request_of("x" * 999, SCORED, SETTINGS)["messages"][1]["content"]
    assert "nothing is known" in request_of("", SCORED, SETTINGS)["messages"][1]["content"]


def test_the_schema_is_closed_complete_and_without_references() -> None:
    schema = answer_schema()
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["probability", "reasons"]
    reason = schema["properties"]["reasons"]["items"]
    assert reason["additionalProperties"] is False
    assert reason["required"] == ["text", "points"]
    assert b"$ref" not in msgspec.json.encode(schema)


def test_an_answer_becomes_an_estimate_that_adds_up() -> None:
    text = '{"probability": 0.8, "reasons": [{"text": "Meets often", "points": 25}, {"text": "New", "points": -5}]}'
    estimate = estimate_of(text, SCORED, SETTINGS)
    assert (estimate.source, estimate.probability, estimate.score, estimate.model_version) == ("llm", 0.8, 80, "tiny")
    explanation = estimate.explanation
    assert [item.feature for item in explanation.items] == ["Meets often", "New", "other"]
    assert explanation.base + sum(item.contribution for item in explanation.items) == pytest.approx(80)


def test_more_reasons_than_asked_for_are_left_out_and_long_ones_cut() -> None:
    reasons = [{"text": f"{place} " + "x" * 300, "points": 1} for place in range(20)]
    estimate = estimate_of(msgspec.json.encode({"probability": 0.5, "reasons": reasons}).decode(), SCORED, SETTINGS)
    assert len(estimate.explanation.items) == MOST_REASONS + 1
    assert max(len(item.feature) for item in estimate.explanation.items) == 200


def test_a_fence_around_the_answer_is_no_harm() -> None:
    assert checked('```json\n{"probability": 1, "reasons": []}\n```').probability == 1


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "I think that it is likely.",
        "[]",
        "{}",
        '{"probability": 0.5}',
        '{"probability": "0.5", "reasons": []}',
        '{"probability": 1.5, "reasons": []}',
        '{"probability": -0.1, "reasons": []}',
        '{"probability": NaN, "reasons": []}',
        '{"probability": 0.5, "reasons": [], "more": 1}',
        '{"probability": 0.5, "reasons": [{"text": "a", "points": 101}]}',
        '{"probability": 0.5, "reasons": [{"text": "a", "points": 1e400}]}',
        '{"probability": 0.5, "reasons": [{"text": " ", "points": 1}]}',
        '{"probability": 0.5, "reasons": ["a"]}',
        '{"probability": 0.5, "reasons": [',
        "\ud800",
    ],
)
def test_what_is_not_in_the_form_is_malformed(text: str | None) -> None:
    with pytest.raises(MalformedAnswer):
        checked(text)
