"""Who writes the changelog, on a real broker: marks, fencing, and what is too large."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from eventstore.changelog import Kept, Mark
from eventstore.event import Stream
from eventstore.kafka_changelog import of_changelog, open_changelog, read_changelog, record_of_kept
from eventstore.kafka_changelog_writer import ChangelogWriter
from eventstore.kafka_client import Connections, KafkaOptions
from eventstore.snapshots import Snapshot
from kernel.clock import SystemClock
from kernel.errors import OwnershipLost, StoreUnavailable
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic

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
