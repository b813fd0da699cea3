"""Risk factors: what speaks against a lead, or against keeping a customer. A table of claims, each with its words.

Of the lines of one code the first that holds counts, so the gravest stands first.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from scoring.claims import Claim, Claims, all_hold, names_of

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")


class RiskFactor(msgspec.Struct, frozen=True, gc=False):
    """One risk of a lead, in words."""

    code: str
    severity: Severity
    text: str


class Risk(NamedTuple):
    """A line of the table. ``{0}`` in the text is the value of the first claim."""

    code: str
    severity: Severity
    claims: Claims
    text: str


RISKS: tuple[Risk, ...] = (
    Risk(
        "long_silence",
        "high",
        (Claim("timing:days_since_last_activity", ">=", 30),),
        "No activity for {0:g} days",
    ),
    Risk(
        "long_silence",
        "medium",
        (Claim("timing:days_since_last_activity", ">=", 14),),
        "No activity for {0:g} days",
    ),
    Risk(
        "no_activity",
        "medium",
        (Claim("timing:days_since_created", ">=", 7), Claim("timing:days_since_last_activity", "is null")),
        "No activity at all in the {0:g} days since the lead was created",
    ),
    Risk(
        "low_activity_velocity",
        "medium",
        (Claim("activity:activity_velocity", "<", 0.1), Claim("timing:days_since_created", ">=", 14)),
        "Only {0:.2g} activities a day",
    ),
    Risk("missing_company", "medium", (Claim("demographic:has_company", "=", 0),), "No company is known"),
    Risk("missing_title", "low", (Claim("demographic:has_title", "=", 0),), "No title is known"),
    Risk(
        "free_email_domain",
        "low",
        (Claim("demographic:email_domain_type", "=", "free"),),
        "The e-mail address is at a free provider",
    ),
    Risk(
        "emails_unopened",
        "low",
        (Claim("outreach:email_open_rate", "<", 0.1),),
        "Only {0:.0%} of the e-mails were opened",
    ),
    Risk(
        "sequence_stalled",
        "medium",
        (
            Claim("outreach:sequence_engagement", "<", 0.5),
            Claim("outreach:is_in_active_sequence", "=", 1),
            Claim("timing:days_since_last_activity", ">=", 7),
        ),
        "The sequence stands at {0:.0%} and the lead is silent",
    ),
    Risk(
        "falling_sentiment",
        "high",
        (Claim("window:negative_sentiment_calls_7d", ">=", 2),),
        "{0:g} calls in bad mood within 7 days",
    ),
    Risk(
        "falling_sentiment",
        "medium",
        (Claim("window:negative_sentiment_calls_7d", ">=", 1),),
        "A call in bad mood within 7 days",
    ),
    Risk(
        "falling_sentiment",
        "medium",
        (Claim("trend:rating_trend", "<=", -0.5),),
        "Ratings of the last 7 days are {0:+.1f} against those of 30 days",
    ),
    Risk(
        "falling_sentiment",
        "medium",
        (Claim("engagement:sentiment_avg_30d", "<", 0.4),),
        "The mood of messages is at {0:.2f} of 1 in 30 days",
    ),
    Risk(
        "escalated_call", "high", (Claim("window:escalation_count_14d", ">=", 1),), "{0:g} escalated calls in 14 days"
    ),
    Risk(
        "payments_failing",
        "high",
        (Claim("window:payment_success_rate_30d", "<", 0.8),),
        "Only {0:.0%} of the payments in 30 days succeeded",
    ),
    Risk(
        "sessions_cancelled",
        "medium",
        (Claim("window:cancellation_rate_30d", ">=", 0.4),),
        "{0:.0%} of the sessions in 30 days were cancelled",
    ),
    Risk(
        "sessions_missed",
        "medium",
        (Claim("window:no_show_rate_30d", ">=", 0.2),),
        "{0:.0%} of the sessions in 30 days were missed",
    ),
    Risk(
        "fewer_sessions",
        "medium",
        (Claim("trend:session_velocity_change", "<=", -0.1),),
        "{0:+.2f} sessions a day against the month's pace",
    ),
    Risk(
        "many_tickets",
        "medium",
        (Claim("behavior:support_ticket_rate_30d", ">=", 3),),
        "{0:g} support tickets in 30 days",
    ),
    Risk(
        "campaigns_ignored",
        "low",
        (Claim("campaign:campaign_ignored", ">=", 3),),
        "{0:g} campaigns were ignored",
    ),
)

#: The features that the table reads.
RISK_FEATURES: frozenset[str] = frozenset(name for risk in RISKS for name in names_of(risk.claims))


def risk_factors(values: Mapping[str, Any]) -> list[RiskFactor]:
    """The risks of a lead's features, by reference, the gravest first and then in the table's order."""
    found: dict[str, RiskFactor] = {}
    for risk in RISKS:
        if risk.code not in found and all_hold(risk.claims, values):
            text = risk.text.format(values[risk.claims[0].name])
            found[risk.code] = RiskFactor(risk.code, risk.severity, text)
    return sorted(found.values(), key=lambda factor: SEVERITIES.index(factor.severity))
