import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.compat.cloudevents import BATCH, STRUCTURED, event_id
from gateway.keyring import create_key
from kernel.times import SECOND_US, format_time
from tests.integration.service import BASE, NOW, Door, running

ORIGIN = {"WebHook-Request-Origin": "eventemitter.example.com"}


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


def cloud_event(identifier: str = "1", amount: object = 10, **attributes: Any) -> dict[str, Any]:
    base = {"specversion": "1.0", "id": identifier, "source": "/shop", "type": "purchase_completed", "subject": "a"}
    return base | {"time": format_time(NOW), "data": {"amount": amount}} | attributes


async def send(door: Door, event: Any, media_type: str = STRUCTURED, query: str = "") -> tuple[int, Any]:
    return await door.post("events" + query, event, headers={"Content-Type": media_type})


async def send_binary(door: Door, event: dict[str, Any], **headers: str) -> tuple[int, Any]:
    data = msgspec.json.encode(event.pop("data"))
    attributes = {f"ce-{name}": value for name, value in event.items()}
    response = await door.raw(
        "POST", "events", data=data, headers=attributes | headers, skip_auto_headers=["Content-Type"]
    )
    return response.status, msgspec.json.decode(await response.read())


async def test_the_three_modes_store_and_fold_one_and_the_same_event(door: Door) -> None:
    status, body = await send(door, cloud_event())
    assert (status, body["accepted"]) == (200, 1)
    assert (await send(door, [cloud_event()], BATCH))[1]["duplicates"] == 1
    assert (await send_binary(door, cloud_event()))[1]["duplicates"] == 1
    assert (await door.values("a"))["rfm:monetary_total"] == 10
    _, timeline = await door.get("leads/a/events")
    (stored,) = timeline["items"]
    assert (stored["id"], stored["source"], stored["time"]) == (event_id("/shop", "1"), "/shop", format_time(NOW))
    native = {"lead": "a", "type": "purchase_completed", "id": event_id("/shop", "1"), "data": {"amount": 10}}
    assert (await door.post("events", native))[1]["duplicates"] == 1


async def test_an_event_about_the_market_and_a_gzipped_one_are_taken(door: Door) -> None:
    data = {"tutor_id": "t", "hours": 2}
    market = cloud_event(type="tutor_available", subject="algebra", data=data)
    assert (await send(door, market))[1]["accepted"] == 1
    assert (await door.get("leads/algebra/features"))[0] == 404
    zipped = gzip.compress(msgspec.json.encode(cloud_event()))
    headers = {"Content-Type": STRUCTURED, "Content-Encoding": "gzip"}
    assert (await door.post("events", zipped, headers=headers))[1]["accepted"] == 1


async def test_a_binary_events_headers_are_percent_decoded(door: Door) -> None:
    status, _ = await send_binary(door, cloud_event(subject="Anna%20M%C3%BCller"))
    assert status == 200
    assert (await door.values("Anna%20M%C3%BCller"))["rfm:monetary_total"] == 10


async def test_refusals_of_door_and_log_keep_index_and_path_in_the_senders_terms(door: Door) -> None:
    await send(door, cloud_event("1", 1))
    batch = [cloud_event("1", 2), cloud_event("2"), cloud_event("3", subject=None), cloud_event("4", specversion="0.3")]
    status, body = await send(door, batch, BATCH)
    assert (status, body["accepted"]) == (200, 1)
    told = [(each["index"], each["code"], each["path"]) for each in body["rejected"]]
    assert told == [
        (0, "event_conflict", "data.amount"),
        (2, "event_invalid", "subject"),
        (3, "event_invalid", "specversion"),
    ]


async def test_a_single_event_that_breaks_a_rule_has_its_status_and_place(door: Door) -> None:
    await send(door, cloud_event("1", 1))
    for sent, expected in (
        (cloud_event("1", 2), (409, "event_conflict", "data.amount")),
        (cloud_event("1", 1, time=format_time(NOW - SECOND_US)), (409, "event_conflict", "time")),
        (cloud_event(type="unheard"), (422, "event_unknown_type", "type")),
        (cloud_event(time=format_time(NOW + 301 * SECOND_US)), (422, "event_from_future", "time")),
        (cloud_event(data={"amount": 1, "note": "x" * 70_000}), (413, "event_too_large", "")),
    ):
        status, body = await send(door, sent)
        assert (status, body["code"], body["errors"][0]["path"]) == expected
        status, body = await send_binary(door, sent)
        place = expected[2] if not expected[2] or expected[2].startswith("data") else f"ce-{expected[2]}"
        assert (status, body["code"], body["errors"][0]["path"]) == (*expected[:2], place)


async def test_atomic_stores_nothing_unless_the_whole_batch_is_valid(door: Door) -> None:
    status, body = await send(door, [cloud_event("1"), cloud_event("2", -1)], BATCH, "?atomic=true")
    assert (status, body["errors"][0]["index"], body["errors"][0]["path"]) == (422, 1, "data.amount")
    assert (await door.get("leads/a/features"))[0] == 404


async def test_what_does_not_parse_is_400_and_another_media_type_415(door: Door) -> None:
    for media_type in (STRUCTURED, BATCH):
        status, body = await send(door, b"{", media_type)
        assert (status, body["code"]) == (400, "malformed_json")
    status, body = await send(door, cloud_event(), BATCH)
    assert (status, body["code"]) == (422, "invalid_body")
    status, body = await send(door, b"<a/>", "application/cloudevents+xml")
    assert (status, body["code"]) == (415, "unsupported_media_type")
    status, body = await send_binary(door, cloud_event(), **{"Content-Type": "text/plain"})
    assert (status, body["code"]) == (415, "unsupported_media_type")


async def test_a_full_batch_is_taken_and_counted(door: Door) -> None:
    batch = [cloud_event(str(number), number % 7) for number in range(3000)]
    status, body = await send(door, batch, BATCH)
    assert (status, body["accepted"]) == (200, 3000)
    assert (await send(door, batch, BATCH))[1]["duplicates"] == 3000
    assert (await send(door, [], BATCH))[1]["last_position"] is None
    assert door.service.outcomes == {"accepted": 3000, "duplicate": 3000, "rejected": 0, "dead": 0}


# The handshake of webhooks.


async def test_a_sender_that_asks_may_deliver(door: Door) -> None:
    response = await door.raw("OPTIONS", "events", headers=ORIGIN | {"WebHook-Request-Rate": "120"})
    assert (response.status, await response.read()) == (200, b"")
    assert response.headers["WebHook-Allowed-Origin"] == "eventemitter.example.com"
    assert response.headers["WebHook-Allowed-Rate"] == "*"
    assert response.headers["Allow"] == "OPTIONS, POST"


async def test_without_an_origin_nothing_is_granted_and_a_strange_one_is_refused(door: Door) -> None:
    response = await door.raw("OPTIONS", "events")
    assert response.status == 200
    assert not [name for name in response.headers if name.lower().startswith("webhook")]
    status, body = await door.send("OPTIONS", "events", headers={"WebHook-Request-Origin": "ä"})
    assert (status, body["code"]) == (400, "malformed_request")


async def test_the_handshake_needs_no_key_tells_nothing_of_orgs_and_opens_nothing(tmp_path: Path) -> None:
    async with running(directory=tmp_path) as door:
        key = create_key(tmp_path, org="acme", scopes=["ingest"], clock=door.clock)
        door.clock.advance(1)
        answers = []
        for org in ("acme", "default", "nobody"):
            response = await door.raw("OPTIONS", f"/v1/orgs/{org}/events", headers=ORIGIN)
            answers.append((response.status, response.headers["WebHook-Allowed-Origin"]))
        assert set(answers) == {(200, "eventemitter.example.com")}
        path = BASE.replace("default", "acme") + "/events"
        body = msgspec.json.encode(cloud_event())
        for headers, status in ((ORIGIN, 401), (ORIGIN | {"Authorization": f"Bearer {key}"}, 200)):
            response = await door.raw("POST", path, data=body, headers=headers | {"Content-Type": STRUCTURED})
            assert response.status == status
