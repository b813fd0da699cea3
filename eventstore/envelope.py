"""The envelope as it is sent, and the rules of its keys one by one.

Each rule is a predicate cheap enough for every event, and a sentence for the refusal beside it.
"""

import datetime as dt
import re

import msgspec

from eventstore.system import SYSTEM_ID_PREFIX
from eventstore.wording import Fault, explain, shorten
from kernel.times import DAY_US, SECOND_US, parse_rfc3339, parse_seconds, parse_time

#: Deeper than any payload has a reason to be, and far from what would exhaust a decoder's stack.
MAX_DEPTH = 64

_DATETIME = dt.datetime
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_convert = msgspec.convert
_SUBJECT = re.compile(r"[a-z0-9_]{1,64}", re.ASCII)

EXPECTED_ID = "1 to 128 printable characters, not beginning with ~"
EXPECTED_LEAD = "1 to 256 printable characters, not . or .."
EXPECTED_TIME = "an RFC 3339 time with an offset, or a number of seconds since the epoch"
_EXPECTED = {
    "id": EXPECTED_ID,
    "lead": EXPECTED_LEAD,
    "time": EXPECTED_TIME,
    "subject": "a subject of the org",
    "type": "the name of an event type",
    "source": "a string",
    "data": "an object",
}


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The keys of an event. Null is the same as absent, except for the type."""

    type: str
    id: str | None = None
    lead: str | None = None
    subject: str | None = None
    time: str | int | float | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")
    source: str | None = None


decode_envelope = msgspec.json.Decoder(Envelope).decode


def explain_envelope(raw: bytes | msgspec.Raw, error: Exception) -> Fault:
    """The fault behind an error of ``decode_envelope``."""
    fault = explain(Envelope, raw, error)
    return fault._replace(expected=_EXPECTED.get(fault.path, fault.expected))


def is_id(text: str) -> bool:
    """Whether an id may come from outside."""
    return 0 < len(text) <= 128 and text[0] != SYSTEM_ID_PREFIX and text.isprintable()


def is_lead(text: str) -> bool:
    """Whether a lead may be named so."""
    return 0 < len(text) <= 256 and text.isprintable() and text not in (".", "..")


def is_subject(text: str) -> bool:
    """Whether a subject may be named so; whether the org has it is another question."""
    return _SUBJECT.fullmatch(text) is not None


def time_us(value: str | int | float) -> int:
    """An event's time. Raises ``ValueError``.

    The common form, ``2026-11-21T10:00:00Z`` with up to six decimals, is read by the decoder's own parser: a
    fifth of the time, the same result. It would round a seventh digit where the log cuts it off, so longer
    texts go the general way, and so do offsets.
    """
    if isinstance(value, str):
        if len(value) <= 27 and value[-1:] == "Z":
            try:
                since = _convert(value, _DATETIME) - _EPOCH
                return since.days * DAY_US + since.seconds * SECOND_US + since.microseconds
            except msgspec.ValidationError:
                pass  # the general parser says why
        return parse_rfc3339(value)
    return parse_seconds(value)


def time_fault(value: str | int | float) -> Fault:
    """What is wrong with a time that ``time_us`` refused."""
    try:
        parse_time(value)
    except ValueError as error:
        return Fault("time", f"{EXPECTED_TIME} ({error})", shorten(value))
    raise AssertionError("a time was refused that can be read")


def is_too_deep(data: bytes) -> bool:
    """Whether brackets nest deeper than ``MAX_DEPTH`` in well-formed JSON. Cheap unless there are many brackets."""
    if len(data) <= 2 * MAX_DEPTH:  # each one is closed
        return False
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for part in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', data):
        bracket = part.group()
        if bracket in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif bracket in b"]}":
            depth -= 1
    return False
