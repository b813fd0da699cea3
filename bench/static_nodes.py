"""A node with a map that never changes, over partitions in memory: what the fronts of nodes cost, without Kafka.

``python -m bench.static_nodes --number 0 --urls http://127.0.0.1:1001,http://127.0.0.1:1002``: partition 0 is led by the first
node, each lead partition by one of the others in turn.
"""

import argparse
import asyncio
import signal
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from aiohttp import web

from bench.harness import Server, free_port
from eventstore.event import Stream
from eventstore.kafka_records import key_of, partition_of
from gateway.app import open_service
from gateway.nodes.app import build_front_app
from gateway.nodes.forwarding.cluster import Local, Place, Remote
from gateway.nodes.forwarding.front import Front
from gateway.nodes.forwarding.patience import Changes
from gateway.server import settle_in
from gateway.service import Service
from gateway.sharing import Part
from kernel.clock import SystemClock
from kernel.settings_sources import load_settings

SECRET = "between the nodes of a benchmark"


class StaticCluster:
    """The map, as one of its nodes sees it."""

    generation = 1

    def __init__(self, number: int, urls: Sequence[str], services: Mapping[int, Service], partitions: int) -> None:
        self.url, self.secret, self.partitions = urls[number], SECRET, partitions
        self.shared, self.changes = services[0], Changes()
        self._number, self._urls, self._services = number, urls, services
        self._places: list[Place] = [
            Local(services[each]) if owner(each, len(urls)) == number else Remote(urls[owner(each, len(urls))])
            for each in range(partitions)
        ]

    def partition_of(self, stream: Stream) -> int:
        return partition_of(stream, key_of(stream), self.partitions)

    def place(self, partition: int) -> Place:
        return self._places[partition]

    def follower(self, partition: int) -> Service | None:
        return None

    def led(self) -> Mapping[int, Service]:
        return {each: place.service for each, place in enumerate(self._places) if isinstance(place, Local)}

    def nodes(self) -> Sequence[str]:
        return self._urls

    def not_ready(self) -> list[str]:
        return []


def owner(partition: int, nodes: int) -> int:
    """Which node leads a partition."""
    return 0 if partition == 0 or nodes == 1 else 1 + (partition - 1) % (nodes - 1)


async def serve(number: int, urls: Sequence[str], partitions: int) -> None:
    """Until a signal."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings, clock = load_settings(), SystemClock()
    services = {0: await open_service(settings, paths=None, clock=clock)}
    for each in range(1, partitions):
        if owner(each, len(urls)) == number:
            part = Part(each - 1, partitions - 1)
            services[each] = await open_service(settings, paths=None, clock=clock, shared=services[0], part=part)
    settle_in()
    front = Front(StaticCluster(number, urls, services, partitions))
    runner = web.AppRunner(build_front_app(front), handle_signals=False, access_log=None, auto_decompress=False)
    await runner.setup()
    parts = urlsplit(urls[number])
    await web.TCPSite(runner, parts.hostname, parts.port, backlog=1024).start()
    await stop.wait()
    await front.close()
    await runner.cleanup()
    for service in reversed(list(services.values())):
        await service.close()


def start(nodes: int, partitions: int) -> list[Server]:
    """So many nodes, each a process on the servers' core."""
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(nodes)]
    arguments = ["-m", "bench.static_nodes", "--urls", ",".join(urls), "--partitions", str(partitions), "--number"]
    return [Server([*arguments, str(number)], url=url, ready="/readyz") for number, url in enumerate(urls)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--urls", required=True)
    parser.add_argument("--partitions", type=int, default=2)
    given = parser.parse_args()
    import uvloop

    uvloop.run(serve(given.number, given.urls.split(","), given.partitions))


if __name__ == "__main__":
    main()
