"""One, two and three nodes on one topic: what a durable event costs them together, and how long a planned stop leaves leads to others.

Each event is stored and folded by the node that has its lead, and followed by one standby where there is one. All nodes share one
core, the broker the other one with the load: rates say little here, processor time of all nodes together says what a further
node adds to the work. Events and reads come to one node, so of n nodes n - 1 parts in n are sent on. When a burst of events is
acknowledged, standbys are behind by so many of them (``lag_events``), and have them so much later (``lag_ms``).
"""

import http.client
import json
import signal
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.events import batches
from bench.harness import (
    LOAD_CORE,
    Claim,
    Server,
    Skipped,
    command,
    cpu_s,
    fetch,
    free_port,
    pin_self,
    private_bytes,
    report,
    run_main,
    say,
    scratch,
    write_settings,
)
from bench.posting import post_all
from tests.broker.cluster import Cluster, missing_tools, running_cluster

COUNTS, ROUNDS, LEADS_A_ROUND, PER_LEAD, SIZE, PARTITIONS = (1, 2, 3), 3, 1000, 20, 1000, 12
EVENTS_A_ROUND = LEADS_A_ROUND * PER_LEAD
AWAKE, READS = 20_000, 3000
SETTLE_S = 60.0


def main() -> None:
    if missing := missing_tools():
        raise Skipped(f"not installed: {', '.join(missing)}")
    pin_self(LOAD_CORE)
    say(
        f"kafka_nodes: {ROUNDS} x {EVENTS_A_ROUND:,} events, {PARTITIONS} partitions, one standby; a stop with {AWAKE:,} leads awake"
    )
    figures: dict[str, float] = {}
    with scratch() as directory, running_cluster(directory / "kafka") as cluster:
        for count in COUNTS:
            with nodes(directory, cluster, count) as servers:
                cost = [posting(servers, number) for number in range(ROUNDS)]
                figures[f"cpu_us_per_event_{count}"] = statistics.median(cost)
                say(f"  {count} nodes: {figures[f'cpu_us_per_event_{count}']:.1f} µs of all of them for an event")
                figures[f"cpu_us_per_read_{count}"] = reading(servers)
                say(f"  {count} nodes: {figures[f'cpu_us_per_read_{count}']:.1f} µs of all of them for a read")
                if count > 1:
                    lag_ms, lag_events = lag_after_burst(
                        servers, [directory / f"{count}-{number}" for number in range(count)]
                    )
                    figures |= {f"lag_ms_{count}": lag_ms, f"lag_events_{count}": lag_events}
                    say(f"  {count} nodes: standbys {lag_events:.0f} events behind after a burst, for {lag_ms:.0f} ms")
                if count == COUNTS[-1]:
                    figures["handover_ms"] = handover(servers)
        figures |= partition_cost(directory, cluster)
    ratio = figures["cpu_us_per_event_3"] / figures["cpu_us_per_event_1"]
    report(
        "kafka_nodes",
        [
            Claim("an event on three nodes with a standby", ratio, 4, "of one node's, all together", True),
            Claim("planned stop, 20,000 leads awake", figures["handover_ms"] / 1000, 2, "s", True),
        ],
        figures,
    )


@contextmanager
def nodes(directory: Path, cluster: Cluster, count: int) -> Iterator[list[Server]]:
    """So many nodes on a topic of their own, which they have shared out."""
    topic = ("--kafka", cluster.bootstrap, "--topic", f"nodes-{count}")
    command("create-topic", *topic, "--partitions", str(PARTITIONS), "--data-dir", str(directory))
    with ExitStack() as stack:
        servers = [stack.enter_context(node(directory / f"{count}-{number}", topic)) for number in range(count)]
        wait_until(lambda: all(said(server, "partition_led") for server in servers), "each node leads something")
        time.sleep(5)  # until nothing is handed over any more
        yield servers


def node(data: Path, topic: Sequence[str]) -> Server:
    """A node that listens, and joins the others."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    write_settings(data, "[nodes]", f'secret = "{"s" * 20}"')
    arguments = ["-m", "gateway.cli", "serve", "--data-dir", str(data), "--port", str(port), *topic, "--node-url", url]
    return Server(arguments, url=url, ready="/readyz", timeout_s=120)


def partition_cost(directory: Path, cluster: Cluster) -> dict[str, float]:
    """Memory and threads of a node for each partition that it leads, none of which has an event."""
    found = {}
    for partitions in (2, 2 * PARTITIONS):
        topic = ("--kafka", cluster.bootstrap, "--topic", f"empty-{partitions}")
        command("create-topic", *topic, "--partitions", str(partitions), "--data-dir", str(directory))
        with node(directory / f"empty-{partitions}", topic) as server:
            wait_until(lambda: len(said(server, "partition_led")) == partitions, "it leads all")  # noqa: B023
            time.sleep(2)
            pid = server.process.pid
            found[partitions] = private_bytes(pid) / 1e6, len(list(Path(f"/proc/{pid}/task").iterdir()))
    (few_mb, few_threads), (many_mb, many_threads) = found[2], found[2 * PARTITIONS]
    more = 2 * PARTITIONS - 2
    return {
        "empty_node_mb": few_mb,
        "mb_per_partition": (many_mb - few_mb) / more,
        "threads_per_partition": (many_threads - few_threads) / more,
    }


def posting(servers: list[Server], number: int) -> float:
    """Processor time of all nodes for an event that came to the first one, until standbys have it, too."""
    leads = range(number * LEADS_A_ROUND, (number + 1) * LEADS_A_ROUND)
    before_s = sum(cpu_s(server.process.pid) for server in servers)
    post_all(servers[0].url, list(batches(leads, PER_LEAD, SIZE)))
    still_s = sum(cpu_s(server.process.pid) for server in servers)
    while True:
        time.sleep(0.5)
        now_s = sum(cpu_s(server.process.pid) for server in servers)
        if now_s - still_s < 0.06 * len(servers):  # what they need with nothing to do
            return (now_s - before_s) / EVENTS_A_ROUND * 1e6
        still_s = now_s


def reading(servers: list[Server]) -> float:
    """Processor time of all nodes for a vector that the first one is asked for, one after the other."""
    parts = urlsplit(servers[0].url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    before_s = sum(cpu_s(server.process.pid) for server in servers)
    for number in range(READS):
        connection.request("GET", f"/v1/orgs/default/leads/lead-{number % LEADS_A_ROUND:06d}/features")
        response = connection.getresponse()
        if response.status != 200 or not response.read():
            raise RuntimeError(f"a read was answered {response.status}")
    spent_s = sum(cpu_s(server.process.pid) for server in servers) - before_s
    connection.close()
    return spent_s / READS * 1e6


def lag_after_burst(servers: list[Server], directories: Sequence[Path]) -> tuple[float, float]:
    """How long after the last acknowledgement of a burst all copies have it, in ms; by how many events they were behind then."""
    post_all(servers[0].url, list(batches(range(50_000, 50_000 + LEADS_A_ROUND), PER_LEAD, SIZE)))
    acknowledged_s = time.monotonic()
    first = behind = events_behind(directories)
    while behind:
        if time.monotonic() > acknowledged_s + SETTLE_S:
            raise RuntimeError(f"copies are still {behind} events apart")
        time.sleep(0.005)
        behind = events_behind(directories)
    return (time.monotonic() - acknowledged_s) * 1e3, first


def events_behind(directories: Sequence[Path]) -> int:
    """Events that some copy of their partition has and another one has not.

    A file without any is not a copy: its node gave the partition up as the others came, before the first event.
    """
    found = 0
    for partition in range(PARTITIONS):
        files = [each / "partitions" / f"{partition:04d}" / "events.db" for each in directories]
        positions = [last_position(file) for file in files if file.exists()]
        copies = [position for position in positions if position]
        found += max(copies, default=0) - min(copies, default=0)
    return found


def last_position(file: Path) -> int:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        (position,) = connection.execute("SELECT COALESCE(MAX(position), 0) FROM events").fetchone()
    return int(position)


def handover(servers: list[Server]) -> float:
    """How long a node that is told to stop takes to give its leads to others, as it says itself."""
    post_all(servers[0].url, list(batches(range(100_000, 100_000 + AWAKE), 1, 2000)))
    fetch(servers[1].url + "/readyz")
    time.sleep(3)
    servers[0].process.send_signal(signal.SIGTERM)
    wait_until(lambda: bool(said(servers[0], "handed_over")), "the node hands over")
    return float(said(servers[0], "handed_over")[-1]["taken_ms"])


def said(server: Server, event: str) -> list[dict[str, object]]:
    """Lines of a server's log."""
    log = Path(f"/proc/self/fd/{server._log.fileno()}").read_bytes()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith(b"{")]
    return [line for line in lines if line["event"] == event]


def wait_until(holds: Callable[[], bool], what: str) -> None:
    began_s = time.monotonic()
    while not holds():
        if time.monotonic() - began_s > SETTLE_S:
            raise RuntimeError(f"not within {SETTLE_S} s: {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    run_main(main)
