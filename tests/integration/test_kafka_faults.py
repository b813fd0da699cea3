"""Brokers that die, stand still and come back: nothing acknowledged is lost, nothing is stored twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from eventstore.event import NewEvent
from eventstore.kafka import KafkaLog, open_kafka
from eventstore.kafka_client import KafkaOptions
from eventstore.kafka_partition import PartitionWriter
from eventstore.kafka_records import Record
from eventstore.sqlite import SqliteEventStore
from eventstore.store import Stored
from kernel.clock import SystemClock
from kernel.errors import EventStoreError, StoreUnavailable
from kernel.ids import Position
from tests.broker.cluster import Cluster, missing_tools, running_cluster
from tests.broker.topics import all_in_step, new_topic
from tests.contract.store_events import TYPES, lead, purchase
from tests.integration.fatal import tell
from tests.patience import eventually

pytestmark = [
    pytest.mark.broker,
    pytest.mark.xdist_group("broker"),
    # A connection that the client is just making when it is given up is left to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ATTEMPT_S = 1.5


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One broker that is stopped and started here."""
    if missing := missing_tools():
        pytest.skip(f"NO KAFKA HERE, not installed: {', '.join(missing)}")
    with running_cluster(tmp_path_factory.mktemp("kafka") / "faults") as cluster:
        yield cluster


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Cluster]:
    if missing := missing_tools():
        pytest.skip(f"NO KAFKA HERE, not installed: {', '.join(missing)}")
    with running_cluster(tmp_path / "three", size=3) as cluster:
        yield cluster


@asynccontextmanager
async def opened(directory: Path, topic: KafkaOptions, owner: str) -> AsyncIterator[SqliteEventStore]:
    store = await open_kafka(directory, kafka=topic, owner=owner, types=TYPES, clock=SystemClock(), on_fatal=tell)
    try:
        yield store
    finally:
        await store.close()


class Load:
    """Callers that append until they are told to stop; they repeat what was not acknowledged, as clients do."""

    def __init__(self, store: SqliteEventStore, callers: int = 6) -> None:
        self._store = store
        self.acknowledged: list[str] = []
        self.unavailable = 0
        self._is_over = False
        self._tasks = [asyncio.create_task(self._post(number), name=f"caller-{number}") for number in range(callers)]

    async def _post(self, caller: int) -> None:
        turn = 0
        while not self._is_over:
            turn += 1
            events = [purchase(lead(f"l{caller}-{n}"), f"{caller}-{turn}-{n}", turn) for n in range(5)]
            await eventually(partial(self._is_taken_or_over, events), 60)

    async def _is_taken_or_over(self, events: Sequence[NewEvent]) -> bool:
        if self._is_over:
            return True
        try:
            outcomes = await self._store.append(events)
        except StoreUnavailable:
            self.unavailable += 1
            return False
        assert all(isinstance(each, Stored) for each in outcomes)
        self.acknowledged += [event.id for event in events]
        return True

    async def grows(self, count: int) -> None:
        """Wait until so many more events are acknowledged."""
        goal = len(self.acknowledged) + count
        await eventually(lambda: len(self.acknowledged) >= goal, 60)

    async def end(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)


def writers(store: SqliteEventStore) -> list[PartitionWriter]:
    log = store._primary
    assert isinstance(log, KafkaLog)
    return log._writers


async def stuck(store: SqliteEventStore) -> None:
    """Wait until a batch was handed to the brokers that they do not answer: two looks find the same one."""
    last: list[asyncio.Timeout | None] = []

    def is_stuck() -> bool:
        nonlocal last
        before, last = last, [writer._limit for writer in writers(store)]
        return any(each is not None for each in last) and last == before

    await eventually(is_stuck, every_s=0.1)


async def ids_of(store: SqliteEventStore) -> list[str]:
    found, after = [], Position(0)
    while page := await store.read_log(after=after):
        found += [event.id for event in page]
        after = page[-1].position
    return found


async def check(load: Load, store: SqliteEventStore, tmp_path: Path, topic: KafkaOptions) -> None:
    """The node's copy and one made from the topic agree, hold all that was acknowledged, and each event once."""
    served = await ids_of(store)
    await store.close()
    async with opened(tmp_path / "checker", topic, "checker") as checker:
        kept = await ids_of(checker)
    assert sorted(served) == sorted(kept)
    assert len(set(kept)) == len(kept)
    assert set(load.acknowledged) <= set(kept)


async def test_a_broker_that_is_killed_under_load_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(cluster, attempt_s=ATTEMPT_S)
    async with opened(tmp_path / "node", topic, "node") as store:
        load = Load(store)
        for is_missed in (False, True):
            await load.grows(200)
            cluster.brokers[0].kill()
            if is_missed:
                await eventually(lambda: any(writer.is_settling for writer in writers(store)))
            cluster.brokers[0].start()
        await load.grows(200)
        await load.end()
        await check(load, store, tmp_path, topic)


async def test_a_broker_that_stands_still_makes_others_try_later_and_its_batch_is_settled(
    cluster: Cluster, tmp_path: Path
) -> None:
    topic = await new_topic(cluster, attempt_s=ATTEMPT_S)
    async with opened(tmp_path / "node", topic, "node") as store:
        load = Load(store)
        await load.grows(100)
        cluster.brokers[0].pause()
        try:
            await stuck(store)  # the callers' batch is under way: another append is behind it
            async with asyncio.timeout(30):
                with pytest.raises(StoreUnavailable, match="do not answer"):
                    await store.append([purchase(lead("other"), "other")])
                with pytest.raises(StoreUnavailable, match="do not answer"):
                    await store.append([purchase(lead("other"), "other")])
        finally:
            cluster.brokers[0].resume()
        await load.grows(200)
        await load.end()
        await check(load, store, tmp_path, topic)


async def test_a_commit_that_a_new_leader_does_not_show_yet_is_waited_for(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await new_topic(cluster, partitions=2, attempt_s=ATTEMPT_S)
    end_offsets, hidden = AIOKafkaConsumer.end_offsets, 2

    async def behind(consumer: AIOKafkaConsumer, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        nonlocal hidden
        ends = await end_offsets(consumer, parts)
        hidden -= 1
        return {part: end - 2 * (hidden >= 0) for part, end in ends.items()}  # the last event and its commit

    async with opened(tmp_path / "node", topic, "node") as store:
        await store.append([purchase(lead("a"), "before")])
        writer = max(writers(store), key=lambda each: each.next_offset)
        monkeypatch.setattr(AIOKafkaConsumer, "end_offsets", behind)
        await writer.close()
        unknown = Record(b"key", b"value", [], 0)
        assert await writer._look(unknown, 1) is None, "it was not held, and nothing is missing"
        assert hidden < 0


@pytest.mark.deep
async def test_of_three_brokers_one_may_be_gone_at_a_time(three: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(three, attempt_s=5.0)
    async with opened(tmp_path / "node", topic, "node") as store:
        load = Load(store)
        for broker in three.brokers:
            await load.grows(300)
            broker.kill()
            await load.grows(300)  # two of three go on
            broker.start()
            await all_in_step(three)
        await load.end()
        await check(load, store, tmp_path, topic)


async def test_a_store_that_closes_while_the_broker_is_away_does_not_wait_for_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    topic = await new_topic(cluster, attempt_s=ATTEMPT_S)
    async with opened(tmp_path / "node", topic, "node") as store:
        await store.append([purchase(lead("a"), "before")])
        cluster.brokers[0].pause()
        try:
            late = asyncio.create_task(store.append([purchase(lead("a"), "late")]))
            await stuck(store)
            async with asyncio.timeout(12):
                await store.close()
            with pytest.raises(EventStoreError):
                await late
        finally:
            cluster.brokers[0].resume()
    async with opened(tmp_path / "node", topic, "again") as store:
        assert set(await ids_of(store)) in ({"before"}, {"before", "late"})
