"""Who writes the changelog, on a real broker: marks, fencing, and what is too large."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka.admin import NewTopic

from eventstore.changelog import Kept, Mark
from eventstore.event import Stream
from eventstore.kafka_changelog import of_changelog, open_changelog, read_changelog, record_of_kept
from eventstore.kafka_changelog_writer import ChangelogWriter
from eventstore.kafka_client import Connections, KafkaOptions
from eventstore.snapshots import Snapshot
from kernel.clock import SystemClock
from kernel.errors import OwnershipLost, StoreUnavailable
from tests.broker.cluster import Cluster, missing_tools, running_cluster
from tests.broker.topics import new_topic
from tests.patience import eventually

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]

PARTITION = 1


def kept(name: str, version: int, state: bytes = b"state") -> Kept:
    return Kept(Stream("default", "lead", name), version, True, b"", Snapshot(0, version, "c", state), "all")


class Changelog:
    """One of a topic of its own, with as many writers as a test wants."""

    def __init__(self, connections: Connections, limit_bytes: int) -> None:
        self.connections, self.limit_bytes = connections, limit_bytes
        self.writers: list[ChangelogWriter] = []

    async def writer(self, **more: int) -> ChangelogWriter:
        limits = {"limit_bytes": self.limit_bytes} | more
        writer = ChangelogWriter(self.connections, PARTITION, clock=SystemClock(), **limits)
        self.writers.append(writer)
        await writer.open()
        return writer

    async def whole(self) -> list[Kept | Mark]:
        return [each async for each in read_changelog(self.connections, PARTITION)]


@pytest.fixture
async def changelog(kafka: Cluster) -> AsyncIterator[Changelog]:
    connections = Connections(await new_topic(kafka, partitions=2))
    found = Changelog(connections, await open_changelog(connections))
    yield found
    await asyncio.gather(*(writer.close() for writer in found.writers))


async def test_what_is_written_is_read_and_the_last_mark_is_found(changelog: Changelog) -> None:
    writer = await changelog.writer()
    assert await writer.last_mark() is None
    first = [kept(f"l{n}", n) for n in range(1500)]
    await writer.write(first)
    assert await writer.last_mark() is None
    await writer.mark(Mark(7, 5, 3, "all"))
    assert await writer.last_mark() == Mark(7, 5, 3, "all")
    second = [kept(f"l{n}", n + 1) for n in range(900)]
    await writer.write(second)
    assert await (await changelog.writer()).last_mark() == Mark(7, 5, 3, "all"), "far from the end"
    assert await changelog.whole() == [*first, Mark(7, 5, 3, "all"), *second]


async def test_a_writer_that_was_replaced_writes_nothing_more(changelog: Changelog) -> None:
    old = await changelog.writer()
    await old.write([kept("a", 1)])
    new = await changelog.writer()
    assert await new.last_mark() is None
    await new.write([kept("a", 9)])
    await new.mark(Mark(9, 9))
    with pytest.raises(OwnershipLost, match="changelog"):
        await old.write([kept("a", 2)])
    with pytest.raises(StoreUnavailable):
        await old.mark(Mark(2, 2))
    await new.mark(Mark(10, 10))
    assert await changelog.whole() == [kept("a", 1), kept("a", 9), Mark(9, 9), Mark(10, 10)]
    await old.open()
    assert await old.last_mark() == Mark(10, 10), "whoever comes back goes on from there"
    with pytest.raises(OwnershipLost):
        await new.mark(Mark(11, 11))


async def test_what_was_begun_and_not_ended_is_not_read(changelog: Changelog) -> None:
    old = await changelog.writer()
    await old.mark(Mark(1, 1))
    producer = old._producer
    assert producer is not None
    await producer.begin_transaction()
    begun = record_of_kept(kept("a", 1), 0, limit_bytes=changelog.limit_bytes)
    topic = of_changelog(changelog.connections).options.topic
    await producer.send_and_wait(topic, begun.value, begun.key, PARTITION, headers=begun.headers)
    new = await changelog.writer()
    assert await new.last_mark() == Mark(1, 1)
    await new.mark(Mark(2, 2))
    assert await changelog.whole() == [Mark(1, 1), Mark(2, 2)]


async def test_large_states_are_written_and_too_large_ones_left_out(changelog: Changelog) -> None:
    writer = await changelog.writer()
    large = [kept("a", 1, b"x" * 3_000_000), kept("b", 2), kept("c", 3, b"y" * 7_000_000)]
    await writer.write([*large, kept("d", 4, b"z" * 9_000_000)])
    found = await changelog.whole()
    assert found[:3] == large
    assert found[3:] == [Kept(Stream("default", "lead", "d"), 4, True, b"", None, "all")]


async def test_brokers_that_are_not_there_are_told() -> None:
    connections = Connections(KafkaOptions(brokers="127.0.0.1:1", topic="t", attempt_s=2))
    writer = ChangelogWriter(connections, PARTITION, clock=SystemClock(), limit_bytes=1000)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 do not answer"):
        await writer.open()
    with pytest.raises(StoreUnavailable):
        await writer.last_mark()
    with pytest.raises(StoreUnavailable):
        await writer.write([kept("a", 1)])
    await writer.close()


@pytest.fixture
def cleaning(tmp_path: Path) -> Iterator[Cluster]:
    """A broker that compacts without pause."""
    if missing := missing_tools():
        pytest.skip(f"NO KAFKA HERE, not installed: {', '.join(missing)}")
    with running_cluster(tmp_path / "kafka", more=["log.cleaner.backoff.ms=50"]) as cluster:
        yield cluster


@pytest.mark.deep
async def test_who_reads_while_brokers_compact_misses_nothing(cleaning: Cluster) -> None:
    """Without the lag that keeps compaction from running after the writer, so that readers alone must be right."""
    connections = Connections(await new_topic(cleaning, partitions=2))
    configs = {"cleanup.policy": "compact", "segment.bytes": "200000", "min.cleanable.dirty.ratio": "0.01"}
    admin = connections.admin()
    await admin.start()
    name = of_changelog(connections).options.topic
    await admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=1, topic_configs=configs)])
    await admin.close()
    changelog = Changelog(connections, await open_changelog(connections))
    chance, versions, written = random.Random(3), dict[str, int](), 0
    promised: dict[int, dict[str, int]] = {0: {}}
    acknowledged = 0
    is_over, marked = asyncio.Event(), asyncio.Event()

    async def read() -> tuple[int, int]:
        """Reads again and again, slowly; how often, and how many records at last."""
        turns = records = 0
        while turns == 0 or not is_over.is_set():
            began, newest, last = acknowledged, dict[str, int](), 0
            records = 0
            async for each in read_changelog(connections, PARTITION):
                records += 1
                if records % 200 == 0 and not is_over.is_set():  # so that it is slow, and more comes meanwhile
                    await marked.wait()
                if isinstance(each, Mark):
                    last = each.offset
                else:
                    newest[each.stream.id] = each.version
            assert last >= began
            behind = {each for each, version in promised[last].items() if newest.get(each, 0) < version}
            assert not behind, f"mark {last} promises more of these"
            turns += 1
        return turns, records

    readers = [asyncio.create_task(read()) for _ in range(3)]
    async with asyncio.timeout(120):
        for mark in range(1, 400):
            writer = await changelog.writer() if mark % 50 == 1 else changelog.writers[-1]
            changed = chance.sample(range(500), 100)
            for each in changed:
                versions[f"l{each}"] = versions.get(f"l{each}", 0) + 1
            await writer.write([kept(f"l{each}", versions[f"l{each}"], b"x" * 300) for each in changed])
            promised[mark] = dict(versions)
            await writer.mark(Mark(mark, mark))
            acknowledged = mark
            marked.set()
            marked = asyncio.Event()
            written += 101
            assert not any(reader.done() for reader in readers)
        is_over.set()
        marked.set()
        read_by = await asyncio.gather(*readers)
        assert all(turns > 3 for turns, _ in read_by)

        async def is_compacted() -> bool:
            return len(await changelog.whole()) < written / 4

        await eventually(is_compacted)  # or this has shown nothing
    await asyncio.gather(*(writer.close() for writer in changelog.writers))
