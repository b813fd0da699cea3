"""One partition that several processes write in turns, each with a copy of its own, on a real broker."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from eventstore.event import Event, NewEvent
from eventstore.kafka_client import Connections, KafkaOptions, describe
from eventstore.kafka_partition_log import PartitionLog
from eventstore.kafka_records import EVENT_HEADERS
from eventstore.sqlite import SqliteEventStore, SqliteOptions
from eventstore.store import Stored
from kernel.clock import SystemClock
from kernel.errors import LogIsNoCopy, NotLeading, OwnershipLost
from kernel.ids import Position
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic
from tests.contract.store_events import TYPES, lead, purchase

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]

PARTITION = 1
_TURNS = itertools.count(1)


class Node:
    """A process's part: the copy, what it was given to fold, and whether it is meant to write."""

    def __init__(self) -> None:
        self.store: SqliteEventStore
        self.log: PartitionLog
        self.told: list[Event] = []
        self.lost: list[OwnershipLost] = []
        self.is_entitled = True
        self._following: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, directory: Path, options: KafkaOptions) -> "Node":
        node, connections = cls(), Connections(options)
        node.log = PartitionLog(
            connections,
            await describe(connections),
            PARTITION,
            clock=SystemClock(),
            may_write=lambda: node.is_entitled,
            on_lost=node.lost.append,
        )
        opts = SqliteOptions(durability="process", cache_kib=256)
        clock = SystemClock()
        node.store = await SqliteEventStore.open(directory, types=TYPES, clock=clock, options=opts, primary=node.log)
        return node

    def follow(self) -> None:
        self._following = asyncio.create_task(self.log.follow(self._take))

    async def lead(self) -> None:
        await self.stop_following()
        await self.log.lead(f"turn-{next(_TURNS)}", self._take)

    async def stop_following(self) -> None:
        task, self._following = self._following, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def put(self, *names: str) -> list[Stored]:
        events: list[NewEvent] = [purchase(lead(f"l{len(name) % 5}"), name, 1) for name in names]
        outcomes = await self.store.append(events)
        assert all(isinstance(each, Stored) for each in outcomes)
        return outcomes  # type: ignore[return-value]

    async def ids(self) -> list[str]:
        return [event.id for event in await self.store.read_log(limit=10_000)]

    async def wait_for(self, count: int) -> list[str]:
        found: list[str] = []
        async with asyncio.timeout(20):
            async for events in self.store.subscribe(after=Position(0)):
                found += [event.id for event in events]
                if len(found) >= count:
                    break
        return found

    async def close(self) -> None:
        await self.stop_following()
        await self.store.close()

    async def _take(self, adopt: Callable[[], Awaitable[Sequence[Event]]]) -> None:
        self.told += await adopt()


async def two(kafka: Cluster, tmp_path: Path) -> tuple[Node, Node]:
    topic = await new_topic(kafka, attempt_s=5)
    return await Node.open(tmp_path / "a", topic), await Node.open(tmp_path / "b", topic)


async def test_a_follower_has_what_the_leader_appends_and_appends_nothing(kafka: Cluster, tmp_path: Path) -> None:
    first, second = await two(kafka, tmp_path)
    with pytest.raises(NotLeading):
        await first.put("too-soon")
    await first.lead()
    second.follow()
    for turn in range(5):
        await first.put(*(f"{turn}-{each}" for each in range(20)))
    assert await second.wait_for(100) == await first.ids()
    assert [event.id for event in second.told] == await first.ids(), "each was handed over once, in order"
    assert [event.position for event in second.told] == list(range(1, 101))
    with pytest.raises(NotLeading):
        await second.put("not-mine")
    await first.close()
    await second.close()


async def test_turns_change_hands_and_nothing_is_lost_or_twice(kafka: Cluster, tmp_path: Path) -> None:
    first, second = await two(kafka, tmp_path)
    second.follow()
    await first.lead()
    expected = []
    for turn in range(6):
        now, later = (first, second) if turn % 2 == 0 else (second, first)
        names = [f"{turn}-{each}" for each in range(10)]
        await now.put(*names)
        [again] = await now.put("0-0")
        assert again.is_duplicate
        expected += names
        await now.log.release(1.0)
        with pytest.raises(NotLeading):
            await now.put("late")
        now.follow()
        await later.lead()
    assert await first.wait_for(60) == expected
    assert await second.wait_for(60) == expected
    await first.close()
    await second.close()


async def test_who_was_replaced_without_knowing_stores_nothing_and_follows(kafka: Cluster, tmp_path: Path) -> None:
    first, second = await two(kafka, tmp_path)
    await first.lead()
    await first.put("one")
    first.is_entitled = False  # what it does not know yet is that the group has moved on without it
    await second.lead()
    await second.put("two")
    with pytest.raises(NotLeading):
        await first.put("three")
    assert [error.partition for error in first.lost] == [PARTITION]
    assert not first.log.is_leading
    await first.log.release(1.0)
    first.follow()
    assert await first.wait_for(2) == ["one", "two"]
    await second.put("four")
    assert await first.wait_for(3) == ["one", "two", "four"]
    assert second.lost == [], "nobody who is not meant to write has fenced it"
    await first.close()
    await second.close()


async def test_who_is_not_meant_to_write_fences_nobody(kafka: Cluster, tmp_path: Path) -> None:
    first, second = await two(kafka, tmp_path)
    await first.lead()
    second.is_entitled = False
    with pytest.raises(NotLeading):
        await second.lead()
    await first.put("one")
    await first.close()
    await second.close()


async def test_of_two_that_begin_to_lead_at_once_at_most_one_writes(kafka: Cluster, tmp_path: Path) -> None:
    first, second = await two(kafka, tmp_path)
    for turn in range(4):
        await asyncio.gather(first.lead(), second.lead(), return_exceptions=True)
        for node in (first, second):
            with suppress(NotLeading):
                await node.put(f"{turn}")  # both may hold themselves for the writer until they write
        for node in (first, second):
            await node.log.release(1.0)
    await first.lead()
    second.follow()
    found = await first.ids()
    assert sorted(found) == sorted(set(found))
    assert await second.wait_for(len(found)) == found
    await first.close()
    await second.close()


async def test_a_follower_passes_over_what_is_foreign(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, attempt_s=5)
    first, second = await Node.open(tmp_path / "a", topic), await Node.open(tmp_path / "b", topic)
    await first.lead()
    second.follow()
    stranger = AIOKafkaProducer(bootstrap_servers=topic.brokers)
    await stranger.start()
    for turn in range(3):
        await first.put(f"{turn}")
        await stranger.send_and_wait(topic.topic, b"hello", key=b"someone", partition=PARTITION)
        await stranger.send_and_wait(topic.topic, b"{}", headers=EVENT_HEADERS, partition=PARTITION)
    await stranger.stop()
    await first.put("last")
    assert await second.wait_for(4) == ["0", "1", "2", "last"]
    await first.close()
    await second.lead()
    await second.put("mine")
    assert await second.ids() == ["0", "1", "2", "last", "mine"]
    await second.close()


async def test_a_copy_of_one_partition_is_none_of_another(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka)
    node = await Node.open(tmp_path, topic)
    await node.close()
    connections = Connections(topic)
    log = PartitionLog(
        connections,
        await describe(connections),
        2,
        clock=SystemClock(),
        may_write=lambda: True,
        on_lost=lambda _: None,
    )
    with pytest.raises(LogIsNoCopy, match="partition 1 alone"):
        await SqliteEventStore.open(tmp_path, types=TYPES, clock=SystemClock(), primary=log)
