"""Nodes that share a topic, on a real broker: who holds what, what they hand over, and what they never do."""

from pathlib import Path

import pytest

from eventstore.event import Stream
from gateway.nodes.cluster import Remote
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic
from tests.integration.nodes import bought, nodes

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]


async def test_one_node_leads_everything(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=4, attempt_s=5)
    async with nodes(topic, tmp_path, ["a"]) as group:
        assert group.leaders() == {partition: ["a"] for partition in range(4)}
        await group.put(*(bought(f"l{n}", f"e{n}") for n in range(40)))
        assert sum([len(await group.log_of(Stream("default", "lead", f"l{n}"))) for n in range(40)]) == 40


async def test_two_nodes_share_and_each_knows_the_other(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=5, attempt_s=5)
    async with nodes(topic, tmp_path, ["a"]) as group:
        await group.put(*(bought(f"l{n}", f"e{n}") for n in range(40)))
        second = await group.open("b")
        await group.wait_level()
        first = group.running["a"]
        assert first.nodes() == second.nodes() == ["http://a", "http://b"]
        for partition in range(5):
            places = [type(first.place(partition)), type(second.place(partition))]
            assert sorted(each.__name__ for each in places) == ["Local", "Remote"]
        for partition in second.led():
            assert first.place(partition) == Remote("http://b")
        await group.put(*(bought(f"l{n}", f"e{n}") for n in range(40)))
        await group.put(*(bought(f"l{n}", f"f{n}") for n in range(40)))
        for n in range(40):
            log = await group.log_of(Stream("default", "lead", f"l{n}"))
            assert [event.id for event in log] == [f"e{n}", f"f{n}"]
            owner = group.owner(Stream("default", "lead", f"l{n}"))
            entity = await owner.read(log[0].stream)
            assert entity.version == 2


async def test_a_planned_stop_hands_over(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=5, attempt_s=5)
    async with nodes(topic, tmp_path, ["a", "b"]) as group:
        await group.put(*(bought(f"l{n}", f"e{n}") for n in range(40)))
        await group.stop("a")
        await group.wait_level()
        assert group.leaders() == {partition: ["b"] for partition in range(5)}
        for n in range(40):
            log = await group.log_of(Stream("default", "lead", f"l{n}"))
            assert [event.id for event in log] == [f"e{n}"]
