"""Writing one partition of the changelog, as the only one that may. ``kafka_changelog`` is the format.

Whoever opens fences the one before, and looks for the last mark only then: nobody writes behind its back any more, and
what it goes on from is true. When a transaction is not confirmed its fate is not looked up: the writer is of no further use
until it is opened again, and whoever uses it begins again from the mark that it finds. To write a snapshot twice is harmless.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced

from eventstore.changelog import Kept, Mark
from eventstore.kafka_changelog import (
    find_end,
    of_changelog,
    read_between,
    read_changelog_record,
    record_of_kept,
    record_of_mark,
)
from eventstore.kafka_client import TROUBLE, Connections, started
from eventstore.kafka_records import Record
from eventstore.kafka_transactions import end_producer, write_transaction
from kernel.clock import Clock
from kernel.errors import OwnershipLost

#: Of one transaction, unless a single record has more.
_MOST_RECORDS = 512
_MOST_BYTES = 1024 * 1024
#: Records encoded between two turns of the loop: well below 1 ms.
_STEP_RECORDS = 64
#: Offsets in which the last mark is looked for first; then in eight times as many before them, and so on.
_WINDOW = 256
_WIDER = 8


class ChangelogWriter:
    """Used by one task at a time.

    Parameters
    ----------
    connections : of the log.
    limit_bytes : how large a record of the changelog may be.
    """

    def __init__(self, connections: Connections, partition: int, *, clock: Clock, limit_bytes: int) -> None:
        self._side = of_changelog(connections)
        self._partition = partition
        self._clock, self._limit_bytes = clock, limit_bytes
        self._producer: AIOKafkaProducer | None = None

    async def open(self) -> None:
        """Become the one that writes, whoever was before. Raises ``StoreUnavailable``, ``BrokersRefused``."""
        await self.close()
        async with self._attempt():
            self._producer = producer = self._side.producer(self._partition)
            await started(producer.start())

    async def last_mark(self) -> Mark | None:
        """The newest mark, looked for from the end.

        Raises ``LogNewerSchema``, ``StoreUnavailable``, ``BrokersRefused``. It may take as long as there is something to read.
        """
        consumer = self._side.consumer()
        try:
            async with self._limited():
                await started(consumer.start())
            return await self._look_back(consumer)
        except TROUBLE as error:
            raise await self._side.translated(error) from error
        finally:
            await consumer.stop()

    async def write(self, kept: Sequence[Kept]) -> None:
        """Write what is kept of streams.

        Raises
        ------
        OwnershipLost
            Another one writes.
        StoreUnavailable, BrokersRefused
            Some of it may be written.
        """
        now_us = self._clock.now_us()
        records, size_bytes = list[Record](), 0
        for count, each in enumerate(kept, 1):
            if count % _STEP_RECORDS == 0:
                await asyncio.sleep(0)
            record = record_of_kept(each, now_us, limit_bytes=self._limit_bytes)
            if records and (len(records) == _MOST_RECORDS or size_bytes + record.size_bytes > _MOST_BYTES):
                await self._write(records)
                records, size_bytes = [], 0
            records.append(record)
            size_bytes += record.size_bytes
        if records:
            await self._write(records)

    async def mark(self, mark: Mark) -> None:
        """Write a mark: it is true of what was written before. Raises as ``write``."""
        await self._write([record_of_mark(mark, self._clock.now_us())])

    async def close(self) -> None:
        """Give up the producer. Idempotent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await end_producer(producer)

    async def _look_back(self, consumer: AIOKafkaConsumer) -> Mark | None:
        side, part = self._side, self._side.of(self._partition)
        consumer.assign([part])
        async with self._limited():
            begin = (await consumer.beginning_offsets([part]))[part]
        until, width = await find_end(consumer, side, part), _WINDOW
        while until > begin:
            at, found = max(begin, until - width), None
            async for page in read_between(consumer, side, part, at, until):
                for record in page:
                    said = read_changelog_record(record.topic, record.key, record.value, record.headers)
                    if isinstance(said, Mark):
                        found = said
            if found is not None:
                return found
            until, width = at, width * _WIDER
        return None

    async def _write(self, records: Sequence[Record]) -> None:
        async with self._attempt():
            if self._producer is None:
                raise KafkaError("the producer was given up")
            await write_transaction(self._producer, self._side.options.topic, self._partition, records)

    @asynccontextmanager
    async def _attempt(self) -> AsyncIterator[None]:
        """Try something of the producer's, which is given up when it fails."""
        try:
            async with self._limited():
                yield
        except TROUBLE as error:
            await self.close()
            if isinstance(error, ProducerFenced):
                raise OwnershipLost(self._side.options.topic, self._partition, "another process") from error
            raise await self._side.translated(error) from error
        except asyncio.CancelledError:
            await self.close()
            raise

    def _limited(self) -> asyncio.Timeout:
        return asyncio.timeout(self._side.options.attempt_s)
