"""From a message of somebody's topic to an event as it is posted, or the reason why it is none.

A message without an id gets one from its place, ``kafka:TOPIC:PARTITION:OFFSET``, one without a time that of the message: so
a repeated delivery is the same event, and a duplicate.

CloudEvents come structured (the value is the event) or binary (headers ``ce_…``, the value is its data), as the Kafka
protocol binding of CloudEvents 1.0 has it.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from eventstore.admission import Refusal, refusal
from eventstore.bodies import Limits
from eventstore.types import EventTypes
from eventstore.wording import shorten
from gateway.compat import cloudevents
from gateway.records import ColumnMapping, is_absent, mapped
from kernel.settings_topics import TopicInSettings

_CE = "ce_"
_ID_MAX = 128

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """A record of a topic, and where it stands."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class MessageReader:
    """Makes events of one topic's messages. Raises nothing for what a message contains."""

    def __init__(self, settings: TopicInSettings, *, types: EventTypes, limits: Limits) -> None:
        self._is_json = settings.format == "json"
        columns = {column: key for column, key in settings.mapping.items() if not column.startswith("@")}
        self._mapping = ColumnMapping(columns, dict(settings.constants))
        self._of_message = {column: key for column, key in settings.mapping.items() if column.startswith("@")}
        self._is_mapped = bool(settings.mapping or settings.constants)
        self._types, self._limits = types, limits

    def read(self, message: Message) -> bytes | Refusal:
        """The event's JSON for the door, which judges it, or why there is none."""
        if message.value is None:
            return _refused("a value", "none")
        if len(message.value) > 2 * self._limits.event_bytes:  # a mapping leaves things out; more is not looked at
            return refusal(
                0, "event_too_large", "", f"at most {self._limits.event_bytes} bytes", f"{len(message.value)} bytes"
            )
        found = self._of_json(message, message.value) if self._is_json else self._of_cloudevent(message, message.value)
        return found if isinstance(found, Refusal) else _completed(found, message)

    def _of_json(self, message: Message, value: bytes) -> dict[str, Any] | Refusal:
        try:
            fields: dict[str, Any] = dict(_object(value))
        except (msgspec.DecodeError, ValueError, RecursionError):
            return _refused("a JSON object", shorten(value))
        if not self._is_mapped:
            return fields
        constants = dict(self._mapping.constants)
        for column, key in self._of_message.items():
            found = _of_message(message, column)
            if isinstance(found, Refusal):
                return found
            if found is not None:
                constants[key] = found
        event = mapped(fields, ColumnMapping(self._mapping.columns, constants))
        return _refused("fields that do not stand in each other", shorten(value)) if event is None else event

    def _of_cloudevent(self, message: Message, value: bytes) -> dict[str, Any] | Refusal:
        raw = _in_one(message, value)
        if isinstance(raw, Refusal):
            return raw
        native = cloudevents.translated(raw, self._types, self._limits)
        return native if isinstance(native, Refusal) else dict(_object(native))


def _of_message(message: Message, column: str) -> str | float | Refusal | None:
    if column == "@time":
        return message.timestamp_ms / 1000
    try:
        return None if message.key is None else message.key.decode()
    except UnicodeDecodeError:
        return _refused("a key in UTF-8", shorten(message.key or b""))


def _in_one(message: Message, value: bytes) -> bytes | Refusal:
    """A CloudEvent in the JSON format, whichever mode it came in."""
    headers = dict(message.headers)
    attributes: dict[str, Any] = {}
    try:
        for name in cloudevents.ATTRIBUTES:
            if (found := headers.get(_CE + name)) is not None:
                attributes[name] = found.decode()
        if not attributes:
            return value
        if (media := headers.get("content-type")) is not None:
            attributes["datacontenttype"] = media.decode()
        if value.strip():
            attributes["data"] = msgspec.json.decode(value, type=msgspec.Raw)
    except UnicodeDecodeError:
        return _refused("headers in UTF-8", "other bytes")
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _refused("data in JSON", shorten(value))
    return _encode(attributes)


def _completed(event: dict[str, Any], message: Message) -> bytes:
    if is_absent(event.get("id")):
        event["id"] = _place(message)
    if is_absent(event.get("time")):
        event["time"] = message.timestamp_ms / 1000
    return _encode(event)


def _place(message: Message) -> str:
    """An id that no other message of the brokers has."""
    name = f"kafka:{message.topic}:{message.partition}:{message.offset}"
    if len(name) <= _ID_MAX:
        return name
    return f"kafka:{sha256(message.topic.encode()).hexdigest()}:{message.partition}:{message.offset}"


def _refused(expected: str, actual: str) -> Refusal:
    return refusal(0, "malformed_json", "", expected, actual)
