"""Expressions over features, predictions and payloads: what holds, what null does, what is refused and how."""

from typing import Any

import pytest

from kernel.errors import InvalidDefinition
from kernel.settings import OrgSettings
from projections.catalogue import Catalogue
from projections.cel_checker import MAX_DEPTH, MAX_LENGTH
from projections.conditions import Condition, feature_condition, payload_condition, payload_values, read_values

CATALOGUE = Catalogue("acme", OrgSettings(subjects=("algebra",)))
VALUES: dict[str, Any] = {
    "rfm:recency_days": 3,
    "rfm:monetary_total": 1500.5,
    "rfm:monetary_avg_ticket": None,
    "behavior:has_purchased": 1,
    "prediction:conversion_30d": 0.4,
    "market:tutor_count_algebra": 7,
}


def condition(text: str) -> Condition:
    return feature_condition(text, CATALOGUE, path="when")


def holds(text: str) -> bool:
    return condition(text).holds(read_values(VALUES))


def payload(event_type: str, data: bytes) -> Any:
    return CATALOGUE.event_types.decoders[event_type].decode(data)


def rewarded(text: str, data: bytes, event_type: str = "purchase_completed") -> float | None:
    compiled = payload_condition(text, CATALOGUE.payload(event_type), path="value", wants="number")
    return compiled.number(payload_values(payload(event_type, data)))


@pytest.mark.parametrize(
    "text",
    [
        "rfm.monetary_total > 1000",
        "rfm.recency_days == 3 && rfm.monetary_total >= 1500.5",
        "rfm.recency_days < 1 || behavior.has_purchased == 1",
        "!(rfm.recency_days > 5)",
        "rfm.recency_days / 2 == 1.5",
        "-rfm.recency_days + 10 * 2 - 1 == 16",
        "(rfm.recency_days > 1 ? 'often' : 'seldom') == 'often'",
        "prediction.conversion_30d > 0.3",
        "market.tutor_count_algebra == 7",
        "size('abc') == 3 && 'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')",
        "'abc'.matches('^a.c$')",
        "'b' in ['a', 'b']",
        "'it\\'s' == \"it's\"",
        "true != false",
        "--1 > 0",
    ],
)
def test_what_is_true_holds(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "rfm.monetary_avg_ticket > 5",
        "!(rfm.monetary_avg_ticket > 5)",
        "rfm.monetary_avg_ticket != 5",
        "rfm.monetary_avg_ticket == 5",
        "!(rfm.monetary_avg_ticket == 5)",
        "rfm.monetary_avg_ticket + 1 > 0",
        "rfm.monetary_avg_ticket * 0 == 0",
        "1 / 0 > 5",
        "rfm.recency_days / (rfm.recency_days - 3) < 5",
        "!(rfm.recency_days / (rfm.recency_days - 3) < 5)",
    ],
)
def test_what_has_no_value_does_not_hold(text: str) -> None:
    assert not holds(text)


def test_null_is_asked_for_by_name() -> None:
    assert holds("rfm.monetary_avg_ticket == null")
    assert holds("null == rfm.monetary_avg_ticket")
    assert holds("(rfm.recency_days) != null")
    assert holds("has(rfm.recency_days) && !has(rfm.monetary_avg_ticket)")
    assert not holds("rfm.monetary_avg_ticket != null")


def test_only_the_side_that_decides_needs_a_value() -> None:
    assert holds("rfm.monetary_avg_ticket > 5 || rfm.recency_days == 3")
    assert holds("rfm.monetary_avg_ticket == null || rfm.monetary_avg_ticket < 5")
    assert not holds("rfm.monetary_avg_ticket > 5 && rfm.recency_days == 4")


def test_a_feature_that_was_not_read_is_null() -> None:
    assert condition("rfm.recency_days == null").holds(read_values({}))


@pytest.mark.parametrize("value", ["three", float("nan"), float("inf"), [1], object()])
def test_a_value_of_another_kind_is_null_and_never_raises(value: Any) -> None:
    assert condition("rfm.recency_days == null").holds({"rfm:recency_days": value}.get)


def test_it_says_what_it_reads_each_once() -> None:
    found = condition("rfm.recency_days > 1 && rfm.recency_days < 9 && prediction.churn_risk_30d > 0.5")
    assert found.reads == ("rfm:recency_days", "prediction:churn_risk_30d")


def test_an_amount_is_the_nearest_float_of_its_exact_decimal() -> None:
    assert rewarded("amount / 100", b'{"amount": "12.50"}') == 0.125
    assert rewarded("amount", b'{"amount": 0.1}') == 0.1


def test_a_reward_of_null_or_without_bound_is_none() -> None:
    assert rewarded("channel == 'web' ? amount : 0.5", b'{"amount": 1}') is None
    assert rewarded("amount / (amount - amount)", b'{"amount": 1}') is None
    assert rewarded("amount * 1e308 * 1e308", b'{"amount": 1}') is None


def test_fields_within_structs_and_lists_are_read() -> None:
    text = "property.city == 'Austin' && 'ants' in property.pest_issues ? 1 : 0"
    data = b'{"property": {"city": "Austin", "pest_issues": ["ants"]}}'
    assert rewarded(text, data, "service_completed") == 1.0
    assert rewarded(text, b"{}", "service_completed") is None


def test_a_flag_is_a_condition_of_itself() -> None:
    compiled = payload_condition("escalated", CATALOGUE.payload("inbound_call"), path="where")
    assert compiled.holds(payload_values(payload("inbound_call", b'{"duration_seconds": 1, "escalated": true}')))
    assert not compiled.holds(payload_values(payload("inbound_call", b'{"duration_seconds": 1}')))


@pytest.mark.parametrize(
    ("text", "expected", "actual"),
    [
        ("rfm.recency_day > 1", "a name that is known here (did you mean rfm.recency_days?)", "rfm.recency_day"),
        ("prediction.fame > 1", "a name that is known here", "prediction.fame"),
        ("rfm > 1", "a name that is known here", "rfm"),
        ("rfm.recency_days", "a condition (true or false)", "rfm.recency_days, a number"),
        ("rfm.recency_days == 'x'", "two values of one kind that can be compared, beside '=='", "a string"),
        ("rfm.recency_days > 1 > 2", "two values of one kind that can be compared", "a condition"),
        ("rfm.recency_days in ['a']", "a string in a list of strings", "a number in a list"),
        ("1 + 'a' == 2", "a number", "a string"),
        ("!1", "a condition (true or false)", "a number"),
        ("true < false", "two numbers or strings", "two conditions"),
        ("true ? 1 : 'a'", "two values of one kind, beside ':'", "a number and a string"),
        ("null == null", "a name alone, compared with null by == or !=", "null == null"),
        ("rfm.recency_days + 1 == null", "a name alone, compared with null", "== null"),
        ("rfm.recency_days % 2 == 1", "one of + - * /", "%"),
        ("rfm.recency_days >", "a name, a number, a string or a bracket", "the end of the expression"),
        ("rfm.recency_days > 1 2", "the end of the expression, or an operator", "2"),
        ("rfm.recency_days[0] > 1", "an operator", "[0"),
        ("__import__('os')", "one of the functions", "__import__"),
        ("rfm.recency_days.map(x, x)", "one of the functions", "map"),
        ("size(1) > 0", "a string or a list in size(…)", "a number"),
        ("'a'.matches('[')", "a regular expression", "'['"),
        ("'a'.matches('a' + 'b')", "a pattern written as a string", "a string"),
        ("'\\q' == 'a'", "an expression in CEL", "q"),
        ("a; b", "an expression in CEL", "; b"),
        ("1e999 > 1", "a finite number", "1e999"),
        ("", "a name, a number, a string or a bracket", "the end of the expression"),
        ("x" * (MAX_LENGTH + 1), f"at most {MAX_LENGTH} characters", "2001"),
        ("(" * 100 + "true" + ")" * 100, f"at most {MAX_DEPTH} levels of nesting", "more"),
    ],
)
def test_what_is_wrong_is_told_with_path_expectation_and_what_came(text: str, expected: str, actual: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        condition(text)
    ((path, said, came),) = caught.value.faults
    assert path == "when"
    assert expected in said
    assert actual in came


def test_divisions_within_divisors_are_bounded() -> None:
    text = "1"
    for _ in range(20):
        text = f"1 / (rfm.recency_days + {text})"
    with pytest.raises(InvalidDefinition, match="fewer divisions"):
        condition(f"{text} > 0")


def test_long_chains_within_the_bounds_are_evaluated() -> None:
    assert holds(" || ".join(["rfm.recency_days == 99"] * 60 + ["rfm.recency_days == 3"]))
    assert holds("(" * (MAX_DEPTH - 1) + "true" + ")" * (MAX_DEPTH - 1))
    assert holds("-" * 400 + "1 > 0")
