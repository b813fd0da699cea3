from collections.abc import AsyncIterator
from typing import Any

import pytest

from kernel.times import SECOND_US, format_time
from tests.integration.service import NOW, Door, purchase, running


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def pages(door: Door, path: str, limit: int) -> list[Any]:
    items: list[Any] = []
    cursor = None
    while True:
        status, body = await door.get(f"{path}?limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
        assert status == 200, body
        assert len(body["items"]) <= limit
        items += body["items"]
        cursor = body["cursor"]
        if cursor is None:
            return items


async def test_the_timeline_is_the_envelope_newest_first(door: Door) -> None:
    await door.events(
        purchase("a", "1", 10, NOW - SECOND_US, source="till"), purchase("a", "3"), purchase("a", "2", "7.50")
    )
    _, body = await door.get("leads/a/events")
    assert [item["id"] for item in body["items"]] == ["3", "2", "1"]
    assert body["cursor"] is None
    last = body["items"][-1]
    assert last == {
        "id": "1",
        "lead": "a",
        "type": "purchase_completed",
        "time": format_time(NOW - SECOND_US),
        "data": {"amount": 10},
        "source": "till",
        "version": 1,
        "position": last["position"],
        "recorded": format_time(NOW),
        "retracted": False,
    }
    assert body["items"][1]["data"] == {"amount": "7.50"}


@pytest.mark.parametrize("limit", [1, 3, 7, 10, 1000])
async def test_what_stood_in_a_list_throughout_comes_exactly_once(door: Door, limit: int) -> None:
    await door.events(*(purchase("a", str(n), at_us=NOW - (n // 3) * SECOND_US) for n in range(10)))
    whole = await pages(door, "leads/a/events", 1000)
    assert len(whole) == 10
    assert await pages(door, "leads/a/events", limit) == whole
    catalogue = await pages(door, "catalogue", 1000)
    assert await pages(door, "catalogue", max(limit, 5)) == catalogue


async def test_an_event_that_arrives_between_pages_moves_nothing(door: Door) -> None:
    await door.events(*(purchase("a", str(n), at_us=NOW - n * SECOND_US) for n in range(6)))
    _, first = await door.get("leads/a/events?limit=3")
    await door.events(purchase("a", "new"), purchase("a", "late", at_us=NOW - 4 * SECOND_US))
    _, second = await door.get(f"leads/a/events?limit=3&cursor={first['cursor']}")
    seen = [item["id"] for item in first["items"] + second["items"]]
    assert seen == ["0", "1", "2", "3", "late", "4"]


@pytest.mark.parametrize("path", ["leads/a/events", "catalogue", "dead-letters", "jobs"])
async def test_limits_and_cursors_are_checked_everywhere(door: Door, path: str) -> None:
    await door.events(purchase("a", "1"), purchase("b", "1"))
    for limit in ("0", "1001", "x", "-1", ""):
        status, problem = await door.get(f"{path}?limit={limit}")
        assert (status, problem["code"]) == (422, "invalid_limit")
    _, foreign = await door.get("leads/b/events?limit=1")
    _, catalogue = await door.get("catalogue?limit=1")
    assert foreign["cursor"] is None
    for cursor in ("x", "", catalogue["cursor"] if path != "catalogue" else "W10"):
        status, problem = await door.get(f"{path}?cursor={cursor}")
        assert (status, problem["code"]) == (422, "invalid_cursor")
    status, problem = await door.get(f"{path}?offset=1")
    assert (status, problem["code"]) == (422, "invalid_parameter")


async def test_a_cursor_of_another_lead_is_foreign(door: Door) -> None:
    await door.events(*(purchase(lead, n) for lead in "ab" for n in "12"))
    _, page = await door.get("leads/a/events?limit=1")
    assert (await door.get(f"leads/a/events?cursor={page['cursor']}"))[0] == 200
    status, problem = await door.get(f"leads/b/events?cursor={page['cursor']}")
    assert (status, problem["code"]) == (422, "invalid_cursor")


async def test_the_timeline_of_an_unknown_lead_is_404(door: Door) -> None:
    status, body = await door.get("leads/nobody/events")
    assert (status, body["code"]) == (404, "lead_not_found")


async def test_a_feature_is_documented(door: Door) -> None:
    status, feature = await door.get("catalogue/rfm:recency_days")
    assert status == 200
    assert list(feature) == [
        "feature",
        "view",
        "dtype",
        "unit",
        "range",
        "null_means",
        "description",
        "affected_by",
        "windows",
        "fingerprint",
        "definition",
        "settings",
        "pack",
        "vocabulary",
    ]
    assert (feature["feature"], feature["view"], feature["dtype"]) == ("rfm:recency_days", "rfm", "int")
    assert "purchase_completed" in feature["affected_by"]
    _, listed = await door.get("catalogue?limit=1000")
    assert feature in listed["items"]
    assert all(item["description"] for item in listed["items"])


@pytest.mark.parametrize("reference", ["rfm:nothing", "nothing:recency_days", "rfm", ":"])
async def test_an_unknown_feature_in_the_path_is_404(door: Door, reference: str) -> None:
    status, body = await door.get(f"catalogue/{reference}")
    assert (status, body["code"]) == (404, "feature_not_found")


async def test_the_settings_are_shown_for_this_org_alone(door: Door) -> None:
    status, body = await door.get("settings")
    assert status == 200
    assert list(body) == ["server", "store", "kafka", "nodes", "actors", "lists", "stream", "alerts", "bandit", "org"]
    assert list(body["org"]) == ["default"]
    assert body["org"]["default"]["timezone"] == "UTC"
