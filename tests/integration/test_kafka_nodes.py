"""Nodes that share a topic, on a real broker: who holds what, what they hand over, and what they never do."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from eventstore.event import Stream
from gateway.app import Paths, open_service
from gateway.nodes.forwarding.cluster import Away, Remote
from gateway.nodes.node import open_node
from kernel.clock import SystemClock
from kernel.errors import BrokersRefused, LogIsNoCopy, NotLeading, SettingsError
from kernel.settings_nodes import NodesSettings
from tests.broker.cluster import Cluster, missing_tools, running_cluster
from tests.broker.topics import all_in_step, new_topic
from tests.integration.nodes import Nodes, bought, node_settings, nodes
from tests.patience import all_the_while, eventually

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]


async def test_one_node_leads_everything(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=4, attempt_s=5)
    async with nodes(topic, tmp_path, ["a"]) as group:
        assert group.leaders() == {partition: ["a"] for partition in range(4)}
        led = group.running["a"].led().values()
        assert [service.retraining._task for service in led] == [None] * 4, "nobody trains on some of the leads"
        assert all(service.alerts._task is not None for service in led)
        await group.put(*(bought(f"l{n}", f"e{n}") for n in range(40)))
        assert sum([len(await group.log_of(_lead(f"l{n}"))) for n in range(40)]) == 40


async def test_a_nodes_directory_and_one_processes_are_not_taken_for_each_other(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=2, attempt_s=5)
    async with nodes(topic, tmp_path, ["a"]) as group:
        await group.put(bought("l", "e"))
    settings = node_settings(topic, "http://a")
    one_process = msgspec.structs.replace(settings, nodes=NodesSettings())
    for wrong in (settings, one_process):
        with pytest.raises(SettingsError, match="--node-url"):
            await open_service(wrong, paths=Paths(tmp_path / "a"), clock=SystemClock())
    alone = tmp_path / "alone"
    alone.mkdir()
    service = await open_service(one_process, paths=Paths(alone), clock=SystemClock())
    assert [event.id for event in await service.store.read(_lead("l"))] == ["e"], "one process can serve the same topic"
    await service.close()
    with pytest.raises(LogIsNoCopy, match="one process"):
        await open_node(settings, alone, clock=SystemClock())


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
            log = await group.log_of(_lead(f"l{n}"))
            assert [event.id for event in log] == [f"e{n}", f"f{n}"]
            owner = group.owner(log[0].stream)
            assert owner is not None
            entity = await owner.read(log[0].stream)
            assert entity is not None
            assert entity.version == 2


async def test_a_planned_stop_hands_over(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=5, attempt_s=5)
    async with nodes(topic, tmp_path, ["a", "b"]) as group:
        await group.put(*(bought(f"l{n}", f"e{n}") for n in range(40)))
        await group.stop("a")
        await group.wait_level()
        assert group.leaders() == {partition: ["b"] for partition in range(5)}
        for n in range(40):
            log = await group.log_of(_lead(f"l{n}"))
            assert [event.id for event in log] == [f"e{n}"]


async def test_a_node_that_is_cut_off_answers_nothing_fresh_and_stores_nothing(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=5, attempt_s=5)
    async with nodes(topic, tmp_path, ["a", "b"]) as group:
        await group.put(*(bought(f"l{n}", f"e{n}") for n in range(40)))
        cut, other = group.running["a"], group.running["b"]
        was_led = dict(cut.led())
        again = group.mute("a")
        async with watching(group):
            await eventually(lambda: len(other.led()) == 5)
            assert cut.led() == {}
            for partition, service in was_led.items():
                assert isinstance(cut.place(partition), Away)
                if partition:
                    lead = next(f"l{n}" for n in range(40) if cut.partition_of(_lead(f"l{n}")) == partition)
                    with pytest.raises(NotLeading):
                        await service.ingest.submit([bought(lead, "late")])
            await group.put(*(bought(f"l{n}", f"f{n}") for n in range(40)))
            again.set()
            await group.wait_level()
        for n in range(40):
            assert [event.id for event in await group.log_of(_lead(f"l{n}"))] == [f"e{n}", f"f{n}"]


async def test_without_standbys_a_copy_is_made_first(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=3, attempt_s=5)
    group = Nodes(topic, tmp_path)
    try:
        await group.open("a", **{"nodes.standbys": 0})
        await eventually(lambda: len(group.leaders()) == 3)
        await group.put(*(bought(f"l{n}", f"e{n}") for n in range(40)))
        second = await group.open("b", **{"nodes.standbys": 0})
        await eventually(lambda: sorted(len(node.led()) for node in group.running.values()) == [1, 2])
        first = group.running["a"]
        assert all(first.follower(partition) is None for partition in second.led() if partition), "it keeps no copy"
        await group.stop("a")
        await eventually(lambda: len(second.led()) == 3)
        for n in range(40):
            assert [event.id for event in await group.log_of(_lead(f"l{n}"))] == [f"e{n}"]
    finally:
        for name in list(group.running):
            await group.close(name)


async def test_a_node_of_another_topic_is_refused_by_the_group(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=2, attempt_s=5)
    other = await new_topic(kafka, partitions=2, attempt_s=5)
    async with nodes(topic, tmp_path, ["a"]):
        stranger = Nodes(other, tmp_path)
        with pytest.raises(BrokersRefused, match="no nodes of this topic"):
            await stranger.open("b", **{"nodes.group": topic.topic})
        await stranger.close("b")


async def test_a_session_that_brokers_do_not_allow_is_refused(kafka: Cluster, tmp_path: Path) -> None:
    stranger = Nodes(await new_topic(kafka, partitions=2, attempt_s=5), tmp_path)
    with pytest.raises(BrokersRefused, match=r"group\.min\.session\.timeout\.ms"):
        await stranger.open("a", **{"nodes.session_timeout_s": 1.0, "kafka.attempt_s": 5} | {"nodes.heartbeat_s": 0.1})
    await stranger.close("a")


async def test_a_storm_of_comings_and_goings_loses_nothing(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=4, attempt_s=5)
    chance = random.Random(5)
    stored: dict[str, list[str]] = {}
    is_over = asyncio.Event()

    async def load(group: Nodes, number: int) -> None:
        count = 0
        while not is_over.is_set():
            lead = f"l{number}-{count % 7}"
            await group.put(bought(lead, f"e{count}"))
            if chance.random() < 0.2:  # as whoever has lost an answer does
                await group.put(bought(lead, f"e{count}"))
            stored.setdefault(lead, []).append(f"e{count}")
            count += 1

    async with nodes(topic, tmp_path, ["a"]) as group:
        writers = [asyncio.create_task(load(group, number)) for number in range(4)]
        async with watching(group):
            for turn in range(8):
                name = "bcd"[turn % 3]
                if name in group.running:
                    await (group.stop(name) if turn % 2 else group.close(name))
                else:
                    await group.open(name)
                taken = sum(map(len, stored.values())) + chance.randrange(80)
                await eventually(lambda taken=taken: sum(map(len, stored.values())) >= taken)  # type: ignore[misc]
            await group.wait_level()
        is_over.set()
        await asyncio.gather(*writers)
        assert sum(map(len, stored.values())) > 100
        for lead, ids in stored.items():
            assert [event.id for event in await group.log_of(_lead(lead))] == ids
            owner = group.owner(_lead(lead))
            assert owner is not None
            entity = await owner.read(_lead(lead))
            assert entity is not None
            assert entity.version == len(ids)


def _lead(name: str) -> Stream:
    return Stream("default", "lead", name)


@asynccontextmanager
async def watching(group: Nodes) -> AsyncIterator[None]:
    """Nowhere within do two nodes answer for one partition at the same time."""
    faults: list[object] = []

    def look() -> None:
        faults.extend(names for names in group.leaders().values() if len(names) > 1)

    async with all_the_while(look, every_s=0.005):
        yield
    assert faults == []


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Cluster]:
    """One broker that is stopped and started here."""
    if missing := missing_tools():
        pytest.skip(f"NO KAFKA HERE, not installed: {', '.join(missing)}")
    with running_cluster(tmp_path / "kafka") as cluster:
        yield cluster
    gc.collect()  # what the client left behind when its broker died is found here, and not later in another test


# A connection that the client is just making when it is given up is left to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_nodes_outlive_their_broker(mortal: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(mortal, partitions=4, attempt_s=2)
    async with nodes(topic, tmp_path, ["a", "b"]) as group:
        await group.put(*(bought(f"l{n}", f"e{n}") for n in range(20)))
        mortal.brokers[0].kill()
        writing = asyncio.create_task(group.put(*(bought(f"l{n}", f"f{n}") for n in range(20))))
        async with watching(group):
            await eventually(lambda: not group.leaders())  # longer than a session: nobody can be sure of anything
            mortal.brokers[0].start()
            await group.wait_level()
            await writing
        for n in range(20):
            assert [event.id for event in await group.log_of(_lead(f"l{n}"))] == [f"e{n}", f"f{n}"]


@pytest.fixture
def three_brokers(tmp_path: Path) -> Iterator[Cluster]:
    if missing := missing_tools():
        pytest.skip(f"NO KAFKA HERE, not installed: {', '.join(missing)}")
    with running_cluster(tmp_path / "kafka", size=3) as cluster:
        yield cluster
    gc.collect()


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_nodes_go_on_while_one_broker_of_three_is_away(three_brokers: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(three_brokers, partitions=4, attempt_s=5)
    async with nodes(topic, tmp_path, ["a", "b"]) as group:
        await group.put(*(bought(f"l{n}", "e") for n in range(20)))
        async with watching(group):
            for number, broker in enumerate(three_brokers.brokers):
                broker.kill()
                await group.put(*(bought(f"l{n}", f"f{number}") for n in range(20)))
                broker.start()
                await group.put(*(bought(f"l{n}", f"g{number}") for n in range(20)))
                await all_in_step(three_brokers)  # with two of three away nothing could be written
            await group.wait_level()
        expected = ["e", "f0", "g0", "f1", "g1", "f2", "g2"]
        for n in range(20):
            assert [event.id for event in await group.log_of(_lead(f"l{n}"))] == expected
