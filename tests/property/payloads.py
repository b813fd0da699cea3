"""Hypothesis strategies for the payload of every event type, as JSON objects.

Identifiers come from small pools, so that events meet in the same conversation, campaign or session. Optional
fields are absent, null or given; numbers sit on thresholds and on halves of a millionth as well as anywhere.
"""

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Payload = dict[str, Any]
Fields = dict[str, SearchStrategy[Any]]


def _pool(letter: str, size: int = 3) -> SearchStrategy[str]:
    return st.sampled_from([f"{letter}{number}" for number in range(1, size + 1)])


_CONVERSATION, _CAMPAIGN, _SESSION, _TUTOR = _pool("c"), _pool("k"), _pool("s", 9), _pool("t")
_EMAIL_ID, _SEQUENCE, _MEETING, _REQUEST = _pool("m"), _pool("q", 2), _pool("g"), _pool("r")
CHANNEL = st.sampled_from(["email", "Email", "sms", "web", "ü"])
_TEXT = st.sampled_from(["north", "", "x y", "Zürich", "1"])

# 0.0078125 is 2⁻⁷: its product with 10⁶ ends in exactly one half.
SHARE = st.sampled_from([0, 1, 0.5, 0.1, 0.9, 0.0078125, 0.0234375, 1e-7]) | st.floats(0, 1)
SCORE = st.sampled_from([0, -0.3, -0.300001, -0.3000001, -0.299999, -1, 1]) | st.floats(-1, 1)
RATING = st.sampled_from([5, 4, 4.0, 4.000001, 4.0000004, 3.7, 1]) | st.floats(1, 5)
SATISFACTION = st.sampled_from([4, 5, 3.5, 0, 3.999999, 3.499999, 4.0000001]) | st.floats(0, 5)
QUANTITY = st.sampled_from([0, 1, 30, 60.5, 0.1, 0.0078125, 10**12]) | st.integers(0, 500) | st.floats(0, 1e6, width=32)
#: A float here has at most fifteen digits, so that its shortest decimal is what was written.
AMOUNT = (
    st.sampled_from([0, 1, 12.5, "12.50", "0.1", 0.1, "0.000001", 19.99, 999.999999, 10**12, "999999999999.999999"])
    | st.integers(0, 10**7).map(lambda cents: cents / 100)
    | st.integers(0, 10**9).map(lambda thousandths: f"{thousandths // 1000}.{thousandths % 1000:03d}")
)
COUNT = st.integers(0, 9) | st.sampled_from([10**6])
STEP = st.integers(1, 5)
COMPANY_SIZE = st.sampled_from([1, 10, 11, 50, 51, 250, 251, 1000, 1001])
EMAIL = st.sampled_from(
    [
        "a@gmail.com",
        "a@ GMail.COM. ",
        "a@b@web.de",
        "a@acme.com",
        "a@mit.edu",
        "a@.edu",
        "a@edu",
        "a@ox.ac.uk",
        "a@ac.uk",
        "a@anu.edu.au",
        "a@x.ac.com",
        "a@",
        "a@ ",
        "a@.",
        "nobody",
        "",
    ]
)
TITLE = st.sampled_from(
    [
        "CEO",
        "Co-Founder",
        "President",
        "Vice President",
        "vice-president, sales",
        "President & Vice President",
        "SVP Sales",
        "VP",
        "Head of Growth",
        "Director",
        "Office Manager",
        "supervisor",
        "Engineer",
        "Vice",
        "Headmaster",
        "C.E.O.",
        "—",
        " ",
        "",
    ]
)
NAME = st.sampled_from(["Acme", "", " \t", "\u00a0", "0"])
PESTS = st.lists(st.sampled_from(["ants", "rats", ""]), max_size=2)

_PROPERTY: Fields = {
    "city": _TEXT,
    "state": _TEXT,
    "zip": _TEXT,
    "property_type": _TEXT,
    "square_feet": COUNT,
    "year_built": COUNT,
    "pest_issues": PESTS,
}
_PROFILE: Fields = {
    "name": NAME,
    "email": EMAIL,
    "company": NAME,
    "title": TITLE,
    "phone": NAME,
    "company_size": COMPANY_SIZE,
}


def _object(required: Fields, optional: Fields) -> SearchStrategy[Payload]:
    """An object whose optional fields are absent, null or given."""
    return st.fixed_dictionaries(required, optional={name: st.none() | each for name, each in optional.items()})


# Name → (required fields, optional fields), in the order of the event tables.
_LEAD_FIELDS: dict[str, tuple[Fields, Fields]] = {
    "conversation_started": ({"conversation_id": _CONVERSATION}, {"channel": CHANNEL}),
    "message_received": ({"conversation_id": _CONVERSATION}, {"channel": CHANNEL, "sentiment": SHARE}),
    "message_sent": ({"conversation_id": _CONVERSATION}, {"channel": CHANNEL, "agent": _TEXT}),
    "discount_requested": ({"conversation_id": _CONVERSATION}, {}),
    "purchase_completed": ({"amount": AMOUNT}, {"conversation_id": _CONVERSATION, "channel": CHANNEL}),
    "support_ticket_opened": ({"ticket_id": _pool("i")}, {"channel": CHANNEL}),
    "campaign_received": ({"campaign_id": _CAMPAIGN}, {"channel": CHANNEL}),
    "campaign_opened": ({"campaign_id": _CAMPAIGN}, {"channel": CHANNEL}),
    "campaign_clicked": ({"campaign_id": _CAMPAIGN}, {"channel": CHANNEL}),
    "signed_up": (
        {},
        {
            "channel": st.sampled_from(["organic", "paid", "referral"]),
            "tier": st.sampled_from(["budget", "standard", "premium"]),
            "grade_level": st.integers(1, 12) | st.just("college"),
            "subject_category": st.sampled_from(["STEM", "humanities", "test_prep"]),
            "region": _TEXT,
        },
    ),
    "subscription_changed": ({"tier": st.sampled_from(["budget", "standard", "premium"])}, {}),
    "subscription_cancelled": ({}, {"reason": _TEXT}),
    "session_scheduled": ({"session_id": _SESSION, "tutor_id": _TUTOR}, {"subject": _TEXT}),
    "session_completed": (
        {"session_id": _SESSION, "tutor_id": _TUTOR, "duration_minutes": QUANTITY},
        {"student_rating": RATING, "subject": _TEXT},
    ),
    "session_cancelled": (
        {"session_id": _SESSION, "tutor_id": _TUTOR, "cancelled_by": st.sampled_from(["student", "tutor"])},
        {},
    ),
    "session_no_show": (
        {"session_id": _SESSION, "tutor_id": _TUTOR, "missed_by": st.sampled_from(["student", "tutor"])},
        {},
    ),
    "inbound_call": (
        {"duration_seconds": QUANTITY},
        {"sentiment_score": SCORE, "issue_category": _TEXT, "escalated": st.booleans()},
    ),
    "login": ({}, {}),
    "payment_succeeded": ({"amount": AMOUNT}, {}),
    "payment_failed": ({"amount": AMOUNT}, {"reason": _TEXT}),
    "referral_made": ({}, {"referred": _TEXT}),
    "booking_request": ({}, {"subject": _TEXT}),
    "tutor_responded": ({"tutor_id": _TUTOR, "response_seconds": QUANTITY}, {}),
    "service_completed": (
        {},
        {
            "service_type": _TEXT,
            "satisfaction_score": SATISFACTION,
            "services_count": COUNT,
            "property": _object({}, _PROPERTY),
        },
    ),
    "property_updated": ({}, _PROPERTY),
    "interaction": (
        {"action": st.sampled_from(["view", "click", "inquiry", "message", "schedule"])},
        {"item": _TEXT},
    ),
    "lead_created": ({}, {"source": _TEXT}),
    "profile_updated": ({}, _PROFILE),
    "email_sent": ({"email_id": _EMAIL_ID}, {"sequence_id": _SEQUENCE}),
    "email_opened": ({"email_id": _EMAIL_ID}, {}),
    "email_clicked": ({"email_id": _EMAIL_ID}, {}),
    "email_replied": ({"email_id": _EMAIL_ID}, {}),
    "page_viewed": ({}, {"url": _TEXT}),
    "form_submitted": ({}, {"form_id": _pool("f")}),
    "meeting_scheduled": ({}, {"meeting_id": _MEETING}),
    "meeting_held": ({}, {"meeting_id": _MEETING}),
    "call_made": ({}, {"duration_seconds": QUANTITY, "outcome": _TEXT}),
    "sequence_enrolled": ({"sequence_id": _SEQUENCE, "steps": STEP}, {}),
    "sequence_step_completed": ({"sequence_id": _SEQUENCE, "step": STEP}, {}),
    "sequence_finished": (
        {"sequence_id": _SEQUENCE},
        {"outcome": st.sampled_from(["completed", "replied", "unsubscribed", "stopped"])},
    ),
    "deal_won": ({}, {"amount": AMOUNT}),
    "deal_lost": ({}, {"reason": _TEXT}),
}

_SUBJECT_FIELDS: dict[str, tuple[Fields, Fields]] = {
    "tutor_available": ({"tutor_id": _TUTOR, "hours": QUANTITY}, {}),
    "tutor_unavailable": ({"tutor_id": _TUTOR}, {}),
    "match_requested": ({"request_id": _REQUEST}, {}),
    "match_made": ({"request_id": _REQUEST, "tutor_id": _TUTOR, "minutes_to_match": QUANTITY}, {}),
    "match_abandoned": ({"request_id": _REQUEST}, {}),
    "hours_booked": ({"tutor_id": _TUTOR, "hours": QUANTITY}, {}),
}


@st.composite
def _with_strangers(draw: st.DrawFn, required: Fields, optional: Fields) -> Payload:
    """Now and then a field that other types declare and this one does not: kept, and ignored by the fold."""
    payload: Payload = draw(_object(required, optional))
    strangers: Payload = {"channel": 7, "conversation_id": "c9", "sentiment": "none", "extra": {"a": [1, None]}}
    name = draw(st.sampled_from([None, None, None, None, *strangers]))
    if name is not None and name not in required and name not in optional:
        payload[name] = strangers[name]
    return payload


#: The payloads of every lead event type but ``event_retracted``, by type.
LEAD_PAYLOADS: dict[str, SearchStrategy[Payload]] = {
    name: _with_strangers(required, optional) for name, (required, optional) in _LEAD_FIELDS.items()
}

#: The payloads of the market's event types, by type.
SUBJECT_PAYLOADS: dict[str, SearchStrategy[Payload]] = {
    name: _with_strangers(required, optional) for name, (required, optional) in _SUBJECT_FIELDS.items()
}
