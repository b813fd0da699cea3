"""Moving a whole log: from a data directory to an empty topic, and a topic's copy to a log of its own.

To the topic: what stands there already must be the beginning of this very log in each partition, byte by byte (a move
that was broken off); then the partitions are taken over and the rest is written, batch by batch, each a transaction. So
a move is repeated until it is done, and never mixes two logs. Events keep their positions, as ``place``, and their times of
recording: a copy that follows the topic is the log again, position by position.

To a directory: the copy is followed to the topic's end by ``eventstore.kafka``; ``cut_off`` then takes from it, in one
transaction, what makes it a copy, if nobody has written the topic since.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import msgspec

from eventstore.event import Event
from eventstore.kafka_client import TROUBLE, Connections, KafkaOptions, Topic, describe
from eventstore.kafka_partition import PartitionWriter
from eventstore.kafka_reader import Read, TopicReader
from eventstore.kafka_records import Record, partition_of, record_of
from eventstore.store import START, EventStore
from eventstore.upcasters import Upcasters
from kernel.clock import Clock
from kernel.errors import LogIsNoCopy, MoveRefused, OwnershipLost, RecordTooLarge, StoreUnavailable

#: Events of one round: a transaction in each partition that they belong to.
_ROUND_EVENTS = 8000
#: Events encoded between two turns of the loop: about 2 ms.
_STEP_EVENTS = 512

#: Told (events that the topic holds, of how many).
OnProgress = Callable[[int, int], None]


class Sent(msgspec.Struct, frozen=True):
    """What a move found in the topic, and what it wrote."""

    found: int
    written: int


class _Held(msgspec.Struct):
    """What a partition holds of the log: up to which position, and where what follows would begin."""

    place: int = 0
    end: int = 0


async def send_log(
    store: EventStore,
    kafka: KafkaOptions,
    *,
    owner: str,
    clock: Clock,
    upcasters: Upcasters | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Sent:
    """Write a log to a topic that is empty, or holds its beginning.

    Parameters
    ----------
    store : nobody appends to it meanwhile.
    owner : names this move, in claims; whoever writes the topic so far is fenced.

    Raises
    ------
    MoveRefused
        The topic holds something else; nothing was changed.
    RecordTooLarge, OwnershipLost, StoreUnavailable
        Broken off; a repetition goes on from there.
    TopicUnfit, BrokersRefused
    """
    connections = Connections(kafka)
    topic = await describe(connections)
    sending = _Sending(store, connections, topic, upcasters or Upcasters(), on_progress)
    try:
        await sending.compare()
        return await sending.write(owner, clock)
    except TROUBLE as error:
        raise await connections.translated(error) from error


class _Sending:
    """One move of a log to a topic."""

    def __init__(
        self,
        store: EventStore,
        connections: Connections,
        topic: Topic,
        upcasters: Upcasters,
        on_progress: OnProgress,
    ) -> None:
        self._store = store
        self._connections = connections
        self._topic = topic
        self._upcasters = upcasters
        self._on_progress = on_progress
        self._held = {partition: _Held() for partition in range(topic.partitions)}
        self._done = self._total = 0

    async def compare(self, at_least: Mapping[int, int] | None = None) -> None:
        """Find out what each partition holds of the log: its beginning, or nothing. Raises ``MoveRefused``."""
        self._total, self._done = await self._store.last_position(), 0
        async with TopicReader(self._connections, dict.fromkeys(self._held, 0), at_least=at_least) as reader:
            topic = reader.events()
            waiting = await anext(topic, None)
            missing: set[int] = set()
            async for event in _events(self._store):
                if waiting is None:
                    break
                record, partition = self._placed(event)
                if waiting.told.event.position == event.position:
                    self._check_same(waiting, record, partition, partition in missing)
                    self._held[partition].place = event.position
                    self._done += 1
                    waiting = await anext(topic, None)
                else:
                    missing.add(partition)
            if waiting is not None:
                raise self._refusal("the log's beginning, or nothing", _words(waiting))
            if reader.foreign:
                raise self._refusal("no foreign messages", f"{reader.foreign} of them")
            for partition, end in reader.ends.items():
                self._held[partition].end = end

    def _check_same(self, read: Read, record: Record, partition: int, is_after_gap: bool) -> None:
        if read.partition != partition or read.raw != (record.key, record.value) or is_after_gap:
            raise self._refusal("the log's beginning, or nothing", _words(read))

    async def write(self, owner: str, clock: Clock) -> Sent:
        """Take the partitions over and write what they lack."""
        writers = [
            PartitionWriter(self._connections, partition, owner=owner, clock=clock, on_away=_pass)
            for partition in self._held
        ]
        try:
            async with asyncio.timeout(self._connections.options.attempt_s):
                await asyncio.gather(*map(_take_over, writers))
            await self._look_again(owner, {place: writer.next_offset for place, writer in enumerate(writers)})
            found = self._done
            round_: list[Event] = []
            async for event in _events(self._store):
                round_.append(event)
                if len(round_) == _ROUND_EVENTS:
                    await self._write_round(writers, round_)
                    round_ = []
            await self._write_round(writers, round_)
        finally:
            for writer in writers:
                await writer.close()
        return Sent(found, self._done - found)

    async def _look_again(self, owner: str, claimed: Mapping[int, int]) -> None:
        """Compare what has come since, too: another's events, or those of an earlier move that readers did not see yet.

        Raises ``MoveRefused``, ``OwnershipLost``.
        """
        ends = {partition: held.end for partition, held in self._held.items()}
        if await _since(self._connections, ends, owner, at_least=claimed):
            await self.compare(at_least=claimed)

    async def _write_round(self, writers: list[PartitionWriter], events: list[Event]) -> None:
        records: dict[int, list[Record]] = {}
        for count, event in enumerate(events, 1):
            record, partition = self._placed(event)
            if event.position > self._held[partition].place:
                if record.size_bytes > self._topic.record_bytes:
                    raise RecordTooLarge("/".join(event.stream), self._topic.record_bytes, record.size_bytes)
                records.setdefault(partition, []).append(record)
            if count % _STEP_EVENTS == 0:
                await asyncio.sleep(0)
        results = await asyncio.gather(
            *(writers[partition].write(each) for partition, each in records.items()), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        self._done += sum(map(len, records.values()))
        self._on_progress(self._done, self._total)

    def _placed(self, event: Event) -> tuple[Record, int]:
        record = record_of(event, self._upcasters)
        return record, partition_of(event.stream, record.key, self._topic.partitions)

    def _refusal(self, expected: str, actual: str) -> MoveRefused:
        return MoveRefused(self._connections.options.topic, expected, actual)


async def cut_off(directory: Path, kafka: KafkaOptions, *, owner: str) -> None:
    """Make the copy in a directory that nobody has open a log of its own.

    Parameters
    ----------
    owner : who claimed the topic when it was followed to its end.

    Raises
    ------
    OwnershipLost, MoveRefused
        The topic was written since; nothing was changed.
    LogIsNoCopy, StoreUnavailable, BrokersRefused
    """
    connections = Connections(kafka)
    path = directory / "events.db"
    offsets = await asyncio.to_thread(_followed, path, kafka.topic)
    try:
        found = await _since(connections, offsets, owner)
    except TROUBLE as error:
        raise await connections.translated(error) from error
    if found:
        raise MoveRefused(kafka.topic, "nobody to write it meanwhile", f"{found} events more")
    await asyncio.to_thread(_cut, path)


async def _since(
    connections: Connections, offsets: Mapping[int, int], owner: str, *, at_least: Mapping[int, int] | None = None
) -> int:
    """How many events stand behind some offsets. Raises ``OwnershipLost`` for anybody else's claim there."""
    found = 0
    async with TopicReader(connections, offsets, at_least=at_least) as reader:
        async for _ in reader.events():
            found += 1
        for partition, owners in reader.claims.items():
            if others := [each for each in owners if each != owner]:
                raise OwnershipLost(connections.options.topic, partition, others[-1])
    return found


def _followed(path: Path, topic: str) -> dict[int, int]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'followed_log'").fetchone() is None:
            raise LogIsNoCopy(topic, "a log of its own")
        return dict(connection.execute("SELECT partition, next FROM followed").fetchall())


def _cut(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DROP TABLE followed")
        connection.execute("DROP TABLE followed_log")
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _take_over(writer: PartitionWriter) -> None:
    await writer.open()
    await writer.claim()


async def _events(store: EventStore) -> AsyncIterator[Event]:
    """The whole log in its order."""
    after = START
    while page := await store.read_log(after=after, limit=_STEP_EVENTS):
        for event in page:
            yield event
        after = page[-1].position


def _pass(error: StoreUnavailable) -> None:
    """Nobody else waits for the batch whose fate is looked up."""


def _words(read: Read) -> str:
    event = read.told.event
    return f"{event.type} {event.id} of {'/'.join(event.stream)} in partition {read.partition}"
