"""The format of the changelog's topic, and reading it.

The topic's name is the log's with ``.changelog`` behind it; it has as many partitions, and a stream's snapshot stands in the
partition that has its events in the log. It is compacted: of the records of a key the brokers keep the newest, sooner or
later.

Of a stream, a record's key is ``ORG/KIND/ID`` as in the log (``kafka_records``), its header ``leadwheel: kept/1``; its
value a msgpack array ``[version, is_known, ids, snapshot, catalogue]``, as in ``changelog.Kept``. ``ids`` is nil, or the hashes, eight
bytes each, in ascending order. ``snapshot`` is nil, or ``[fingerprint, state, due_us, dead]``, of that version. What would be larger
than the topic takes stands there without its snapshot, and if need be without the hashes.

A mark's key is ``~mark``, its header ``mark/1``, its value ``[offset, position, recorded_us, catalogue]``, as in
``changelog.Mark``.

The number is the format's; a higher one is a later version's. A record without the header, or that does not decode, is
foreign, and passed over. Records come in transactions of the partition's own transactional id; who starts a producer with it
fences the one before, *and then* looks for the last mark. So nobody writes an older snapshot over a newer one, and a mark is
true of all that stands before it.

Compaction drops a record only when a newer one of its key has stood there for ``COMPACTION_LAG_MS``. A reader that has begun at the
beginning comes to that newer one, too, wherever it stood when it began; so it meets the newest record of each key, provided that it
reads to an end that was looked up last of all. With the lag it need not race with the writer: what it may miss has its successor
well before the end that it saw first, unless it takes longer than that.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from eventstore.changelog import Kept, Mark
from eventstore.event import Stream
from eventstore.kafka_client import TROUBLE, Connections, asking, look_up, started
from eventstore.kafka_records import FRAME_BYTES, HEADER, Record, key_of, stream_of
from eventstore.kafka_side_topic import side_topic
from eventstore.snapshots import Snapshot
from kernel.errors import LogNewerSchema

FORMAT = 1
KEPT_HEADERS = [(HEADER, b"kept/%d" % FORMAT)]
MARK_HEADERS = [(HEADER, b"mark/%d" % FORMAT)]
MARK_KEY = b"~mark"
COMPACTION_LAG_MS = 15 * 60 * 1000

_MUST = {"cleanup.policy": "compact"}
_CONFIGS = _MUST | {
    "min.compaction.lag.ms": str(COMPACTION_LAG_MS),
    "segment.bytes": str(64 * 1024 * 1024),  # what is written to is not compacted
    "max.message.bytes": str(8 * 1024 * 1024),  # a policy's model is one record
}

_PAGE_RECORDS = 500
_POLL_MS = 200


class _Snapshot(msgspec.Struct, array_like=True, gc=False):
    fingerprint: str
    state: bytes
    due_us: int | None
    dead: tuple[bytes, ...]


class _Kept(msgspec.Struct, array_like=True, gc=False):
    version: int
    is_known: bool
    ids: bytes | None
    snapshot: _Snapshot | None
    catalogue: str


class _Mark(msgspec.Struct, array_like=True, gc=False):
    offset: int
    position: int
    recorded_us: int
    catalogue: str


_encode = msgspec.msgpack.Encoder().encode
_decode_kept = msgspec.msgpack.Decoder(_Kept).decode
_decode_mark = msgspec.msgpack.Decoder(_Mark).decode


def of_changelog(connections: Connections) -> Connections:
    """To the changelog of a log."""
    options = connections.options
    return Connections(msgspec.structs.replace(options, topic=f"{options.topic}.changelog"))


async def open_changelog(connections: Connections) -> int:
    """Make the changelog of a log if it is missing; how large a record of it may be.

    Raises ``TopicUnfit``, ``BrokersRefused``, ``StoreUnavailable``.
    """
    topic = of_changelog(connections).options.topic
    found = await side_topic(connections, topic, use="a changelog", configs=_CONFIGS, must=_MUST)
    return int(found.configs["max.message.bytes"]) - FRAME_BYTES


def record_of_kept(kept: Kept, now_us: int, *, limit_bytes: int) -> Record:
    """What is kept of a stream as a record that is not larger than that, if need be with less in it."""
    snapshot, said = None, kept.snapshot
    if said is not None:
        snapshot = _Snapshot(said.fingerprint, said.state, said.due_us, said.dead)
    value = _Kept(kept.version, kept.is_known, kept.ids, snapshot, kept.catalogue)
    record = _record(kept.stream, value, now_us)
    if record.size_bytes > limit_bytes and snapshot is not None:
        value.snapshot = None
        record = _record(kept.stream, value, now_us)
    if record.size_bytes > limit_bytes:
        value.ids = None
        record = _record(kept.stream, value, now_us)
    return record


def record_of_mark(mark: Mark, now_us: int) -> Record:
    value = _Mark(mark.offset, mark.position, mark.recorded_us, mark.catalogue)
    return Record(MARK_KEY, _encode(value), now_us // 1000, MARK_HEADERS)


def read_changelog_record(
    topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]
) -> Kept | Mark | None:
    """What a record says; None for a foreign one. Raises ``LogNewerSchema`` for a later version's."""
    kind, _, number = dict(headers).get(HEADER, b"").partition(b"/")
    if kind not in (b"kept", b"mark") or not number.isdigit() or key is None or value is None:
        return None
    if int(number) > FORMAT:
        raise LogNewerSchema(f"topic {topic}", FORMAT, int(number))
    try:
        if kind == b"kept":
            return _kept(stream_of(key.decode()), _decode_kept(value))
        mark = _decode_mark(value)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return Mark(mark.offset, mark.position, mark.recorded_us, mark.catalogue)


async def read_changelog(connections: Connections, partition: int) -> AsyncGenerator[Kept | Mark, None]:
    """What the changelog of a log says of a partition, in the order of writing, until there is no more.

    Nothing where there is no changelog. Of a stream there may be several; the last one counts.

    Raises
    ------
    LogNewerSchema, BrokersRefused, StoreUnavailable
    """
    side = of_changelog(connections)
    try:
        async with asking(side) as admin:
            if await look_up(side, admin, side.options.topic) is None:
                return
        consumer = side.consumer()
        try:
            async with asyncio.timeout(side.options.attempt_s):
                await started(consumer.start())
            async for page in read_pages(consumer, side, partition):
                for record in page:
                    said = read_changelog_record(record.topic, record.key, record.value, record.headers)
                    if said is not None:
                        yield said
        finally:
            await consumer.stop()
    except TROUBLE as error:
        raise await side.translated(error) from error


async def read_pages(
    consumer: AIOKafkaConsumer, side: Connections, partition: int
) -> AsyncIterator[Sequence[ConsumerRecord]]:
    """The records of a partition from its beginning until there are no more. Raises what the client raises."""
    part = side.of(partition)
    consumer.assign([part])
    async with asyncio.timeout(side.options.attempt_s):
        begin = (await consumer.beginning_offsets([part]))[part]
    at = begin
    while at < (end := await find_end(consumer, side, part)):
        async for page in read_between(consumer, side, part, at, end):
            yield page
        at = end


async def find_end(consumer: AIOKafkaConsumer, side: Connections, part: TopicPartition) -> int:
    async with asyncio.timeout(side.options.attempt_s):
        found = await consumer.end_offsets([part])
    return int(found[part])


async def read_between(
    consumer: AIOKafkaConsumer, side: Connections, part: TopicPartition, begin: int, end: int
) -> AsyncIterator[Sequence[ConsumerRecord]]:
    """The records from one offset up to before another."""
    consumer.seek(part, begin)
    at = begin
    while at < end:
        async with asyncio.timeout(side.options.attempt_s):
            while True:
                found = await consumer.getmany(part, timeout_ms=_POLL_MS, max_records=_PAGE_RECORDS)
                reached = await consumer.position(part)
                if reached > at:  # perhaps past what was compacted, or tells of transactions only
                    break
        at = reached
        yield [record for record in found.get(part, ()) if record.offset < end]
        await asyncio.sleep(0)  # what is fetched already is given without waiting


def _record(stream: Stream, value: _Kept, now_us: int) -> Record:
    return Record(key_of(stream), _encode(value), now_us // 1000, KEPT_HEADERS)


def _kept(stream: Stream, said: _Kept) -> Kept:
    snapshot = None
    if (found := said.snapshot) is not None:
        snapshot = Snapshot(0, said.version, found.fingerprint, found.state, found.due_us, found.dead)
    return Kept(stream, said.version, said.is_known, said.ids, snapshot, said.catalogue)
