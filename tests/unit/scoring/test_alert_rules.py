import pytest

from eventstore.event import Event
from kernel.errors import InvalidDefinition
from scoring.alert_rules import BUILT_IN_RULES, AlertRules
from scoring.events import AlertRule
from tests.unit.scoring.leads import CATALOGUE, NOW_US, stored

MINE = AlertRule(when="rfm.recency_days > 10 || prediction.conversion_30d > 0.5", until="rfm.recency_days < 5")


def rules() -> AlertRules:
    return AlertRules("default", CATALOGUE)


def defined(folded: AlertRules, name: str, rule: AlertRule | None) -> Event:
    event = folded.definition(name, rule, NOW_US)
    assert event is not None
    return stored(event, 1)


def test_three_rules_are_built_in() -> None:
    found = rules()
    assert found.names() == ["churn_risk_high", "churn_risk_ib_calls", "health_score_critical"]
    assert {rule.name: (rule.rule.when, rule.rule.severity) for rule in found.all_rules()} == {
        "churn_risk_ib_calls": ("prediction.ib_call_risk_14d > 0.7", "critical"),
        "churn_risk_high": ("prediction.churn_risk_30d > 0.6", "high"),
        "health_score_critical": ("prediction.customer_health_score < 40.0", "high"),
    }
    assert (found.broken, found.features) == ({}, frozenset())


def test_a_definition_replaces_and_a_deletion_takes_away() -> None:
    folded = rules()
    folded.fold(defined(folded, "mine", MINE))
    assert folded.get("mine") == MINE
    assert folded.features == {"rfm:recency_days"}
    assert folded.in_force["mine"].reads == ("rfm:recency_days", "prediction:conversion_30d")
    folded.fold(defined(folded, "mine", None))
    assert (folded.get("mine"), folded.version("mine"), "mine" in folded.in_force) == (None, 2, False)


def test_a_built_in_rule_can_be_changed_and_deleted() -> None:
    folded = rules()
    folded.fold(defined(folded, "churn_risk_high", MINE))
    assert (folded.get("churn_risk_high"), folded.in_force["churn_risk_high"].version) == (MINE, 1)
    folded.fold(defined(folded, "churn_risk_high", None))
    assert "churn_risk_high" not in folded.names()


def test_what_changes_nothing_is_no_event() -> None:
    folded = rules()
    assert folded.definition("churn_risk_high", BUILT_IN_RULES["churn_risk_high"], NOW_US) is None
    assert folded.definition("nobody", None, NOW_US) is None


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        (AlertRule(when="rfm.nothing > 1"), "when"),
        (AlertRule(when="prediction.other > 1.0"), "when"),
        (AlertRule(when="1 +"), "when"),
        (AlertRule(when="rfm.recency_days > 1", until="rfm.recency_days +"), "until"),
    ],
)
def test_a_rule_that_does_not_compile_is_refused_with_the_place(rule: AlertRule, path: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        rules().definition("mine", rule, NOW_US)
    assert path in str(caught.value)


def test_a_rule_of_another_catalogue_is_kept_but_not_in_force() -> None:
    folded = rules()
    event = defined(folded, "mine", MINE)
    event.data = event.data.replace(b"rfm.recency_days > 10", b"gone.away > 10")
    folded.fold(event)
    assert folded.names()[-1] == "mine"
    assert "mine" in folded.broken
    assert "mine" not in [rule.name for rule in folded.all_rules()]


def test_other_definitions_are_passed_over() -> None:
    folded = rules()
    event = defined(folded, "mine", MINE)
    event.type = "service_defined"
    folded.fold(event)
    assert folded.get("mine") is None
