"""The door: from a request's bytes to events that may be appended, and refusals that say why not.

Enters: the body of a request. Leaves: ``NewEvent``s in the order sent, each with its payload decoded once,
and a ``Refusal`` for every other event, with its index. Invariants: every rule of the log that one event
alone can break is checked here (what needs the log is the store's: conflicts, retractions of retractions);
nothing but an ``AdmissionError`` is raised, whatever comes in. An event costs one decoding of its envelope
and one of its payload; everything that words a refusal runs for refused events only.
"""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import msgspec

from eventstore.bodies import DEFAULT_LIMITS, Limits, RawEvent, is_utf8, split_body
from eventstore.envelope import (
    EXPECTED_ID,
    EXPECTED_LEAD,
    MAX_DEPTH,
    Envelope,
    decode_envelope,
    explain_envelope,
    is_id,
    is_lead,
    is_subject,
    is_too_deep,
    time_fault,
    time_us,
)
from eventstore.event import NewEvent, Stream
from eventstore.inspection import Check, checks_of
from eventstore.leniency import without_nulls
from eventstore.system import EVENT_RETRACTED, SYSTEM_NAMES
from eventstore.types import EventTypes
from eventstore.wording import Fault, explain, shorten
from kernel.clock import Clock
from kernel.errors import MalformedBody
from kernel.ids import IdSource
from kernel.steps import Steps, finish
from kernel.times import SECOND_US, format_time

RefusalCode = Literal[
    "event_conflict", "event_too_large", "event_from_future", "event_unknown_type", "event_invalid", "malformed_json"
]

#: Events looked at in one step: about 2 ms.
_STEP_EVENTS = 512

#: Streams of leads that are remembered: about 200 bytes each.
_LEADS_MAX = 10_000

# What a decoder raises besides its own errors: a decimal whose exponent has no bounds, an integer of
# thousands of digits, brackets without end.
_ODD = (ArithmeticError, ValueError, RecursionError)

_EXACT = msgspec.json.Decoder(float_hook=Decimal)


class Refusal(msgspec.Struct, frozen=True):
    """One event that was not stored: its index in the request, and what was expected where."""

    index: int
    code: RefusalCode
    path: str
    expected: str
    actual: str
    detail: str


class Admitted(msgspec.Struct):
    """A request after the door. ``events`` are (index, event); ``is_single``: the body was one event, no array."""

    events: list[tuple[int, NewEvent]]
    rejected: list[Refusal]
    total: int
    is_single: bool


class _Entry(NamedTuple):
    decode: Any
    about: Literal["lead", "subject", "either"]
    checks: tuple[Check, ...]
    payload: type[msgspec.Struct]


class _Refused(Exception):
    """Control flow of this module, never seen outside."""

    def __init__(self, code: RefusalCode, fault: Fault) -> None:
        super().__init__(code)
        self.code: RefusalCode = code
        self.fault = fault


def refusal(index: int, code: RefusalCode, path: str, expected: str, actual: str) -> Refusal:
    """A refusal with its sentence; the store's refusals are worded by it, too."""
    place = f"{path}: " if path else ""
    return Refusal(index, code, path, expected, actual, f"{place}expected {expected}, got {actual}")


class Admission:
    """The door of one organisation.

    Parameters
    ----------
    types : what the org's packs declare, and ``system.BUILT_IN``.
    subjects : the org's subjects.
    currency : the org's; a payload that names another is refused.
    max_clock_skew_s : how far ahead of the clock an event's time may be.
    ids : makes the ids of events that come without one.
    """

    def __init__(
        self,
        *,
        org: str,
        types: EventTypes,
        subjects: Collection[str],
        currency: str,
        max_clock_skew_s: float,
        clock: Clock,
        ids: IdSource,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._org = org
        self._subjects = frozenset(subjects)
        self._skew_us = round(max_clock_skew_s * SECOND_US)
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._entries = {
            each.name: _Entry(
                types.decoders[each.name].decode,
                "either" if each.name == EVENT_RETRACTED else each.about,
                checks_of(each, currency),
                each.payload,
            )
            for each in types
            if each.by != "system" and each.name not in SYSTEM_NAMES
        }
        self._leads: dict[str, Stream] = {}  # leads that were admitted of late: looked at once, and shared
        self._inside_only = SYSTEM_NAMES | {each.name for each in types if each.by == "system"}

    def admit_body(self, body: bytes, media_type: str) -> Admitted:
        """``admitting_body`` in one go: about 4 µs an event."""
        return finish(self.admitting_body(body, media_type))

    def admitting_body(self, body: bytes, media_type: str) -> Steps[Admitted]:
        """All events of a request, in steps.

        Parameters
        ----------
        media_type : the value of Content-Type: JSON (one event or an array) or NDJSON.

        Raises
        ------
        AdmissionError
            ``UnsupportedMediaType``, ``RequestTooLarge``, ``MalformedBody``: no event was looked at.
        """
        parts = split_body(body, media_type, self._limits)
        if parts.is_single and len(body) <= self._limits.event_bytes:
            check_syntax(body)
        is_checked = parts.is_checked or is_utf8(body)
        limit = self._limits.event_bytes
        is_small = len(body) <= limit or max(map(_size_of, parts.items), default=0) <= limit
        return (yield from self._admitting(parts.items, parts.is_single, is_checked, is_small, needs_entity=True))

    def admit_many(self, items: Sequence[RawEvent], *, needs_entity: bool = True) -> Admitted:
        """``admitting_many`` in one go.

        Parameters
        ----------
        needs_entity : False for events that are only folded and not stored: they may come without a lead
            (their stream then has the id ``""``), and must be about one.
        """
        return finish(self.admitting_many(items, needs_entity=needs_entity))

    def admitting_many(self, items: Sequence[RawEvent], *, needs_entity: bool = True) -> Steps[Admitted]:
        """Events whose JSON is cut out of a larger body already, in steps."""
        return self._admitting(items, False, False, False, needs_entity)

    def admit(self, raw: RawEvent, index: int = 0, *, needs_entity: bool = True) -> NewEvent | Refusal:
        """One event. Never raises for what it contains."""
        admitted = finish(self._admitting([raw], True, False, False, needs_entity))
        return admitted.events[0][1] if admitted.events else msgspec.structs.replace(admitted.rejected[0], index=index)

    def _admitting(
        self, items: Sequence[RawEvent], is_single: bool, is_checked: bool, is_small: bool, needs_entity: bool
    ) -> Steps[Admitted]:
        now_us = self._clock.now_us()
        latest_us = now_us + self._skew_us
        events: list[tuple[int, NewEvent]] = []
        rejected: list[Refusal] = []
        for index, raw in enumerate(items):
            if index % _STEP_EVENTS == _STEP_EVENTS - 1:
                yield
            try:
                if not is_small:
                    self._check_size(raw)
                if not is_checked and not is_utf8(memoryview(raw)):
                    raise _Refused("malformed_json", Fault("", "UTF-8", "other bytes"))
                events.append((index, self._admit(raw, now_us, latest_us, needs_entity)))
            except _Refused as error:
                fault = error.fault
                rejected.append(refusal(index, error.code, fault.path, fault.expected, fault.actual))
        return Admitted(events, rejected, len(items), is_single)

    def _admit(self, raw: RawEvent, now_us: int, latest_us: int, needs_entity: bool) -> NewEvent:
        try:
            envelope = decode_envelope(raw)
        except (msgspec.DecodeError, *_ODD) as error:
            raise _unreadable(raw, error) from error
        entry = self._entries.get(envelope.type)
        if entry is None:
            raise self._unknown_type(envelope.type)
        stream = self._stream_of(envelope, entry, needs_entity)
        event_id = envelope.id
        if event_id is None:
            event_id = self._ids.uuid7()
        elif not is_id(event_id):
            raise _Refused("event_invalid", Fault("id", EXPECTED_ID, shorten(event_id)))
        time = envelope.time
        if time is None:
            at_us = now_us
        else:
            try:
                at_us = time_us(time)
            except ValueError as error:
                raise _Refused("event_invalid", time_fault(time)) from error
            if at_us > latest_us:
                raise _Refused("event_from_future", Fault("time", f"at most {format_time(latest_us)}", shorten(time)))
        data = bytes(envelope.data)
        if is_too_deep(data):
            raise _Refused("event_invalid", Fault("data", f"at most {MAX_DEPTH} levels of nesting", "more"))
        try:
            payload = entry.decode(data)
        except (msgspec.DecodeError, *_ODD) as error:
            payload, data = _retry(entry, data, error)
        for check in entry.checks:
            if (fault := check(payload)) is not None:
                raise _Refused("event_invalid", _in_data(fault))
        return NewEvent(stream, event_id, envelope.type, at_us, data, payload, time is not None, envelope.source)

    def _stream_of(self, envelope: Envelope, entry: _Entry, needs_entity: bool) -> Stream:
        lead, subject, about = envelope.lead, envelope.subject, entry.about
        if lead is not None:
            if subject is None and about != "subject":
                return self._leads.get(lead) or self._lead(lead)
            if subject is not None:
                raise _Refused("event_invalid", Fault("subject", "either lead or subject", "both"))
            raise _Refused("event_invalid", Fault("lead", f"a subject instead: {envelope.type} is about one", "a lead"))
        if not needs_entity and (about == "subject" or subject is not None):
            raise _Refused("event_invalid", Fault("type", "an event about a lead", shorten(envelope.type)))
        if subject is not None:
            if about == "lead":
                expected = f"a lead instead: {envelope.type} is about one"
                raise _Refused("event_invalid", Fault("subject", expected, "a subject"))
            if subject not in self._subjects or not is_subject(subject):
                raise _Refused("event_invalid", Fault("subject", "one of the org's subjects", shorten(subject)))
            return Stream(self._org, "subject", subject)
        if not needs_entity:
            return Stream(self._org, "lead", "")
        missing = "lead" if about != "subject" else "subject"
        expected = EXPECTED_LEAD if missing == "lead" else "one of the org's subjects"
        raise _Refused("event_invalid", Fault(missing, expected, "nothing"))

    def _lead(self, lead: str) -> Stream:
        if not is_lead(lead):
            raise _Refused("event_invalid", Fault("lead", EXPECTED_LEAD, shorten(lead)))
        if len(self._leads) >= _LEADS_MAX:
            self._leads.clear()
        stream = self._leads[lead] = Stream(self._org, "lead", lead)
        return stream

    def _unknown_type(self, name: str) -> _Refused:
        if name in self._inside_only:
            return _Refused("event_invalid", Fault("type", "a type that is not the system's own", shorten(name)))
        expected = "an event type that a pack of the org declares"
        return _Refused("event_unknown_type", Fault("type", expected, shorten(name)))

    def _check_size(self, raw: RawEvent) -> None:
        size = _size_of(raw)
        if size > self._limits.event_bytes:
            raise _Refused("event_too_large", Fault("", f"at most {self._limits.event_bytes} bytes", f"{size} bytes"))


def _size_of(raw: RawEvent) -> int:
    return len(raw) if isinstance(raw, bytes) else memoryview(raw).nbytes


def check_syntax(body: bytes) -> None:
    """A body that is one event is refused whole when it does not parse. Raises ``MalformedBody``."""
    if not is_utf8(body):
        raise MalformedBody("it is not UTF-8")
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        raise MalformedBody(str(error)) from error
    except RecursionError as error:
        raise MalformedBody("it is nested too deeply") from error


def _unreadable(raw: RawEvent, error: Exception) -> _Refused:
    if isinstance(error, msgspec.ValidationError):
        return _Refused("event_invalid", explain_envelope(raw, error))
    if isinstance(error, msgspec.DecodeError):
        return _Refused("malformed_json", Fault("", f"JSON ({error})", shorten(raw)))
    if isinstance(error, RecursionError):
        return _Refused("event_invalid", Fault("", f"at most {MAX_DEPTH} levels of nesting", "more"))
    return _Refused("event_invalid", Fault("time", "a number of seconds since the epoch", "a number too large"))


def _retry(entry: _Entry, data: bytes, error: Exception) -> tuple[Any, bytes]:
    """The payload without the nulls that mean absence, or the refusal of the one that came."""
    try:
        relaxed = b"{}" if data == b"null" else without_nulls(entry.payload, data)
        if relaxed is not None:
            return entry.decode(relaxed), relaxed
    except (msgspec.DecodeError, *_ODD):
        pass  # the first error is told
    is_typed = isinstance(error, msgspec.ValidationError)
    fault = explain(entry.payload, data, error) if is_typed else _odd_number(data)
    raise _Refused("event_invalid", _in_data(fault)) from error


def _odd_number(data: bytes) -> Fault:
    """Which key holds the number that no decoder takes."""
    expected = "numbers of magnitude up to 10^12"
    for key, value in msgspec.json.decode(data, type=dict[str, msgspec.Raw]).items():
        try:
            _EXACT.decode(value)
        except (msgspec.DecodeError, *_ODD):
            return Fault(key, expected, shorten(value))
    return Fault("", expected, shorten(data))


def _in_data(fault: Fault) -> Fault:
    return fault._replace(path=f"data.{fault.path}" if fault.path else "data")
