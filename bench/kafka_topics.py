"""What other topics cost a service on SQLite: a message that is read, an event while all changes are told, one while events are.

Three services take the same events in turns, on one core: one without topics, one that tells decisions and alerts, one that tells all. Then a
fourth reads messages that stand in a topic. The broker shares the other core with the load, so processor time is what counts.
"""

import asyncio
import json
import statistics
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.events import batches, lead_events
from bench.harness import (
    LOAD_CORE,
    Claim,
    Server,
    Skipped,
    cpu_s,
    in_turns,
    leadwheel,
    pin_self,
    report,
    run_main,
    say,
    scratch,
    write_settings,
)
from bench.posting import post_all
from tests.broker.cluster import missing_tools, running_cluster

ROUNDS, LEADS_A_ROUND, PER_LEAD, SIZE = 3, 400, 30, 500
EVENTS_A_ROUND = LEADS_A_ROUND * PER_LEAD
MESSAGES = 30_000
SETTLE_S = 60.0


class Telling:
    """A service, and what its turns cost, until everything that they brought about was told."""

    def __init__(self, server: Server, bodies: Iterator[list[bytes]], *, is_telling: bool) -> None:
        self._server, self._bodies, self._is_telling = server, bodies, is_telling
        self.cpu_us: list[float] = []
        self.told = 0.0

    def post(self) -> float:
        before_s, told = cpu_s(self._server.process.pid), metric(self._server, "sent")
        rate = post_all(self._server.url, next(self._bodies))
        if self._is_telling:
            wait_still(self._server, told + EVENTS_A_ROUND / 2)
        self.told = metric(self._server, "sent")
        self.cpu_us.append((cpu_s(self._server.process.pid) - before_s) / EVENTS_A_ROUND * 1e6)
        return rate


def main() -> None:
    if missing := missing_tools():
        raise Skipped(f"not installed: {', '.join(missing)}")
    pin_self(LOAD_CORE)
    say(f"kafka_topics: {ROUNDS} x {EVENTS_A_ROUND:,} events, {MESSAGES:,} messages")
    with scratch() as directory, running_cluster(directory / "kafka") as cluster:
        brokers = f'[kafka]\nbrokers = "{cluster.bootstrap}"'
        asyncio.run(make_topics(cluster.bootstrap, "events-out", "all-out", "shop"))
        out = "[org.default.topics_out.out]\ntopic = "
        with (
            leadwheel(write_settings(directory / "none")) as none,
            leadwheel(
                write_settings(directory / "events", brokers, f'{out}"events-out"\nkinds = ["decision", "alert"]')
            ) as events,
            leadwheel(write_settings(directory / "all", brokers, f'{out}"all-out"')) as everything,
        ):
            time.sleep(3)
            sides = {
                "none": Telling(none, rounds(), is_telling=False),
                "events": Telling(events, rounds(), is_telling=False),
                "all": Telling(everything, rounds(), is_telling=True),
            }
            rates = in_turns(ROUNDS, **{name: side.post for name, side in sides.items()})
        reading = read_messages(directory, cluster.bootstrap, brokers)
    cost = {name: statistics.median(side.cpu_us) for name, side in sides.items()}
    report(
        "kafka_topics",
        [
            Claim(
                "an event while all changes are told",
                cost["all"] / cost["none"],
                12,
                "of one that nobody is told",
                True,
            )
        ],
        {
            **{f"{name}_cpu_us_per_event": each for name, each in cost.items()},
            **{f"{name}_events_per_s": each for name, each in rates.items()},
            "messages_told_per_event": sides["all"].told / (ROUNDS * EVENTS_A_ROUND),
            **reading,
        },
    )


def rounds() -> Iterator[list[bytes]]:
    for first in range(0, ROUNDS * LEADS_A_ROUND, LEADS_A_ROUND):
        yield list(batches(range(first, first + LEADS_A_ROUND), PER_LEAD, SIZE))


def read_messages(directory: Path, bootstrap: str, brokers: str) -> dict[str, float]:
    """Rate and processor time of messages that stood in the topic before the service began."""
    asyncio.run(fill(bootstrap))
    table = '[org.default.topics_in.shop]\ntopic = "shop"'
    with leadwheel(write_settings(directory / "empty")) as empty:
        plain_cpu_s = cpu_s(empty.process.pid)
    with leadwheel(write_settings(directory / "reading", brokers, table)) as server:
        began_s = time.monotonic()
        while metric(server, "accepted") < MESSAGES:
            if time.monotonic() - began_s > SETTLE_S:
                raise RuntimeError(f"{metric(server, 'accepted'):,.0f} messages of {MESSAGES:,} in {SETTLE_S} s")
            time.sleep(0.1)
        took_s = time.monotonic() - began_s
        return {
            "read_messages_per_s": MESSAGES / took_s,
            "read_cpu_us_per_message": (cpu_s(server.process.pid) - plain_cpu_s) / MESSAGES * 1e6,
        }


async def make_topics(bootstrap: str, *names: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, num_partitions=4, replication_factor=1) for name in names])
    await admin.close()


async def fill(bootstrap: str) -> None:
    """Messages that are events as they are posted."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=20)
    await producer.start()
    for event in events_of(range(MESSAGES // PER_LEAD)):
        await producer.send("shop", json.dumps(event).encode(), event["lead"].encode())
    await producer.stop()


def events_of(leads: Sequence[int]) -> Iterator[dict[str, Any]]:
    for number in leads:
        yield from lead_events(number, PER_LEAD)


def metric(server: Server, outcome: str) -> float:
    """How many messages had an outcome; 0 where the service has no such metric."""
    with urllib.request.urlopen(server.url + "/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    wanted = [line for line in lines if line.startswith("leadwheel_topic_messages_total{") and f'"{outcome}"' in line]
    return float(wanted[0].rpartition(" ")[2]) if wanted else 0.0


def wait_still(server: Server, least: float) -> None:
    """Until at least so many messages were told, and no more for a second."""
    began_s, last = time.monotonic(), -1.0
    while True:
        told = metric(server, "sent")
        if told == last and told >= least:
            return
        if time.monotonic() - began_s > SETTLE_S:
            raise RuntimeError(f"{told:,.0f} messages were told, expected {least:,.0f}")
        last = told
        time.sleep(1)


if __name__ == "__main__":
    run_main(main)
