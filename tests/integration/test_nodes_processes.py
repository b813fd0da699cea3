"""Three processes that share a topic, loaded through all of them while they are killed, paused and stopped.

A checker holds the history against what must hold: what was acknowledged is in the topic once and folded once, and no answer
that is not marked stale is older than what its reader knew to be stored. What the changelog promises holds.
"""

import asyncio
import itertools
import json
import random
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bandit.events import DECISION_MADE, decode_settlement
from eventstore.event import Stream
from eventstore.kafka_client import Connections, KafkaOptions
from eventstore.kafka_reader import TopicReader
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic
from tests.integration.changelog import check_changelog
from tests.integration.process import COMMAND, command, environment, free_port
from tests.patience import PATIENCE_S, comes_true

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]

PARTITIONS = 6
SESSION_S = 4.0
AMOUNT = "rfm:monetary_total"
BASE = "/v1/orgs/default"
POLICY = {"arms": [{"id": "a"}, {"id": "b"}], "reward": {"wait_s": 3600, "aggregation": "earliest"}}


class Process:
    """One node: started, killed, paused and started again on the same directory and address."""

    def __init__(self, number: int, topic: KafkaOptions, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._topic, self._directory = topic, directory / f"node{number}"
        self._directory.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        where = ["--kafka", self._topic.brokers, "--topic", self._topic.topic, "--node-url", self.url]
        more = {
            "LEADWHEEL_NODES__SECRET": "a secret that nodes share",
            "LEADWHEEL_NODES__SESSION_TIMEOUT_S": str(SESSION_S),
            "LEADWHEEL_NODES__HEARTBEAT_S": "0.2",
            "LEADWHEEL_NODES__FORWARD_TIMEOUT_S": "2",
            "LEADWHEEL_NODES__CHANGELOG_S": "0.3",
        }
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*COMMAND, "serve", "--data-dir", str(self._directory), "--port", str(self.port), *where],
                env=environment(**more),
                stderr=log,
            )

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """End it in order; its exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(PATIENCE_S)
        self._process = None
        return code

    def said(self, event: str) -> list[dict[str, Any]]:
        """What it logged under a name."""
        lines = (self._directory / "log").read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [each for each in found if each["event"] == event]

    def ask(self, method: str, path: str, body: object = None, timeout_s: float = 3.0) -> tuple[int, Any]:
        """Status and decoded body; 0 where there was no answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except (OSError, ValueError):
            return 0, None

    def is_silent(self, patience_s: float) -> bool:
        """Whether it takes a request, and does not answer it for so long."""
        return self.ask("GET", "/readyz", timeout_s=patience_s)[0] == 0

    def is_whole(self) -> bool:
        """Whether it is ready and somebody answers for every partition."""
        status, body = self.ask("GET", "/readyz", timeout_s=1.0)
        return status == 200 and not body.get("away")


class Load:
    """Writers that go to every node in turn, say everything until it is taken, and read what they have written."""

    def __init__(self, processes: list[Process], writers: int = 4) -> None:
        self._processes = processes
        self._is_over = threading.Event()
        self.stored: dict[str, list[str]] = {}
        self.faults: list[str] = []
        self.waits: dict[int, float] = {}  # writer → the longest that anything it said took to be taken
        self.reads = self.refused = 0
        self.away: list[tuple[str, Any]] = []  # every answer 503: to what, and what it said
        self.rewarded: dict[str, int] = {}  # decision → the value that was acknowledged
        self._taken_by = dict.fromkeys(range(writers), 0)
        self.decided: dict[str, set[str]] = {}  # id that two leads are given → whose it was acknowledged to be
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(writers)]
        self._threads += [threading.Thread(target=self._rival, args=(number,)) for number in range(2)]

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in self._threads:
                thread.join(2 * PATIENCE_S)

    def goes_on(self) -> None:
        """Wait until every writer was acknowledged some more events."""
        goals = {writer: count + 5 for writer, count in self._taken_by.items()}
        wait_until(lambda: all(self._taken_by[writer] >= goal for writer, goal in goals.items()) or bool(self.faults))

    def told_away(self) -> list[tuple[str, Any]]:
        """Answers 503 since the last time that it was asked for."""
        told, self.away = self.away, []
        return told

    def _ask(self, process: Process, method: str, path: str, body: object = None) -> tuple[int, Any]:
        status, answer = process.ask(method, path, body)
        if status == 503:
            self.away.append((path, answer))
        return status, answer

    def longest_wait_s(self) -> float:
        """From when something was said first to when it was taken, since the last time it was asked for."""
        longest, self.waits = max(self.waits.values(), default=0.0), {}
        return longest

    def _insist(self, writer: int, is_taken: Callable[[], bool]) -> bool:
        """Say it again and again until it is taken; False when it never was."""
        began = time.monotonic()
        taken = comes_true(is_taken, every_s=0.02)
        self.waits[writer] = max(self.waits.get(writer, 0.0), time.monotonic() - began)
        return taken

    def _write(self, writer: int) -> None:
        turns = itertools.cycle(self._processes[writer % 3 :] + self._processes[: writer % 3])
        leads = [f"w{writer}-{each}" for each in range(9)]
        for count in itertools.count():
            if self._is_over.is_set():
                return
            lead, event_id = leads[count % 9], f"e{count}"
            event = {"id": event_id, "lead": lead, "type": "purchase_completed", "data": {"amount": 1}}
            if not self._insist(writer, lambda event=event: self._post(next(turns), event)):  # type: ignore[misc]
                self.faults.append(f"{lead} {event_id} was never taken")
                return
            self.stored.setdefault(lead, []).append(event_id)
            self._taken_by[writer] += 1
            self._read(next(turns), lead, len(self.stored[lead]))
            if count % 4 == 0 and not self._decide(turns, writer, count, lead):
                return

    def _rival(self, rival: int) -> None:
        """Decide under the ids that somebody else decides under for another lead, at about the same time."""
        turns = itertools.cycle(self._processes[rival:] + self._processes[:rival])
        for count in itertools.count():
            if self._is_over.wait(0.05):
                return
            asked = {"lead": f"r{rival}-{count % 9}", "decision_id": f"rivals-{int(time.time() * 5)}"}
            process = next(turns)
            status, answer = self._ask(process, "POST", f"{BASE}/policies/offers/decide", asked)
            if status == 200:
                self.decided.setdefault(asked["decision_id"], set()).add(asked["lead"])
            elif status not in (0, 409, 503):
                self.faults.append(f"{asked}: {status} {answer}")

    def _decide(self, turns: Iterator[Process], writer: int, count: int, lead: str) -> bool:
        """Decide and reward, each said again until it is taken; False when it never was."""
        name, value = f"d{writer}-{count}", count % 3
        asked = {"lead": lead, "decision_id": name}
        made, taken = f"{BASE}/policies/offers/decide", f"{BASE}/decisions/{name}/reward"
        is_done = self._insist(writer, lambda: self._taken(next(turns), made, asked)) and self._insist(
            writer, lambda: self._taken(next(turns), taken, {"value": value, "id": "r"})
        )
        if is_done:
            self.rewarded[name] = value
        else:
            self.faults.append(f"{name} was never taken")
        return is_done

    def _taken(self, process: Process, path: str, body: dict[str, Any]) -> bool:
        status, answer = self._ask(process, "POST", path, body)
        if status not in (0, 200, 503):
            self.faults.append(f"{path}: {status} {answer}")
        return status == 200

    def _post(self, process: Process, event: dict[str, Any]) -> bool:
        status, _ = self._ask(process, "POST", f"{BASE}/events", event)
        if status != 200:
            self.refused += 1
        return status == 200

    def _read(self, process: Process, lead: str, stored: int) -> None:
        status, body = self._ask(process, "GET", f"{BASE}/leads/{lead}/features?features={AMOUNT}")
        if status == 200:
            self.reads += 1
            if body["values"][AMOUNT] != stored:
                self.faults.append(f"{lead}: {body['values'][AMOUNT]} was answered as fresh, {stored} were stored")


def wait_until(holds: Callable[[], bool]) -> None:
    assert comes_true(holds), "that took too long"


def led_by(processes: list[Process]) -> dict[int, Process]:
    """Who came to lead each partition last."""
    told = [(each["timestamp"], each["partition"], one) for one in processes for each in one.said("partition_led")]
    return {partition: one for _, partition, one in sorted(told, key=lambda each: each[0])}


def wait_led_without(gone: Process, processes: list[Process]) -> None:
    """Wait until the others lead everything: after a session, where the one that is gone could not say so."""
    wait_until(lambda: gone not in led_by(processes).values())
    wait_until(lambda: all(each.is_whole() for each in processes if each is not gone))


@contextmanager
def three(topic: KafkaOptions, directory: Path) -> Iterator[list[Process]]:
    processes = [Process(number, topic, directory) for number in range(3)]
    try:
        for process in processes:
            process.start()
        wait_until(lambda: all(process.is_whole() for process in processes))
        wait_until(lambda: all(len(process.said("partition_led")) >= 2 for process in processes))
        wait_until(lambda: processes[0].ask("PUT", f"{BASE}/policies/offers", POLICY)[0] == 200)
        yield processes
    finally:
        for process in processes:
            process.kill()


async def history(topic: KafkaOptions) -> tuple[dict[str, list[str]], dict[str, list[float]]]:
    """What the topic holds: each lead's events from outside, in order, and what each decision was settled at.

    No decision is there twice.
    """
    found: dict[str, list[str]] = {}
    made: dict[str, Stream] = {}
    settled: dict[str, list[float]] = {}
    versions: dict[Stream, int] = {}
    async with TopicReader(Connections(topic), dict.fromkeys(range(PARTITIONS), 0)) as reader:
        async for read in reader.events():
            event = read.told.event
            assert event.version == versions.get(event.stream, 0) + 1, f"{event.stream}: a gap, or twice"
            versions[event.stream] = event.version
            if event.type == "reward_settled":
                told = decode_settlement(event.data)
                assert told is not None
                settled.setdefault(told.decision_id, []).append(told.reward)
            elif event.type == DECISION_MADE:
                assert event.id not in made, f"{event.id}: {made[event.id]} and {event.stream}"
                made[event.id] = event.stream
            elif event.stream.kind == "lead" and not event.id.startswith("~"):
                found.setdefault(event.stream.id, []).append(event.id)
    return found, settled


def check(load: Load, topic: KafkaOptions, process: Process) -> None:
    """Hold what was acknowledged against the topic and against what is answered."""
    assert load.faults == []
    for lead, ids in load.stored.items():
        assert value_of(process, lead) == len(ids)
    expected = {name: [value] for name, value in load.rewarded.items()}
    # What could not be settled at once is tried again after some seconds.
    comes_true(lambda: expected.keys() <= asyncio.run(history(topic))[1].keys(), every_s=0.5)
    found, settled = asyncio.run(history(topic))
    for lead, ids in load.stored.items():
        assert found[lead] == ids
    kept = asyncio.run(check_changelog(topic, PARTITIONS))
    assert kept.marks > PARTITIONS
    assert load.stored.keys() <= {stream.id for stream in kept.newest}
    assert {name: settled.get(name) for name in load.rewarded} == expected, "each once, at what was acknowledged"
    assert len(load.decided) > 10
    assert [leads for leads in load.decided.values() if len(leads) > 1] == []


def value_of(process: Process, lead: str) -> float:
    """A lead's fresh value, asked for until somebody answers."""
    found: list[float] = []

    def asked() -> bool:
        status, body = process.ask("GET", f"{BASE}/leads/{lead}/features?features={AMOUNT}")
        found.extend([body["values"][AMOUNT]] if status == 200 else [])
        return bool(found)

    wait_until(asked)
    return found[0]


def test_nothing_is_lost_twice_or_old_while_nodes_are_killed_paused_and_stopped(kafka: Cluster, tmp_path: Path) -> None:
    topic = asyncio.run(new_topic(kafka, partitions=PARTITIONS, attempt_s=5))
    with three(topic, tmp_path) as processes:
        load = Load(processes)
        killed, paused, stopped = processes
        with load.running():
            load.goes_on()

            load.longest_wait_s()
            killed.kill()
            wait_led_without(killed, processes)
            load.goes_on()
            after_kill_s = load.longest_wait_s()
            killed.start()
            wait_until(lambda: all(process.is_whole() for process in processes))

            paused.send(signal.SIGSTOP)
            wait_led_without(paused, processes)
            paused.send(signal.SIGCONT)
            wait_until(lambda: all(process.is_whole() for process in processes))
            load.goes_on()

            load.longest_wait_s()
            load.told_away()
            assert stopped.stop() == 0
            wait_until(lambda: killed.is_whole() and paused.is_whole())
            load.goes_on()
            after_stop_s = load.longest_wait_s()
            stopped.start()
            wait_until(lambda: all(process.is_whole() for process in processes))
            wait_until(lambda: len(stopped.said("partition_led")) > 2)  # some have come back to it
            told_away = load.told_away()
        assert told_away == [], "who is stopped and started in order is not noticed"
        print(
            f"waited after kill -9 {after_kill_s:.2f} s, after a planned stop {after_stop_s:.2f} s, {load.reads} reads"
        )
        assert load.reads > 100
        assert len(load.rewarded) > 30
        check(load, topic, killed)
        # Not more than the session, and what the takeover takes; a planned stop waits for no session.
        assert 0.5 < after_kill_s < SESSION_S + 4
        assert after_stop_s < SESSION_S


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ({"LEADWHEEL_NODES__SECRET": ""}, 2, "nodes.secret: expected 16 characters or more"),
        ({"LEADWHEEL_NODES__SESSION_TIMEOUT_S": "1.2"}, 3, "group.min.session.timeout.ms"),
        ({"LEADWHEEL_KAFKA__TOPIC": "nowhere"}, 3, "leadwheel create-topic makes one"),
    ],
)
def test_a_node_that_cannot_start_says_why_in_a_line(
    kafka: Cluster, tmp_path: Path, more: dict[str, str], code: int, said: str
) -> None:
    topic = asyncio.run(new_topic(kafka, partitions=2, attempt_s=5))
    given = {
        "LEADWHEEL_NODES__SECRET": "a secret that nodes share",
        "LEADWHEEL_NODES__HEARTBEAT_S": "0.2",
        "LEADWHEEL_NODES__URL": "http://127.0.0.1:1",
        "LEADWHEEL_SERVER__PORT": str(free_port()),
        "LEADWHEEL_KAFKA__TOPIC": topic.topic,
    }
    ended = command("serve", "--data-dir", str(tmp_path), "--kafka", topic.brokers, **(given | more))
    assert ended.returncode == code
    (line,) = [each for each in ended.stderr.splitlines() if each.startswith("leadwheel: ")]
    assert said in line
    assert "Traceback" not in ended.stderr


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_to_nodes_nothing_is_lost_twice_or_old(kafka: Cluster, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    topic = asyncio.run(new_topic(kafka, partitions=PARTITIONS, attempt_s=5))
    with three(topic, tmp_path) as processes:
        load = Load(processes)
        with load.running():
            for _ in range(12):
                chosen = chance.choice(processes)
                match chance.choice(["kill", "stop", "pause", "blink"]):
                    case "kill":
                        chosen.kill()
                        if chance.random() < 0.5:  # else it is back before anybody else leads
                            wait_led_without(chosen, processes)
                        chosen.start()
                    case "stop":
                        assert chosen.stop() == 0
                        if chance.random() < 0.5:
                            wait_led_without(chosen, processes)
                        chosen.start()
                    case "pause":
                        chosen.send(signal.SIGSTOP)
                        assert chosen.is_silent(chance.uniform(SESSION_S, 3 * SESSION_S))
                        chosen.send(signal.SIGCONT)
                    case "blink":  # shorter than a session
                        chosen.send(signal.SIGSTOP)
                        assert chosen.is_silent(chance.uniform(0.01, SESSION_S))
                        chosen.send(signal.SIGCONT)
                if chance.random() < 0.6:  # else the next comes on top
                    wait_until(lambda: all(process.is_whole() for process in processes))
            wait_until(lambda: all(process.is_whole() for process in processes))
        print(f"{load.reads} reads, {sum(map(len, load.stored.values()))} events, {len(load.rewarded)} decisions")
        check(load, topic, processes[0])


def metric(process: Process, name: str) -> float:
    with urllib.request.urlopen(f"{process.url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@pytest.mark.deep
def test_a_planned_stop_hands_over_20000_awake_leads_within_two_seconds(kafka: Cluster, tmp_path: Path) -> None:
    topic = asyncio.run(new_topic(kafka, partitions=PARTITIONS, attempt_s=5))
    with three(topic, tmp_path) as processes:
        for start in range(0, 60_000, 4000):
            events = [
                {"lead": f"m{number}", "id": "p", "type": "purchase_completed", "data": {"amount": 1}}
                for number in range(start, start + 4000)
            ]
            status, body = processes[0].ask("POST", f"{BASE}/events", events, timeout_s=60)
            assert (status, body["accepted"]) == (200, 4000)
        awake = {process.port: metric(process, "leadwheel_actors_awake") for process in processes}
        leaving = max(processes, key=lambda process: awake[process.port])
        assert awake[leaving.port] >= 20_000
        others = [process for process in processes if process is not leaving]
        load = Load(others)
        with load.running():
            load.goes_on()
            load.longest_wait_s()
            assert leaving.stop() == 0
            wait_until(lambda: all(process.is_whole() for process in others))
            load.goes_on()
            longest_s = load.longest_wait_s()
        wait_until(lambda: sum(metric(each, "leadwheel_actors_awake") - awake[each.port] for each in others) >= 20_000)
        taken_s = max(handovers_s(leaving, others))
        leads = f"{awake[leaving.port]:.0f} leads awake"
        print(f"handed over in {taken_s:.2f} s, nothing waited for more than {longest_s:.2f} s, {leads}")
        assert taken_s < 2
        assert load.faults == []


def handovers_s(leaving: Process, others: list[Process]) -> list[float]:
    """From when each partition was given back at last to when somebody led it."""
    given = {
        each["partition"]: datetime.fromisoformat(each["timestamp"]) for each in leaving.said("partition_given_back")
    }
    led = [
        (each["partition"], datetime.fromisoformat(each["timestamp"]))
        for process in others
        for each in process.said("partition_led")
    ]
    found = [min(at for where, at in led if where == partition and at > since) for partition, since in given.items()]
    return [(at - since).total_seconds() for at, since in zip(found, given.values(), strict=True)]
