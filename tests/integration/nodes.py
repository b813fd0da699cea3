"""Nodes of one topic in one process, without their fronts: what each holds, and events put where they belong."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from eventstore.event import Event, NewEvent, Stream
from eventstore.kafka_client import KafkaOptions
from gateway.nodes.forwarding.cluster import Local
from gateway.nodes.node import Node, open_node
from gateway.service import Service
from kernel.clock import SystemClock
from kernel.errors import StoreUnavailable
from kernel.settings import Settings
from kernel.settings_sources import load_settings
from tests.integration.fatal import tell
from tests.integration.service import NOW, PATIENT
from tests.patience import eventually

SESSION_S = 2.0


def node_settings(topic: KafkaOptions, url: str, **more: object) -> Settings:
    flags: dict[str, object] = {
        "store.kind": "kafka",
        "kafka.brokers": topic.brokers,
        "kafka.topic": topic.topic,
        "kafka.attempt_s": 5,
        "nodes.url": url,
        "nodes.secret": "a secret that nodes share",
        "nodes.session_timeout_s": SESSION_S,
        "nodes.heartbeat_s": 0.1,
    }
    return load_settings(None, {}, PATIENT | flags | more)


class Nodes:
    """All of them, and what a test asks of the whole."""

    def __init__(self, topic: KafkaOptions, directory: Path) -> None:
        self._topic, self._directory = topic, directory
        self.running: dict[str, Node] = {}

    async def open(self, name: str, **more: object) -> Node:
        settings = node_settings(self._topic, f"http://{name}", **more)
        directory = self._directory / name
        directory.mkdir(exist_ok=True)
        node = self.running[name] = await open_node(settings, directory, clock=SystemClock(), on_fatal=tell)
        await node.join()
        return node

    async def close(self, name: str) -> None:
        await self.running.pop(name).close()

    async def stop(self, name: str) -> None:
        node = self.running.pop(name)
        await node.hand_over()
        await node.close()

    def leaders(self) -> dict[int, list[str]]:
        """Who answers for each partition."""
        found: dict[int, list[str]] = {}
        for name, node in self.running.items():
            for partition in node.led():
                found.setdefault(partition, []).append(name)
        return found

    def is_level(self) -> bool:
        """Whether each partition has one leader, everybody has as many as the others, and copies are complete."""
        found = self.leaders()
        if not self.running or any(len(names) != 1 for names in found.values()):
            return False
        partitions = next(iter(self.running.values())).partitions
        loads = [len(node.led()) for node in self.running.values()]
        copies = [sum(n.follower(p) is not None for n in self.running.values()) for p in range(1, partitions)]
        enough = min(2, len(self.running))
        return len(found) == partitions and max(loads) - min(loads) <= 1 and all(each >= enough for each in copies)

    async def wait_level(self) -> None:
        await eventually(self.is_level)

    def owner(self, stream: Stream) -> Service | None:
        for node in self.running.values():
            place = node.place(node.partition_of(stream))
            if isinstance(place, Local):
                return place.service
        return None

    async def put(self, *events: NewEvent) -> None:
        """Append them, each by its owner, however often that takes."""
        for event in events:
            await eventually(partial(self._is_taken, event))

    async def _is_taken(self, event: NewEvent) -> bool:
        owner = self.owner(event.stream)
        if owner is None:
            return False
        try:
            await owner.ingest.submit([event])
        except StoreUnavailable:
            return False
        return True

    def mute(self, name: str) -> asyncio.Event:
        """Cut a node off from the others, who hear nothing of it any more, until the event is set."""
        membership, again = self.running[name]._membership, asyncio.Event()
        ask = membership._ask

        async def asked(request: Any) -> Any:
            await again.wait()
            return await ask(request)

        membership._ask = asked  # type: ignore[method-assign]
        return again

    async def log_of(self, stream: Stream) -> list[Event]:
        owner = self.owner(stream)
        return [] if owner is None else await owner.store.read(stream)


@asynccontextmanager
async def nodes(topic: KafkaOptions, directory: Path, names: Sequence[str] = ()) -> AsyncIterator[Nodes]:
    """They live as long as the context."""
    found = Nodes(topic, directory)
    try:
        for name in names:
            await found.open(name)
        await found.wait_level()
        yield found
    finally:
        for name in list(found.running):
            await found.close(name)


def bought(lead: str, event_id: str, amount: float = 10, at_us: int = NOW) -> NewEvent:
    data: dict[str, Any] = {"amount": amount}
    raw = msgspec.json.encode(data)
    return NewEvent(Stream("default", "lead", lead), event_id, "purchase_completed", at_us, raw, None)
