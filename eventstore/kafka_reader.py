"""Reading the log's topic from given offsets to its end, the partitions' records in one order."""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from eventstore.kafka_client import Connections, started
from eventstore.kafka_records import Claim, order_of, read_record
from eventstore.sqlite_writer import Told
from kernel.errors import TopicUnfit

_PAGE_RECORDS = 500
_POLL_MS = 200
_SEEN_S = 0.01


class Read(NamedTuple):
    """An event of the topic, and where it stands there."""

    told: Told
    partition: int
    offset: int
    raw: tuple[bytes, bytes]  # key and value


class TopicReader:
    """One walk from some offsets to the ends that the partitions had when it began.

    ``claims`` are the owners that were told on the way, in order, per partition; ``foreign`` counts records that
    are none of ours. Uncommitted and aborted records are not seen; an end is that of what is committed.

    Parameters
    ----------
    at_least : ends that are known to be reached: a commit is confirmed a little before readers may see it.
    """

    def __init__(
        self, connections: Connections, offsets: Mapping[int, int], *, at_least: Mapping[int, int] | None = None
    ) -> None:
        self._connections = connections
        self._offsets = dict(offsets)
        self._at_least = dict(at_least or {})
        self._consumer: AIOKafkaConsumer = connections.consumer()
        self._ready: dict[int, deque[Read]] = {partition: deque() for partition in offsets}
        self.ends: dict[int, int] = {}
        self.claims: dict[int, list[str]] = {partition: [] for partition in offsets}
        self.foreign = 0

    async def __aenter__(self) -> "TopicReader":
        consumer = self._consumer
        try:
            await started(consumer.start())
            parts = {partition: self._connections.of(partition) for partition in self._offsets}
            consumer.assign(list(parts.values()))
            ends = await self._find_ends(list(parts.values()))
            begins = await consumer.beginning_offsets(list(parts.values()))
            for partition, part in parts.items():
                self._check(partition, begins[part], ends[part])
                self.ends[partition] = ends[part]
                consumer.seek(part, self._offsets[partition])
        except BaseException:
            await consumer.stop()
            raise
        return self

    async def _find_ends(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        async with asyncio.timeout(self._connections.options.attempt_s):
            while True:
                ends: dict[TopicPartition, int] = await self._consumer.end_offsets(parts)
                if all(ends[part] >= self._at_least.get(part.partition, 0) for part in parts):
                    return ends
                await asyncio.sleep(_SEEN_S)

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def events(self) -> AsyncGenerator[Read, None]:
        """Events by time of recording and place, those of a partition always in its order."""
        heap: list[tuple[tuple[int, int], int]] = []
        for partition in self._offsets:
            await self._push(heap, partition)
        while heap:
            _, partition = heapq.heappop(heap)
            yield self._ready[partition].popleft()
            await self._push(heap, partition)

    async def _push(self, heap: list[tuple[tuple[int, int], int]], partition: int) -> None:
        ready = self._ready[partition]
        if not ready:
            await self._fill(partition)
        if ready:
            heapq.heappush(heap, (order_of(ready[0].told), partition))

    async def _fill(self, partition: int) -> None:
        """Read on until the partition has an event ready, or is read to its end."""
        consumer, ready, topic = self._consumer, self._ready[partition], self._connections.options.topic
        part = self._connections.of(partition)
        while not ready and self._offsets[partition] < self.ends[partition]:
            async with asyncio.timeout(self._connections.options.attempt_s):
                found = await self._page(consumer, partition)
            for record in found:
                said = read_record(topic, record.key, record.value, record.headers)
                if isinstance(said, Told):
                    ready.append(Read(said, partition, record.offset, (record.key, record.value)))
                elif isinstance(said, Claim):
                    self.claims[partition].append(said.owner)
                else:
                    self.foreign += 1
            self._offsets[partition] = await consumer.position(part)

    async def _page(self, consumer: AIOKafkaConsumer, partition: int) -> list[ConsumerRecord]:
        part = self._connections.of(partition)
        before = self._offsets[partition]
        while True:
            found = await consumer.getmany(part, timeout_ms=_POLL_MS, max_records=_PAGE_RECORDS)
            if records := found.get(part):
                return [record for record in records if record.offset < self.ends[partition]]
            if await consumer.position(part) > before:  # past what tells of transactions only
                return []

    def _check(self, partition: int, begin: int, end: int) -> None:
        topic, offset = self._connections.options.topic, self._offsets[partition]
        if end < offset:
            raise TopicUnfit(
                topic,
                f"partition {partition} to reach offset {offset}, up to where it was followed",
                f"its end at {end}: events were lost, or it was made anew",
            )
        if begin > offset:
            raise TopicUnfit(topic, f"partition {partition} from offset {offset} on", f"its beginning at {begin}")
