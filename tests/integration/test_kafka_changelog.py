"""The changelog's topic on a real broker: how it is made, what is read from it, and who may write it."""

from collections.abc import Sequence

import pytest
from aiokafka.admin import NewTopic

from eventstore.changelog import Kept, Mark, hashes
from eventstore.event import Stream
from eventstore.kafka_changelog import (
    KEPT_HEADERS,
    MARK_HEADERS,
    MARK_KEY,
    of_changelog,
    open_changelog,
    read_changelog,
    record_of_kept,
    record_of_mark,
)
from eventstore.kafka_client import Connections, KafkaOptions, look_up
from eventstore.kafka_records import HEADER, Record
from eventstore.snapshots import Snapshot
from kernel.errors import LogNewerSchema, TopicUnfit
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]

PARTITION = 1
LIMIT = 1_000_000


def kept(name: str, version: int, state: bytes = b"state") -> Kept:
    snapshot = Snapshot(0, version, "catalogue", state, 12, (b"dead",))
    return Kept(Stream("default", "lead", name), version, True, hashes([f"{name}-{version}"]), snapshot, "all")


def records(*said: Kept | Mark) -> list[Record]:
    return [
        record_of_kept(each, 0, limit_bytes=LIMIT) if isinstance(each, Kept) else record_of_mark(each, 0)
        for each in said
    ]


async def put(options: KafkaOptions, written: Sequence[Record]) -> None:
    side = of_changelog(Connections(options))
    producer = side.teller()
    await producer.start()
    try:
        for key, value, _, headers in written:
            await producer.send(side.options.topic, value, key=key, partition=PARTITION, headers=headers)
        await producer.flush()
    finally:
        await producer.stop()


async def whole(options: KafkaOptions, partition: int = PARTITION) -> list[Kept | Mark]:
    return [each async for each in read_changelog(Connections(options), partition)]


async def test_nothing_is_read_where_there_is_no_changelog(kafka: Cluster) -> None:
    options = await new_topic(kafka)
    assert await whole(options) == []
    await open_changelog(Connections(options))
    assert await whole(options) == []


async def test_what_was_written_is_read_in_its_order(kafka: Cluster) -> None:
    options = await new_topic(kafka)
    await open_changelog(Connections(options))
    said: list[Kept | Mark] = [
        *(kept(f"l{n}", n) for n in range(1200)),
        Mark(40, 30, 7, "all"),
        kept("l3", 9),
        Mark(50, 37),
    ]
    await put(options, records(*said))
    assert await whole(options) == said
    assert await whole(options, 2) == []


async def test_what_comes_while_it_is_read_is_read_too(kafka: Cluster) -> None:
    options = await new_topic(kafka)
    await open_changelog(Connections(options))
    await put(options, records(kept("a", 1)))
    found: list[Kept | Mark] = []
    async for each in read_changelog(Connections(options), PARTITION):
        found.append(each)
        if len(found) < 4:
            await put(options, records(kept("a", 1 + len(found))))
    assert found == [kept("a", version) for version in (1, 2, 3, 4)]


async def test_foreign_records_are_passed_over_and_those_of_a_later_version_are_not(kafka: Cluster) -> None:
    options = await new_topic(kafka)
    await open_changelog(Connections(options))
    good = records(kept("a", 1), Mark(2, 1))
    foreign = [
        Record(b"default/lead/a", b"\xc1", 0, KEPT_HEADERS),
        Record(b"default/lead/a", good[0].value, 0, []),
        Record(b"default/planet/a", good[0].value, 0, KEPT_HEADERS),
        Record(MARK_KEY, b"{}", 0, MARK_HEADERS),
        Record(MARK_KEY, good[1].value, 0, [(HEADER, b"event/1")]),
    ]
    await put(options, [*foreign, *good])
    assert await whole(options) == [kept("a", 1), Mark(2, 1)]
    await put(options, [Record(b"default/lead/a", b"", 0, [(HEADER, b"kept/2")])])
    with pytest.raises(LogNewerSchema, match="changelog"):
        await whole(options)


async def test_it_is_compacted_and_as_the_log_is_divided(kafka: Cluster) -> None:
    options = await new_topic(kafka, partitions=5)
    connections = Connections(options)
    limits = [await open_changelog(connections), await open_changelog(connections)]
    side, admin = of_changelog(connections), connections.admin()
    await admin.start()
    found = await look_up(side, admin, side.options.topic)
    await admin.close()
    assert found is not None
    assert found.partitions == 5
    assert found.configs["cleanup.policy"] == "compact"
    assert int(found.configs["min.compaction.lag.ms"]) >= 600_000
    assert limits == [8 * 1024 * 1024 - 256] * 2


@pytest.mark.parametrize(
    ("partitions", "policy", "said"), [(4, "compact", "5 partitions"), (5, "delete", "cleanup.policy=compact")]
)
async def test_one_that_is_not_fit_is_refused(kafka: Cluster, partitions: int, policy: str, said: str) -> None:
    options = await new_topic(kafka, partitions=5)
    connections = Connections(options)
    admin = connections.admin()
    await admin.start()
    name, configs = of_changelog(connections).options.topic, {"cleanup.policy": policy}
    await admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1, topic_configs=configs)])
    await admin.close()
    with pytest.raises(TopicUnfit, match=f"{name} cannot be a changelog: expected .*{said}"):
        await open_changelog(connections)
