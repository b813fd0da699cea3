"""What the log on Kafka promises beyond the contract: who writes, what a copy is, and what is refused at the start."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from eventstore.event import NewEvent
from eventstore.kafka import open_kafka
from eventstore.kafka_client import Connections, KafkaOptions, create_topic
from eventstore.kafka_records import EVENT_HEADERS, key_of
from eventstore.sqlite import SqliteEventStore
from eventstore.store import Stored
from kernel.clock import SystemClock
from kernel.errors import (
    BrokersRefused,
    EventStoreError,
    LogIsCopy,
    LogIsNoCopy,
    OwnershipLost,
    RecordTooLarge,
    StoreUnavailable,
    TopicUnfit,
)
from kernel.ids import Position
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic
from tests.contract.store_events import TYPES, lead, new_event, purchase, retraction
from tests.contract.store_suite import content
from tests.integration.fatal import tell

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]


async def opened(directory: Path, topic: KafkaOptions, owner: str = "one", **more: Any) -> SqliteEventStore:
    return await open_kafka(
        directory, kafka=topic, owner=owner, types=TYPES, clock=SystemClock(), **{"on_fatal": tell, **more}
    )


async def whole_log(store: SqliteEventStore) -> list[tuple[object, ...]]:
    found, after = [], Position(0)
    while page := await store.read_log(after=after):
        found += [content(event) for event in page]
        after = page[-1].position
    return found


def some_events(count: int, prefix: str = "e") -> list[NewEvent]:
    return [purchase(lead(f"l{n % 37}"), f"{prefix}{n}", n % 50) for n in range(count)]


# -- copies ----------------------------------------------------------------------------------------------------


async def test_a_copy_made_from_the_topic_alone_is_the_first_one_event_by_event(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=5)
    store = await opened(tmp_path / "one", topic)
    for turn in range(8):
        await asyncio.gather(*(store.append(some_events(60, f"{turn}-{each}-")) for each in range(4)))
    await store.append([retraction(lead("l1"), "r1", "0-0-1"), new_event(lead("s"), "~x:1")])
    first, streams = await whole_log(store), await store.list_streams()
    await store.close()
    again = await opened(tmp_path / "two", topic, "two")
    assert await whole_log(again) == first
    assert await again.list_streams() == streams
    assert len(first) == 8 * 4 * 60 + 2
    await again.close()


async def test_a_copy_goes_on_from_where_it_stopped(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka)
    for turn, directory in enumerate(["one", "two", "one", "two"]):
        store = await opened(tmp_path / directory, topic, f"owner-{turn}")
        assert len(await whole_log(store)) == 40 * turn
        await store.append(some_events(40, f"{turn}-"))
        [again] = await store.append([purchase(lead("l1"), "0-1", 1)])
        assert isinstance(again, Stored)
        assert again.is_duplicate
        await store.close()


async def test_foreign_records_are_passed_over(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=2)
    store = await opened(tmp_path / "one", topic)
    await store.append(some_events(10))
    before = await whole_log(store)
    stranger = AIOKafkaProducer(bootstrap_servers=topic.brokers)
    await stranger.start()
    value = msgspec.json.encode(
        {
            "id": "x",
            "type": "login",
            "payload_version": 1,
            "version": 9,
            "place": 3,
            "at_us": 1,
            "recorded_us": 1,
            "data": {},
        }
    )
    for key, body, headers in (
        (b"someone", b"hello", []),
        (None, b"{}", EVENT_HEADERS),
        (key_of(lead("l1")), value, EVENT_HEADERS),  # in form, but not the next of its stream
    ):
        await stranger.send_and_wait(topic.topic, body, key=key, headers=headers)
    await stranger.stop()
    await store.append([purchase(lead("l1"), "after")])
    expected = await whole_log(store)
    await store.close()
    again = await opened(tmp_path / "two", topic, "two")
    assert await whole_log(again) == expected
    assert len(expected) == len(before) + 1
    await again.close()


# -- one writer ------------------------------------------------------------------------------------------------


async def test_a_writer_that_was_replaced_stores_nothing_more(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka)
    ended: list[BaseException] = []
    old = await opened(tmp_path / "old", topic, "old", on_fatal=ended.append)
    await old.append(some_events(20))
    new = await opened(tmp_path / "new", topic, "new")
    with pytest.raises(OwnershipLost, match="new"):
        await old.append(some_events(20, "late"))
    assert [type(error) for error in ended] == [OwnershipLost]
    with pytest.raises(EventStoreError):
        await old.append(some_events(20, "later"))
    await new.append(some_events(5, "new"))
    assert len(await whole_log(new)) == 25
    await asyncio.gather(old.close(), new.close())
    third = await opened(tmp_path / "third", topic, "third")
    assert len(await whole_log(third)) == 25
    await third.close()


# -- refusals --------------------------------------------------------------------------------------------------


async def test_an_event_that_the_topic_cannot_take_is_refused_alone(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka)
    store = await opened(tmp_path, topic)
    large = new_event(lead("big"), "big", "measured", b'{"value": 1, "notes": {"' + b"x" * 2_000_000 + b'": 1}}')
    answers = await asyncio.gather(
        store.append(some_events(5)), store.append([large]), store.append(some_events(5, "f")), return_exceptions=True
    )
    assert isinstance(answers[1], RecordTooLarge)
    assert len(await whole_log(store)) == 10
    await store.append(some_events(5, "g"))
    assert await store.info([lead("big")]) == [None]
    await store.close()


async def test_a_directory_belongs_to_one_topic_or_to_none(kafka: Cluster, tmp_path: Path) -> None:
    topic, other = await new_topic(kafka), await new_topic(kafka)
    store = await opened(tmp_path / "copy", topic)
    await store.close()
    with pytest.raises(LogIsCopy, match=topic.topic):
        await SqliteEventStore.open(tmp_path / "copy", types=TYPES, clock=SystemClock())
    with pytest.raises(LogIsNoCopy, match=other.topic):
        await opened(tmp_path / "copy", other)
    own = await SqliteEventStore.open(tmp_path / "own", types=TYPES, clock=SystemClock())
    await own.append(some_events(1))
    await own.close()
    with pytest.raises(LogIsNoCopy, match="a log of its own"):
        await opened(tmp_path / "own", topic)


async def test_a_missing_topic_is_named(kafka: Cluster, tmp_path: Path) -> None:
    with pytest.raises(TopicUnfit, match=r"nowhere.*a topic that exists"):
        await opened(tmp_path, KafkaOptions(brokers=kafka.bootstrap, topic="nowhere"))


async def test_brokers_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 do not answer.*Connect"):
        await opened(tmp_path, KafkaOptions(brokers="127.0.0.1:1", topic="t"))


async def test_a_protocol_that_the_brokers_do_not_speak_is_told(kafka: Cluster, tmp_path: Path) -> None:
    options = KafkaOptions(
        brokers=kafka.bootstrap, topic="t", security_protocol="SASL_PLAINTEXT", sasl_username="u", sasl_password="p"
    )
    with pytest.raises((BrokersRefused, StoreUnavailable), match=kafka.bootstrap):
        await opened(tmp_path, options)


async def test_more_copies_than_brokers_are_refused(kafka: Cluster) -> None:
    with pytest.raises(TopicUnfit, match="in 3 copies"):
        await create_topic(KafkaOptions(brokers=kafka.bootstrap, topic="three"), partitions=2, copies=3)


async def test_a_topic_of_one_partition_is_refused(kafka: Cluster, tmp_path: Path) -> None:
    options = KafkaOptions(brokers=kafka.bootstrap, topic="one-partition")
    await create_topic(options, partitions=1)
    with pytest.raises(TopicUnfit, match="at least 2 partitions"):
        await opened(tmp_path, options)


@pytest.mark.parametrize(
    ("configs", "said"),
    [
        ({"cleanup.policy": "compact"}, "compaction would drop events"),
        ({"retention.ms": "86400000"}, "retention.ms=-1"),
        ({"retention.ms": "-1", "retention.bytes": "1000000"}, "retention.bytes=-1"),
        ({"retention.ms": "-1", "max.message.bytes": "2000"}, "max.message.bytes of at least"),
        ({"retention.ms": "-1", "min.insync.replicas": "2"}, "copies of each partition"),
    ],
)
async def test_a_topic_that_would_lose_events_is_refused(
    kafka: Cluster, tmp_path: Path, configs: dict[str, str], said: str
) -> None:
    name = f"unfit-{len(configs)}-{sum(map(ord, said))}"
    options = KafkaOptions(brokers=kafka.bootstrap, topic=name)
    admin = Connections(options).admin()
    await admin.start()
    await admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=1, topic_configs=configs)])
    await admin.close()
    with pytest.raises(TopicUnfit, match=said):
        await opened(tmp_path, options)


async def test_a_topic_that_was_made_anew_is_not_taken_for_the_old_one(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=2)
    store = await opened(tmp_path, topic)
    await store.append(some_events(50))
    await store.close()
    admin = Connections(topic).admin()
    await admin.start()
    await admin.delete_topics([topic.topic])
    await admin.close()
    await create_topic(topic, partitions=2)
    with pytest.raises(TopicUnfit, match="made anew"):
        await opened(tmp_path, topic)
