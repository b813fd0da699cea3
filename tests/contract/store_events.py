"""Event types and events for the tests of the log, modelled on a few rows of each pack."""

from typing import Annotated, Any, Literal

import msgspec

from eventstore.event import NewEvent, Stream
from eventstore.fields import Amount, Count, Id, Number, Positive, Quantity, Text
from eventstore.system import BUILT_IN
from eventstore.types import EventType, EventTypes, Payload

T0 = 1_700_000_000_000_000


class PurchaseCompleted(Payload, frozen=True, gc=False):
    amount: Amount
    order_id: Id | None = None
    conversation_id: Id | None = None
    currency: Text | None = None
    channel: Id | None = None


class MessageReceived(Payload, frozen=True, gc=False):
    conversation_id: Id
    channel: Id | None = None
    sentiment: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class SignedUp(Payload, frozen=True, gc=False):
    tier: Literal["budget", "standard", "premium"] | None = None
    grade_level: Annotated[int, msgspec.Meta(ge=1, le=12)] | Literal["college"] | None = None


class InboundCall(Payload, frozen=True, gc=False):
    duration_seconds: Quantity
    sentiment_score: Annotated[float, msgspec.Meta(ge=-1, le=1)] | None = None
    escalated: bool = False


class Property(Payload, frozen=True, gc=False):
    city: Text | None = None
    square_feet: Count | None = None
    pest_issues: list[Text] | None = None


class ServiceCompleted(Payload, frozen=True, gc=False):
    service_type: Text | None = None
    services_count: Count | None = None
    property: Property | None = None


class ProfileUpdated(Payload, frozen=True, gc=False):
    name: Text | msgspec.UnsetType | None = msgspec.UNSET
    company_size: Positive | msgspec.UnsetType | None = msgspec.UNSET


class TutorAvailable(Payload, frozen=True, gc=False):
    tutor_id: Id
    hours: Quantity


class Login(Payload, frozen=True, gc=False):
    pass


class Measured(Payload, frozen=True, gc=False):
    """A user's own type that forgot the bounds."""

    value: float
    notes: dict[str, float] = msgspec.field(default_factory=dict)
    level: Number | None = None


TYPES = EventTypes(
    [
        *BUILT_IN,
        EventType("purchase_completed", PurchaseCompleted, "commerce", "lead"),
        EventType("message_received", MessageReceived, "commerce", "lead"),
        EventType("signed_up", SignedUp, "tutoring", "lead"),
        EventType("inbound_call", InboundCall, "tutoring", "lead"),
        EventType("login", Login, "tutoring", "lead"),
        EventType("service_completed", ServiceCompleted, "service"),
        EventType("profile_updated", ProfileUpdated, "sales"),
        EventType("tutor_available", TutorAvailable, "tutoring", about="subject"),
        EventType("measured", Measured, "own"),
    ]
)


def lead(name: str, org: str = "default") -> Stream:
    return Stream(org, "lead", name)


def new_event(
    stream: Stream,
    event_id: str,
    kind: str = "login",
    data: bytes | dict[str, Any] = b"{}",
    *,
    at_us: int = T0,
    has_time: bool = True,
    source: str | None = None,
) -> NewEvent:
    """An event as the door would let it through."""
    raw = data if isinstance(data, bytes) else msgspec.json.encode(data)
    return NewEvent(stream, event_id, kind, at_us, raw, TYPES.decoders[kind].decode(raw), has_time, source)


def purchase(
    stream: Stream, event_id: str, amount: object = "10", *, at_us: int = T0, has_time: bool = True
) -> NewEvent:
    data = {"amount": amount, "order_id": event_id}
    return new_event(stream, event_id, "purchase_completed", data, at_us=at_us, has_time=has_time)


def retraction(stream: Stream, event_id: str, retracts: str) -> NewEvent:
    return new_event(stream, event_id, "event_retracted", {"event_id": retracts})
