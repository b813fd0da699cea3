import msgspec
import pytest

from eventstore.event import Event, Kind, Stream
from eventstore.kafka_records import (
    CLAIM_HEADERS,
    EVENT_HEADERS,
    HEADER,
    Claim,
    claim_of,
    key_of,
    partition_of,
    read_record,
    record_of,
)
from eventstore.sqlite_writer import Told
from eventstore.upcasters import Upcasters
from kernel.errors import LogNewerSchema
from kernel.ids import Position
from tests.contract.store_events import T0


def an_event(name: str = "ann", *, data: bytes = b"{}", source: str | None = None) -> Event:
    return Event(Stream("acme", "lead", name), 7, 3, Position(12), "e1", "login", T0 - 5, T0, data, source)


@pytest.mark.parametrize("name", ["ann", "a/b/c", "🦊" * 256, 'quo"te', "~claim", " "])
def test_an_event_is_read_back_to_the_byte(name: str) -> None:
    event = an_event(name, data=b'{ "amount":12.50, "extra":[1,"\xc3\xa4"] }', source="shop")
    record = record_of(event, Upcasters({"login": [lambda data: data]}))
    told = read_record("t", record.key, record.value, record.headers)
    assert isinstance(told, Told)
    assert told.payload_version == 2
    assert told.event == msgspec.structs.replace(event, number=0)


def test_a_record_tells_when_it_was_recorded_in_milliseconds() -> None:
    assert record_of(an_event(), Upcasters()).timestamp_ms == T0 // 1000


def test_a_claim_is_read_back() -> None:
    record = claim_of("node-1", T0)
    assert read_record("t", record.key, record.value, record.headers) == Claim("node-1")


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"acme/lead/ann", b"{}", []),
        (b"acme/lead/ann", b"{}", EVENT_HEADERS),
        (b"acme/lead/ann", b"no json", EVENT_HEADERS),
        (b"acme/lead/ann", None, EVENT_HEADERS),
        (None, b"{}", EVENT_HEADERS),
        (b"acme", record_of(an_event(), Upcasters()).value, EVENT_HEADERS),
        (b"acme/planet/ann", record_of(an_event(), Upcasters()).value, EVENT_HEADERS),
        (b"acme/lead/\xff", record_of(an_event(), Upcasters()).value, EVENT_HEADERS),
        (b"acme/lead/ann", record_of(an_event(), Upcasters()).value, [(HEADER, b"event")]),
        (b"acme/lead/ann", record_of(an_event(), Upcasters()).value, [(HEADER, b"order/1")]),
        (b"~claim", b"[" * 100_000, CLAIM_HEADERS),
    ],
)
def test_what_is_none_of_ours_is_foreign(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    assert read_record("t", key, value, headers) is None


def test_a_record_of_a_later_version_is_never_passed_over() -> None:
    record = record_of(an_event(), Upcasters())
    with pytest.raises(LogNewerSchema, match="topic t"):
        read_record("t", record.key, record.value, [(HEADER, b"event/2")])


def place(stream: Stream, partitions: int = 12) -> int:
    return partition_of(stream, key_of(stream), partitions)


def test_leads_spread_over_all_partitions_but_the_first_and_stay_where_they_are() -> None:
    counts = [0] * 12
    for number in range(12_000):
        counts[place(Stream("acme", "lead", str(number)))] += 1
    assert counts[0] == 0
    assert min(counts[1:]) > 800
    assert place(Stream("acme", "lead", "ann")) == 1, "a stream that moved would be split in two"
    assert place(Stream("acme", "decision", "d1"), 2) == 1


@pytest.mark.parametrize("kind", ["subject", "org", "policy"])
def test_what_leads_share_stands_in_the_first_partition(kind: Kind) -> None:
    assert {place(Stream("acme", kind, str(number)), 7) for number in range(100)} == {0}


def test_a_record_is_never_larger_than_it_says() -> None:
    record = record_of(an_event("x", data=b'{"a":1}'), Upcasters())
    assert record.size_bytes > len(record.key) + len(record.value) + sum(len(k) + len(v) for k, v in record.headers)
