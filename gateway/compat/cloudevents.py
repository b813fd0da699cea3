"""CloudEvents 1.0 over HTTP (binary, structured and batched mode, JSON data) to events of an org.

Enters: headers and body of a request. Leaves: what the org's door admits, and refusals whose paths are CloudEvents
attributes (``subject``; ``ce-subject`` where it is a header) and whose indexes are those of the batch.

=================  ==========================================================================
``subject``        the lead; the market's subject for a type that is about one
``type``           the event type, as it is
``id``, ``source`` together the event's id, see ``event_id``; ``source`` is kept as such, too
``time``           the event's time
``data``           the payload; ``data_base64`` where its content type is JSON
=================  ==========================================================================

Extension attributes are ignored and not kept.

References
----------
CloudEvents 1.0.2: core specification, HTTP protocol binding, JSON event format.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple
from urllib.parse import unquote_to_bytes
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from msgspec import UNSET, Meta, UnsetType
from multidict import CIMultiDict, CIMultiDictProxy

from eventstore.admission import Admission, Admitted, Refusal, RefusalCode, check_syntax, refusal
from eventstore.bodies import JSON, Limits, RawEvent, split_body
from eventstore.envelope import MAX_DEPTH, Envelope
from eventstore.types import EventTypes
from eventstore.wording import Fault, explain, shorten
from gateway.problems import Invalid, Problem
from kernel.errors import UnsupportedMediaType
from kernel.steps import Steps

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
PREFIX = "ce-"

Mode = Literal["binary", "structured", "batch"]
Headers = CIMultiDict[str] | CIMultiDictProxy[str]

_STEP_EVENTS = 256  # translated in one step: about 2 ms
_FAMILY = "application/cloudevents"
_REQUIRED = tuple(PREFIX + name for name in ("specversion", "id", "source", "type"))
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class CloudEvent(msgspec.Struct, gc=False):
    """An event in the JSON format of CloudEvents 1.0. Extension attributes are ignored."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(min_length=1, description="Unique at its source; a repeated delivery is a duplicate")]
    source: Annotated[str, Meta(min_length=1, description="A URI reference; with `id` it makes the id here")]
    type: Annotated[str, Meta(min_length=1, description="An event type that a pack of the org declares")]
    subject: Annotated[str | None, Meta(description="The lead; for types of the market the subject")] = None
    time: Annotated[str | None, Meta(description="RFC 3339 with an offset; default now")] = None
    datacontenttype: Annotated[str | None, Meta(description="JSON: `*/json` or `*/*+json`")] = None
    data: Annotated[msgspec.Raw | UnsetType, Meta(description="The payload: an object")] = UNSET
    data_base64: Annotated[str | None, Meta(description="The payload's JSON in base64, instead of `data`")] = None


#: What a binary-mode request carries in headers. The type of the data is its Content-Type.
ATTRIBUTES = tuple(name for name in CloudEvent.__struct_fields__ if not name.startswith("data"))

_decode = msgspec.json.Decoder(CloudEvent).decode


class _Faulty(NamedTuple):
    """An event that never reaches the door."""

    code: RefusalCode
    fault: Fault


def event_id(source: str, identifier: str) -> str:
    """The id of an event here: UUIDv5 of its id, in the namespace that is the UUIDv5 of its source as a URL.

    The pair names an event once and for all, so that a delivery that is repeated is a duplicate.

    Examples
    --------
    >>> event_id("/shop/berlin", "A-1")
    '53787112-96f1-5274-bae8-df2f15dbbacd'
    """
    return str(uuid5(_namespace(source), identifier))


def _namespace(source: str) -> UUID:
    return uuid5(NAMESPACE_URL, source)


def mode_of(headers: Headers) -> Mode | None:
    """How a request carries CloudEvents; None when it carries none. Costs a microsecond.

    Raises
    ------
    UnsupportedMediaType
        CloudEvents in a format other than JSON.
    """
    media_type = headers.get("Content-Type", "")
    if media_type[: len(_FAMILY)].lower() == _FAMILY:
        essence = _essence(media_type)
        if essence == STRUCTURED:
            return "structured"
        if essence == BATCH:
            return "batch"
        raise UnsupportedMediaType(f"{STRUCTURED} or {BATCH}", media_type)
    return "binary" if any(name in headers for name in _REQUIRED) else None


def admitting(
    mode: Mode, headers: Headers, body: bytes, *, admission: Admission, types: EventTypes, limits: Limits
) -> Steps[Admitted]:
    """All events of a request through the door, in steps.

    Raises
    ------
    AdmissionError
        ``UnsupportedMediaType``, ``RequestTooLarge``, ``MalformedBody``: no event was looked at.
    Problem
        A batch that is no array.
    """
    items = [_of_headers(headers, body, limits)] if mode == "binary" else _items(mode, headers, body, limits)
    native: list[RawEvent] = []
    places: list[int] = []
    rejected: list[Refusal] = []
    namespaces: dict[str, UUID] = {}
    for index, item in enumerate(items):
        if index % _STEP_EVENTS == _STEP_EVENTS - 1:
            yield
        translated = item if isinstance(item, _Faulty) else _translate(item, types, limits, namespaces)
        if isinstance(translated, _Faulty):
            rejected.append(refusal(index, translated.code, *translated.fault))
        else:
            native.append(translated)
            places.append(index)
    admitted = yield from admission.admitting_many(native)
    rejected += [msgspec.structs.replace(each, index=places[each.index]) for each in admitted.rejected]
    rejected.sort(key=lambda each: each.index)
    events = [(places[index], event) for index, event in admitted.events]
    return Admitted(events, [in_terms(mode, each) for each in rejected], len(items), mode != "batch")


def translated(raw: bytes, types: EventTypes, limits: Limits) -> bytes | Refusal:
    """The native envelope of one CloudEvent in the JSON format, or why it is none."""
    native = _translate(raw, types, limits, {})
    return refusal(0, native.code, *native.fault) if isinstance(native, _Faulty) else native


def in_terms(mode: Mode | None, refused: Refusal) -> Refusal:
    """A refusal as the sender may understand it: paths are attributes. Said twice it stays the same."""
    if mode is None:
        return refused
    path = "subject" if refused.path == "lead" else refused.path
    if mode == "binary" and path in ATTRIBUTES:
        path = PREFIX + path
    if path == refused.path:
        return refused
    return refusal(refused.index, refused.code, path, refused.expected, refused.actual)


def _essence(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    """JSON by the words of the event format: ``*/json`` or ``*/*+json``."""
    return _essence(media_type).endswith(("/json", "+json"))


def _items(mode: Mode, headers: Headers, body: bytes, limits: Limits) -> Sequence[RawEvent | _Faulty]:
    """The events of a body: one, or those of a batch. What is no JSON is refused whole."""
    is_array = body.lstrip()[:1] == b"["
    if mode == "batch" and is_array:
        return _split(headers["Content-Type"], body, limits)
    if len(body) <= limits.event_bytes:
        check_syntax(body)
    if mode == "batch":
        actual = shorten(body.strip())
        raise Problem("invalid_body", "expected an array of CloudEvents", errors=[Invalid("", "an array", actual)])
    _split(headers["Content-Type"], b"", limits)  # for the charset
    return [body]


def _split(media_type: str, body: bytes, limits: Limits) -> Sequence[RawEvent]:
    parameters = media_type.partition(";")[2]
    try:
        return split_body(body, f"{JSON};{parameters}", limits).items
    except UnsupportedMediaType as error:
        raise UnsupportedMediaType(error.expected, media_type) from error


def _of_headers(headers: Headers, body: bytes, limits: Limits) -> RawEvent | _Faulty:
    """A binary-mode request in the JSON format, so that one decoder judges both."""
    media_type = headers.get("Content-Type") or JSON
    if not _is_json(media_type):
        raise UnsupportedMediaType("data in JSON", media_type)
    _split(media_type, b"", limits)
    if len(body) > limits.event_bytes:
        return _too_large(len(body), limits)
    attributes: dict[str, str | msgspec.Raw] = {}
    for name in ATTRIBUTES:
        values = headers.getall(PREFIX + name, [])
        if len(values) > 1:
            return _invalid(Fault(name, "one header", f"{len(values)}"))
        if values:
            try:
                attributes[name] = _unescaped(values[0])
            except UnicodeDecodeError:
                return _invalid(Fault(name, "UTF-8, percent-encoded", "other bytes"))
    if body.strip():
        check_syntax(body)
        attributes["data"] = msgspec.Raw(body)
    return msgspec.json.encode(attributes)


def _unescaped(value: str) -> str:
    """A header's value: first without quotes, then one round of percent-decoding. Raises ``UnicodeDecodeError``."""
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        value = re.sub(r"\\(.)", r"\1", quoted[1])
    return unquote_to_bytes(value.encode("utf-8", "surrogateescape")).decode("utf-8")


def _translate(raw: RawEvent, types: EventTypes, limits: Limits, namespaces: dict[str, UUID]) -> bytes | _Faulty:
    """The native envelope of a CloudEvent."""
    size = memoryview(raw).nbytes
    if size > limits.event_bytes:
        return _too_large(size, limits)
    try:
        event = _decode(raw)
    except msgspec.ValidationError as error:
        return _invalid(explain(CloudEvent, raw, error))
    except msgspec.DecodeError as error:
        return _Faulty("malformed_json", Fault("", f"JSON ({error})", shorten(raw)))
    except RecursionError:
        return _invalid(Fault("", f"at most {MAX_DEPTH} levels of nesting", "more"))
    data = _data_of(event)
    if isinstance(data, Fault):
        return _invalid(data)
    namespace = namespaces.get(event.source)
    if namespace is None:
        namespace = namespaces[event.source] = _namespace(event.source)
    declared = types.get(event.type)
    is_about_lead = declared is None or declared.about == "lead"
    envelope = Envelope(
        type=event.type,
        id=str(uuid5(namespace, event.id)),
        lead=event.subject if is_about_lead else None,
        subject=None if is_about_lead else event.subject,
        time=event.time,
        data=data,
        source=event.source,
    )
    return msgspec.json.encode(envelope)


def _data_of(event: CloudEvent) -> msgspec.Raw | Fault:
    """The payload's JSON, known to be one value: it is written into the envelope as it stands."""
    data, encoded, media_type = event.data, event.data_base64, event.datacontenttype
    has_data = encoded is not None or data is not UNSET
    if has_data and media_type is not None and not _is_json(media_type):
        return Fault("datacontenttype", "JSON: */json or */*+json", shorten(media_type))
    if encoded is None:
        return msgspec.Raw(b"{}") if data is UNSET else data
    if data is not UNSET:
        return Fault("data_base64", "either data or data_base64", "both")
    if media_type is None:
        return Fault("datacontenttype", "JSON: */json or */*+json, beside data_base64", "nothing")
    try:
        decoded = base64.b64decode(encoded, validate=True)
        return msgspec.json.decode(decoded, type=msgspec.Raw)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return Fault("data_base64", "base64 of JSON", shorten(encoded))


def _invalid(fault: Fault) -> _Faulty:
    return _Faulty("event_invalid", fault)


def _too_large(size: int, limits: Limits) -> _Faulty:
    return _Faulty("event_too_large", Fault("", f"at most {limits.event_bytes} bytes", f"{size} bytes"))
