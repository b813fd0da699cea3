"""Services over HTTP: named lists that survive restarts, and packs that are switched off."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from eventstore.system import org_stream
from kernel.clock import VirtualClock
from kernel.errors import StoreUnavailable
from kernel.settings import ActorsSettings, OrgSettings, Settings
from kernel.times import format_time
from tests.integration.service import NOW, Door, purchase, running

LIST = ["rfm:monetary_total", "market:tutor_count_algebra", "segment:acquisition_channel", "rfm:recency_days"]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def put(door: Door, name: str, features: list[str]) -> tuple[int, Any]:
    return await door.send(
        "PUT",
        f"services/{name}",
        data=msgspec.json.encode({"features": features}),
        headers={"Content-Type": "application/json"},
    )


async def test_a_service_is_its_list_in_its_order(door: Door) -> None:
    await door.events(
        purchase("a", "1", 10), {"lead": "a", "type": "signed_up", "id": "2", "data": {"channel": "paid"}}
    )
    status, service = await put(door, "offer", LIST)
    assert status == 200
    assert list(service) == ["name", "version", "features", "fingerprint", "defined"]
    assert (service["name"], service["version"], service["features"]) == ("offer", 1, LIST)
    assert service["defined"] == format_time(NOW)
    assert await door.get("services/offer") == (200, service)
    assert list((await door.values("a", "?service=offer")).items()) == list(zip(LIST, [10, 0, "paid", 0], strict=True))
    _, vector = await door.get("leads/a/features?service=offer&format=vector")
    channel = "segment:acquisition_channel"
    columns = [*LIST[:2], *(f"{channel}={word}" for word in ("organic", "paid", "referral", "other")), LIST[3]]
    assert (vector["names"], vector["values"]) == (columns, [10, 0, 0, 1, 0, 0, 0])
    _, batch = await door.post("features", {"leads": ["a"], "service": "offer"})
    assert (batch["names"], batch["results"][0]["values"]) == (LIST, [10, 0, "paid", 0])
    past = await door.values("a", f"?service=offer&at={NOW // 1_000_000 - 60}")
    assert list(past) == LIST


async def test_equal_content_makes_no_new_version_and_other_content_does(door: Door) -> None:
    versions = [
        (await put(door, "s", features))[1]["version"]
        for features in (LIST, LIST, LIST[::-1], LIST[::-1], LIST, ["rfm:recency_days"])
    ]
    assert versions == [1, 1, 2, 2, 3, 4]
    assert len(await door.service.store.read(org_stream("default"))) == 4


async def test_a_new_version_is_served_at_once_wherever_the_old_one_was_kept(door: Door) -> None:
    await door.events(purchase("a", "1", 10))
    for features in (["rfm:monetary_total"], ["rfm:recency_days", "market:tutor_count_algebra"], ["rfm:recency_days"]):
        await put(door, "s", features)
        for _ in range(2):
            assert list(await door.values("a", "?service=s")) == features
            _, batch = await door.post("features", {"leads": ["a"], "service": "s"})
            assert batch["names"] == features
    assert (await door.send("DELETE", "services/s"))[0] == 204
    status, problem = await door.get("leads/a/features?service=s")
    assert (status, problem["code"]) == (422, "unknown_feature")
    await put(door, "s", ["rfm:monetary_total"])
    assert await door.values("a", "?service=s") == {"rfm:monetary_total": 10}
    assert (await door.get("services/s"))[1]["version"] == 5


async def test_a_service_that_is_not_there_is_404_in_a_path_and_422_elsewhere(door: Door) -> None:
    await door.events(purchase("a", "1"))
    for method in ("GET", "DELETE"):
        status, problem = await door.send(method, "services/nothing")
        assert (status, problem["code"]) == (404, "service_not_found")
    assert (await door.get("leads/a/features?service=nothing"))[1]["code"] == "unknown_feature"
    assert (await door.get("leads/a/features?service="))[0] == 422
    status, problem = await door.post("features", {"leads": ["a"], "service": "nothing"})
    assert (status, problem["code"]) == (422, "unknown_feature")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"features": ["rfm:nothing"]}, 422, "unknown_feature"),
        ({"features": ["rfm"]}, 422, "unknown_feature"),
        ({"features": ["market:tutor_count"]}, 422, "unknown_feature"),
        ({"features": ["rfm:recency_days", "rfm:recency_days"]}, 422, "invalid_body"),
        ({"features": []}, 422, "invalid_body"),
        ({"features": "rfm:recency_days"}, 422, "invalid_body"),
        ({"features": ["rfm:recency_days"], "views": []}, 422, "invalid_body"),
        ({}, 422, "invalid_body"),
    ],
)
async def test_a_definition_that_makes_no_sense_is_refused_and_stores_nothing(
    door: Door, body: dict[str, Any], status: int, code: str
) -> None:
    sent = {"data": msgspec.json.encode(body), "headers": {"Content-Type": "application/json"}}
    found, problem = await door.send("PUT", "services/s", **sent)
    assert (found, problem["code"]) == (status, code)
    assert (await door.get("services/s"))[0] == 404
    assert await door.service.store.last_position() == 0


@pytest.mark.parametrize("name", ["a/b", "ü ñ", "100%", "~x", "features"])
async def test_a_service_may_have_any_printable_name(door: Door, name: str) -> None:
    await door.events(purchase("a", "1", 10))
    path = quote(name, safe="")
    assert (await put(door, path, ["rfm:monetary_total"]))[1]["name"] == name
    assert await door.values("a", f"?service={path}") == {"rfm:monetary_total": 10}
    assert (await door.send("DELETE", f"services/{path}"))[0] == 204


async def test_services_are_listed_by_name_page_by_page(door: Door) -> None:
    names = [f"s{number}" for number in range(5)]
    for name in reversed(names):
        await put(door, name, ["rfm:recency_days"])
    seen: list[str] = []
    cursor = ""
    while True:
        _, body = await door.get(f"services?limit=2{cursor}")
        seen += [item["name"] for item in body["items"]]
        if body["cursor"] is None:
            break
        cursor = f"&cursor={body['cursor']}"
    assert seen == names
    assert (await door.get("services?cursor=x"))[1]["code"] == "invalid_cursor"


async def test_definitions_survive_a_restart_and_a_replay(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    async with running(directory=tmp_path, clock=clock) as door:
        await door.events(purchase("a", "1", 10))
        await put(door, "kept", LIST)
        await put(door, "kept", LIST[:2])
        await put(door, "gone", LIST)
        await door.send("DELETE", "services/gone")
        kept = (await door.get("services/kept"))[1]
    async with running(directory=tmp_path, clock=clock) as door:
        assert (await door.get("services"))[1]["items"] == [kept]
        _, job = await door.post("jobs", {"kind": "replay"})
        while (await door.get(f"jobs/{job['id']}"))[1]["state"] == "running":  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        assert (await door.get(f"jobs/{job['id']}"))[1]["state"] == "done"
        assert (await door.get("services"))[1]["items"] == [kept]
        assert list(await door.values("a", "?service=kept")) == LIST[:2]
        assert (await put(door, "kept", LIST[:2]))[1]["version"] == 2
        assert (await put(door, "gone", LIST))[1]["version"] == 3
        assert (await door.get("leads/default/features"))[0] == 404, "the org's stream is no lead"


async def test_a_feature_that_is_gone_makes_reads_of_the_service_422_naming_it(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    async with running(directory=tmp_path, clock=clock) as door:
        await door.events(purchase("a", "1", 10))
        await put(door, "s", LIST)
    without = Settings(org={"default": OrgSettings(packs=("commerce",))})
    async with running(without, directory=tmp_path, clock=clock) as door:
        for status, problem in (
            await door.get("leads/a/features?service=s"),
            await door.post("features", {"leads": ["a"], "service": "s"}),
        ):
            assert (status, problem["code"]) == (422, "unknown_feature")
            assert "market:tutor_count_algebra" in problem["detail"]
        assert (await door.get("services/s"))[1]["fingerprint"] is None
    async with running(directory=tmp_path, clock=clock) as door:
        assert list(await door.values("a", "?service=s")) == LIST


async def test_a_definition_that_was_stored_though_its_answer_was_lost_is_no_second_one(door: Door) -> None:
    door.service.store.fail_next(StoreUnavailable("the disk is full"))  # type: ignore[attr-defined]
    assert (await put(door, "s", LIST))[0] == 503
    assert (await door.get("services/s"))[0] == 404
    assert (await put(door, "s", LIST))[1]["version"] == 1
    assert len(await door.service.store.read(org_stream("default"))) == 1


async def test_definitions_at_the_same_time_get_versions_one_after_the_other(door: Door) -> None:
    lists = [["rfm:recency_days"], ["rfm:monetary_total"], LIST]
    answers = await asyncio.gather(*(put(door, "s", features) for features in lists * 3))
    assert all(status == 200 for status, _ in answers)
    stored = [msgspec.json.decode(event.data) for event in await door.service.store.read(org_stream("default"))]
    assert [each["version"] for each in stored] == list(range(1, len(stored) + 1))
    assert (await door.get("services/s"))[1]["features"] == stored[-1]["features"]


async def test_an_orgs_services_are_its_own() -> None:
    settings = Settings(org={"default": OrgSettings(), "other": OrgSettings()})
    async with running(settings) as door:
        await put(door, "s", LIST)
        assert (await door.service.orgs["other"].services.load(door.service.store)) is None
        assert door.service.orgs["other"].services.names() == []
        assert door.service.orgs["default"].services.names() == ["s"]


async def test_nobody_defines_a_service_by_posting_its_event(door: Door) -> None:
    event = {"lead": "a", "type": "service_defined", "data": {"name": "s", "version": 1, "features": LIST}}
    status, problem = await door.post("events", event)
    assert (status, problem["code"]) == (422, "event_invalid")


async def test_services_work_while_nobody_stays_awake() -> None:
    async with running(Settings(actors=ActorsSettings(max_awake=1))) as door:
        await door.events(purchase("a", "1", 10), purchase("b", "1", 20))
        await put(door, "s", ["rfm:monetary_total"])
        assert await door.values("a", "?service=s") == {"rfm:monetary_total": 10}
        assert await door.values("b", "?service=s") == {"rfm:monetary_total": 20}


# Packs that are off.


async def test_a_pack_that_is_off_is_not_in_the_catalogue_but_its_events_are_taken_and_kept(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    events = [
        purchase("a", "1", 10),
        {"lead": "a", "type": "login", "id": "2"},
        {"lead": "b", "type": "payment_succeeded", "id": "1", "data": {"amount": 5}},
        {"subject": "algebra", "type": "tutor_available", "id": "1", "data": {"tutor_id": "t", "hours": 1}},
    ]
    off = Settings(org={"default": OrgSettings(packs=("commerce",))})
    async with running(off, directory=tmp_path, clock=clock) as door:
        assert (await door.events(*events))["accepted"] == 4
        items = (await door.get("catalogue?limit=1000"))[1]["items"]
        assert {item["view"] for item in items} == {"rfm", "engagement", "behavior", "temporal", "campaign"}
        named = {name for item in items for name in item["affected_by"]}
        assert not named & {"login", "payment_succeeded", "tutor_available"}
        assert len(await door.values("a", "?views=*")) == len(items)
        values = await door.values("a")
        assert (values["rfm:monetary_total"], values["rfm:recency_days"]) == (10, 0)
        assert (await door.values("b"))["rfm:recency_days"] is None, "no interaction of a pack that is on"
        for query in ("views=window", "views=market", "features=recency:days_since_last_login"):
            assert (await door.get(f"leads/a/features?{query}"))[1]["code"] == "unknown_feature"
        assert (await door.get("market/algebra/features"))[1]["values"] == {}
        assert [item["type"] for item in (await door.get("leads/a/events"))[1]["items"]] == [
            "login",
            "purchase_completed",
        ]
        assert (await door.post("events", {"lead": "a", "type": "login", "data": []}))[0] == 422, "still checked"
    async with running(directory=tmp_path, clock=clock) as door:
        values = await door.values("b", "?views=*")
        assert values["window:payment_amount_7d"] == 5
        assert values["market:tutor_count_algebra"] == 1
        assert (await door.values("a"))["recency:days_since_last_login"] == 0
