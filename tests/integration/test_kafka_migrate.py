"""A log is moved to a topic and back: compared before it is done, gone on with when broken off, never mixed with another."""

import asyncio
import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from eventstore.event import Event
from eventstore.kafka import open_kafka
from eventstore.kafka_client import Connections, KafkaOptions
from eventstore.kafka_move import _Sending, cut_off, send_log
from eventstore.kafka_partition import PartitionWriter
from eventstore.kafka_records import key_of, partition_of, record_of
from eventstore.memory import MemoryEventStore
from eventstore.sqlite import SqliteEventStore
from eventstore.store import START, EventStore
from eventstore.upcasters import Upcasters
from gateway.keyring import create_key
from gateway.migrating import Moved, from_kafka, to_kafka
from kernel.clock import SystemClock, VirtualClock
from kernel.errors import (
    DirectoryInUse,
    LogIsNoCopy,
    MoveDiffers,
    MoveRefused,
    OwnershipLost,
    RecordTooLarge,
    SettingsError,
    StoreUnavailable,
    TopicUnfit,
)
from kernel.ids import Position
from kernel.settings import Settings
from kernel.settings_sources import load_settings
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic
from tests.contract.store_events import T0, TYPES, lead, new_event, purchase, retraction
from tests.contract.store_suite import content
from tests.integration.process import call, command, serving

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]

AT = "2026-03-01T00:00:00Z"
POLICY: dict[str, Any] = {
    "arms": [{"id": "a"}, {"id": "b"}],
    "learner": {"kind": "linear"},
    "reward": {"wait_s": 3600, "aggregation": "earliest"},
}


async def opened(directory: Path) -> SqliteEventStore:
    return await SqliteEventStore.open(directory, types=TYPES, clock=SystemClock())


async def copied(directory: Path, topic: KafkaOptions, owner: str) -> SqliteEventStore:
    return await open_kafka(directory, kafka=topic, owner=owner, types=TYPES, clock=SystemClock())


async def whole(store: EventStore) -> list[tuple[object, ...]]:
    found, after = [], START
    while page := await store.read_log(after=after):
        found += [(event.position, *content(event)) for event in page]
        after = page[-1].position
    return found


async def filled(directory: Path, count: int = 300) -> SqliteEventStore:
    store = await opened(directory)
    for turn in range(0, count, 50):
        await store.append([purchase(lead(f"l{n % 17}"), f"e{n}", n % 50) for n in range(turn, turn + 50)])
    await store.append([retraction(lead("l1"), "r1", "e1"), new_event(lead("s"), "~x:1")])
    return store


class Broken(Exception):
    """The process ended here."""


class BreaksOff:
    """A log that can be read up to some position, once it has been read as a whole before."""

    def __init__(self, store: EventStore, until: int) -> None:
        self._store, self._until = store, until

    async def last_position(self) -> Position:
        return await self._store.last_position()

    async def read_log(self, *, after: Position = START, limit: int = 1000) -> list[Event]:
        if after >= self._until:
            raise Broken
        return await self._store.read_log(after=after, limit=50)


# -- the log ---------------------------------------------------------------------------------------------------


async def test_a_copy_of_the_topic_is_the_log_position_by_position(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=4)
    store = await filled(tmp_path / "old")
    sent = await send_log(store, topic, owner="move", clock=SystemClock())
    assert (sent.found, sent.written) == (0, 302)
    copy = await copied(tmp_path / "new", topic, "new")
    assert await whole(copy) == await whole(store)
    assert await copy.list_streams() == await store.list_streams()
    await asyncio.gather(copy.close(), store.close())


async def test_a_move_that_was_broken_off_goes_on_where_it_stopped(
    kafka: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventstore.kafka_move._ROUND_EVENTS", 50)
    topic = await new_topic(kafka, partitions=4)
    store = await filled(tmp_path / "old")
    for until in (100, 200):
        with pytest.raises(Broken):
            await send_log(BreaksOff(store, until), topic, owner=f"move-{until}", clock=SystemClock())  # type: ignore[arg-type]
    sent = await send_log(store, topic, owner="last", clock=SystemClock())
    assert sent.found + sent.written == 302
    assert 100 <= sent.found <= 250
    again = await send_log(store, topic, owner="again", clock=SystemClock())
    assert (again.found, again.written) == (302, 0)
    copy = await copied(tmp_path / "new", topic, "new")
    assert await whole(copy) == await whole(store)
    await asyncio.gather(copy.close(), store.close())


@pytest.mark.parametrize("is_ours", [True, False])
async def test_what_comes_while_the_topic_is_taken_over_is_compared_too(
    kafka: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ours: bool
) -> None:
    topic = await new_topic(kafka)
    store, other = await filled(tmp_path / "old", 100), await filled(tmp_path / "other", 30)
    compare = _Sending.compare

    async def overtaken(self: _Sending, at_least: Mapping[int, int] | None = None) -> None:
        await compare(self, at_least)
        monkeypatch.setattr(_Sending, "compare", compare)
        await send_log(store if is_ours else other, topic, owner="move", clock=SystemClock())

    monkeypatch.setattr(_Sending, "compare", overtaken)
    if is_ours:
        sent = await send_log(store, topic, owner="move", clock=SystemClock())
        assert (sent.found, sent.written) == (102, 0)
    else:
        with pytest.raises(MoveRefused, match="expected the log's beginning"):
            await send_log(store, topic, owner="move", clock=SystemClock())
    await asyncio.gather(store.close(), other.close())


async def test_events_that_came_after_a_move_are_added_by_the_next_one(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka)
    store = await filled(tmp_path / "old", 100)
    await send_log(store, topic, owner="one", clock=SystemClock())
    await store.append([purchase(lead(f"l{n}"), "late", n) for n in range(20)])
    sent = await send_log(store, topic, owner="two", clock=SystemClock())
    assert (sent.found, sent.written) == (102, 20)
    await store.close()


async def test_a_topic_that_holds_another_log_is_left_as_it_is(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka)
    serving = await copied(tmp_path / "serving", topic, "serving")
    await serving.append([purchase(lead("x"), "x1", 1)])
    store = await filled(tmp_path / "old", 100)
    with pytest.raises(MoveRefused, match=r"left as it is.*x1"):
        await send_log(store, topic, owner="move", clock=SystemClock())
    await serving.append([purchase(lead("x"), "x2", 1)])  # it was not fenced
    await asyncio.gather(serving.close(), store.close())


async def test_a_topic_that_went_on_after_a_move_is_left_as_it_is(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka)
    store = await filled(tmp_path / "old", 100)
    await send_log(store, topic, owner="move", clock=SystemClock())
    serving = await copied(tmp_path / "serving", topic, "serving")
    await serving.append([purchase(lead("x"), "after-the-switch", 1)])
    with pytest.raises(MoveRefused, match="after-the-switch"):
        await send_log(store, topic, owner="again", clock=SystemClock())
    await asyncio.gather(serving.close(), store.close())


async def test_a_topic_with_foreign_messages_is_no_place_for_a_log(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    await producer.send_and_wait(topic.topic, b"something of somebody else's")
    await producer.stop()
    store = await filled(tmp_path / "old", 50)
    with pytest.raises(MoveRefused, match="foreign"):
        await send_log(store, topic, owner="move", clock=SystemClock())
    await store.close()


async def test_an_event_that_the_topic_cannot_take_breaks_the_move_off(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka)
    store = await filled(tmp_path / "old", 50)
    await store.append(
        [new_event(lead("big"), "big", "measured", b'{"value": 1, "notes": {"' + b"x" * 2_000_000 + b'": 1}}')]
    )
    with pytest.raises(RecordTooLarge, match="lead/big"):
        await send_log(store, topic, owner="move", clock=SystemClock())
    await store.close()


async def test_a_copy_is_cut_off_only_while_nobody_else_has_written(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka)
    store = await copied(tmp_path / "copy", topic, "mover")
    await store.append([purchase(lead(f"l{n}"), "e", n) for n in range(20)])
    log = await whole(store)
    await store.close()
    other = await copied(tmp_path / "other", topic, "other")
    with pytest.raises(OwnershipLost, match="other"):
        await cut_off(tmp_path / "copy", topic, owner="mover")
    await other.close()
    store = await copied(tmp_path / "copy", topic, "mover")
    await store.close()
    await cut_off(tmp_path / "copy", topic, owner="mover")
    store = await opened(tmp_path / "copy")
    assert await whole(store) == log
    await store.append([purchase(lead("l1"), "on its own", 1)])
    await store.close()
    with pytest.raises(LogIsNoCopy, match="a log of its own"):
        await cut_off(tmp_path / "copy", topic, owner="mover")


async def test_a_topic_that_several_nodes_wrote_comes_back_whole(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka, partitions=3)
    streams = [lead(f"l{n}") for n in range(12)]
    clock = VirtualClock(T0)
    for number in (1, 2):  # each node counts places of its own, by a clock of its own
        own = [each for each in streams if partition_of(each, key_of(each), 3) == number]
        assert own
        node = MemoryEventStore(types=TYPES, clock=clock)
        for turn in range(20):
            clock.advance(0.5)
            await node.append([purchase(own[turn % len(own)], f"e{turn}", turn)])
        clock = VirtualClock(T0 + 250_000)
        writer = PartitionWriter(
            Connections(topic), number, owner=f"node-{number}", clock=SystemClock(), on_away=lambda error: None
        )
        await writer.open()
        await writer.claim()
        await writer.write([record_of(event, Upcasters()) for event in await node.read_log(limit=100)])
        await writer.close()
    moved = await from_kafka(
        settings_for(topic.brokers, topic.topic), tmp_path / "back", clock=SystemClock(), on_stage=quiet
    )
    assert (moved.events, moved.folded) == (40, len(streams))
    store = await opened(tmp_path / "back")
    log = await store.read_log(limit=100)
    assert [event.position for event in log] == list(range(1, 41))
    assert [event.recorded_us for event in log] == sorted(event.recorded_us for event in log)
    assert {event.stream for event in log[:6]} & set(own)
    assert {event.stream for event in log[:6]} - set(own)
    await store.close()


# -- the command -----------------------------------------------------------------------------------------------


def post(url: str, path: str, body: Any) -> Any:
    status, answer = call(f"{url}/v1/orgs/default/{path}", json.dumps(body).encode())
    assert status == 200, answer
    return answer


def lived(url: str) -> None:
    """Some weeks of seven leads, and decisions of a policy that were rewarded."""
    events = [
        {"id": f"e{n}", "lead": f"l{n % 7}", "type": "purchase_completed", "time": f"2026-02-{1 + n % 27:02}T10:00:00Z",
         "data": {"amount": n}}
        for n in range(400)
    ]  # fmt: skip
    post(url, "events", events)
    request = urllib.request.Request(f"{url}/v1/orgs/default/policies/offer", json.dumps(POLICY).encode(), method="PUT")
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request, timeout=30).close()
    for n in range(30):
        post(url, "policies/offer/decide", {"decision_id": f"d{n}", "lead": f"l{n % 7}"})
        post(url, f"decisions/d{n}/reward", {"id": f"r{n}", "value": n % 3})


def seen(url: str) -> list[Any]:
    """Vectors at an instant, the bytes of the policy's model, and its figures."""
    paths = [f"leads/l{n}/features?at={AT}&known_at=2027-01-01T00:00:00Z" for n in range(7)]
    answers = [call(f"{url}/v1/orgs/default/{path}") for path in (*paths, "policies/offer/arms")]
    assert [status for status, _ in answers] == [200] * len(answers), answers
    with urllib.request.urlopen(f"{url}/v1/orgs/default/policies/offer/model", timeout=30) as answer:
        model = answer.read()
    return [model, *(body.get("values", body) for _, body in answers)]


def test_a_service_moves_to_a_topic_and_back_and_answers_the_same(kafka: Cluster, tmp_path: Path) -> None:
    topic = asyncio.run(new_topic(kafka, partitions=4))
    where = ("--kafka", topic.brokers, "--topic", topic.topic)
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    (tmp_path / "old").mkdir()
    with serving(tmp_path / "old") as (url, process):
        lived(url)
        before = seen(url)
        process.terminate()
        assert process.wait(20) == 0
    create_key(tmp_path / "old", org="default", scopes=["admin"], clock=SystemClock())
    moved = command("migrate", "to-kafka", "--data-dir", old, *where, "--into", new)
    assert moved.returncode == 0, moved.stderr
    told = json.loads(moved.stdout)
    assert (told["events"], told["policies"], told["folded"]) == (told["written"], 1, told["streams"])
    assert told["streams"] >= 8
    assert (tmp_path / "new" / "keys.json").read_bytes() == (tmp_path / "old" / "keys.json").read_bytes()
    (tmp_path / "new" / "keys.json").unlink()
    (tmp_path / "new" / "keyed").unlink()
    with serving(tmp_path / "new", *where) as (url, process):
        assert seen(url) == before
        post(
            url,
            "events",
            {"id": "on-kafka", "lead": "l3", "type": "purchase_completed", "time": AT, "data": {"amount": 5}},
        )
        after = seen(url)
        assert after != before
        process.terminate()
        assert process.wait(20) == 0
    back = command("migrate", "from-kafka", "--data-dir", str(tmp_path / "back"), *where)
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout)["events"] == told["events"] + 1
    with serving(tmp_path / "back") as (url, _):
        assert seen(url) == after
    assert sorted(path.name for path in (tmp_path / "old").iterdir() if path.name == "moving") == []


async def test_what_cannot_be_moved_is_named(kafka: Cluster, tmp_path: Path) -> None:
    topic = await new_topic(kafka)
    data = tmp_path / "data"

    async def move(brokers: str = topic.brokers, name: str = topic.topic, into: Path | None = None) -> Moved:
        return await to_kafka(settings_for(brokers, name), data, into, clock=SystemClock(), on_stage=quiet)

    with pytest.raises(SettingsError, match="expected a data directory that has a log"):
        await move()
    store = await filled(data, 50)
    await store.close()
    with pytest.raises(TopicUnfit, match=r"nowhere.*expected a topic that exists"):
        await move(name="nowhere")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 do not answer"):
        await move(brokers="127.0.0.1:1")
    with pytest.raises(SettingsError, match="expected another directory"):
        await move(into=data)
    with pytest.raises(LogIsNoCopy, match="a log of its own"):
        await from_kafka(settings_for(topic.brokers, topic.topic), data, clock=SystemClock(), on_stage=quiet)
    with pytest.raises(SettingsError, match="HOST:PORT"):
        await move(brokers="nonsense")
    served = await SqliteEventStore.open(data, types=TYPES, clock=SystemClock())
    with pytest.raises(DirectoryInUse):
        await move()
    await served.close()
    (tmp_path / "node" / "partitions").mkdir(parents=True)
    with pytest.raises(SettingsError, match="of a node"):
        await from_kafka(
            settings_for(topic.brokers, topic.topic), tmp_path / "node", clock=SystemClock(), on_stage=quiet
        )
    with pytest.raises(SettingsError, match="of a node"):
        await move(into=tmp_path / "node")
    assert (await move()).written == 52


async def test_what_folds_to_something_else_is_not_done(
    kafka: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await new_topic(kafka)
    store = await filled(tmp_path / "old", 50)
    await store.close()
    monkeypatch.setattr("gateway.migrating._difference", lambda now_us: lambda old, new: old.stream == lead("l3"))
    with pytest.raises(MoveDiffers, match=r"1 of 18 streams differ, do not switch: default/lead/l3"):
        await to_kafka(
            settings_for(topic.brokers, topic.topic), tmp_path / "old", None, clock=SystemClock(), on_stage=quiet
        )
    monkeypatch.undo()
    copy = await copied(tmp_path / "back", topic, "serving")
    await copy.close()
    monkeypatch.setattr("gateway.migrating._difference", lambda now_us: lambda old, new: True)
    with pytest.raises(MoveDiffers, match="18 of 18"):
        await from_kafka(
            settings_for(topic.brokers, topic.topic), tmp_path / "back", clock=SystemClock(), on_stage=quiet
        )
    again = await copied(tmp_path / "back", topic, "serving again")  # it is a copy still
    await again.close()


def settings_for(brokers: str, topic: str) -> Settings:
    return load_settings(flags={"kafka.brokers": brokers, "kafka.topic": topic, "store.kind": "kafka"})


def quiet(stage: str, done: int | None, total: int | None) -> None:
    """Nobody watches."""
