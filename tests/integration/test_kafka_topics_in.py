"""Topics of others are read: each message becomes one event, or a dead letter with its reason, and none holds up the next."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from eventstore.event import Event, NewEvent
from gateway.compat.cloudevents import event_id
from gateway.orgs import Org
from gateway.service import Service
from gateway.topics.source import Fate, Submit
from gateway.topics.sources import Sources
from gateway.topics.topics import own_submit
from kernel.errors import RecordTooLarge, SettingsError, StoreUnavailable
from tests.broker.cluster import Cluster
from tests.integration.topics import (
    ShiftedClock,
    eventually_said,
    make_topic,
    post,
    read,
    service_on,
    settings_with,
    some_topic,
)
from tests.patience import eventually

pytestmark = [
    pytest.mark.broker,
    pytest.mark.xdist_group("broker"),
    # A client that is given up while its brokers are away is left to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MAPPING = {"basket.total": "data.amount", "@key": "lead", "nr": "id"}
CONSTANTS = {"type": "purchase_completed"}


class Reading:
    """A service in memory, and what reads its topics."""

    def __init__(self, service: Service, sources: Sources) -> None:
        self.service, self.sources = service, sources

    def counts(self) -> dict[str, float]:
        found = {}
        for metric in self.service.metrics.collect():
            if metric.name == "leadwheel_topic_messages":
                found = {sample.labels["outcome"]: sample.value for sample in metric.samples}
        return found

    @property
    def waits(self) -> bool:
        values = [
            sample.value
            for metric in self.service.metrics.collect()
            if metric.name == "leadwheel_topic_waits"
            for sample in metric.samples
        ]
        return any(values)

    async def log(self) -> list[Event]:
        return await self.service.store.read_log(limit=10_000)


@asynccontextmanager
async def reading(
    kafka: Cluster, table: dict[str, Any], submit: Submit | None = None, service: Service | None = None
) -> AsyncIterator[Reading]:
    settings = settings_with(kafka, {"topics_in": {"shop": table}})
    clock = ShiftedClock()
    async with service_on(settings, clock) as own:
        chosen = service or own
        sources = Sources(settings, own.orgs, submit=submit or own_submit(chosen), clock=clock, metrics=own.metrics)
        sources.start()
        try:
            yield Reading(own, sources)
        finally:
            await sources.close()


async def committed(kafka: Cluster, topic: str, group: str) -> int:
    """How many messages the group has done with."""
    client = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=group, enable_auto_commit=False)
    await client.start()
    offsets = [await client.committed(TopicPartition(topic, number)) for number in range(3)]
    await client.stop()
    return sum(offset or 0 for offset in offsets)


def order(number: int, total: object = 10) -> tuple[bytes, bytes]:
    return f"l{number % 5}".encode(), json.dumps({"nr": f"o{number}", "basket": {"total": total}}).encode()


async def test_messages_become_events_and_broken_ones_dead_letters_with_reasons(kafka: Cluster) -> None:
    topic, dead = await some_topic(kafka, "shop"), await some_topic(kafka, "dead")
    broken = [
        (b"l1", b"nonsense"),
        (b"l1", None),
        (b"l1", b"[1]"),
        (None, b'{"basket": {"total": 1}}'),
        (b"\xff", b"{}"),
        (b"l1", b'{"basket": {"total": "x"}}'),
        (b"l1", b'{"basket": {"total": 1}, "time": "tomorrow"}'),
        (b"l1", b'{"nr": "~ours", "basket": {"total": 1}}'),
        (b"l1", b'{"basket": {"total": 1}, "data.order_id": "' + b"x" * 200_000 + b'"}'),
        (b"l1", b'{"basket": {"total": 1}, "data.a": 1, "data.a.b": 2}'),
        (b"l1", b'{"nr": "o1", "basket": {"total": 77}}'),  # another event has this id
    ]
    await post(kafka, topic, [order(n) for n in range(20)])
    await post(kafka, topic, broken)
    await post(kafka, topic, [order(n) for n in range(20, 40)])
    async with reading(kafka, {"topic": topic, "mapping": MAPPING, "constants": CONSTANTS, "dead_letters": dead}) as it:
        letters = await read(kafka, dead, len(broken))
        await eventually(lambda: sum(it.counts().values()) == 40 + len(broken))
        log = await it.log()
        assert sorted(event.id for event in log) == sorted(f"o{n}" for n in range(40))
        assert {event.stream.id for event in log} == {f"l{n}" for n in range(5)}
        assert it.counts() == {"accepted": 40, "duplicate": 0, "refused": len(broken)}
    said = [{name: text.decode() for name, text in letter.headers} for letter in letters]
    assert all(each["leadwheel-topic"] == topic and each["leadwheel-offset"].isdigit() for each in said)
    codes = sorted(each["leadwheel-code"] for each in said)
    assert codes == sorted(["malformed_json"] * 5 + ["event_invalid"] * 4 + ["event_too_large", "event_conflict"]), said
    assert {(letter.key, letter.value) for letter in letters} == set(broken)
    assert await committed(kafka, topic, "leadwheel-default-shop") == 40 + len(broken)


async def test_what_was_committed_is_not_read_again_and_what_was_not_is_a_duplicate(kafka: Cluster) -> None:
    topic = await some_topic(kafka, "shop")
    table = {
        "topic": topic,
        "mapping": {"@key": "lead", "total": "data.amount"},
        "constants": CONSTANTS,
        "batch_events": 5,
    }
    await post(kafka, topic, [(b"a", b'{"total": 1}') for _ in range(30)])
    clock = ShiftedClock()
    async with service_on(settings_with(kafka, {}), clock) as service:
        stored = own_submit(service)
        left = 3

        async def ends_before_it_commits(org: Org, events: Sequence[NewEvent]) -> Sequence[Fate]:
            nonlocal left
            outcomes = await stored(org, events)
            left -= 1
            if not left:
                raise SystemError("the process ended here")
            return outcomes if left > 0 else await asyncio.Future()

        async with reading(kafka, table, ends_before_it_commits, service):
            await eventually(lambda: not left)
        assert await committed(kafka, topic, "leadwheel-default-shop") == 10
        async with reading(kafka, table, stored, service) as it:
            await eventually(lambda: sum(it.counts().values()) == 20)
            assert it.counts() == {"accepted": 15, "duplicate": 5, "refused": 0}
        log = await service.store.read_log(limit=100)
        assert sorted(event.id for event in log) == sorted(
            f"kafka:{topic}:{log[0].id.split(':')[2]}:{n}" for n in range(30)
        )


async def test_offsets_wait_until_the_log_has_the_events(kafka: Cluster) -> None:
    topic = await some_topic(kafka, "shop")
    table = {"topic": topic, "mapping": {"@key": "lead", "total": "data.amount"}, "constants": CONSTANTS}
    await post(kafka, topic, [(b"a", b'{"total": 1}') for _ in range(10)])
    is_away, tried = True, 0
    clock = ShiftedClock()
    async with service_on(settings_with(kafka, {}), clock) as service:
        stored = own_submit(service)

        async def sometimes(org: Org, events: Sequence[NewEvent]) -> Sequence[Fate]:
            nonlocal tried
            tried += 1
            if is_away:
                raise StoreUnavailable("the disk is full")
            return await stored(org, events)

        async with reading(kafka, table, sometimes, service) as it:
            await eventually(lambda: tried > 1)
            assert it.waits
            assert await committed(kafka, topic, "leadwheel-default-shop") == 0
            is_away = False
            await eventually(lambda: it.counts()["accepted"] == 10)
            await eventually(lambda: not it.waits)


async def test_an_event_that_the_log_cannot_hold_is_laid_aside_alone(kafka: Cluster) -> None:
    topic, dead = await some_topic(kafka, "shop"), await some_topic(kafka, "dead", max_message_bytes="5000")
    table = {"topic": topic, "mapping": {"nr": "id", "@key": "lead"}, "constants": CONSTANTS, "dead_letters": dead}
    big = json.dumps({"nr": "big", "data.amount": 1, "data.order_id": "b", "notes": "x" * 20_000}).encode()
    await post(kafka, topic, [*((b"a", b'{"nr": "e%d", "data.amount": 1}' % n) for n in range(10)), (b"a", big)])
    clock = ShiftedClock()
    async with service_on(settings_with(kafka, {}), clock) as service:
        stored = own_submit(service)

        async def small_only(org: Org, events: Sequence[NewEvent]) -> Sequence[Fate]:
            if any(event.id in ("big", "e4") for event in events):
                raise RecordTooLarge("default/lead/a", 100, 20_000)
            return await stored(org, events)

        async with reading(kafka, table, small_only, service) as it:
            letters = await read(kafka, dead, 2)
            await eventually(lambda: it.counts()["accepted"] == 9)
    assert [(letter.key, len(letter.value or b"")) for letter in letters] == [(b"a", 30), (b"a", 0)]
    assert all(dict(letter.headers)["leadwheel-code"] == b"event_too_large" for letter in letters)


async def test_cloudevents_come_in_values_and_in_headers(kafka: Cluster) -> None:
    topic = await some_topic(kafka, "cloud")
    cloud = {"specversion": "1.0", "source": "/shop", "type": "purchase_completed", "subject": "42"}
    structured = cloud | {"id": "A", "data": {"amount": 5}}
    await post(kafka, topic, [(None, msgspec.json.encode(structured)), (None, b'{"specversion": "0.3"}')])
    headers = [(f"ce_{name}", text.encode()) for name, text in (cloud | {"id": "B"}).items()]
    await post(kafka, topic, [(b"k", b'{"amount": 6}')], headers=[*headers, ("content-type", b"application/json")])
    async with reading(kafka, {"topic": topic, "format": "cloudevents"}) as it:
        await eventually(lambda: sum(it.counts().values()) == 3)
        log = await it.log()
        assert {event.id: json.loads(event.data) for event in log} == {
            event_id("/shop", "A"): {"amount": 5},
            event_id("/shop", "B"): {"amount": 6},
        }
        assert it.counts()["refused"] == 1


async def test_processes_of_one_group_share_a_topic_and_each_event_stands_once(kafka: Cluster) -> None:
    topic = await some_topic(kafka, "shop")
    table = {"topic": topic, "group": "some", "mapping": MAPPING, "constants": CONSTANTS, "batch_events": 10}
    clock = ShiftedClock()
    async with service_on(settings_with(kafka, {}), clock) as service:
        submit = own_submit(service)
        async with reading(kafka, table, submit, service) as one:
            await post(kafka, topic, [order(n) for n in range(100)])
            async with reading(kafka, table, submit, service) as two:
                await post(kafka, topic, [order(n) for n in range(100, 300)])
                await eventually(lambda: one.counts()["accepted"] + two.counts()["accepted"] == 300)
            await post(kafka, topic, [order(n) for n in range(300, 350)])
            await eventually(lambda: one.counts()["accepted"] + two.counts()["accepted"] == 350)
        log = await service.store.read_log(limit=1000)
        assert sorted(event.id for event in log) == sorted(f"o{n}" for n in range(350))


async def test_a_missing_topic_is_named_and_read_once_it_is_there(
    kafka: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "not-there-yet"
    async with reading(kafka, {"topic": name, "mapping": MAPPING, "constants": CONSTANTS}) as it:
        await eventually_said(capsys, f"there is no topic {name} at {kafka.bootstrap}")
        assert it.waits
        await make_topic(kafka, name)
        await post(kafka, name, [order(1)])
        await eventually(lambda: it.counts()["accepted"] == 1)


async def test_a_missing_topic_for_dead_letters_and_brokers_that_are_away_are_named(
    kafka: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = await some_topic(kafka, "shop")
    async with reading(kafka, {"topic": topic, "dead_letters": "no-place-for-letters"}):
        await eventually_said(capsys, "there is no topic no-place-for-letters")
    async with reading(kafka, {"topic": topic, "brokers": "127.0.0.1:1"}):
        await eventually_said(capsys, "127.0.0.1:1 do not answer")


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [
        ({"constants": {"type": "purchase_complete"}}, "constants.type", "did you mean purchase_completed?"),
        ({"mapping": {"x": "data.amuont"}, "constants": CONSTANTS}, "mapping.x", "did you mean amount?"),
        ({"mapping": {"x": "data.nothing_like_it"}}, "mapping.x", "no such field of any event type"),
        ({"constants": {"data.nothing_like_it": 1}}, "constants.data.nothing_like_it", "no such field"),
    ],
)
async def test_a_mapping_that_names_nothing_ends_the_start(table: dict[str, Any], key: str, said: str) -> None:
    # no broker is asked
    cluster: Any = type("NoCluster", (), {"bootstrap": "127.0.0.1:1", "size": 1})
    settings = settings_with(cluster, {"topics_in": {"shop": {"topic": "t", **table}}})
    async with service_on(settings, ShiftedClock()) as service:
        with pytest.raises(SettingsError) as refused:
            Sources(settings, service.orgs, submit=own_submit(service), clock=service.clock, metrics=service.metrics)
    assert refused.value.key == f"org.default.topics_in.shop.{key}"
    assert said in refused.value.expected
