"""The format of the log's topic.

An event is one record. Its key is ``ORG/KIND/ID`` of its stream in UTF-8 (an org's name and a kind hold no slash).
Partition 0 has the streams that every lead's answers may need: subjects, orgs, policies. Any other stream stands in one
of the others, whole and in order: one more than the CRC-32 of the key modulo their number. Its value is a JSON object, ``Value`` below: the envelope, and the payload's JSON byte by byte as it was sent.
The record's time is the time of recording, in milliseconds. A header ``leadwheel`` says what the record is:
``event/1``, or ``claim/1``: with it a process tells, in every partition, that it is the one that writes from now on;
key ``~claim``, value ``{"owner": ID}``. The number is the format's; a higher one is a later version's.

``place`` is the event's position in the log of whoever wrote it. It tells in which order the partitions' records
belong together, so that a copy that is made anew has them as the first one had; nothing else reads it.

A record without the header, or that does not decode, is foreign: it is passed over and counted, never an obstacle.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from eventstore.event import KINDS, Event, Kind, Stream
from eventstore.sqlite_writer import Told
from eventstore.upcasters import Upcasters
from kernel.errors import LogNewerSchema
from kernel.ids import Position

FORMAT = 1
HEADER = "leadwheel"
EVENT_HEADERS = [(HEADER, b"event/%d" % FORMAT)]
CLAIM_HEADERS = [(HEADER, b"claim/%d" % FORMAT)]
CLAIM_KEY = b"~claim"

#: The partition of what all leads share, and the kinds of streams that are in it.
SHARED = 0
SHARED_KINDS: frozenset[Kind] = frozenset({"subject", "org", "policy"})
#: The shared one, and one for leads.
PARTITIONS_LEAST = 2

#: What a record takes beside its key and value, at most: lengths, times, the header, the frame of its batch.
FRAME_BYTES = 256


class Record(NamedTuple):
    """A record on its way to the topic."""

    key: bytes
    value: bytes
    timestamp_ms: int
    headers: list[tuple[str, bytes]]

    @property
    def size_bytes(self) -> int:
        return len(self.key) + len(self.value) + FRAME_BYTES


class Claim(NamedTuple):
    """From here on the partition is written by ``owner``."""

    owner: str


class Value(msgspec.Struct, gc=False, omit_defaults=True):
    """What an event's record holds; times in UTC microseconds."""

    id: str
    type: str
    payload_version: int
    version: int
    place: int
    at_us: int
    recorded_us: int
    data: msgspec.Raw
    source: str | None = None


class _Owner(msgspec.Struct):
    owner: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Value).decode


def key_of(stream: Stream) -> bytes:
    return f"{stream.org}/{stream.kind}/{stream.id}".encode()


def stream_of(key: str) -> Stream:
    """The stream whose ``key_of`` it is. Raises ``ValueError``."""
    org, kind, name = key.split("/", 2)
    return Stream(org, KINDS[KINDS.index(kind)], name)  # an unknown kind raises ValueError


def partition_of(stream: Stream, key: bytes, partitions: int) -> int:
    """Where a stream's records stand; ``key`` is its ``key_of``. There are at least ``PARTITIONS_LEAST``."""
    if stream.kind in SHARED_KINDS:
        return SHARED
    return 1 + zlib.crc32(key) % (partitions - 1)


def record_of(event: Event, upcasters: Upcasters) -> Record:
    """An event that has its version and position, as a record."""
    value = Value(
        event.id,
        event.type,
        upcasters.version_of(event.type),
        event.version,
        event.position,
        event.at_us,
        event.recorded_us,
        msgspec.Raw(event.data),
        event.source,
    )
    return Record(key_of(event.stream), _encode(value), event.recorded_us // 1000, EVENT_HEADERS)


def claim_of(owner: str, now_us: int) -> Record:
    return Record(CLAIM_KEY, _encode(_Owner(owner)), now_us // 1000, CLAIM_HEADERS)


def read_record(
    topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]
) -> Told | Claim | None:
    """What a record says; None for a foreign one. An event's number is 0, its position is its ``place``.

    Raises
    ------
    LogNewerSchema
        A later version of this program wrote it: passing it over would lose an event.
    """
    kind, _, number = dict(headers).get(HEADER, b"").partition(b"/")
    if kind not in (b"event", b"claim") or not number.isdigit() or key is None or value is None:
        return None
    if int(number) > FORMAT:
        raise LogNewerSchema(f"topic {topic}", FORMAT, int(number))
    try:
        if kind == b"claim":
            return Claim(msgspec.json.decode(value, type=_Owner).owner)
        return _told(key.decode(), _decode(value))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _told(key: str, value: Value) -> Told:
    event = Event(
        stream_of(key),
        0,
        value.version,
        Position(value.place),
        value.id,
        value.type,
        value.at_us,
        value.recorded_us,
        bytes(value.data),
        value.source,
    )
    return Told(event, value.payload_version)


def order_of(told: Told) -> tuple[int, int]:
    """How the records of several partitions are put in one order."""
    return told.event.recorded_us, told.event.position
