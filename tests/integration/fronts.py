"""Several nodes in one process: each with its front on a real socket, over services in memory that stand for their partitions.

A test hands partitions from node to node, takes them away and lets them be slow; what Kafka does in between has tests of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
from aiohttp.test_utils import TestClient, TestServer

from actors.following import Following
from eventstore.event import Event, Stream
from eventstore.kafka_records import key_of, partition_of
from eventstore.store import EventStore
from eventstore.types import EventTypes
from gateway.app import Paths, open_service
from gateway.nodes.across.claiming import ClaimsAtHome
from gateway.nodes.across.intake import ForwardingRecorder
from gateway.nodes.app import build_front_app
from gateway.nodes.forwarding.cluster import Away, Local, Place, Remote
from gateway.nodes.forwarding.front import Front, FrontOptions
from gateway.nodes.forwarding.patience import Changes
from gateway.service import Service
from gateway.sharing import Part
from kernel.clock import VirtualClock
from kernel.settings import Settings, StoreSettings
from kernel.settings_sources import load_settings
from tests.integration.service import NOW, PATIENT, Door
from tests.patience import eventually

SECRET = " between ä nodes\n"


class Map:
    """Who leads which partition, the same for all nodes unless a test says otherwise."""

    def __init__(self, services: Sequence[Service], shared: Sequence[Service]) -> None:
        self.services, self.shared = services, shared
        self.urls: list[str] = []
        self.leaders: dict[int, int] = {}  # partition → node
        self.away: dict[int, Away] = {}
        self.followers: dict[int, set[int]] = {}  # partition → nodes
        self.believed: dict[int, dict[int, int]] = {}  # node → what it believes instead
        self.generation = 1
        self.behind: dict[int, int] = {}  # node → an older generation that it is at
        self.changes: list[Changes] = []  # of each node

    def move(self, partition: int, node: int) -> None:
        """Hand a partition over, and let everybody know."""
        self.leaders[partition] = node
        self.away.pop(partition, None)
        self.generation += 1
        self.tell()

    def tell(self) -> None:
        for each in self.changes:
            each.tell()


class Followed:
    """The log of what leads share, as the other nodes have it: read here, written and closed by its owner."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def close(self) -> None:
        """Its owner does."""


class FakeCluster:
    """One node's view of the map."""

    def __init__(self, number: int, known: Map) -> None:
        self.number, self.map = number, known
        self.secret = SECRET
        self.changes = Changes()
        known.changes.append(self.changes)
        self.partitions = len(known.services)
        self.shared = known.shared[number]
        self.url = ""

    @property
    def generation(self) -> int:
        return self.map.behind.get(self.number, self.map.generation)

    def partition_of(self, stream: Stream) -> int:
        return partition_of(stream, key_of(stream), self.partitions)

    def place(self, partition: int) -> Place:
        known = self.map
        if partition in known.away:
            return known.away[partition]
        leader = known.believed.get(self.number, {}).get(partition, known.leaders[partition])
        if leader == self.number:
            return Local(self._service(partition))
        return Remote(known.urls[leader])

    def follower(self, partition: int) -> Service | None:
        return self._service(partition) if self.number in self.map.followers.get(partition, ()) else None

    def _service(self, partition: int) -> Service:
        return self.map.services[partition] if partition else self.shared

    def led(self) -> Mapping[int, Service]:
        return {
            partition: self._service(partition)
            for partition, leader in self.map.leaders.items()
            if leader == self.number and partition not in self.map.away
        }

    def not_ready(self) -> list[str]:
        return []

    def nodes(self) -> Sequence[str]:
        return self.map.urls


class Node(Door):
    """A door to one node."""

    def __init__(self, client: Any, front: Front, clock: VirtualClock) -> None:
        super().__init__(client, front.shared, clock)
        self.front = front

    @property
    def address(self) -> str:
        return str(self.client.make_url("/")).rstrip("/")


class Nodes:
    """All of them. ``stop`` ends one as a kill does: its connections break, nobody is told."""

    def __init__(self, doors: Sequence[Node], known: Map, clock: VirtualClock) -> None:
        self.doors, self.map, self.clock = doors, known, clock

    def partition(self, lead: str, org: str = "default") -> int:
        return self.doors[0].front.cluster.partition_of(Stream(org, "lead", lead))

    def leads_at(self, node: int, count: int, org: str = "default") -> list[str]:
        """So many leads that a node owns."""
        found = [f"l{n}" for n in range(400) if self.map.leaders[self.partition(f"l{n}", org)] == node]
        return found[:count]

    async def stop(self, node: int) -> None:
        door = self.doors[node]
        server = door.client.server
        site_server = server.runner.sites and next(iter(server.runner.sites))._server
        if site_server:
            site_server.close()
        for handler in list(server.runner.server.connections):
            handler.force_close()
            if handler.transport is not None:
                handler.transport.abort()
        await eventually(lambda: not server.runner.server.connections)

    async def passing(self, seconds: float) -> None:
        """Let time pass, and do in each what is due."""
        self.clock.advance(seconds)
        for service in (*self.map.services[1:], self.map.services[0]):
            await service.ticker.tick()


@asynccontextmanager
async def running_nodes(
    nodes: int = 3,
    partitions: int = 7,
    settings: Settings | None = None,
    options: FrontOptions | None = None,
    directory: Path | None = None,
    has_copies: bool = False,
) -> AsyncIterator[Nodes]:
    """They live as long as the context. Partition p is led by node p modulo their number.

    Parameters
    ----------
    directory : of the keys.
    has_copies : every node has a copy of its own of what leads share, as it has in life; else they look at the owner's,
        which takes less time to set up.
    """
    settings, clock = settings or load_settings(flags=PATIENT), VirtualClock(NOW)
    async with AsyncExitStack() as stack:
        settings_of_shared = msgspec.structs.replace(settings, store=StoreSettings(kind="memory"))
        paths = None if directory is None else Paths(directory)
        shared = await open_service(settings_of_shared, paths=paths, clock=clock, seed=1)
        stack.push_async_callback(shared.close)
        services = [shared]
        for number in range(partitions - 1):
            part = Part(number, partitions - 1)
            service = await open_service(settings, paths=None, clock=clock, seed=2 + number, shared=shared, part=part)
            stack.push_async_callback(service.close)
            services.append(service)
        everybodys = [shared]
        for number in range(1, nodes):
            copy = await _following(stack, settings, paths, clock, shared, number) if has_copies else shared
            everybodys.append(copy)
        known = Map(services, everybodys)
        known.leaders = {partition: partition % nodes for partition in range(partitions)}
        doors = []
        for number in range(nodes):
            cluster = FakeCluster(number, known)
            front = Front(cluster, options)
            stack.push_async_callback(front.close)
            everybodys[number].recorder = ForwardingRecorder(front)
            everybodys[number].decider.claims = ClaimsAtHome(front)
            client: Any = TestClient(TestServer(build_front_app(front)))
            await client.server.start_server(auto_decompress=False)
            stack.push_async_callback(client.close)
            doors.append(Node(client, front, clock))
            cluster.url = doors[-1].address
            known.urls.append(cluster.url)
        yield Nodes(doors, known, clock)


async def _following(
    stack: AsyncExitStack,
    settings: Settings,
    paths: Paths | None,
    clock: VirtualClock,
    shared: Service,
    number: int,
) -> Service:
    """What leads share, on a node that does not own it: told of each event a moment after its owner."""

    async def log(_: EventTypes) -> EventStore:
        return cast("EventStore", Followed(shared.store))

    if paths is not None:
        paths = Paths(paths.directory / f"node-{number}", paths.directory)
    service = await open_service(settings, paths=paths, clock=clock, seed=100 + number, log=log, is_following=True)
    stack.push_async_callback(service.close)
    told: asyncio.Queue[Sequence[Event]] = asyncio.Queue()

    async def follow() -> None:
        while True:
            events = await told.get()
            await Following(service.host).take(_adopted(events))

    following = asyncio.create_task(follow(), name="following")

    async def stop() -> None:
        shared.host.untap(told.put_nowait)
        following.cancel()
        await asyncio.wait([following])

    shared.host.tap(told.put_nowait)
    stack.push_async_callback(stop)
    return service


def _adopted(events: Sequence[Event]) -> Callable[[], Awaitable[Sequence[Event]]]:
    async def adopt() -> Sequence[Event]:
        return events

    return adopt
