"""The event types as the tables of the event specification list them: pack, initiator, who they are about."""

from typing import Literal, NamedTuple

Pack = Literal["any", "commerce", "tutoring", "service", "browsing", "sales", "system"]
PACKS: tuple[Pack, ...] = ("commerce", "tutoring", "service", "browsing", "sales")


class Kind(NamedTuple):
    """One row of the tables."""

    pack: Pack
    by: Literal["lead", "org", "system"]
    about: Literal["lead", "subject"] = "lead"
    is_activity: bool = False


_LEAD_COMMERCE = (
    "conversation_started message_received discount_requested purchase_completed support_ticket_opened "
    "campaign_opened campaign_clicked"
)
_LEAD_TUTORING = (
    "signed_up subscription_changed subscription_cancelled session_scheduled session_completed "
    "login payment_succeeded payment_failed referral_made booking_request"
)
_MARKET = "tutor_available tutor_unavailable match_requested match_made match_abandoned hours_booked"
_LEAD_ACTIVITIES = "email_opened email_clicked email_replied page_viewed form_submitted meeting_scheduled meeting_held"
_ORG_SALES = "lead_created profile_updated email_sent sequence_enrolled sequence_step_completed sequence_finished"
_SYSTEM = (
    "campaign_ignored decision_made decision_activated reward_received reward_settled policy_defined policy_deleted "
    "model_promoted prediction_made prediction_validated alert_raised alert_resolved lead_linked lead_erased "
    "dead_letter_retried service_defined alert_rule_defined"
)


def _table() -> dict[str, Kind]:
    rows: list[tuple[str, Kind]] = [
        ("event_retracted", Kind("any", "org")),
        (_LEAD_COMMERCE, Kind("commerce", "lead")),
        ("message_sent campaign_received", Kind("commerce", "org")),
        (_LEAD_TUTORING, Kind("tutoring", "lead")),
        # "inbound_call (tutoring) also counts as an activity and as a call here."
        ("inbound_call", Kind("tutoring", "lead", is_activity=True)),
        ("session_cancelled session_no_show tutor_responded", Kind("tutoring", "org")),
        (_MARKET, Kind("tutoring", "org", about="subject")),
        ("service_completed property_updated", Kind("service", "org")),
        ("interaction", Kind("browsing", "lead")),
        (_LEAD_ACTIVITIES, Kind("sales", "lead", is_activity=True)),
        ("call_made", Kind("sales", "org", is_activity=True)),
        (_ORG_SALES, Kind("sales", "org")),
        ("deal_won deal_lost", Kind("sales", "lead")),
        (_SYSTEM, Kind("system", "system")),
    ]
    return {name: kind for names, kind in rows for name in names.split()}


KINDS: dict[str, Kind] = _table()

#: Types whose payload declares ``conversation_id``.
WITH_CONVERSATION = (
    "conversation_started",
    "message_received",
    "message_sent",
    "discount_requested",
    "purchase_completed",
)

#: Types whose payload declares ``channel``, without ``signed_up``, whose channel is of another sort.
WITH_CHANNEL = (
    "conversation_started",
    "message_received",
    "message_sent",
    "purchase_completed",
    "support_ticket_opened",
    "campaign_received",
    "campaign_opened",
    "campaign_clicked",
)

#: Market types whose payload declares ``tutor_id``.
WITH_TUTOR = ("tutor_available", "tutor_unavailable", "match_made", "hours_booked")
