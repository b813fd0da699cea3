"""Ranked lists and search over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from gateway.keyring import create_key
from kernel.clock import VirtualClock
from kernel.errors import SettingsError
from kernel.settings import ListsSettings, OrgSettings, Settings
from kernel.settings_sources import load_settings
from kernel.times import DAY_US, format_time
from tests.integration.service import NOW, Door, purchase, running


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


def profile(lead: str, event_id: str = "who", **data: Any) -> dict[str, Any]:
    return {"lead": lead, "id": event_id, "type": "profile_updated", "time": format_time(NOW), "data": data}


async def leads(door: Door, query: str) -> list[str]:
    status, body = await door.get(f"leads{query}")
    assert status == 200, body
    return [item["lead"] for item in body["items"]]


async def pages(door: Door, query: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        status, body = await door.get(f"leads{query}{cursor}")
        assert status == 200, body
        items += body["items"]
        if body["cursor"] is None:
            return items
        cursor = f"&cursor={body['cursor']}"


async def test_leads_are_sorted_by_a_feature_null_last_both_ways(door: Door) -> None:
    await door.events(purchase("a", "1", 5), purchase("b", "1", 20), profile("c", name="Cleo"), purchase("d", "1", 5))
    assert await leads(door, "?sort=rfm:monetary_avg_ticket") == ["a", "d", "b", "c"]
    assert await leads(door, "?sort=-rfm:monetary_avg_ticket") == ["b", "a", "d", "c"]
    assert await leads(door, "") == ["a", "b", "c", "d"]


async def test_an_item_shows_who_it_is_and_the_values_asked_for(door: Door) -> None:
    await door.events(purchase("a", "1", 5), profile("a", name="Ann", email="ann@x.com", company="Acme"))
    status, body = await door.get("leads?sort=-rfm:monetary_total&features=rfm:recency_days,property:pest_issues")
    assert status == 200
    assert body == {
        "items": [
            {
                "lead": "a",
                "values": {"rfm:monetary_total": 5.0, "rfm:recency_days": 0, "property:pest_issues": None},
                "name": "Ann",
                "email": "ann@x.com",
                "company": "Acme",
                "as_of": format_time(NOW),
            }
        ],
        "cursor": None,
    }


async def test_a_list_follows_events_retractions_and_time(door: Door) -> None:
    await door.events(purchase("a", "1", 5, NOW - DAY_US // 2), purchase("b", "1", 3))
    assert await leads(door, "?sort=-rfm:monetary_total") == ["a", "b"]
    await door.events(purchase("b", "2", 30))
    assert await leads(door, "?sort=-rfm:monetary_total") == ["b", "a"]
    await door.events({"lead": "b", "id": "r", "type": "event_retracted", "data": {"event_id": "2"}})
    assert await leads(door, "?sort=-rfm:monetary_total") == ["a", "b"]
    assert await leads(door, "?sort=-rfm:recency_days&filter=rfm:recency_days>=1") == []
    door.clock.advance(12 * 3600)
    status, body = await door.get("leads?filter=rfm:recency_days>=1&features=rfm:recency_days")
    assert status == 200
    assert [(item["lead"], item["values"]) for item in body["items"]] == [("a", {"rfm:recency_days": 1})]
    assert body["items"][0]["as_of"] == format_time(door.clock.now_us())


async def test_each_value_is_the_leads_live_value(door: Door) -> None:
    await door.events(*(purchase(f"l{n}", str(n), n, NOW - n * DAY_US // 3) for n in range(30)))
    names = "rfm:recency_days,rfm:monetary_total,behavior:engagement_score,temporal:preferred_hour_of_day"
    for _ in range(3):
        _, body = await door.get(f"leads?sort=-behavior:engagement_score&features={names}")
        assert len(body["items"]) == 30
        for item in body["items"]:
            live = await door.values(item["lead"], f"?features={','.join(item['values'])}")
            assert item["values"] == live
        door.clock.advance(40_000)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("rfm:monetary_total>=20", ["b", "c"]),
        ("rfm:monetary_total>20", ["c"]),
        ("rfm:monetary_total<20", ["a", "d"]),
        ("rfm:monetary_total <= 2e1", ["a", "b", "d"]),
        ("rfm:monetary_total!=20", ["a", "c", "d"]),
        ("rfm:monetary_avg_ticket=null", ["d"]),
        ("rfm:monetary_avg_ticket!=null", ["a", "b", "c"]),
        ("rfm:monetary_avg_ticket<100", ["a", "b", "c"]),
        ("property:city=Austin, TX", ["a"]),
        ("property:city!=Austin, TX", ["b"]),
        ("property:city>B", ["b"]),
        ("property:city<=Austin, TX", ["a"]),
        ("property:city=nowhere", []),
    ],
)
async def test_filters(door: Door, condition: str, found: list[str]) -> None:
    await door.events(
        purchase("a", "1", 10),
        purchase("b", "1", 20),
        purchase("c", "1", 30),
        profile("d", name="Dora"),
        *(
            {"lead": lead, "id": "p", "type": "property_updated", "data": {"city": city}}
            for lead, city in (("a", "Austin, TX"), ("b", "Berlin"))
        ),
    )
    assert await leads(door, f"?filter={quote(condition)}") == found
    assert await leads(door, f"?filter={quote(condition)}&filter=rfm:monetary_total%3E=0") == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("ann", ["ann-1", "b"]),
        ("ANN@EX", ["b"]),
        ("gross", ["c"]),
        ("groß", ["c"]),
        ("acme", ["b", "c"]),
        ("-1", ["ann-1"]),
        ("com acme", []),
        ("zzz", []),
        ("日本", ["d"]),
    ],
)
async def test_a_search_finds_parts_of_id_name_email_and_company_in_any_case(
    door: Door, wanted: str, found: list[str]
) -> None:
    await door.events(
        purchase("ann-1", "1"),
        profile("b", name="Bob", email="Ann@Example.com", company="Acme"),
        profile("c", name="Carla Groß", company="ACME GmbH"),
        profile("d", name="日本 太郎"),
    )
    assert await leads(door, f"?q={quote(wanted)}") == found


async def test_a_profile_that_changes_is_found_under_its_new_name_only(door: Door) -> None:
    await door.events(profile("a", name="Ann", email="ann@x.com"))
    assert await leads(door, "?q=ann") == ["a"]
    await door.events(profile("a", "who else", name="Berta", email=None))
    assert await leads(door, "?q=ann") == []
    _, body = await door.get("leads?q=berta")
    assert [(item["name"], item["email"]) for item in body["items"]] == [("Berta", None)]


@pytest.mark.parametrize("limit", [1, 7, 50])
async def test_what_stood_in_the_list_throughout_comes_once_while_values_move(door: Door, limit: int) -> None:
    await door.events(*(purchase(f"l{n}", "1", n % 5) for n in range(50)))
    items: list[str] = []
    cursor = ""
    turn = 0
    while True:
        status, body = await door.get(f"leads?sort=-rfm:monetary_total&limit={limit}{cursor}")
        assert status == 200
        items += [item["lead"] for item in body["items"]]
        if body["cursor"] is None:
            break
        cursor = f"&cursor={body['cursor']}"
        await door.events(*(purchase(f"l{(7 * turn + n) % 50}", f"m{turn}", 100 * n) for n in range(3)))
        await door.events(purchase(f"new{turn}", "1", 1))
        turn += 1
    assert sorted(items) == sorted(f"l{n}" for n in range(50))


async def test_pages_joined_are_the_list(door: Door) -> None:
    await door.events(*(purchase(f"l{n}", "1", (n * 7) % 11) for n in range(60)), profile("nobody", name="x"))
    for query in ("?sort=-rfm:monetary_avg_ticket", "?sort=rfm:monetary_avg_ticket", "?q=l", "?"):
        whole = await pages(door, f"{query}&limit=1000")
        assert await pages(door, f"{query}&limit=7") == whole


async def test_a_page_can_be_asked_for_again(door: Door) -> None:
    await door.events(*(purchase(f"l{n}", "1", n) for n in range(9)))
    _, first = await door.get("leads?sort=rfm:monetary_total&limit=3")
    second = f"?sort=rfm:monetary_total&limit=3&cursor={first['cursor']}"
    assert await leads(door, second) == await leads(door, second) == ["l3", "l4", "l5"]


async def test_a_list_that_is_no_longer_kept_says_so(door: Door) -> None:
    await door.events(*(purchase(f"l{n}", "1", n) for n in range(9)))
    _, first = await door.get("leads?sort=rfm:monetary_total&limit=3")
    door.clock.advance(601)
    status, problem = await door.get(f"leads?sort=rfm:monetary_total&limit=3&cursor={first['cursor']}")
    assert (status, problem["code"]) == (422, "invalid_cursor")
    assert "begin again" in problem["detail"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?sort=rfm:nothing", "unknown_feature"),
        ("?sort=rfm", "unknown_feature"),
        ("?sort=", "unknown_feature"),
        ("?sort=--rfm:recency_days", "unknown_feature"),
        ("?sort=property:pest_issues", "invalid_parameter"),
        ("?features=rfm:nothing", "unknown_feature"),
        ("?features=", "unknown_feature"),
        ("?filter=rfm:nothing>=1", "unknown_feature"),
        ("?filter=rfm:recency_days", "invalid_parameter"),
        ("?filter=rfm:recency_days>=x", "invalid_parameter"),
        ("?filter=rfm:recency_days>=", "invalid_parameter"),
        ("?filter=rfm:recency_days>=nan", "invalid_parameter"),
        ("?filter=rfm:recency_days>=1e999", "invalid_parameter"),
        ("?filter=rfm:recency_days>null", "invalid_parameter"),
        ("?filter=property:pest_issues=x", "invalid_parameter"),
        ("?" + "&".join(["filter=rfm:recency_days>1"] * 17), "invalid_parameter"),
        ("?q=", "invalid_parameter"),
        ("?q=" + "x" * 257, "invalid_parameter"),
        ("?sort=rfm:recency_days&sort=rfm:recency_days", "invalid_parameter"),
        ("?order=rfm:recency_days", "invalid_parameter"),
        ("?limit=0", "invalid_limit"),
        ("?limit=1001", "invalid_limit"),
        ("?cursor=x", "invalid_cursor"),
    ],
)
async def test_what_cannot_be_asked_is_refused(door: Door, query: str, code: str) -> None:
    status, problem = await door.get(f"leads{query}")
    assert (status, problem["code"]) == (422, code), problem


async def test_a_cursor_of_another_list_is_foreign(door: Door) -> None:
    await door.events(*(purchase(f"l{n}", "1", n) for n in range(3)))
    _, first = await door.get("leads?sort=rfm:monetary_total&limit=1")
    for query in (
        "sort=-rfm:monetary_total",
        "sort=rfm:monetary_total&q=l",
        "",
        "sort=rfm:monetary_total&filter=rfm:recency_days>0",
    ):
        status, problem = await door.get(f"leads?{query}&cursor={first['cursor']}")
        assert (status, problem["code"]) == (422, "invalid_cursor")


def settings(ranked: tuple[str, ...] = (), **lists: Any) -> Settings:
    org = {"default": OrgSettings(ranked=ranked)}
    return msgspec.structs.replace(load_settings(), lists=ListsSettings(**lists), org=org)


async def test_a_list_that_is_being_built_says_how_far_it_is() -> None:
    async with running(settings(build_wait_s=0)) as door:
        await door.events(*(purchase(f"l{n}", "1", n) for n in range(2_000)))
        response = await door.raw("GET", "leads?sort=rfm:recency_days&limit=1000")
        problem = msgspec.json.decode(await response.read())
        assert (response.status, problem["code"]) == (503, "list_building")
        assert int(response.headers["Retry-After"]) >= 1
        assert set(problem["progress"]) == {"done", "total"}
        async with asyncio.timeout(20):
            while (await door.get("leads?sort=rfm:recency_days&limit=1"))[0] == 503:
                await door.events(purchase("late", "1", 1))
        found = await pages(door, "?sort=rfm:recency_days&limit=1000")
        assert len(found) == 2_001


async def test_lists_named_in_the_settings_are_built_at_start_from_snapshots_and_log(tmp_path: Path) -> None:
    named = settings(ranked=("rfm:monetary_total",), build_wait_s=30)
    async with running(named, tmp_path) as door:
        await door.events(*(purchase(f"l{n}", "1", n) for n in range(300)))
    async with running(named, tmp_path) as door:
        assert await leads(door, "?sort=-rfm:monetary_total&limit=3") == ["l299", "l298", "l297"]
        statistics = door.service.lists.statistics()
        assert (statistics.leads, statistics.columns) == (300, 1)
        assert door.service.host.statistics().awake == 0


async def test_a_list_named_in_the_settings_must_be_of_a_feature() -> None:
    with pytest.raises(SettingsError, match=r"org\.default\.ranked"):
        async with running(settings(ranked=("rfm:nothing",))):
            pass


async def test_features_beyond_the_bound_give_way_to_the_latest_asked_for() -> None:
    async with running(settings(ranked=("rfm:monetary_total",), columns_max=2, build_wait_s=30)) as door:
        await door.events(purchase("a", "1", 1))
        for name in ("rfm:recency_days", "behavior:has_purchased", "rfm:monetary_total"):
            assert await leads(door, f"?sort={name}") == ["a"]
        assert door.service.lists.statistics().columns == 2
        status, problem = await door.get("leads?features=rfm:recency_days,behavior:has_purchased,rfm:monetary_total")
        assert (status, problem["code"]) == (422, "invalid_parameter")


async def test_an_org_sees_only_its_own_leads(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    keys = {org: create_key(tmp_path, org=org, scopes=["read", "ingest"], clock=clock) for org in ("one", "two")}
    async with running(directory=tmp_path, clock=clock) as door:
        for org, key in keys.items():
            headers = {"Authorization": f"Bearer {key}"}
            events = [purchase(f"{org}-{n}", "1", n) for n in range(3)]
            assert (await door.post(f"/v1/orgs/{org}/events", events, headers=headers))[0] == 200
        for org, key in keys.items():
            headers = {"Authorization": f"Bearer {key}"}
            _, body = await door.get(f"/v1/orgs/{org}/leads?sort=rfm:monetary_total", headers=headers)
            assert [item["lead"] for item in body["items"]] == [f"{org}-{n}" for n in range(3)]
        assert (await door.get("/v1/orgs/two/leads", headers={"Authorization": f"Bearer {keys['one']}"}))[0] == 404
