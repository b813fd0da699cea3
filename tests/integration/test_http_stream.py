"""The change feed over HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.keyring import create_key
from kernel.clock import VirtualClock
from kernel.settings import Settings, StreamSettings
from kernel.settings_sources import load_settings
from kernel.times import DAY_US, format_time
from tests.integration.listening import listening
from tests.integration.service import NOW, Door, purchase, running


def settings(**stream: Any) -> Settings:
    return msgspec.structs.replace(load_settings(), stream=StreamSettings(**stream))


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def test_a_change_is_told_with_its_lead_its_instant_its_cause_and_both_values(door: Door) -> None:
    async with listening(door) as ear:
        await ear.opened()
        await door.events(purchase("a", "p1", 10))
        told = await ear.next()
        assert told.kind == "features"
        assert told.data["lead"] == "a"
        assert told.data["at"] == format_time(NOW)
        assert told.data["cause"] == {"id": "p1", "type": "purchase_completed"}
        assert told.data["changes"]["rfm:monetary_total"] == [0, 10]
        assert told.data["changes"]["rfm:recency_days"] == [None, 0]


async def test_time_alone_is_a_cause_at_its_exact_instant(door: Door) -> None:
    await door.events(purchase("a", "p1", 10))
    async with listening(door, "?features=rfm:recency_days") as ear:
        await ear.opened()
        door.clock.advance(2.5 * 86_400)
        for day in (1, 2):
            told = await ear.next()
            assert told.data == {
                "lead": "a",
                "at": format_time(NOW + day * DAY_US),
                "cause": "time",
                "changes": {"rfm:recency_days": [day - 1, day]},
            }


async def test_an_event_stamped_ahead_is_the_cause_when_its_time_comes(door: Door) -> None:
    async with listening(door, "?lead=a&features=rfm:monetary_total") as ear:
        await ear.opened()
        await door.events(purchase("a", "soon", 7, NOW + 60_000_000))
        assert (await door.values("a"))["rfm:monetary_total"] == 0
        door.clock.advance(61)
        told = await ear.next()
        assert told.data["cause"] == {"id": "soon", "type": "purchase_completed"}
        assert told.data["at"] == format_time(NOW + 60_000_000)


async def test_a_stream_is_narrowed_to_a_lead_and_to_features(door: Door) -> None:
    async with listening(door, "?lead=a&views=behavior") as views, listening(door, "?features=lifetime:referral_count"):
        await views.opened()
        await door.events(purchase("b", "p1"), purchase("a", "p2"))
        told = await views.next()
        assert told.data["lead"] == "a"
        assert {name.split(":")[0] for name in told.data["changes"]} == {"behavior"}


async def test_late_events_and_retractions_are_told_with_what_they_change(door: Door) -> None:
    await door.events(purchase("a", "p1", 10, NOW - DAY_US))
    async with listening(door, "?lead=a&features=rfm:monetary_total,rfm:recency_days") as ear:
        await ear.opened()
        await door.events({"lead": "a", "id": "r", "type": "event_retracted", "data": {"event_id": "p1"}})
        told = await ear.next()
        assert told.data["cause"] == {"id": "r", "type": "event_retracted"}
        assert told.data["changes"] == {"rfm:monetary_total": [10, 0], "rfm:recency_days": [1, None]}


async def test_who_comes_back_gets_what_it_missed_once(door: Door) -> None:
    async with listening(door, "?features=rfm:monetary_total") as ear:
        await ear.opened()
        await door.events(purchase("a", "p1", 1))
        seen = await ear.next()
    await door.events(purchase("a", "p2", 2), purchase("b", "p3", 3))
    async with listening(door, "?features=rfm:monetary_total", last_id=seen.id) as ear:
        await door.events(purchase("a", "p4", 4))
        told = [await ear.next() for _ in range(3)]
        assert [each.data["cause"]["id"] for each in told] == ["p2", "p3", "p4"]
        assert [each.id for each in told] == sorted(each.id for each in told)
        assert told[0].id > seen.id


async def test_the_mark_at_the_beginning_can_be_resumed_from(door: Door) -> None:
    async with listening(door, "?lead=a") as ear:
        await ear.opened()
    await door.events(purchase("a", "p1", 1))
    async with listening(door, "?lead=a", last_id=ear.last_id) as again:
        assert (await again.next()).data["cause"]["id"] == "p1"


@pytest.mark.parametrize("last_id", ["", "x", "00000000000000-000000000000", "-", "0-zzzzzzzzzzzz"])
async def test_an_id_of_no_entry_is_answered_by_one_reset(door: Door, last_id: str) -> None:
    async with listening(door, last_id=last_id) as ear:
        if last_id:
            told = await ear.next()
            assert told.kind == "reset"
            assert told.data["reason"]
        else:
            await ear.opened()
        await door.events(purchase("a", "p1"))
        assert (await ear.next()).kind == "features"
    async with listening(door, last_id=ear.last_id) as again:
        await again.opened()
        await door.events(purchase("a", "p2"))
        assert (await again.next()).data["cause"]["id"] == "p2"


async def test_after_ten_minutes_without_a_listener_nothing_is_kept(door: Door) -> None:
    async with listening(door) as ear:
        await ear.opened()
        await door.events(purchase("a", "p1"))
        seen = await ear.next()
    for seconds, kind in ((590, "features"), (620, "reset")):
        await door.events(purchase("a", f"e{seconds}"))
        door.clock.advance(seconds)
        for _ in range(20):
            await asyncio.sleep(0)
        async with listening(door, last_id=seen.id) as ear:
            seen = await ear.next()
            assert seen.kind == kind


async def test_a_feed_that_nobody_wants_any_more_is_gone(door: Door) -> None:
    taps = door.service.host._taps
    async with listening(door) as ear:
        await ear.opened()
        assert len(door.service.host._taps) == len(taps) + 1
    await door.get("catalogue?limit=1")
    door.clock.advance(0.2)
    await door.get("catalogue?limit=1")
    door.clock.advance(601)
    for _ in range(50):
        await asyncio.sleep(0)
    assert door.service.host._taps == taps
    assert door.service.feed.statistics().listeners == 0


async def test_more_changes_than_are_kept_are_a_reset() -> None:
    async with running(settings(keep_changes=50)) as door, listening(door) as ear:
        await ear.opened()
        last_id = ear.last_id
        await door.events(*(purchase("a", f"p{n}", 1) for n in range(40)))
        await ear.next()
        async with listening(door, last_id=last_id) as again:
            assert (await again.next()).kind == "reset"


async def test_who_does_not_read_is_reset_and_dropped() -> None:
    async with running(settings(waiting_max=50, send_timeout_s=5)) as door:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131_072)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            server = door.client.server
            await loop.sock_connect(sock, (server.host, server.port))
            await loop.sock_sendall(sock, b"GET /v1/orgs/default/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await loop.sock_recv(sock, 12) == b"HTTP/1.1 200"
            posted = 0
            while not door.service.feed.statistics().resets:
                await door.events(*(purchase(f"lead-{posted + n}", "p", 1) for n in range(200)))
                posted += 200
                assert posted < 20_000
            received = b""
            async with asyncio.timeout(20):
                while b"event: reset" not in received:
                    part = await loop.sock_recv(sock, 65_536)
                    assert part
                    received = received[-100:] + part
        assert door.service.feed.statistics().resets == 1


async def test_a_stop_does_not_wait_for_who_does_not_read() -> None:
    async with running(settings(waiting_max=50)) as door:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            server = door.client.server
            await loop.sock_connect(sock, (server.host, server.port))
            await loop.sock_sendall(sock, b"GET /v1/orgs/default/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await loop.sock_recv(sock, 12) == b"HTTP/1.1 200"
            posted = 0
            while not door.service.feed.statistics().resets:
                await door.events(*(purchase(f"lead-{posted + n}", "p", 1) for n in range(200)))
                posted += 200
            began_s = loop.time()
            await door.client.server.close()
            assert loop.time() - began_s < 1


async def test_a_listener_that_keeps_up_is_never_reset() -> None:
    async with running(settings(waiting_max=100)) as door, listening(door) as ear:
        await ear.opened()
        posting = asyncio.create_task(door.events(*(purchase(f"lead-{n}", "p", 1) for n in range(3_000))))
        told = [await ear.next() for _ in range(3_000)]
        await posting
        assert {each.kind for each in told} == {"features"}
        assert len({each.data["lead"] for each in told}) == 3_000


async def test_silence_is_broken_by_signs_of_life() -> None:
    async with running(settings(heartbeat_s=0.05)) as door, listening(door) as ear:
        async with asyncio.timeout(20):
            seen = b""
            while seen.count(b": alive\n") < 2:
                seen += await ear.response.content.readline()


async def test_a_stop_ends_open_streams_at_once() -> None:
    loop = asyncio.get_running_loop()
    async with running() as door:
        async with listening(door) as ear, listening(door, "?lead=a") as other:
            await ear.opened()
            await other.opened()
            began_s = loop.time()
            closing = asyncio.create_task(door.client.server.close())
            assert await ear.rest() == []
            assert await other.rest() == []
            await closing
        assert loop.time() - began_s < 1


async def test_an_org_hears_nothing_of_another(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    keys = {org: create_key(tmp_path, org=org, scopes=["read", "ingest"], clock=clock) for org in ("one", "two")}
    async with running(directory=tmp_path, clock=clock) as door:
        door.headers = {"Authorization": f"Bearer {keys['one']}"}
        assert (await door.get("/v1/orgs/two/stream"))[0] == 404
        async with listening(door, "?features=rfm:monetary_total", path="/v1/orgs/one/stream") as ear:
            await ear.opened()
            foreign = {"Authorization": f"Bearer {keys['two']}"}
            events = [purchase("a", "p1", 5)]
            assert (await door.post("/v1/orgs/two/events", events, headers=foreign))[0] == 200
            assert (await door.post("/v1/orgs/one/events", [purchase("a", "p2", 6)]))[0] == 200
            told = await ear.next()
            assert told.data["cause"]["id"] == "p2"
            assert told.data["changes"] == {"rfm:monetary_total": [0, 6]}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?views=nothing", "unknown_feature"),
        ("?features=rfm:nothing", "unknown_feature"),
        ("?views=rfm&features=rfm:recency_days", "invalid_parameter"),
        ("?lead=", "invalid_parameter"),
        ("?led=a", "invalid_parameter"),
    ],
)
async def test_what_cannot_be_listened_to_is_refused(door: Door, query: str, code: str) -> None:
    status, problem = await door.get(f"stream{query}")
    assert (status, problem["code"]) == (422, code)


async def test_more_streams_than_may_be_open_are_refused() -> None:
    async with running(settings(listeners_max=1)) as door, listening(door):
        response = await door.raw("GET", "stream")
        assert response.status == 503
        assert response.headers["Retry-After"]
        assert msgspec.json.decode(await response.read())["code"] == "too_many_streams"


async def test_a_head_request_opens_no_stream(door: Door) -> None:
    response = await door.raw("HEAD", "stream")
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    assert door.service.feed.statistics().listeners == 0
