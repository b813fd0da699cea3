"""The envelope: an event on its way in, and as it stands in the log."""

from typing import Any, Literal, NamedTuple

import msgspec

from kernel.ids import Position

Kind = Literal["lead", "subject", "policy", "decision", "org"]
KINDS: tuple[Kind, ...] = ("lead", "subject", "policy", "decision", "org")


class Stream(NamedTuple):
    """All events of one entity: its organisation, its kind, its id."""

    org: str
    kind: Kind
    id: str


class NewEvent(msgspec.Struct, gc=False):
    """An event that passed the door and is not stored yet.

    ``data`` is the payload as it was sent (JSON object, UTF-8, ``b"{}"`` when absent); ``payload`` the same,
    decoded into the type's struct. ``has_time`` says whether the sender gave the time: only then is it
    compared with the stored event of the same id.
    """

    stream: Stream
    id: str
    type: str
    at_us: int
    data: bytes
    payload: Any
    has_time: bool = True
    source: str | None = None


class Event(msgspec.Struct, gc=False):
    """An event as stored. Immutable by agreement: nobody but its reader's decoder sets a field.

    ``number`` is the stream's internal number, ``version`` the place in the stream, ``position`` the place in
    the log. ``payload`` is None until ``EventTypes.payload_of`` has decoded ``data``.
    """

    stream: Stream
    number: int
    version: int
    position: Position
    id: str
    type: str
    at_us: int
    recorded_us: int
    data: bytes
    source: str | None = None
    payload: Any = None


class StreamInfo(msgspec.Struct, frozen=True):
    """What the store knows of a stream without reading it. ``is_known``: an event from outside is in it."""

    stream: Stream
    number: int
    version: int
    is_known: bool


def order_key(event: Event | NewEvent) -> tuple[int, str]:
    """The order in which events of one entity count: by time, then by id in code-point order."""
    return event.at_us, event.id
