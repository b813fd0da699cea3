"""A service whose log is a Kafka topic: killed, replaced, paused; another machine goes on where it stopped."""

import asyncio
import json
import signal
import subprocess
import threading
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from eventstore.event import Event
from eventstore.kafka import open_kafka
from eventstore.kafka_client import KafkaOptions
from kernel.clock import SystemClock
from kernel.ids import Position
from kernel.times import format_time
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic
from tests.contract.store_events import TYPES
from tests.integration.process import call, command, serving

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]

EVENTS = "/v1/orgs/default/events"
AT = "2026-03-01T00:00:00Z"


def a_topic(kafka: Cluster) -> KafkaOptions:
    return asyncio.run(new_topic(kafka))


def flags(topic: KafkaOptions) -> tuple[str, ...]:
    return "--kafka", topic.brokers, "--topic", topic.topic


def purchases(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"e{n}",
            "lead": f"l{n % 7}",
            "type": "purchase_completed",
            "time": f"2026-02-{1 + n % 27:02}T10:00:{n % 60:02}Z",
            "data": {"amount": n},
        }
        for n in range(first, first + count)
    ]


def post(url: str, events: list[dict[str, Any]]) -> tuple[int, Any]:
    return call(url + EVENTS, json.dumps(events).encode())


def vectors(url: str) -> list[Any]:
    answers = [
        call(f"{url}/v1/orgs/default/leads/l{n}/features?at={AT}&known_at=2027-01-01T00:00:00Z") for n in range(7)
    ]
    assert [status for status, _ in answers] == [200] * 7
    return [body["values"] for _, body in answers]


def events_of(topic: KafkaOptions, directory: Path) -> list[Event]:
    async def read() -> list[Event]:
        store = await open_kafka(directory, kafka=topic, owner="checker", types=TYPES, clock=SystemClock())
        try:
            found: list[Event] = []
            while page := await store.read_log(after=found[-1].position if found else Position(0)):
                found += page
            return found
        finally:
            await store.close()

    return asyncio.run(read())


def test_a_node_that_is_killed_under_load_is_followed_by_one_that_has_all_it_acknowledged(
    kafka: Cluster, tmp_path: Path
) -> None:
    topic = a_topic(kafka)
    acknowledged: list[str] = []
    enough = threading.Event()

    def load(url: str, caller: int) -> None:
        for turn in range(400):
            batch = purchases(caller * 100_000 + turn * 5, 5)
            try:
                status, _ = post(url, batch)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return
            if status == 200:
                acknowledged.extend(event["id"] for event in batch)
            if len(acknowledged) >= 300:
                enough.set()

    with serving(tmp_path / "one", *flags(topic)) as (url, process):
        callers = [threading.Thread(target=load, args=(url, number)) for number in range(4)]
        for caller in callers:
            caller.start()
        assert enough.wait(60)
        process.kill()
        for caller in callers:
            caller.join(60)
    with serving(tmp_path / "two", *flags(topic)) as (url, process):
        served = vectors(url)
        process.terminate()
        assert process.wait(20) == 0
    log = events_of(topic, tmp_path / "checker")
    ids = [event.id for event in log]
    assert set(acknowledged) <= set(ids)
    assert len(set(ids)) == len(ids)
    with serving(tmp_path / "plain") as (url, _):
        for start in range(0, len(log), 500):
            sent = [
                {
                    "id": event.id,
                    "lead": event.stream.id,
                    "type": event.type,
                    "time": format_time(event.at_us),
                    "data": json.loads(event.data),
                }
                for event in log[start : start + 500]
            ]
            assert post(url, sent)[0] == 200
        assert vectors(url) == served, "a node on SQLite that was given the same events"


def test_a_paused_node_that_was_replaced_cannot_append_and_ends(kafka: Cluster, tmp_path: Path) -> None:
    topic = a_topic(kafka)
    with serving(tmp_path / "old", *flags(topic)) as (old_url, old):
        assert post(old_url, purchases(0, 10))[0] == 200
        old.send_signal(signal.SIGSTOP)
        with serving(tmp_path / "new", *flags(topic)) as (new_url, _):
            assert post(new_url, purchases(5, 10)) == (
                200,
                {"accepted": 5, "duplicates": 5, "rejected": [], "dead": 0, "last_position": "0000000000000015"},
            )
            old.send_signal(signal.SIGCONT)
            try:
                status, _ = post(old_url, purchases(100, 10))
            except (urllib.error.URLError, ConnectionError):
                status = 0  # it ended before it answered
            assert status != 200
            assert old.wait(30) == 74
            status, again = post(new_url, purchases(0, 15))
            assert (status, again["duplicates"]) == (200, 15)
    assert sorted(event.id for event in events_of(topic, tmp_path / "checker")) == sorted(f"e{n}" for n in range(15))


def test_what_cannot_be_served_is_said_in_one_line(kafka: Cluster, tmp_path: Path) -> None:
    def said(*arguments: str) -> tuple[int, str]:
        run: subprocess.CompletedProcess[str] = command("serve", "--data-dir", str(tmp_path / "data"), *arguments)
        return run.returncode, run.stderr.strip().splitlines()[-1]

    code, line = said("--kafka", kafka.bootstrap, "--topic", "nowhere")
    assert (code, "nowhere" in line, "expected a topic that exists" in line) == (3, True, True), line
    code, line = said("--kafka", "127.0.0.1:1", "--topic", "nowhere")
    assert (code, "127.0.0.1:1 do not answer" in line) == (3, True), line
    code, line = said("--kafka", "nonsense", "--topic", "nowhere")
    assert (code, "expected HOST:PORT" in line) == (2, True), line
    code, line = said("--kafka", kafka.bootstrap)
    assert (code, "kafka.topic" in line) == (2, True), line


def test_the_command_makes_a_topic_that_is_fit(kafka: Cluster, tmp_path: Path) -> None:
    where = ("--kafka", kafka.bootstrap, "--topic", "made-by-command", "--data-dir", str(tmp_path))
    made = command("create-topic", *where, "--partitions", "4")
    assert (made.returncode, made.stderr.strip()) == (0, "made made-by-command: 4 partitions, 1 of each")
    again = command("create-topic", *where)
    assert again.returncode == 3
    assert "already exists" in again.stderr
    with serving(tmp_path / "data", "--kafka", kafka.bootstrap, "--topic", "made-by-command") as (url, _):
        assert post(url, purchases(0, 3))[0] == 200
