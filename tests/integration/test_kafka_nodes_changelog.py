"""Nodes that publish their snapshots, on a real broker: what the changelog promises holds, whoever leads and whatever ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import NewTopic

from eventstore.changelog import Kept, Mark
from eventstore.event import NewEvent, Stream
from eventstore.kafka_changelog import of_changelog, read_changelog
from eventstore.kafka_changelog_writer import ChangelogWriter
from eventstore.kafka_client import Connections, KafkaOptions, look_up
from eventstore.kafka_partition_log import PartitionLog
from gateway.nodes.node import open_node
from kernel.clock import SystemClock
from kernel.errors import OwnershipLost, TopicUnfit
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic
from tests.integration.changelog import check_changelog, check_states, is_covered
from tests.integration.nodes import Nodes, bought, node_settings
from tests.integration.service import NOW
from tests.patience import eventually

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]

PARTITIONS = 4
OFTEN = {"nodes.changelog_s": 0.1}


@pytest.fixture
async def topic(kafka: Cluster) -> KafkaOptions:
    return await new_topic(kafka, partitions=PARTITIONS, attempt_s=5)


@pytest.fixture
async def group(topic: KafkaOptions, tmp_path: Path) -> AsyncIterator[Nodes]:
    found = Nodes(topic, tmp_path)
    yield found
    for name in list(found.running):
        await found.close(name)


def purchases(event_id: str, count: int = 40) -> list[NewEvent]:
    return [bought(f"l{n}", event_id, at_us=NOW + n) for n in range(count)]


async def test_all_leads_are_kept_as_their_events_fold(group: Nodes, topic: KafkaOptions) -> None:
    await group.open("a", **OFTEN)
    await group.wait_level()
    await group.put(*purchases("1"))
    await group.open("b", **OFTEN)
    await group.put(*purchases("2"), *purchases("3", 7))
    await group.wait_level()
    await group.put(bought("l1", "late", at_us=NOW - 1), bought("l2", "2", at_us=NOW + 2))
    await eventually(lambda: is_covered(group, PARTITIONS))
    found = await check_changelog(topic, PARTITIONS)
    assert found.uncovered == 0
    assert {stream.id for stream in found.newest} == {f"l{n}" for n in range(40)}
    assert await check_states(group, found.newest) == 40
    records = [node.shared.metrics for node in group.running.values()]
    written = sum(_value(each.render(), "leadwheel_changelog_records_total") for each in records)
    assert written >= 80
    assert sum(_value(each.render(), "leadwheel_changelog_lag") for each in records) == 0


async def test_who_takes_over_goes_on_from_the_last_mark(group: Nodes, topic: KafkaOptions) -> None:
    for name in "ab":
        await group.open(name, **OFTEN)
    await group.wait_level()
    await group.put(*purchases("1"))
    await eventually(lambda: is_covered(group, PARTITIONS))
    before = await check_changelog(topic, PARTITIONS)
    again = group.mute("a")
    await eventually(lambda: len(group.running["b"].led()) == PARTITIONS)
    await group.put(*purchases("2", 20))
    again.set()
    await group.wait_level()
    await group.put(*purchases("3", 10))
    await eventually(lambda: is_covered(group, PARTITIONS))
    found = await check_changelog(topic, PARTITIONS)
    assert found.marks > before.marks
    assert found.records - before.records < 60, "what was covered is not written anew"
    assert await check_states(group, found.newest) == 40


async def never(mark: Mark) -> None:
    await asyncio.Event().wait()


async def test_an_end_between_snapshots_and_mark_breaks_no_promise(group: Nodes, topic: KafkaOptions) -> None:
    for name in "ab":
        await group.open(name, **OFTEN)
    await group.wait_level()
    await group.put(*purchases("1"))
    await eventually(lambda: is_covered(group, PARTITIONS))
    before = await check_changelog(topic, PARTITIONS)
    ending = group.running["a"]
    publishers = [shard.publisher for shard in ending._shards.values() if shard.publisher is not None]
    for publisher in publishers:
        publisher._may_write = lambda: False
        publisher._writer.mark = never  # type: ignore[method-assign]
    await group.put(*purchases("2"))
    for publisher in publishers:
        publisher._may_write = lambda: True
    unmarked = {n for n in range(40) if ending.partition_of(_lead(n)) in ending.led()}

    async def is_written() -> bool:
        return (await check_changelog(topic, PARTITIONS)).records >= before.records + 40

    await eventually(is_written)
    await group.close("a")
    await eventually(lambda: len(group.running["b"].led()) == PARTITIONS)
    await eventually(lambda: is_covered(group, PARTITIONS))
    found = await check_changelog(topic, PARTITIONS)
    assert found.records == before.records + 40 + len(unmarked), "they are written once more, and nothing else is"
    assert found.uncovered == 0


async def test_a_paused_owner_that_comes_back_is_fenced_and_the_owner_goes_on(
    group: Nodes, topic: KafkaOptions
) -> None:
    await group.open("a", **OFTEN)
    await group.wait_level()
    await group.put(*purchases("1"))
    await eventually(lambda: is_covered(group, PARTITIONS))
    partition = group.running["a"].partition_of(_lead(1))
    back = ChangelogWriter(Connections(topic), partition, clock=SystemClock(), limit_bytes=1_000_000)
    await back.open()  # it had not noticed yet
    stale = Kept(_lead(1), 0, True, b"", None)
    await group.put(*purchases("2"))
    await eventually(lambda: is_covered(group, PARTITIONS))
    with pytest.raises(OwnershipLost):
        await back.write([stale])
    await back.close()
    found = await check_changelog(topic, PARTITIONS)
    assert found.newest[_lead(1)].version == 2


async def test_nothing_is_made_where_no_changelog_is_wanted(kafka: Cluster, group: Nodes, topic: KafkaOptions) -> None:
    await group.open("a", **{"nodes.changelog_s": 0})
    await group.wait_level()
    side = of_changelog(Connections(topic))
    admin = side.admin()
    await admin.start()
    assert await look_up(side, admin, side.options.topic) is None
    await admin.close()


async def test_a_node_does_not_start_with_a_changelog_that_would_lose_snapshots(
    topic: KafkaOptions, tmp_path: Path
) -> None:
    side = of_changelog(Connections(topic))
    admin = side.admin()
    await admin.start()
    await admin.create_topics([NewTopic(side.options.topic, num_partitions=PARTITIONS, replication_factor=1)])
    await admin.close()
    with pytest.raises(TopicUnfit, match=r"cannot be a changelog: expected cleanup\.policy=compact"):
        await open_node(node_settings(topic, "http://a"), tmp_path, clock=SystemClock())


async def test_marks_of_a_topic_that_was_deleted_are_not_taken_for_this_ones(group: Nodes, topic: KafkaOptions) -> None:
    await group.open("a", **OFTEN)
    await group.wait_level()
    await eventually(lambda: is_covered(group, PARTITIONS))
    await group.close("a")
    writer = ChangelogWriter(Connections(topic), 1, clock=SystemClock(), limit_bytes=1_000_000)
    await writer.open()
    await writer.mark(Mark(1_000_000, 900_000, NOW, "other"))
    await writer.close()
    node = await group.open("a", **OFTEN)
    counts = node._changelog.counts  # type: ignore[union-attr]
    await eventually(lambda: counts.failures > 1)
    await group.put(*purchases("1", 5))
    last = [each async for each in read_changelog(Connections(topic), 1)][-1]
    assert last == Mark(1_000_000, 900_000, NOW, "other"), "nothing is written there, and the log goes on"


async def test_a_node_without_copies_begins_from_what_another_has_published(
    group: Nodes, topic: KafkaOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_fill, fill = asyncio.Event(), PartitionLog._fill_all

    async def filled(log: PartitionLog, pause: Any) -> None:
        if pause is not None:
            await may_fill.wait()
        await fill(log, pause)

    monkeypatch.setattr(PartitionLog, "_fill_all", filled)
    await group.open("a", **OFTEN)
    await group.wait_level()
    await group.put(*(event for turn in range(4) for event in purchases(str(turn))))
    await eventually(lambda: is_covered(group, PARTITIONS))
    covered = await check_changelog(topic, PARTITIONS)
    await group.put(*purchases("more", 5))
    await group.close("a")
    node = await group.open("b", **OFTEN)
    await eventually(lambda: len(node.led()) == PARTITIONS)
    assert not any(node._shards[partition].is_complete for partition in range(1, PARTITIONS))
    for n in range(40):
        owner = group.owner(_lead(n))
        assert owner is not None
        entity = await owner.read(_lead(n))
        assert entity is not None
        assert entity.version == (5 if n < 5 else 4), "each is what it was, and what came after the last mark"
    await group.put(*purchases("b", 10))
    found = await check_changelog(topic, PARTITIONS)
    assert found.uncovered >= 10
    assert found.marks - covered.marks <= 2 * PARTITIONS, "who lacks events publishes nothing"
    may_fill.set()
    await eventually(lambda: is_covered(group, PARTITIONS))
    found = await check_changelog(topic, PARTITIONS)
    assert found.uncovered == 0
    assert await check_states(group, found.newest) == 40


def _lead(n: int) -> Stream:
    return Stream("default", "lead", f"l{n}")


def _value(exposed: bytes, name: str) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in exposed.decode().splitlines() if line.startswith(f"{name} "))
