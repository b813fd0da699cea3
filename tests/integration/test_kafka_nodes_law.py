"""One random workload through three nodes on a real broker, which hand partitions over meanwhile, and through one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bandit.events import policy_stream
from eventstore.kafka_client import KafkaOptions
from eventstore.store import EventStore
from gateway.nodes.across.claiming import ClaimsAtHome
from gateway.nodes.across.intake import ForwardingRecorder
from gateway.nodes.app import build_front_app
from gateway.nodes.forwarding.front import Front
from gateway.nodes.node import Node, open_node
from kernel.clock import SystemClock, VirtualClock
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic
from tests.integration.changelog import check_changelog, check_states, is_covered
from tests.integration.deciding import define, put
from tests.integration.fatal import tell
from tests.integration.nodes import Nodes, node_settings
from tests.integration.predicting import hot
from tests.integration.process import free_port
from tests.integration.service import Door, running
from tests.integration.test_nodes_law import LEADS, Workload, _same_lists, plain
from tests.patience import eventually

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]

STEPS = 90


class LedClock(VirtualClock):
    """Stands still, but for the sake of the group, which lives in the broker's time."""

    def __init__(self, at_us: int) -> None:
        super().__init__(at_us)
        self._machine = SystemClock()

    def boot_us(self) -> int:
        return self._machine.boot_us()


class Fronted(Nodes):
    """Nodes with their fronts, on one clock that stands still unless a test moves it."""

    def __init__(self, topic: KafkaOptions, directory: Path, clock: VirtualClock) -> None:
        super().__init__(topic, directory)
        self.clock = clock
        self.doors: dict[str, Door] = {}
        self._ports = {name: free_port() for name in "abc"}
        self._fronts: dict[str, tuple[Front, Any]] = {}

    async def open(self, name: str, **more: object) -> Node:
        port = self._ports[name]
        settings = node_settings(self._topic, f"http://127.0.0.1:{port}", **more)
        directory = self._directory / name
        directory.mkdir(exist_ok=True)
        node = self.running[name] = await open_node(settings, directory, clock=self.clock, on_fatal=tell)
        front = Front(node)
        node.shared.recorder, node.shared.decider.claims = ForwardingRecorder(front), ClaimsAtHome(front)
        client: Any = TestClient(TestServer(build_front_app(front), port=port))
        await client.server.start_server(auto_decompress=False)
        self._fronts[name] = front, client
        self.doors[name] = Door(client, node.shared, self.clock)
        await node.join()
        return node

    async def close(self, name: str) -> None:
        front, client = self._fronts.pop(name)
        del self.doors[name]
        await client.close()
        await front.close()
        await super().close(name)

    async def stop(self, name: str) -> None:
        await self.running[name].hand_over()
        await self.close(name)

    async def passing(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for node in self.running.values():
            for service in node.led().values():
                await service.ticker.tick()

    async def published(self) -> None:
        """Let time pass until the changelog covers everything."""

        def is_published() -> bool:
            self.clock.advance(1)
            return is_covered(self, 5)

        await eventually(is_published)

    async def in_step(self) -> None:
        """Wait until every node has followed what all share."""
        (owner,) = [node for node in self.running.values() if 0 in node.led()]
        wanted = await owner.shared.store.last_position()
        for node in self.running.values():

            async def has_followed(store: EventStore = node.shared.store) -> bool:
                return await store.last_position() >= wanted

            await eventually(has_followed)
        policies = [policy_stream("default", "offers")]
        for node in self.running.values():
            await node.shared.host.entities(policies)


@asynccontextmanager
async def fronted(topic: KafkaOptions, directory: Path, clock: VirtualClock) -> AsyncIterator[Fronted]:
    group = Fronted(topic, directory, clock)
    try:
        for name in "abc":
            await group.open(name)
        await group.wait_level()
        yield group
    finally:
        for name in list(group.running):
            await group.close(name)


def settled(answer: tuple[int, Any]) -> tuple[int, Any]:
    """Without the instant at which a value was computed: it holds until its next change, whoever computed it when."""
    status, body = plain(answer)
    return status, _without_instant(body)


def _without_instant(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_instant(each) for name, each in value.items() if name != "as_of"}
    return [_without_instant(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "seed", [11, pytest.param(12, marks=pytest.mark.deep), pytest.param(13, marks=pytest.mark.deep)]
)
async def test_nodes_on_kafka_answer_as_one_process_does(kafka: Cluster, tmp_path: Path, seed: int) -> None:
    workload = Workload(seed)
    topic = await new_topic(kafka, partitions=5, attempt_s=5)
    async with running() as alone, fronted(topic, tmp_path, LedClock(alone.clock.now_us())) as group:
        for door in (alone, group.doors["b"]):
            await define(door, reward={"wait_s": 86400, "aggregation": "earliest"})
            await put(door, "services/two", {"features": ["rfm:monetary_total", "rfm:recency_days"]})
            await door.events(*(event for lead in LEADS[:4] for event in hot(lead)))
        for number in range(STEPS):
            for clock in (alone.clock, group.clock):
                clock.advance(2)  # what is decided by is at most a second old: a node may have a newer copy within it
            ask = workload.step()
            expected = settled(await ask(alone))
            await group.in_step()
            name = workload.chance.choice(sorted(group.doors))
            assert settled(await ask(group.doors[name])) == expected, number
            if number % 10 == 0:
                alone.clock.advance(60)
                await alone.service.ticker.tick()
                await group.passing(60)
            if number % 30 == 15:  # one goes in order, and one comes
                leaving = workload.chance.choice(sorted(group.doors))
                await group.stop(leaving)
                await group.wait_level()
                await group.open(leaving)
                await group.wait_level()
        await group.in_step()
        await _same_lists(alone, list(group.doors.values()))
        await group.published()
        found = await check_changelog(topic, 5)
        assert await check_states(group, found.newest) > len(LEADS)
        assert {stream.kind for stream in found.newest} >= {"lead", "subject", "org", "policy"}
