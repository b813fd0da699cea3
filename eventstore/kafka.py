"""The log on Kafka: a topic, kept in order and indexed by a copy of it in the data directory.

Enters: batches that were judged against the copy. Leaves: nothing that the topic does not hold. One process writes
the topic at a time; it takes every partition by fencing whoever wrote it before, then follows the topic from where
its copy ends, which for an empty directory is the beginning. ``kafka_records`` is the format of the topic; the copy
is an ordinary ``events.db`` with what ``kafka_copy`` adds to it.

A batch is one transaction per partition. When some partitions hold it and others refused it, it is tried again
there until they hold it, too: an append is stored whole, or not at all, unless this process ends in between; then
whoever repeats it finds a part to be duplicates.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog

from eventstore.event import Event
from eventstore.kafka_client import TROUBLE, Connections, KafkaOptions, describe
from eventstore.kafka_copy import begin_following, note_offsets
from eventstore.kafka_partition import PartitionWriter, records_of
from eventstore.kafka_reader import TopicReader
from eventstore.kafka_records import Record, partition_of
from eventstore.primary import Copy, OnAway
from eventstore.sqlite import DEFAULT_OPTIONS, SqliteEventStore, SqliteOptions
from eventstore.sqlite_writer import Note, Told
from eventstore.types import EventTypes
from eventstore.upcasters import Upcasters
from kernel.clock import Clock
from kernel.errors import OwnershipLost, StoreFailed, StoreUnavailable
from kernel.fatal import OnFatal, exit_now

#: Events of one commit while the copy follows.
_ADOPT_EVENTS = 2000

_log = structlog.get_logger(__name__)


async def open_kafka(
    directory: Path,
    *,
    kafka: KafkaOptions,
    owner: str,
    types: EventTypes,
    clock: Clock,
    upcasters: Upcasters | None = None,
    options: SqliteOptions = DEFAULT_OPTIONS,
    on_fatal: OnFatal = exit_now,
) -> SqliteEventStore:
    """Open the log on a topic, its copy in a directory of its own, which is made if there is none.

    Parameters
    ----------
    owner : names this opening, no other one ever: who writes the topic is told by it.
    on_fatal : called, too, when another process has taken the topic over.

    Raises
    ------
    TopicUnfit, BrokersRefused, StoreUnavailable, OwnershipLost, LogIsNoCopy, LogNewerSchema, LogBehindHighWater
    """
    upcasters = upcasters or Upcasters()
    log = KafkaLog(kafka, owner=owner, upcasters=upcasters, clock=clock)
    return await SqliteEventStore.open(
        directory, types=types, clock=clock, upcasters=upcasters, options=options, on_fatal=on_fatal, primary=log
    )


class KafkaLog:
    """``Primary`` on a topic."""

    def __init__(self, options: KafkaOptions, *, owner: str, upcasters: Upcasters, clock: Clock) -> None:
        self._connections = Connections(options)
        self._owner = owner
        self._upcasters = upcasters
        self._clock = clock
        self._writers: list[PartitionWriter] = []
        self._record_bytes = 0
        self._is_hurried = False

    async def start(self, copy: Copy, on_away: OnAway) -> None:
        topic = await describe(self._connections)
        self._record_bytes = topic.record_bytes
        name = self._connections.options.topic
        offsets = await copy.run(partial(begin_following, name=name, topic=topic, followed=range(topic.partitions)))
        self._writers = [
            PartitionWriter(self._connections, partition, owner=self._owner, clock=self._clock, on_away=on_away)
            for partition in range(topic.partitions)
        ]
        try:
            async with asyncio.timeout(self._connections.options.attempt_s):
                await asyncio.gather(*(self._take_over(writer) for writer in self._writers))
            await self._follow(copy, offsets)
        except TROUBLE as error:
            raise await self._connections.translated(error) from error

    def check(self) -> None:
        if any(writer.is_settling for writer in self._writers):
            raise StoreUnavailable(f"the Kafka brokers at {self._connections.options.brokers} do not answer")

    async def take(self, events: Sequence[Event]) -> Note:
        waiting = await self._records_by_partition(events)
        held: dict[int, int] = {}
        while waiting:
            results = await asyncio.gather(
                *(self._writers[partition].write(records) for partition, records in waiting.items()),
                return_exceptions=True,
            )
            refused: StoreUnavailable | None = None
            for partition, result in zip(list(waiting), results, strict=True):
                if isinstance(result, StoreUnavailable):
                    refused = result
                elif isinstance(result, BaseException):
                    raise result
                else:
                    held[partition] = result
                    del waiting[partition]
            if refused is not None and not held:
                raise refused
            if refused is not None and self._is_hurried:
                raise StoreFailed("the store closes while a batch is held in part; the next start finds it out")
        return partial(note_offsets, offsets=held)

    def hurry(self) -> None:
        self._is_hurried = True
        for writer in self._writers:
            writer.hurry()

    async def close(self) -> None:
        await asyncio.gather(*(writer.close() for writer in self._writers))

    async def _take_over(self, writer: PartitionWriter) -> None:
        await writer.open()
        await writer.claim()

    async def _follow(self, copy: Copy, offsets: Mapping[int, int]) -> None:
        """Bring the copy up to the topic's end."""
        told: list[Told] = []
        reached = dict(offsets)
        kept = followed = 0
        claimed = {partition: writer.next_offset for partition, writer in enumerate(self._writers)}
        async with TopicReader(self._connections, offsets, at_least=claimed) as reader:
            async for read in reader.events():
                told.append(read.told)
                reached[read.partition] = read.offset + 1
                if len(told) == _ADOPT_EVENTS:
                    kept += len(await copy.adopt(told, partial(note_offsets, offsets=dict(reached))))
                    followed += len(told)
                    told = []
            self._check_claims(reader.claims)
            kept += len(await copy.adopt(told, partial(note_offsets, offsets=dict(reader.ends))))
            followed += len(told)
        for partition, writer in enumerate(self._writers):
            writer.next_offset = reader.ends[partition]
        _log.info("kafka_followed", events=kept, foreign=reader.foreign + followed - kept)

    def _check_claims(self, claims: Mapping[int, Sequence[str]]) -> None:
        for partition, owners in claims.items():
            if owners[-1:] != [self._owner]:
                last = owners[-1] if owners else "nobody known"
                raise OwnershipLost(self._connections.options.topic, partition, last)

    async def _records_by_partition(self, events: Sequence[Event]) -> dict[int, list[Record]]:
        found: dict[int, list[Record]] = {}
        records = await records_of(events, self._upcasters, self._record_bytes)
        for event, record in zip(events, records, strict=True):
            found.setdefault(partition_of(event.stream, record.key, len(self._writers)), []).append(record)
        return found
