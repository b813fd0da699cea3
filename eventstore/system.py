"""Event types that belong to no pack: the retraction, and what the system itself writes.

System events have ids beginning with ``~`` that follow from their cause, so that writing one twice is a
duplicate. They are refused from outside, even those whose part of the system is not switched on.
"""

from typing import Annotated

from msgspec import Meta

from eventstore.event import Stream
from eventstore.fields import Id, Positive, Text
from eventstore.types import EventType, Payload

#: The type that takes another event of its stream out of every fold.
EVENT_RETRACTED = "event_retracted"

#: The first character of every id that the system gives, and of none that comes from outside.
SYSTEM_ID_PREFIX = "~"


class EventRetracted(Payload, frozen=True, gc=False):
    """Names the event to take back. That the id is printable and no system event's is checked at the door."""

    event_id: Annotated[str, Meta(min_length=1, max_length=128)]


class CampaignIgnored(Payload, frozen=True, gc=False):
    """A campaign that the lead received was not clicked in time."""

    campaign_id: Id


class DeadLetterRetried(Payload, frozen=True, gc=False):
    """An audit entry that no fold reads: ``event_id`` was folded again, ``error`` is what it raised, if it still did."""

    event_id: Text
    folded: bool
    error: Text | None = None


class ServiceDefined(Payload, frozen=True, gc=False):
    """A service is this list of features from now on; none at all: it is deleted. ``version`` counts both."""

    name: Id
    version: Positive
    features: list[Text] | None = None


BUILT_IN: tuple[EventType, ...] = (
    EventType(EVENT_RETRACTED, EventRetracted, pack="any", by="org"),
    EventType("campaign_ignored", CampaignIgnored, pack="system", by="system"),
    EventType("dead_letter_retried", DeadLetterRetried, pack="system", by="system"),
    EventType("service_defined", ServiceDefined, pack="system", by="system"),
)

#: Every name that only the system may write, whether or not this version declares its payload.
SYSTEM_NAMES: frozenset[str] = frozenset(
    {
        "campaign_ignored",
        "decision_made",
        "decision_activated",
        "decision_claimed",
        "reward_received",
        "reward_settled",
        "policy_defined",
        "policy_deleted",
        "model_promoted",
        "prediction_made",
        "prediction_validated",
        "alert_raised",
        "alert_resolved",
        "alert_acknowledged",
        "alert_delivered",
        "lead_linked",
        "lead_erased",
        "dead_letter_retried",
        "service_defined",
        "alert_rule_defined",
    }
)


def org_stream(org: str) -> Stream:
    """The stream of what an organisation defines."""
    return Stream(org, "org", org)


def is_system_id(event_id: str) -> bool:
    """Whether the id is one that the system gave."""
    return event_id.startswith(SYSTEM_ID_PREFIX)
