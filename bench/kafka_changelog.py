"""A node that writes the changelog beside one that does not: what a snapshot costs, how large it is, how fast all of them are read.

Each node leads every partition of a topic of its own. The same events are posted to both in turns of equal length: many for each lead,
then one for each of many leads. The difference in processor time, by the snapshots written, is the cost of one.
"""

import asyncio
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from bench.events import batches
from bench.harness import (
    LOAD_CORE,
    Claim,
    Server,
    Skipped,
    command,
    cpu_s,
    free_port,
    pin_self,
    report,
    run_main,
    say,
    scratch,
    write_settings,
)
from bench.posting import post_all
from eventstore.changelog import Kept
from eventstore.kafka_changelog import read_changelog
from eventstore.kafka_client import Connections, KafkaOptions
from tests.broker.cluster import Cluster, missing_tools, running_cluster

ROUNDS, PARTITIONS, SIZE = 3, 12, 1000
LEADS, PER_LEAD, SPREAD = 1000, 20, 20_000
INTERVAL_S = 2
TURN_S = 9


def main() -> None:
    if missing := missing_tools():
        raise Skipped(f"not installed: {', '.join(missing)}")
    pin_self(LOAD_CORE)
    say(
        f"kafka_changelog: {ROUNDS} x {LEADS * PER_LEAD:,} events of {LEADS:,} leads, and of {SPREAD:,}; every {INTERVAL_S} s"
    )
    figures: dict[str, float] = {}
    with scratch() as directory, running_cluster(directory / "kafka") as cluster, ExitStack() as stack:
        off = stack.enter_context(node(directory, cluster, "off", 0))
        on = stack.enter_context(node(directory, cluster, "on", INTERVAL_S))
        time.sleep(5)
        for name, leads, per_lead in (("dense", LEADS, PER_LEAD), ("spread", SPREAD, 1)):
            costs = []
            for number in range(ROUNDS):
                first = (number + (name == "spread") * ROUNDS) * SPREAD
                events = list(batches(range(first, first + leads), per_lead, SIZE))
                without_s, _ = turn(off, events)
                with_s, records = turn(on, events)
                costs.append((without_s, with_s, records))
            count = leads * per_lead
            figures[f"{name}_us_per_event_without"] = median(each[0] for each in costs) / count * 1e6
            figures[f"{name}_us_per_event"] = median(each[1] for each in costs) / count * 1e6
            figures[f"{name}_records_per_event"] = sum(each[2] for each in costs) / count / ROUNDS
            spent_s = sum(with_s - without_s for without_s, with_s, _ in costs)
            figures[f"{name}_us_per_record"] = spent_s / sum(each[2] for each in costs) * 1e6
            say(f"  {name}: { ({k: round(v, 2) for k, v in figures.items() if k.startswith(name)}) }")
        figures |= asyncio.run(reading(KafkaOptions(brokers=cluster.bootstrap, topic="on")))
        files = (directory / "kafka").rglob("on.changelog-*/*.log")
        figures["topic_bytes_per_record"] = sum(path.stat().st_size for path in files) / figures["records"]
    ratio = figures["spread_us_per_event"] / figures["spread_us_per_event_without"]
    report("kafka_changelog", [Claim("an event of a lead of its own", ratio, 3, "of one without", True)], figures)


@contextmanager
def node(directory: Path, cluster: Cluster, name: str, interval_s: float) -> Iterator[Server]:
    topic, data, port = ("--kafka", cluster.bootstrap, "--topic", name), directory / f"node-{name}", free_port()
    command("create-topic", *topic, "--partitions", str(PARTITIONS), "--data-dir", str(directory))
    url = f"http://127.0.0.1:{port}"
    write_settings(data, "[nodes]", f'secret = "{"s" * 20}"', f"changelog_s = {interval_s}")
    arguments = ["-m", "gateway.cli", "serve", "--data-dir", str(data), "--port", str(port), *topic, "--node-url", url]
    with Server(arguments, url=url, ready="/readyz", timeout_s=120) as server:
        yield server


def turn(server: Server, events: list[bytes]) -> tuple[float, float]:
    """Processor time of some seconds in which events are posted, and the snapshots that were written of them."""
    began_s = time.monotonic()
    before_s, before = cpu_s(server.process.pid), metric(server, "leadwheel_changelog_records_total")
    post_all(server.url, events)
    time.sleep(max(0.0, began_s + TURN_S - time.monotonic()))
    if metric(server, "leadwheel_changelog_lag"):
        raise RuntimeError(f"not all was written within {TURN_S} s")
    return cpu_s(server.process.pid) - before_s, metric(server, "leadwheel_changelog_records_total") - before


async def reading(options: KafkaOptions) -> dict[str, float]:
    """How large snapshots are, and how fast a new owner reads them."""
    connections = Connections(options)
    began_s, records, state_bytes, ids = time.process_time(), 0, 0, 0
    for partition in range(PARTITIONS):
        async for each in read_changelog(connections, partition):
            if isinstance(each, Kept) and each.snapshot is not None and each.ids is not None:
                records += 1
                state_bytes += len(each.snapshot.state)
                ids += len(each.ids)
    took_s = time.process_time() - began_s
    return {
        "records": records,
        "read_us_per_record": took_s / records * 1e6,
        "state_bytes_per_record": state_bytes / records,
        "ids_bytes_per_record": ids / records,
    }


def metric(server: Server, name: str) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


if __name__ == "__main__":
    run_main(main)
