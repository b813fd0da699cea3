from typing import Any

import pytest

from kernel.times import parse_rfc3339
from scoring.recommend import ADVICE, KINDS, MOST, Recommendation, recommendations
from scoring.risks import RiskFactor, risk_factors
from tests.unit.scoring.leads import KEEN

AT_US = parse_rfc3339("2026-11-21T10:00:00Z")


def advised(values: dict[str, Any], tier: str = "low", **predicted: Any) -> list[Recommendation]:
    return recommendations(values, risk_factors(values), {"tier": tier, "priority": 1, **predicted}, AT_US)


def texts(values: dict[str, Any], tier: str = "low", **predicted: Any) -> list[str]:
    return [each.text for each in advised(values, tier, **predicted)]


@pytest.mark.parametrize("tier", ["top", "high", "medium", "low"])
def test_there_is_always_something_to_do(tier: str) -> None:
    found = advised({}, tier)
    assert 1 <= len(found) <= MOST
    assert [each.priority for each in found] == list(range(1, len(found) + 1))


def test_a_top_lead_in_the_act_is_called_now() -> None:
    first = advised(KEEN, "top")[0]
    assert (first.kind, first.text, first.due_at) == ("immediate", "Call now", "2026-11-21T14:00:00.000000Z")
    assert texts({**KEEN, "timing:activity_burst": 0}, "top")[0] == "Call within a day"
    assert texts({}, "top") == ["Call within a day"]


def test_of_one_topic_there_is_one_line() -> None:
    assert texts(KEEN, "top").count("Call within a day") == 0


def test_a_likely_lead_without_a_meeting_is_offered_one() -> None:
    assert texts({"activity:meeting_count": 0}, "high") == ["Propose a meeting", "Write or call personally"]


def test_risks_lead_to_what_can_be_done_about_them() -> None:
    risks = [RiskFactor("escalated_call", "high", ""), RiskFactor("payments_failing", "high", "")]
    found = recommendations({}, risks, {"tier": "low"}, AT_US)
    assert [each.kind for each in found] == ["immediate", "immediate", "monitor"]


def test_what_other_models_say_counts() -> None:
    found = advised({}, "medium", churn_risk_30d=0.72, ib_call_risk_14d=None)
    assert found[0].reason == "The risk of leaving within 30 days is 72%"
    assert len(found) == 2


def test_no_more_is_advised_than_would_be_done() -> None:
    values = {
        "demographic:has_company": 0,
        "demographic:has_title": 0,
        "window:escalation_count_14d": 2,
        "window:payment_success_rate_30d": 0.1,
        "timing:days_since_last_activity": 40,
        "activity:meeting_count": 0,
    }
    assert len(advised(values, "high", churn_risk_30d=0.9, ib_call_risk_14d=0.9)) == MOST


def test_the_table_uses_every_kind() -> None:
    assert {advice.kind for advice in ADVICE} == set(KINDS)
