import pytest

from scoring.risks import RISKS, SEVERITIES, risk_factors
from tests.unit.scoring.leads import CATALOGUE, KEEN


def codes(**values: object) -> list[str]:
    return [each.code for each in risk_factors({name.replace("__", ":"): value for name, value in values.items()})]


def test_a_keen_lead_has_no_risk() -> None:
    assert risk_factors(KEEN) == []


def test_a_lead_of_which_nothing_is_known_has_none() -> None:
    assert risk_factors({}) == []
    assert risk_factors(dict.fromkeys((feature.reference for feature in CATALOGUE.features), None)) == []


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("long_silence", {"timing__days_since_last_activity": 14}),
        ("no_activity", {"timing__days_since_created": 8, "timing__days_since_last_activity": None}),
        ("low_activity_velocity", {"activity__activity_velocity": 0.05, "timing__days_since_created": 20}),
        ("missing_company", {"demographic__has_company": 0}),
        ("missing_title", {"demographic__has_title": 0}),
        ("free_email_domain", {"demographic__email_domain_type": "free"}),
        ("emails_unopened", {"outreach__email_open_rate": 0.05}),
        ("falling_sentiment", {"trend__rating_trend": -0.7}),
        ("falling_sentiment", {"engagement__sentiment_avg_30d": 0.3}),
        ("falling_sentiment", {"window__negative_sentiment_calls_7d": 1}),
        ("escalated_call", {"window__escalation_count_14d": 1}),
        ("payments_failing", {"window__payment_success_rate_30d": 0.5}),
        ("sessions_cancelled", {"window__cancellation_rate_30d": 0.5}),
        ("sessions_missed", {"window__no_show_rate_30d": 0.25}),
        ("fewer_sessions", {"trend__session_velocity_change": -0.2}),
        ("many_tickets", {"behavior__support_ticket_rate_30d": 3}),
        ("campaigns_ignored", {"campaign__campaign_ignored": 3}),
    ],
)
def test_each_risk_is_seen(code: str, values: dict[str, object]) -> None:
    assert codes(**values) == [code]


def test_a_stalled_sequence_is_a_silent_lead_half_way() -> None:
    half_way = {"outreach__sequence_engagement": 0.25, "outreach__is_in_active_sequence": 1}
    assert codes(**half_way, timing__days_since_last_activity=8) == ["sequence_stalled"]
    assert codes(**half_way, timing__days_since_last_activity=1) == []


def test_the_gravest_line_of_a_code_counts_and_the_gravest_risk_stands_first() -> None:
    found = risk_factors({"demographic:has_company": 0, "timing:days_since_last_activity": 45})
    assert [(each.code, each.severity) for each in found] == [("long_silence", "high"), ("missing_company", "medium")]
    assert found[0].text == "No activity for 45 days"


def test_the_lines_of_a_code_stand_with_the_gravest_first() -> None:
    for code in {risk.code for risk in RISKS}:
        order = [SEVERITIES.index(risk.severity) for risk in RISKS if risk.code == code]
        assert order == sorted(order), code
