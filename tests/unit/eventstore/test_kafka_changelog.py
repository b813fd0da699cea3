"""Records of a changelog: what is written is read, and what is too large is written with less in it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.changelog import Kept, Mark, hashes
from eventstore.event import KINDS, Stream
from eventstore.kafka_changelog import MARK_KEY, read_changelog_record, record_of_kept, record_of_mark
from eventstore.kafka_records import Record, read_record
from eventstore.snapshots import Snapshot
from kernel.errors import LogNewerSchema

LIMIT = 1_000_000
INT = st.integers(0, 2**62)


def said(record: Record) -> Kept | Mark | None:
    return read_changelog_record("t", record.key, record.value, record.headers)


streams = st.builds(Stream, st.sampled_from(["default", "b"]), st.sampled_from(KINDS), st.text(min_size=1))
snapshots = st.builds(
    lambda version, *rest: Snapshot(0, version, *rest),
    INT, st.text(), st.binary(), st.none() | INT, st.lists(st.binary()).map(tuple),
)  # fmt: skip


@given(streams, snapshots, st.booleans(), st.none() | st.lists(st.text()).map(hashes), st.text())
def test_what_is_kept_of_a_stream_is_read_as_it_was_written(
    stream: Stream, snapshot: Snapshot, is_known: bool, ids: bytes | None, catalogue: str
) -> None:
    for each in (snapshot, None):
        kept = Kept(stream, snapshot.version, is_known, ids, each, catalogue)
        record = record_of_kept(kept, 5_000, limit_bytes=LIMIT)
        assert said(record) == kept
        assert record.timestamp_ms == 5
        assert read_record("t", record.key, record.value, record.headers) is None, "it is none of the log's"


@given(INT, INT, INT, st.text())
def test_a_mark_is_read_as_it_was_written(offset: int, position: int, recorded_us: int, catalogue: str) -> None:
    mark = Mark(offset, position, recorded_us, catalogue)
    assert said(record_of_mark(mark, 0)) == mark


def test_what_is_too_large_is_written_without_its_snapshot_and_then_without_its_ids() -> None:
    stream, ids = Stream("default", "lead", "a"), hashes(map(str, range(1000)))
    large = Kept(stream, 7, True, ids, Snapshot(0, 7, "c", b"x" * 100_000), "c")
    without = msgspec.structs.replace(large, snapshot=None)
    neither = msgspec.structs.replace(without, ids=None)
    for limit, expected in ((110_000, large), (100_000, without), (8_400, without), (8_000, neither)):
        record = record_of_kept(large, 0, limit_bytes=limit)
        assert said(record) == expected
        assert record.size_bytes <= limit


def test_a_later_version_is_not_passed_over() -> None:
    with pytest.raises(LogNewerSchema):
        read_changelog_record("t", MARK_KEY, b"", [("leadwheel", b"mark/2")])


@pytest.mark.parametrize(
    ("key", "value", "header"),
    [
        (b"default/lead/a", b"", b"kept/1"),
        (b"default/lead", b"\x95\x01\xc3\xc0\xc0\xa0", b"kept/1"),
        (b"default/lead/a", b"\x95\x01\xc3\xc0\xc0\xa0", b"kept/one"),
        (b"default/lead/a", b"\x95\x01\xc3\xc0\xc0\xa0", b"event/1"),
        (None, b"\x95\x01\xc3\xc0\xc0\xa0", b"kept/1"),
        (b"default/lead/a", None, b"kept/1"),
        (b"\xff/lead/a", b"\x95\x01\xc3\xc0\xc0\xa0", b"kept/1"),
        (MARK_KEY, b"\x92\x01", b"mark/1"),
    ],
)
def test_what_is_foreign_says_nothing(key: bytes | None, value: bytes | None, header: bytes) -> None:
    assert read_changelog_record("t", key, value, [("leadwheel", header)]) is None
    assert read_changelog_record("t", b"default/lead/a", b"\x95\x01\xc3\xc0\xc0\xa0", [("leadwheel", b"kept/1")])
