"""A node that has no copy of a partition, on a real broker: it serves from the changelog while its copy is being made."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import eventstore.kafka_partition_log as partition_log
from bandit.events import policy_stream
from kernel.times import format_time
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic
from tests.integration.deciding import decide, define, reward
from tests.integration.service import NOW, Door, purchase, running
from tests.integration.test_kafka_nodes_law import Fronted, LedClock, settled
from tests.patience import eventually

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]

LEADS = [f"l{number}" for number in range(8)]
HOUR_US = 3_600_000_000
SETTINGS = {"nodes.standbys": 0, "nodes.changelog_s": 5.0, "nodes.fill_events": 1}


async def published(group: Fronted, name: str) -> None:
    """Wait until the changelog has everything that the node leads."""
    shards = group.running[name]._shards.values()

    def is_published() -> bool:
        group.clock.advance(1)
        return all(shard.publisher is not None and shard.publisher.lag == 0 for shard in shards)

    await eventually(is_published)


async def whole(group: Fronted, name: str) -> None:
    """Let the missing events come."""
    shards = group.running[name]._shards.values()

    def is_whole() -> bool:
        group.clock.advance(1)
        return all(shard.is_complete for shard in shards)

    await eventually(is_whole)


async def test_a_node_without_a_copy_serves_from_the_changelog_while_the_copy_is_made(
    kafka: Cluster, tmp_path: Path
) -> None:
    topic = await new_topic(kafka, partitions=3, attempt_s=5)
    clock = LedClock(NOW)
    group = Fronted(topic, tmp_path, clock)
    try:
        async with running(clock=clock) as alone:
            await group.open("a", **SETTINGS)
            await eventually(lambda: len(group.leaders()) == 3)
            first = group.doors["a"]
            for door in (alone, first):
                await define(door, reward={"wait_s": 86400, "aggregation": "earliest"})
                for lead in LEADS:
                    await door.events(*(purchase(lead, f"e{n}", 10 + n, NOW - (9 - n) * HOUR_US) for n in range(5)))
                    await decide(door, lead, decision_id=f"d-{lead}")
                    await reward(door, f"d-{lead}", 1, "r")
            await eventually(lambda: first.service.host.newest_position > 8)
            await published(group, "a")
            for door in (alone, first):  # the tail
                await door.events(*(purchase(lead, "tail", 7, NOW) for lead in LEADS[:4]))
            model = await _model(first)
            await group.close("a")

            with patch.object(partition_log, "_FILL_EVENTS", 1):
                await group.open("b", **SETTINGS)
                await eventually(lambda: len(group.leaders()) == 3)
                later = group.doors["b"]
                assert not any(shard.is_complete for shard in group.running["b"]._shards.values() if shard.partition)
                assert await _model(later) == model
                activations = later.service.host.statistics().activations
                assert activations.from_snapshot, "the model is the published one"
                assert activations.from_log == 0, "nothing was learned anew"
                await _check_head_start(alone, later)
                await whole(group, "b")
            await _check_whole(alone, later)
    finally:
        for name in list(group.running):
            await group.close(name)


async def _check_head_start(alone: Door, later: Door) -> None:
    """What can be known is answered as by one process; the rest is told to wait, with how far it is."""
    await _same_features(alone, later)
    for door in (alone, later):
        await door.events(*(purchase(lead, "new", 3, NOW) for lead in LEADS))
    await _same_features(alone, later)
    lead = f"leads/{LEADS[0]}"
    for path in (
        f"{lead}/events",
        f"{lead}/explain/rfm:monetary_total",
        f"{lead}/features?at=2026-11-21T04:00:00Z",
        f"decisions/d-{LEADS[0]}",
    ):
        response = await later.raw("GET", path)
        problem = await response.json(content_type=None)
        assert (response.status, problem["code"]) == (503, "copy_incomplete"), path
        assert 0 <= problem["progress"] < 1
        assert int(response.headers["Retry-After"]) >= 1
    status, problem = await later.post("events", purchase(LEADS[6], "e3", 13, NOW - 6 * HOUR_US))
    assert (status, problem["code"]) == (503, "copy_incomplete"), "whether it is a duplicate is not known yet"
    in_time, late = _message("m2", NOW - HOUR_US), _message("m1", NOW - 20 * HOUR_US)
    assert (await later.post("events", in_time))[0] == 200
    status, answer = await later.post("events", late)
    assert (status, answer.get("accepted"), answer.get("folded")) == (202, 1, False), answer
    assert (await later.get(f"leads/{LEADS[1]}/features"))[0] == 503
    await alone.events(in_time, late)


async def _check_whole(alone: Door, later: Door) -> None:
    """Now it is as if the copy had always been there."""
    for door in (alone, later):
        status, answer = await door.post("events", purchase(LEADS[6], "e3", 13, NOW - 6 * HOUR_US))
        assert (status, answer["duplicates"]) == (200, 1)
    await _same_features(alone, later)
    for lead in LEADS:
        for path in (
            f"leads/{lead}/events",
            f"leads/{lead}/explain/rfm:monetary_total",
            f"leads/{lead}/features?at=2026-11-21T04:00:00Z",
        ):
            assert settled(await later.get(path)) == settled(await alone.get(path)), path
        status, record = await later.get(f"decisions/d-{lead}")
        assert (status, record["rewards"][0]["value"]) == (200, 1.0)


def _message(event_id: str, at_us: int) -> dict[str, Any]:
    """What one says is timed against what was said before: a late one cannot be folded where it comes."""
    data = {"conversation_id": "c"}
    return {"lead": LEADS[1], "type": "message_received", "id": event_id, "time": format_time(at_us), "data": data}


async def _same_features(alone: Door, later: Door) -> None:
    for lead in LEADS:
        ours, theirs = await later.get(f"leads/{lead}/features"), await alone.get(f"leads/{lead}/features")
        assert settled(ours) == settled(theirs), lead
    asked = {"leads": LEADS, "service": "lead"}
    assert settled(await later.post("features", asked)) == settled(await alone.post("features", asked))


async def _model(door: Door) -> Any:
    entity = await door.service.host.entity(policy_stream("default", "offers"))
    assert entity is not None
    return entity.version, entity.dump().state
