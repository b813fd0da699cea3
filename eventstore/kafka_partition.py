"""Writing one partition of the log's topic, as the only one that may.

Each batch is a transaction of the partition's own transactional id: starting a producer ends what another one has
begun there, and fences it. When a batch is neither confirmed nor refused in time, nobody knows what became of it:
the producer is dropped, a new one settles what the old one began, and the partition's end says which it was.

A process that fences another says so by a claim in the partition. Before it fences in turn, and after, a process
looks for the claim of another one: then it has lost the partition and must not go on. What stands before that claim is
held, what does not will never be.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from eventstore.event import Event
from eventstore.kafka_client import TROUBLE, Connections, started
from eventstore.kafka_reader import TopicReader
from eventstore.kafka_records import Record, claim_of, record_of
from eventstore.kafka_transactions import end_producer, write_transaction
from eventstore.primary import OnAway
from eventstore.upcasters import Upcasters
from kernel.clock import Clock
from kernel.errors import OwnershipLost, RecordTooLarge, StoreFailed, StoreUnavailable

_log = structlog.get_logger(__name__)

#: Events encoded between two turns of the loop: about 2 ms.
_STEP_EVENTS = 512
#: For what is under way when the store closes.
_GRACE_S = 1.0


class _Found(NamedTuple):
    """Where a batch begins, if it is held, and who else has claimed the partition."""

    place: int | None
    other: str | None


def _always() -> bool:
    return True


async def records_of(events: Sequence[Event], upcasters: Upcasters, record_bytes: int) -> list[Record]:
    """A batch as it goes to the topic; others have their turns meanwhile. Raises ``RecordTooLarge``."""
    records = []
    for count, event in enumerate(events, 1):
        record = record_of(event, upcasters)
        if record.size_bytes > record_bytes:
            raise RecordTooLarge("/".join(event.stream), record_bytes, record.size_bytes)
        records.append(record)
        if count % _STEP_EVENTS == 0:
            await asyncio.sleep(0)
    return records


class PartitionWriter:
    """Used by one task at a time. ``next_offset`` is where what others may write would begin.

    Parameters
    ----------
    owner : who this process is, in claims.
    on_away : told when the fate of a batch must be looked up.
    may_write : asked before anybody is fenced; False: another process may be meant to write, or to begin to.
    """

    def __init__(
        self,
        connections: Connections,
        partition: int,
        *,
        owner: str,
        clock: Clock,
        on_away: OnAway,
        may_write: Callable[[], bool] = _always,
    ) -> None:
        self._connections = connections
        self._partition = partition
        self._owner = owner
        self._clock = clock
        self._on_away = on_away
        self._may_write = may_write
        self._producer: AIOKafkaProducer | None = None
        self._hurried = asyncio.Event()
        self._limit: asyncio.Timeout | None = None
        self.next_offset = 0
        #: The brokers are away, and the fate of a batch is looked up.
        self.is_settling = False

    async def open(self) -> None:
        """Become the one that writes, whoever was before. Raises what the client raises."""
        self._producer = producer = self._connections.producer(self._partition)
        await started(producer.start())

    async def claim(self) -> None:
        """Say so in the partition."""
        await self._attempt([claim_of(self._owner, self._clock.now_us())])

    async def write(self, records: Sequence[Record]) -> int:
        """Write a batch; the offset behind it, when the brokers hold it.

        Raises
        ------
        StoreUnavailable
            Nothing of it is held, nor will be.
        OwnershipLost, StoreFailed
        """
        try:
            async with self._limited():
                return await self._attempt(records)
        except TROUBLE as error:
            return await self._settle(records[0], len(records), error)

    def hurry(self) -> None:
        """Wait no longer for brokers that are away."""
        self._hurried.set()
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + _GRACE_S)

    async def close(self) -> None:
        """Give up the producer. Idempotent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await end_producer(producer)

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        limit_s = _GRACE_S if self._hurried.is_set() else self._connections.options.attempt_s
        try:
            async with asyncio.timeout(limit_s) as self._limit:
                yield
        finally:
            self._limit = None

    async def _attempt(self, records: Sequence[Record]) -> int:
        producer, topic = self._producer, self._connections.options.topic
        if producer is None:
            raise KafkaError("the producer was given up")
        self.next_offset = await write_transaction(producer, topic, self._partition, records)
        return self.next_offset

    async def _settle(self, first: Record, count: int, error: BaseException) -> int:
        """Find out what became of a batch, however long it takes."""
        self.is_settling = True
        _log.warning("kafka_batch_unconfirmed", partition=self._partition, events=count, error=repr(error))
        self._on_away(StoreUnavailable(f"the Kafka brokers at {self._connections.options.brokers} do not answer"))
        reason = await self._connections.translated(error)
        try:
            while True:
                await self.close()
                try:
                    async with self._limited():
                        offset = await self._look(first, count)
                        break
                except TROUBLE as again:
                    _log.warning("kafka_away", partition=self._partition, error=repr(again))
                await self._wait()
        finally:
            self.is_settling = False
        _log.info("kafka_batch_settled", partition=self._partition, is_held=offset is not None)
        if offset is None:
            raise StoreUnavailable(f"the batch was not taken: {reason}") from error
        return offset

    async def _look(self, first: Record, count: int) -> int | None:
        """The offset behind the batch if it is held; None if it is not."""
        found = await self._find(first)
        if found.other is None and self._may_write():
            await self.open()
            found = await self._find(first)
        elif found == (None, None):
            raise KafkaError("the batch is not there yet, and it is not for this process to fence who may write it")
        if found.place is not None:
            self.next_offset = found.place + count
            return self.next_offset
        if found.other is not None:
            raise OwnershipLost(self._connections.options.topic, self._partition, found.other)
        return None

    async def _find(self, first: Record) -> _Found:
        partition = self._partition
        place: int | None = None
        known = {partition: self.next_offset}
        async with TopicReader(self._connections, known, at_least=known) as reader:
            async for read in reader.events():
                if place is None and read.raw == (first.key, first.value):
                    place = read.offset
            others = [owner for owner in reader.claims[partition] if owner != self._owner]
        return _Found(place, others[-1] if others else None)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._connections.options.retry_s):
                await self._hurried.wait()
        except TimeoutError:
            return
        raise StoreFailed("the store closes while the fate of a batch is unknown; the next start finds it out")
