"""Signed webhooks: alerts told to a receiver that answers well, slowly, badly or not at all."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kernel.clock import VirtualClock
from kernel.sections import Secret
from kernel.settings import OrgSettings, Settings
from kernel.settings_sources import load_settings
from kernel.settings_webhooks import WebhookSettings
from kernel.times import DAY_US, HOUR_US
from tests.integration.receiving import SECRET, Received, Receiver, receiving
from tests.integration.service import NOW, Door, purchase, running
from tests.integration.test_http_alerts import alerts, rule

BIG = {"when": "rfm.monetary_total > 100.0", "severity": "high", "cooldown_s": 3600, "sinks": ["crm"]}
FAST: dict[str, Any] = {"attempts": 4, "backoff_s": 1.0, "timeout_s": 5.0}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def settings(receiver: Receiver, **fields: Any) -> Settings:
    webhook = WebhookSettings(url=receiver.url, secret=Secret(SECRET), **{**FAST, **fields})
    return msgspec.structs.replace(load_settings(), org={"default": OrgSettings(webhooks={"crm": webhook})})


async def raised(door: Door, *leads: str) -> list[dict[str, Any]]:
    await rule(door, "big", BIG)
    await door.events(*(purchase(lead, "p1", 150) for lead in leads))
    return await alerts(door)


async def told(door: Door) -> None:
    """Let time pass until nothing is under way."""
    deliveries = (await door.service.alerts.of(door.service.orgs["default"])).deliveries
    async with asyncio.timeout(10):
        while deliveries.waiting:
            await asyncio.sleep(0)
            door.clock.advance(0.2)


async def confirmations(door: Door) -> list[tuple[str, str, int]]:
    events = await door.service.store.read_type("default", "alert_delivered", limit=100)
    data = [msgspec.json.decode(event.data) for event in events]
    return [(each["transition"], each["outcome"], each["attempts"]) for each in reversed(data)]


async def letters(door: Door) -> list[dict[str, Any]]:
    status, body = await door.get("webhook-dead-letters")
    assert status == 200
    items: list[dict[str, Any]] = body["items"]
    return items


def is_signed(received: Received) -> bool:
    return received.headers["webhook-signature"] == received.signature()


async def test_a_receiver_gets_beginning_and_end_signed(receiver: Receiver) -> None:
    async with running(settings(receiver)) as door:
        (alert,) = await raised(door, "a")
        (first,) = await receiver.wait(1)
        await told(door)
        assert is_signed(first)
        assert first.headers["webhook-signature"] != first.signature("whsec_AAAAAAAAAAAAAAAAAAAAAAAA")
        assert first.id == f"raised_{alert['id']}"
        assert first.headers["content-type"] == "application/json"
        assert first.message == {
            "type": "alert.raised",
            "timestamp": alert["raised_at"],
            "data": {"org": "default", **alert},
        }
        door.clock.advance(60)
        await door.post(f"alerts/{alert['id']}/acknowledge", {})
        await door.events({"id": "r", "lead": "a", "type": "event_retracted", "data": {"event_id": "p1"}})
        await alerts(door)
        _, second = await receiver.wait(2)
        await told(door)
        assert second.message["type"] == "alert.resolved"
        assert second.message["data"]["resolved_by"] == "itself"
        assert second.id == f"resolved_{alert['id']}"
        assert is_signed(second)
        assert await confirmations(door) == [("raised", "delivered", 1), ("resolved", "delivered", 1)]


async def test_a_webhook_may_want_beginnings_only(receiver: Receiver) -> None:
    async with running(settings(receiver, resolved=False)) as door:
        (alert,) = await raised(door, "a")
        await receiver.wait(1)
        await door.post(f"alerts/{alert['id']}/resolve", {})
        await alerts(door)
        await told(door)
        assert len(receiver.received) == 1


async def test_a_receiver_that_fails_is_tried_again_with_the_same_id(receiver: Receiver) -> None:
    receiver.answers = [500, 503, 204]
    async with running(settings(receiver)) as door:
        await raised(door, "a")
        await receiver.wait(1)
        await told(door)
        first, second, third = receiver.received
        assert first.id == second.id == third.id
        assert first.body == second.body == third.body
        assert all(is_signed(each) for each in receiver.received)
        assert await confirmations(door) == [("raised", "delivered", 3)]
        assert await letters(door) == []
        posted = door.service.alerts.posted
        assert (posted.delivered, posted.failed, posted.dead) == (1, 2, 0)


async def test_pauses_grow_and_heed_what_the_receiver_asks_for(receiver: Receiver) -> None:
    receiver.always = 500
    async with running(settings(receiver, attempts=4, backoff_s=8.0, backoff_max_s=20.0)) as door:
        await raised(door, "a")
        await receiver.wait(1)
        await told(door)
        times = [int(each.headers["webhook-timestamp"]) for each in receiver.received]
        first, second, third = (later - earlier for earlier, later in pairwise(times))
        assert (first >= 4, second >= 8, third >= 10) == (True, True, True)
        receiver.received.clear()
        receiver.always, receiver.answers, receiver.headers = 204, [429], {"Retry-After": "19"}
        await door.events(purchase("b", "p1", 150))
        await alerts(door)
        await receiver.wait(1)
        await told(door)
        times = [int(each.headers["webhook-timestamp"]) for each in receiver.received]
        assert times[1] - times[0] >= 19


async def test_a_message_that_is_never_taken_is_a_dead_letter_that_can_be_retried(receiver: Receiver) -> None:
    receiver.always = 500
    async with running(settings(receiver)) as door:
        (alert,) = await raised(door, "a")
        await receiver.wait(1)
        await told(door)
        assert len(receiver.received) == 4
        (letter,) = await letters(door)
        assert (letter["webhook"], letter["alert"], letter["lead"]) == ("crm", alert["id"], "a")
        assert (letter["attempts"], letter["error"], letter["type"]) == (4, "answered 500: no", "alert.raised")
        assert letter["webhook_id"] == receiver.received[0].id
        path = f"webhook-dead-letters/{letter['id']}/retry"
        assert await door.post(path, {}) == (200, {"delivered": False})
        assert await letters(door) == [letter]
        receiver.always = 204
        assert await door.post(path, {}) == (200, {"delivered": True})
        assert receiver.received[-1].id == letter["webhook_id"]
        assert await letters(door) == []
        assert (await door.post(path, {}))[1]["code"] == "dead_letter_not_found"


async def test_a_receiver_that_is_gone_is_not_tried_again(receiver: Receiver) -> None:
    receiver.always = 410
    async with running(settings(receiver)) as door:
        await raised(door, "a")
        await receiver.wait(1)
        await told(door)
        assert len(receiver.received) == 1
        assert [letter["error"] for letter in await letters(door)] == ["answered 410: no"]


async def test_a_slow_receiver_is_given_up_for_this_time_and_holds_up_nobody(receiver: Receiver) -> None:
    receiver.answers = ["slow"]
    async with running(settings(receiver, timeout_s=0.2)) as door:
        await raised(door, "a", "b")
        await receiver.wait(2)
        async with asyncio.timeout(10):
            while len(receiver.received) < 3:
                await asyncio.sleep(0)
                door.clock.advance(0.1)
        await told(door)
        assert sorted(await confirmations(door)) == [("raised", "delivered", 1), ("raised", "delivered", 2)]


async def test_a_redirect_and_a_closed_port_are_failures(receiver: Receiver) -> None:
    receiver.always, receiver.headers = 302, {"Location": receiver.url}
    async with running(settings(receiver, attempts=1)) as door:
        await raised(door, "a")
        await told(door)
        assert len(receiver.received) == 1
        assert (await letters(door))[0]["error"].startswith("answered 302")
    receiver.url = "http://127.0.0.1:1/hook"
    async with running(settings(receiver, attempts=1)) as door:
        await raised(door, "a")
        await told(door)
        assert "ClientConnector" in (await letters(door))[0]["error"]


async def test_what_was_not_delivered_is_told_again_after_a_restart_under_the_same_id(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.always = 500
    async with running(settings(receiver), tmp_path) as door:
        first, second = await raised(door, "a", "b")
        await door.post(f"alerts/{first['id']}/resolve", {})
        await receiver.wait(2)
    ids = {each.id for each in receiver.received}
    receiver.received.clear()
    receiver.always = 204
    async with running(settings(receiver), tmp_path) as door:
        await alerts(door)
        await receiver.wait(3)
        await told(door)
        assert ids <= {each.id for each in receiver.received}
        assert len(receiver.received) == 3
        mine = [each.message["type"] for each in receiver.received if each.id.endswith(first["id"])]
        assert mine == ["alert.raised", "alert.resolved"]
        assert second["state"] == "open"
    receiver.received.clear()
    async with running(settings(receiver), tmp_path) as door:
        await alerts(door)
        await told(door)
        assert receiver.received == []


async def test_dead_letters_outlive_a_restart(receiver: Receiver, tmp_path: Path) -> None:
    receiver.always = 410
    async with running(settings(receiver), tmp_path) as door:
        await raised(door, "a")
        await receiver.wait(1)
        await told(door)
        before = await letters(door)
    async with running(load_settings(), tmp_path) as door:
        assert await letters(door) == before
        status, problem = await door.post(f"webhook-dead-letters/{before[0]['id']}/retry", {})
        assert (status, problem["code"]) == (409, "webhook_gone")
        await alerts(door)
        assert len(receiver.received) == 1


async def test_what_finds_no_room_waits_and_is_told_later(receiver: Receiver) -> None:
    async with running(settings(receiver, waiting_max=2, concurrency=1)) as door:
        await raised(door, *(f"lead-{n}" for n in range(15)))
        async with asyncio.timeout(10):
            while len(receiver.received) < 15:
                await told(door)
                await door.service.alerts.settle()
        await told(door)
        assert len({each.id for each in receiver.received}) == len(receiver.received) == 15


async def test_old_news_tells_no_webhook(receiver: Receiver) -> None:
    async with running(settings(receiver)) as door:
        assert await raised(door) == []
        await door.events(purchase("old", "p1", 150, NOW - 2 * DAY_US))
        assert await alerts(door) == []
        await told(door)
        assert receiver.received == []


async def test_an_end_that_old_news_makes_is_told_to_nobody(receiver: Receiver, tmp_path: Path) -> None:
    few = {**BIG, "when": "rfm.monetary_avg_ticket > 100.0"}
    async with running(settings(receiver), tmp_path) as door:
        await rule(door, "big", few)
        await door.events(purchase("a", "p1", 150))
        assert len(await alerts(door)) == 1
        await receiver.wait(1)
        await door.events(purchase("a", "p0", 1, NOW - 2 * DAY_US))
        assert [each["state"] for each in await alerts(door)] == ["resolved"]
        await told(door)
        assert len(receiver.received) == 1
    async with running(settings(receiver), tmp_path) as door:
        await alerts(door)
        await told(door)
        assert len(receiver.received) == 1


async def test_the_clock_of_the_signature_is_the_service_s(receiver: Receiver) -> None:
    async with running(settings(receiver), clock=VirtualClock(NOW + HOUR_US)) as door:
        await raised(door, "a")
        (first,) = await receiver.wait(1)
        await told(door)
        assert int(first.headers["webhook-timestamp"]) == (NOW + HOUR_US) // 1_000_000
