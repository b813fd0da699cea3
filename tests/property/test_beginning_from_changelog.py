"""A copy that began from a changelog never tells anything but what a whole one tells; it may say that it cannot tell yet."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

import eventstore.kafka_partition_log as under_test
from eventstore.changelog import Kept, Mark, hashes
from eventstore.event import Event, NewEvent, Stream
from eventstore.kafka_client import Connections, KafkaOptions, Topic
from eventstore.kafka_partition_log import PartitionLog
from eventstore.kafka_reader import Read
from eventstore.kafka_records import Record, read_record, record_of
from eventstore.memory import MemoryEventStore
from eventstore.memory_snapshots import MemorySnapshots
from eventstore.snapshots import Snapshot
from eventstore.sqlite import SqliteEventStore, SqliteOptions
from eventstore.sqlite_writer import Told
from eventstore.store import Outcome, Refused
from eventstore.upcasters import Upcasters
from kernel.clock import VirtualClock
from kernel.errors import CopyDiffers, LogIncomplete
from kernel.ids import Position
from tests.contract.store_events import T0, TYPES, lead, new_event, purchase, retraction

PARTITION = 1
CATALOGUE = "all definitions"
STREAMS = [lead("a"), lead("b"), lead("a", "other")]
streams = st.sampled_from(STREAMS)
ids = st.sampled_from([*"123456", "~7"])
SYSTEM_IDS = {stream: f"~7/{stream.org}/{stream.id}" for stream in STREAMS}


@st.composite
def drawn_events(draw: st.DrawFn) -> NewEvent:
    stream, event_id, other = draw(streams), draw(ids), draw(ids)
    event_id = SYSTEM_IDS[stream] if event_id == "~7" else event_id  # those of the system are nobody else's
    kind = draw(st.sampled_from(["purchase", "login", "retraction"]))
    if kind == "retraction":
        return retraction(stream, event_id, other)
    return new_event(stream, event_id) if kind == "login" else purchase(stream, event_id, draw(st.sampled_from([1, 2])))


events = drawn_events()
appends = st.lists(st.tuples(st.lists(events, min_size=1, max_size=4), st.booleans()), max_size=6)


class FakeTopic:
    """One partition in memory: an event or, between transactions, what readers do not see, at each offset."""

    def __init__(self) -> None:
        self.records: list[Told | None] = []
        self.kept: list[Kept | Mark] = []

    def add(self, records: Sequence[Record]) -> int:
        for record in records:
            said = read_record("t", record.key, record.value, record.headers)
            assert isinstance(said, Told)
            self.records.append(said)
        self.records.append(None)
        return len(self.records)

    def offset_after(self, events_before: int) -> int:
        """The first offset that has as many events before it."""
        found = 0
        for offset, each in enumerate(self.records):
            if found == events_before:
                return offset
            found += each is not None
        return len(self.records)

    def reader(self) -> type:
        topic = self

        class Reader:
            def __init__(
                self, _: Connections, offsets: Mapping[int, int], *, at_least: Mapping[int, int] | None = None
            ) -> None:
                self._at = offsets[PARTITION]
                self.ends = {PARTITION: len(topic.records)}
                self.claims: dict[int, list[str]] = {PARTITION: []}

            async def __aenter__(self) -> "Reader":
                return self

            async def __aexit__(self, *_: object) -> None:
                pass

            async def events(self) -> AsyncIterator[Read]:
                for offset in range(self._at, self.ends[PARTITION]):
                    said = topic.records[offset]
                    if said is not None:
                        copied = msgspec_copy(said)
                        yield Read(copied, PARTITION, offset, (b"", b""))

        return Reader

    async def read_changelog(self, _: Connections, partition: int) -> AsyncIterator[Kept | Mark]:
        assert partition == PARTITION
        for each in self.kept:
            yield each


def msgspec_copy(told: Told) -> Told:
    """A reader's own, whose number and position a copy may set."""
    raw = record_of(told.event, Upcasters())
    said = read_record("t", raw.key, raw.value, raw.headers)
    assert isinstance(said, Told)
    return said


class FakeWriter:
    """Takes batches without a broker."""

    is_settling = False

    def __init__(self, topic: FakeTopic) -> None:
        self._topic = topic

    async def write(self, records: Sequence[Record]) -> int:
        return self._topic.add(records)

    def hurry(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Copied:
    """A copy that leads the topic, and what it may lack."""

    def __init__(self, log: PartitionLog, store: SqliteEventStore) -> None:
        self.log, self.store = log, store

    @classmethod
    async def open(
        cls,
        directory: str,
        topic: FakeTopic,
        pause: Callable[[int], Any] | None = None,
        *,
        is_whole_first: bool = False,
    ) -> "Copied":
        log = PartitionLog(
            Connections(KafkaOptions("none:1", "t")),
            Topic("cluster", 2, 10**6),
            PARTITION,
            clock=VirtualClock(T0),
            may_write=lambda: True,
            on_lost=lambda _: None,
            fill_pause=pause,
            is_whole_first=is_whole_first,
        )
        options = SqliteOptions(durability="process", cache_kib=256, heads_max=2)
        store = await SqliteEventStore.open(
            Path(directory), types=TYPES, clock=VirtualClock(T0), options=options, primary=log
        )
        log._writer, log.is_leading = FakeWriter(topic), True  # type: ignore[assignment]
        return cls(log, store)


def told(outcome: Outcome) -> tuple[object, ...]:
    if isinstance(outcome, Refused):
        return outcome.code, outcome.path, outcome.expected, outcome.actual
    return outcome.is_duplicate, *row(outcome.event)


def row(event: Event) -> tuple[object, ...]:
    return event.stream, event.version, event.position, event.id, event.type, event.at_us, event.recorded_us, event.data


async def log_of(store: Any) -> list[tuple[object, ...]]:
    return [row(event) for event in await store.read_log()]


async def check_reads(copy: Copied, twin: MemoryEventStore, covered: Mapping[Stream, int], marked: int) -> None:
    """Whatever is asked: the twin's answer, or that the copy has not come so far. What is covered is always told."""
    for stream in STREAMS:
        ours, theirs = (await copy.store.info([stream]))[0], (await twin.info([stream]))[0]
        assert (ours and (ours.version, ours.is_known)) == (theirs and (theirs.version, theirs.is_known))
        for after in range(theirs.version + 1 if theirs else 1):
            wanted = [row(event) for event in await twin.read(stream, after_version=after)]
            try:
                assert [row(event) for event in await copy.store.read(stream, after_version=after)] == wanted
            except LogIncomplete:
                assert after < covered.get(stream, 0), "what follows a snapshot is there"
        try:
            (whole,) = await copy.store.read_many([stream])
            assert [row(event) for event in whole] == [row(event) for event in await twin.read(stream)]
        except LogIncomplete:
            assert covered.get(stream)
    for after in range(await twin.last_position() + 1):
        wanted = [row(event) for event in await twin.read_log(after=Position(after))]
        try:
            found = [row(event) for event in await copy.store.read_log(after=Position(after))]
            assert found == wanted[: len(found)]
            assert found == wanted or after < marked, "a page may end where the copy does"
        except LogIncomplete:
            assert after < marked
    for org in ("default", "other"):
        for event_id in (*SYSTEM_IDS.values(), "~8"):
            try:
                ours_, theirs_ = await copy.store.find(org, event_id), await twin.find(org, event_id)
                assert (ours_ and row(ours_)) == (theirs_ and row(theirs_))
            except LogIncomplete:
                pass
        for limit in (1, 5):
            wanted = [row(each) for each in await twin.read_type(org, "login", limit=limit)]
            try:
                assert [row(each) for each in await copy.store.read_type(org, "login", limit=limit)] == wanted
            except LogIncomplete:
                assert len([each for each in wanted if each[2] > marked]) < limit, "the newest are there"
    assert await copy.store.last_position() == await twin.last_position()


async def append_both(
    copy: Copied, twin: MemoryEventStore, batch: list[NewEvent], covered: Mapping[Stream, int], *, is_atomic: bool
) -> None:
    try:
        ours = await copy.store.append(batch, is_atomic=is_atomic)
    except LogIncomplete:
        note("an append waited")
        assert any(covered.get(event.stream) for event in batch)
        return
    assert [told(each) for each in ours] == [told(each) for each in await twin.append(batch, is_atomic=is_atomic)]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_copy_that_began_from_a_changelog_answers_as_a_whole_one_or_not_yet(data: st.DataObject) -> None:
    asyncio.run(_check(data))


async def _check(data: st.DataObject) -> None:
    topic, twin = FakeTopic(), MemoryEventStore(types=TYPES, clock=VirtualClock(T0))
    for batch, is_atomic in data.draw(appends, "before"):
        at = await twin.last_position()
        await twin.append(batch, is_atomic=is_atomic)
        if stored := await twin.read_log(after=at):
            topic.add([record_of(each, Upcasters()) for each in stored])
    log = await twin.read_log()
    marked = data.draw(st.integers(0, len(log)), "mark")
    covered = _draw_changelog(data, topic, log, marked)
    later = data.draw(st.lists(appends, max_size=4), "while it fills")
    cut = data.draw(st.integers(0, 6), "cut after")

    with (
        patch.object(under_test, "TopicReader", topic.reader()),
        patch.object(under_test, "read_changelog", topic.read_changelog),
        patch.object(under_test, "_FILL_EVENTS", 2),
        tempfile.TemporaryDirectory() as directory,
    ):
        steps = 0

        async def pause(_: int) -> None:
            nonlocal steps
            steps += 1
            if steps == cut:
                raise _Cut
            await _live(copy, twin, later, covered, marked)

        copy = await Copied.open(directory, topic, pause)
        lacks = copy.log.missing is not None
        assert lacks == (marked > 0)
        note(f"lacks {lacks}")
        cache = MemorySnapshots()
        await copy.log.seed(cache, CATALOGUE)
        for stream, version in covered.items() if lacks else ():
            (info,) = await copy.store.info([stream])
            assert info is not None
            snapshot = cache.get(info.number)
            assert (None if snapshot is None else snapshot.state) == _state_of(stream, version, topic)
        assert cache.applied() == (marked if lacks else 0)
        await _live(copy, twin, later, covered, marked)
        try:
            await copy.log.fill()
        except _Cut:
            await copy.store.close()
            copy = await Copied.open(directory, topic, pause)
            await _live(copy, twin, later, covered, marked)
            await copy.log.fill()
        assert copy.log.missing is None
        await check_reads(copy, twin, {}, 0)
        await append_both(
            copy, twin, [purchase(each, event_id, 1) for each in STREAMS for event_id in "129"], {}, is_atomic=False
        )
        assert await log_of(copy.store) == await log_of(twin)
        await copy.store.close()
        again = await Copied.open(directory, topic)
        assert await log_of(again.store) == await log_of(twin)
        assert again.log.missing is None
        await again.store.close()


class _Cut(Exception):
    """The process ends here."""


async def _live(
    copy: Copied,
    twin: MemoryEventStore,
    later: list[list[tuple[list[NewEvent], bool]]],
    covered: Mapping[Stream, int],
    marked: int,
) -> None:
    for batch, is_atomic in later.pop() if later else ():
        await append_both(copy, twin, batch, covered, is_atomic=is_atomic)
    await check_reads(copy, twin, covered, marked)


def _draw_changelog(data: st.DataObject, topic: FakeTopic, log: Sequence[Event], marked: int) -> dict[Stream, int]:
    """Fill a topic's changelog; of each stream the version that is kept."""
    covered: dict[Stream, int] = {}
    for stream in STREAMS:
        own = [event for event in log if event.stream == stream]
        least = sum(event.position <= marked for event in own)
        if not least:
            continue
        for _ in range(data.draw(st.integers(1, 2), "records of a stream")):
            version = covered[stream] = data.draw(st.integers(least, len(own)), f"kept of {stream.id}")
            reach = data.draw(st.integers(version, len(own)), "ids of")
            has_state = data.draw(st.booleans(), "has a snapshot")
            under = data.draw(st.sampled_from([CATALOGUE[:4], "other", ""]), "under")
            snapshot = Snapshot(0, version, "f", b"%d" % version, None, (b"dead",)) if has_state else None
            hashed = hashes(event.id for event in own[:reach]) if data.draw(st.booleans(), "has ids") else None
            is_known = any(not event.id.startswith("~") for event in own[:version])
            topic.kept.append(Kept(stream, version, is_known, hashed, snapshot, under))
    topic.kept.append(Mark(topic.offset_after(marked), marked, T0 if marked else 0))
    return covered


def _state_of(stream: Stream, version: int, topic: FakeTopic) -> bytes | None:
    kept = [each for each in topic.kept if isinstance(each, Kept) and each.stream == stream]
    return kept[-1].snapshot.state if kept[-1].snapshot is not None and kept[-1].catalogue == CATALOGUE[:4] else None


async def test_a_shared_copy_is_whole_before_it_is_used_and_its_cache_is_seeded(tmp_path: Path) -> None:
    topic, twin = await _three_events()
    topic.kept = [
        Kept(STREAMS[0], 3, True, hashes("123"), Snapshot(0, 3, "f", b"state"), CATALOGUE),
        Mark(topic.offset_after(2), 2, T0),
    ]
    with (
        patch.object(under_test, "TopicReader", topic.reader()),
        patch.object(under_test, "read_changelog", topic.read_changelog),
    ):
        copy = await Copied.open(str(tmp_path), topic, is_whole_first=True)
        assert copy.log.missing is None
        assert await log_of(copy.store) == await log_of(twin)
        cache = MemorySnapshots()
        await copy.log.seed(cache, CATALOGUE)
        (info,) = await copy.store.info([STREAMS[0]])
        assert info is not None
        assert cache.get(info.number) == Snapshot(info.number, 3, "f", b"state")
        assert cache.applied() == 2
        again = MemorySnapshots()
        await copy.log.seed(again, CATALOGUE)
        assert again.applied() == 0, "what the changelog told is forgotten once it is used"
        await copy.store.close()


@pytest.mark.parametrize(
    ("kept", "mark", "says"),
    [
        ([], Mark(3, 2, T0), "nothing is said of default/lead/a"),
        ([Kept(STREAMS[0], 2, True, None, None)], Mark(3, 1, T0), "there are more than 1 events"),
        ([Kept(STREAMS[0], 2, True, None, None)], Mark(4, 9, T0), "there are 2 events, not 9"),
        ([Kept(STREAMS[0], 9, True, None, None)], Mark(3, 2, T0), "versions that the topic does not"),
    ],
)
async def test_a_changelog_of_another_topic_is_refused(kept: list[Kept], mark: Mark, says: str, tmp_path: Path) -> None:
    topic, _ = await _three_events()
    topic.kept = [*kept, mark]
    with (
        patch.object(under_test, "TopicReader", topic.reader()),
        patch.object(under_test, "read_changelog", topic.read_changelog),
        pytest.raises(CopyDiffers, match=says),
    ):
        await Copied.open(str(tmp_path), topic, is_whole_first=True)


async def _three_events(at_us: int = T0) -> tuple[FakeTopic, MemoryEventStore]:
    topic, twin = FakeTopic(), MemoryEventStore(types=TYPES, clock=VirtualClock(at_us))
    await twin.append([purchase(STREAMS[0], event_id, 1) for event_id in "123"])
    for each in await twin.read_log():
        topic.add([record_of(each, Upcasters())])
    return topic, twin


@pytest.mark.parametrize("mark", [Mark(3, 2, T0 + 1), Mark(60, 2, T0), Mark(600, 2, T0)])
async def test_a_mark_of_a_topic_that_had_the_name_before_is_passed_over(mark: Mark, tmp_path: Path) -> None:
    topic, twin = await _three_events()
    topic.kept = [Kept(STREAMS[0], 2, True, None, None), mark]
    with (
        patch.object(under_test, "TopicReader", topic.reader()),
        patch.object(under_test, "read_changelog", topic.read_changelog),
    ):
        copy = await Copied.open(str(tmp_path), topic)
        assert copy.log.missing is None
        assert await log_of(copy.store) == await log_of(twin)
        await copy.store.close()


async def test_times_of_recording_do_not_go_back_where_a_copy_begins(tmp_path: Path) -> None:
    topic, _ = await _three_events(at_us=T0 + 5)
    topic.kept = [Kept(STREAMS[0], 3, True, hashes("123"), None), Mark(topic.offset_after(3), 3, T0 + 5)]
    with (
        patch.object(under_test, "TopicReader", topic.reader()),
        patch.object(under_test, "read_changelog", topic.read_changelog),
    ):
        copy = await Copied.open(str(tmp_path), topic)
        (stored,) = await copy.store.append([purchase(STREAMS[0], "4", 1)])
        assert told(stored)[-2] == T0 + 5, "this process's clock is behind that of the one before"
        await copy.store.close()
