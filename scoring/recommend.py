"""What to do next: a table of claims over features, risks and the prediction itself.

Besides features, a claim may name ``prediction:tier``, ``prediction:priority``, ``prediction:churn_risk_30d``,
``prediction:ib_call_risk_14d``, ``prediction:customer_health_score`` (null without such a model) and ``risk:CODE``
(the severity, where the lead has that risk).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from kernel.times import HOUR_US, format_time
from scoring.claims import Claim, Claims, all_hold, names_of
from scoring.risks import RiskFactor

Kind = Literal["immediate", "follow_up", "nurture", "monitor"]
KINDS: tuple[Kind, ...] = ("immediate", "follow_up", "nurture", "monitor")

#: More than these would not be done.
MOST = 4


class Recommendation(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One thing to do. ``priority`` 1 comes first; ``due_at`` is RFC 3339."""

    kind: Kind
    priority: int
    text: str
    reason: str
    due_at: str


class Advice(NamedTuple):
    """A line of the table. ``within_hours`` gives the due time; in the reason ``{0}`` is the first claim's value.

    Of the lines of one topic the first that holds counts.
    """

    topic: str
    kind: Kind
    claims: Claims
    text: str
    reason: str
    within_hours: int


_TOP = Claim("prediction:tier", "=", "top")
_HIGH = Claim("prediction:tier", "=", "high")
_MEDIUM = Claim("prediction:tier", "=", "medium")
_LOW = Claim("prediction:tier", "=", "low")

#: In order of urgency: what stands further up comes first.
ADVICE: tuple[Advice, ...] = (
    Advice(
        "call",
        "immediate",
        (_TOP, Claim("timing:activity_burst", "=", 1)),
        "Call now",
        "The lead is in the top tier and active at this moment",
        4,
    ),
    Advice(
        "escalation",
        "immediate",
        (Claim("risk:escalated_call", "is known"),),
        "Let somebody senior call back",
        "A call was escalated",
        24,
    ),
    Advice(
        "staying",
        "immediate",
        (Claim("prediction:churn_risk_30d", ">", 0.6),),
        "Speak to the customer about staying",
        "The risk of leaving within 30 days is {0:.0%}",
        24,
    ),
    Advice(
        "payment",
        "immediate",
        (Claim("risk:payments_failing", "is known"),),
        "Sort out the payment",
        "Payments are failing",
        24,
    ),
    Advice(
        "call",
        "immediate",
        (_TOP,),
        "Call within a day",
        "The lead is in the top tier",
        24,
    ),
    Advice(
        "calls",
        "immediate",
        (Claim("prediction:ib_call_risk_14d", ">", 0.7),),
        "Call before the customer does",
        "The risk of two or more calls within 14 days is {0:.0%}",
        48,
    ),
    Advice(
        "meeting",
        "follow_up",
        (_HIGH, Claim("activity:meeting_count", "=", 0)),
        "Propose a meeting",
        "A likely lead without a meeting so far",
        48,
    ),
    Advice(
        "silence",
        "follow_up",
        (Claim("risk:long_silence", "is known"), _HIGH),
        "Take the conversation up again",
        "A likely lead that has fallen silent",
        48,
    ),
    Advice(
        "sequence",
        "follow_up",
        (Claim("risk:sequence_stalled", "is known"),),
        "Change the approach: a call, or another message",
        "The sequence has stalled",
        72,
    ),
    Advice(
        "mood",
        "follow_up",
        (Claim("risk:falling_sentiment", "is known"),),
        "Ask what is wrong",
        "The mood is falling",
        72,
    ),
    Advice(
        "sessions",
        "follow_up",
        (Claim("risk:sessions_missed", "is known"),),
        "Offer other times for sessions",
        "Sessions are missed",
        72,
    ),
    Advice("contact", "follow_up", (_HIGH,), "Write or call personally", "The lead is in the high tier", 72),
    Advice(
        "sequence",
        "nurture",
        (_MEDIUM, Claim("outreach:is_in_active_sequence", "=", 0)),
        "Enrol in a sequence",
        "Some interest, and nothing under way",
        168,
    ),
    Advice(
        "company",
        "nurture",
        (Claim("risk:missing_company", "is known"), Claim("prediction:tier", "!=", "low")),
        "Find out the company",
        "No company is known",
        168,
    ),
    Advice(
        "title",
        "nurture",
        (Claim("risk:missing_title", "is known"), Claim("prediction:tier", "!=", "low")),
        "Find out the title",
        "No title is known",
        168,
    ),
    Advice("contact", "nurture", (_MEDIUM,), "Keep in touch", "Some interest, not yet enough to call", 336),
    Advice(
        "contact",
        "monitor",
        (_LOW,),
        "Nothing for now; look again when something happens",
        "Little speaks for it so far",
        720,
    ),
)

#: The features that the table reads.
ADVICE_FEATURES: frozenset[str] = frozenset(
    name for advice in ADVICE for name in names_of(advice.claims) if not name.startswith(("prediction:", "risk:"))
)


def recommendations(
    values: Mapping[str, Any], risks: Sequence[RiskFactor], predicted: Mapping[str, Any], at_us: int
) -> list[Recommendation]:
    """What to do, the most urgent first; at least one line, at most ``MOST``.

    Parameters
    ----------
    values : features by reference.
    predicted : ``tier``, ``priority`` and what other models said, by the name after ``prediction:``.
    at_us : what ``due_at`` counts from.
    """
    known = {
        **values,
        **{f"risk:{risk.code}": risk.severity for risk in risks},
        **{f"prediction:{name}": value for name, value in predicted.items()},
    }
    chosen: dict[str, Advice] = {}
    for advice in ADVICE:
        if advice.topic not in chosen and all_hold(advice.claims, known):
            chosen[advice.topic] = advice
    return [
        Recommendation(
            advice.kind,
            place,
            advice.text,
            advice.reason.format(known[advice.claims[0].name]),
            format_time(at_us + advice.within_hours * HOUR_US),
        )
        for place, advice in enumerate(list(chosen.values())[:MOST], 1)
    ]
