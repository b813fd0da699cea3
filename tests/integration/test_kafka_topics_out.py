"""Topics of others are told what the change feed tells: at least once, in order for each lead, going on after a restart."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from eventstore.event import Stream
from gateway.client import attached
from gateway.service import Service
from gateway.topics.outlets import Outlets
from gateway.topics.places import Place, Places
from kernel.errors import SettingsError
from kernel.ids import format_position
from kernel.times import DAY_US, format_time
from tests.broker.cluster import Cluster
from tests.integration.topics import (
    ShiftedClock,
    eventually_said,
    make_topic,
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


@asynccontextmanager
async def telling(service: Service) -> AsyncIterator[Outlets]:
    outlets = Outlets(service)
    outlets.start()
    try:
        yield outlets
    finally:
        await outlets.close()


def values(service: Service, metric: str) -> list[float]:
    found = [each for each in service.metrics.collect() if each.name == metric]
    return [sample.value for each in found for sample in each.samples]


def waits(service: Service) -> bool:
    return any(values(service, "leadwheel_topic_waits"))


async def happen(service: Service, *events: Mapping[str, Any]) -> None:
    admitted = service.orgs["default"].admission.admit_many([msgspec.json.encode(event) for event in events])
    assert not admitted.rejected, admitted.rejected
    await service.ingest.submit([event for _, event in admitted.events])


def bought(service: Service, lead: str, event_id: str, amount: float = 10) -> dict[str, Any]:
    at = format_time(service.clock.now_us())
    return {"id": event_id, "lead": lead, "type": "purchase_completed", "time": at, "data": {"amount": amount}}


def headers(record: ConsumerRecord) -> dict[str, str]:
    return {name.removeprefix("leadwheel-"): text.decode() for name, text in record.headers}


async def live(service: Service, lead: str) -> dict[str, Any]:
    entity = await service.read(Stream("default", "lead", lead))
    assert entity is not None
    everything = entity.entities.everything
    return dict(zip(everything.names, entity.values(everything), strict=True))


def applied(records: list[ConsumerRecord], lead: str) -> dict[str, Any]:
    """What a reader of the topic knows of a lead: the newest value of each feature."""
    known: dict[str, Any] = {}
    for record in records:
        if record.key == lead.encode() and headers(record)["kind"] == "features":
            known |= {name: to for name, (_, to) in json.loads(record.value)["changes"].items()}
    return known


def assert_known(records: list[ConsumerRecord], values: dict[str, Any], lead: str) -> None:
    known = applied(records, lead)
    assert known
    assert {name: values[name] for name in known} == known


def ids(records: list[ConsumerRecord]) -> list[str]:
    return [headers(record)["id"] for record in records]


async def test_changes_are_told_with_key_place_and_cause(kafka: Cluster) -> None:
    topic = await some_topic(kafka, "out")
    settings = settings_with(kafka, {"topics_out": {"all": {"topic": topic}}})
    async with service_on(settings, ShiftedClock()) as service, telling(service):
        await eventually(lambda: not waits(service))
        await read(kafka, topic, 0)
        for number in range(6):
            await happen(service, bought(service, f"l{number % 2}", f"e{number}", number))
        records = await read(kafka, topic, 6)
        for lead in ("l0", "l1"):
            assert_known(records, await live(service, lead), lead)
    own = [record for record in records if record.key == b"l0"]
    assert len({record.partition for record in own}) == 1
    told = [json.loads(record.value) for record in own]
    assert [each["cause"] for each in told] == [{"id": f"e{n}", "type": "purchase_completed"} for n in (0, 2, 4)]
    assert [headers(record)["position"] for record in own] == [format_position(n) for n in (1, 3, 5)]  # type: ignore[arg-type]
    assert {(headers(record)["kind"], headers(record)["org"]) for record in own} == {("features", "default")}
    assert len(set(ids(records))) == len(records)


async def test_what_happened_while_nobody_told_is_told_after_the_restart(kafka: Cluster) -> None:
    topic = await some_topic(kafka, "out")
    settings = settings_with(kafka, {"topics_out": {"all": {"topic": topic}}})
    clock = ShiftedClock()
    async with service_on(settings, clock) as service:
        async with telling(service):
            await eventually(lambda: not waits(service))
            await happen(service, bought(service, "a", "e1"), bought(service, "quiet", "q1"))
            await read(kafka, topic, 2)
        before = len(await read(kafka, topic))
        await happen(service, bought(service, "a", "e2", 7), bought(service, "new", "n1"))
        clock.shift_us += 40 * DAY_US
        await happen(service, bought(service, "a", "e3", 5))
        async with telling(service):
            await read(kafka, topic, before + 5)
            for lead in ("a", "new", "quiet"):
                await eventually_known(kafka, topic, service, lead)
            records = await read(kafka, topic)
        told = {
            lead: [json.loads(each.value) for each in once(records) if each.key == lead] for lead in (b"a", b"quiet")
        }
        causes = [each["cause"] for each in told[b"quiet"]]
        assert causes[0] == {"id": "q1", "type": "purchase_completed"}
        assert len(causes) > 1
        assert causes[1:] == ["time"] * (len(causes) - 1)
        instants = [each["at"] for each in told[b"quiet"]]
        assert instants == sorted(instants)
        causes = [each["cause"] for each in told[b"a"]]
        assert [each["id"] for each in causes if each != "time"] == ["e1", "e2", "e3"]


def once(records: list[ConsumerRecord]) -> list[ConsumerRecord]:
    """Without what was told again."""
    return list({headers(record)["id"]: record for record in reversed(records)}.values())[::-1]


async def eventually_known(kafka: Cluster, topic: str, service: Service, lead: str) -> None:
    """A reader of the topic comes to know what is served."""

    async def is_known() -> bool:
        values = await live(service, lead)
        known = applied(await read(kafka, topic), lead)
        return bool(known) and {name: values[name] for name in known} == known

    await eventually(is_known, 20)


async def test_what_was_not_noted_is_told_again_under_the_same_ids(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await some_topic(kafka, "out")
    settings = settings_with(kafka, {"topics_out": {"all": {"topic": topic}}})
    async with service_on(settings, ShiftedClock()) as service:
        async with telling(service):
            await eventually(lambda: not waits(service))

            async def note(self: Places, place: Place) -> None:
                raise KafkaError("the process ended before it could say how far it was")

            monkeypatch.setattr(Places, "note", note)
            await happen(service, *(bought(service, f"l{n % 3}", f"e{n}") for n in range(9)))
            first = await read(kafka, topic, 9)
        monkeypatch.undo()
        async with telling(service):
            records = await read(kafka, topic, 2 * len(first))
    assert len(first) == 9
    assert sorted(ids(records)) == sorted(2 * ids(first))
    values_first = {headers(each)["id"]: each.value for each in first}
    assert [each.value for each in records] == [values_first[headers(each)["id"]] for each in records]


async def test_only_what_is_wanted_is_told(kafka: Cluster) -> None:
    topic = await some_topic(kafka, "out")
    wanted = {"topic": topic, "features": ["rfm:monetary_total"], "kinds": ["features"]}
    settings = settings_with(kafka, {"topics_out": {"some": wanted}})
    async with service_on(settings, ShiftedClock()) as service, telling(service):
        await eventually(lambda: not waits(service))
        await happen(
            service, bought(service, "a", "e1", 10), bought(service, "a", "e2", 0), bought(service, "a", "e3", 5)
        )
        await happen(service, bought(service, "b", "e4", 1))
        await read(kafka, topic, 2)
        await eventually(lambda: values(service, "leadwheel_topic_messages")[-1] >= 2)
        records = [record for record in await read(kafka, topic) if record.key == b"a"]
    assert all(set(json.loads(record.value)["changes"]) == {"rfm:monetary_total"} for record in records)
    assert applied(records, "a") == {"rfm:monetary_total": 15}


async def test_decisions_and_alerts_are_told_from_the_log_each_with_its_position(kafka: Cluster) -> None:
    topic = await some_topic(kafka, "out")
    table = {"topic": topic, "kinds": ["decision", "alert"], "start": "beginning"}
    settings = settings_with(kafka, {"topics_out": {"said": table}})
    async with service_on(settings, ShiftedClock()) as service:
        await decide(service, "d1", "a")
        await raise_alert(service, "a")
        async with telling(service):
            first = await read(kafka, topic, 2)
        await decide(service, "d2", None)
        async with telling(service):
            records = await read(kafka, topic, 3)
    assert sorted(headers(record)["kind"] for record in first) == ["alert", "decision"]
    by_key = {record.key: headers(record) for record in records if headers(record)["kind"] == "decision"}
    assert by_key.keys() == {b"a", b"d2"}
    told = {json.loads(record.value).get("decision_id") for record in records}
    assert {"d1", "d2"} <= told
    assert all(int(headers(record)["position"]) > 0 for record in records)
    assert len(ids(records)) == len(set(ids(records))) == 3


async def send(service: Service, method: str, path: str, body: Mapping[str, Any]) -> None:
    async with attached(service, "default") as client:
        await client.send(method, path, body=msgspec.json.encode(body))


async def decide(service: Service, decision_id: str, lead: str | None) -> None:
    policy = {"arms": [{"id": "a"}, {"id": "b"}], "reward": {"wait_s": 3600, "aggregation": "sum"}}
    await send(service, "PUT", "/policies/offer", policy)
    await send(service, "POST", "/policies/offer/decide", {"decision_id": decision_id, "lead": lead})


async def raise_alert(service: Service, lead: str) -> None:
    await send(service, "PUT", "/alert-rules/big", {"when": "rfm.monetary_total > 100.0"})
    await happen(service, bought(service, lead, "big", 1000))
    await service.alerts.settle()


async def test_a_place_that_is_beyond_the_log_is_of_another_one(
    kafka: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = await some_topic(kafka, "out")
    settings = settings_with(kafka, {"topics_out": {"all": {"topic": topic}}})
    async with service_on(settings, ShiftedClock()) as service, telling(service):
        await eventually(lambda: not waits(service))
        await happen(service, *(bought(service, "a", f"e{n}") for n in range(20)))
        await read(kafka, topic, 1)
    async with service_on(settings, ShiftedClock()) as service, telling(service):
        await happen(service, bought(service, "b", "e1"))
        await eventually_said(capsys, "topic_place_beyond_log")
        await happen(service, bought(service, "b", "e2"))
        await eventually(lambda: values(service, "leadwheel_topic_messages")[0] >= 1)
        records = await read(kafka, topic)
    assert b"b" in {record.key for record in records}


async def test_a_missing_topic_is_waited_for_and_nothing_of_meanwhile_is_lost(
    kafka: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "told-later"
    table = {"topic": name, "kinds": ["features"], "start": "beginning"}
    settings = settings_with(kafka, {"topics_out": {"all": table}})
    async with service_on(settings, ShiftedClock()) as service, telling(service):
        await eventually_said(capsys, f"there is no topic {name}")
        assert waits(service)
        await happen(service, bought(service, "a", "e1"))
        await make_topic(kafka, name)
        records = await read(kafka, name, 1)
        assert_known(records, await live(service, "a"), "a")
        await eventually(lambda: not waits(service))


async def test_a_feature_that_nobody_has_ends_the_start(kafka: Cluster) -> None:
    settings = settings_with(kafka, {"topics_out": {"all": {"topic": "t", "features": ["rfm", "rfm:nothing"]}}})
    async with service_on(settings, ShiftedClock()) as service:
        with pytest.raises(SettingsError, match="rfm:nothing"):
            Outlets(service)
