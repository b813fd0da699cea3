import gzip
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from kernel.settings_sources import load_settings
from kernel.times import SECOND_US, format_time
from tests.integration.service import NOW, Door, purchase, running

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


def lines(*events: object) -> bytes:
    return b"\n".join(each if isinstance(each, bytes) else msgspec.json.encode(each) for each in events)


async def test_one_event_an_array_and_ndjson_are_taken(door: Door) -> None:
    assert (await door.post("events", purchase("a", "1")))[1]["accepted"] == 1
    assert (await door.post("events", [purchase("a", "2"), purchase("b", "1")]))[1]["accepted"] == 2
    status, body = await door.post("events", lines(purchase("a", "3"), b"", purchase("a", "4")), headers=NDJSON)
    assert (status, body["accepted"]) == (200, 2)
    assert (await door.values("a"))["rfm:frequency_purchases_90d"] == 4


async def test_an_answer_has_the_members_of_the_contract(door: Door) -> None:
    _, body = await door.post("events", [purchase("a", "1"), purchase("a", "1"), purchase("a", "2", -1)])
    assert set(body) == {"accepted", "duplicates", "rejected", "dead", "last_position"}
    assert (body["accepted"], body["duplicates"], len(body["rejected"]), body["dead"]) == (1, 1, 1, 0)
    (refusal,) = body["rejected"]
    assert set(refusal) == {"index", "code", "path", "expected", "actual", "detail"}
    assert (refusal["index"], refusal["code"], refusal["path"]) == (2, "event_invalid", "data.amount")


async def test_events_are_folded_when_the_answer_arrives(door: Door) -> None:
    for count in range(1, 4):
        await door.events(purchase("a", str(count)))
        assert (await door.values("a"))["rfm:frequency_purchases_90d"] == count


async def test_last_position_is_the_greatest_of_the_request_duplicates_included(door: Door) -> None:
    first = await door.events(purchase("a", "1"))
    second = await door.events(purchase("a", "2"))
    assert second["last_position"] > first["last_position"]
    again = await door.events(purchase("a", "1"))
    assert (again["duplicates"], again["last_position"]) == (1, first["last_position"])
    both = await door.events(purchase("a", "2"), purchase("a", "1"))
    assert both["last_position"] == second["last_position"]


async def test_an_empty_array_is_200_with_zeros(door: Door) -> None:
    expected = {"accepted": 0, "duplicates": 0, "rejected": [], "dead": 0, "last_position": None}
    assert await door.post("events", []) == (200, expected)
    assert await door.post("events", b"\n \n", headers=NDJSON) == (200, expected)


async def test_the_same_event_again_is_a_duplicate_and_other_content_a_conflict(door: Door) -> None:
    await door.events(purchase("a", "1", 10))
    status, body = await door.post("events", purchase("a", "1", "10.00"))
    assert (status, body["duplicates"]) == (200, 1)
    status, body = await door.post("events", purchase("a", "1", 11))
    assert (status, body["code"]) == (409, "event_conflict")


@pytest.mark.parametrize(
    ("event", "status", "code", "path"),
    [
        ({"lead": "a", "type": "nothing_known"}, 422, "event_unknown_type", "type"),
        ({"lead": "a", "type": "purchase_completed", "data": {}}, 422, "event_invalid", "data.amount"),
        ({"lead": "a", "type": "campaign_ignored", "data": {"campaign_id": "x"}}, 422, "event_invalid", "type"),
        ({"lead": "a", "type": "deal_won", "tiem": 1}, 422, "event_invalid", "tiem"),
        ({"type": "deal_won"}, 422, "event_invalid", "lead"),
        ({"lead": "..", "type": "deal_won"}, 422, "event_invalid", "lead"),
        ({"lead": "a", "type": "deal_won", "id": "~x"}, 422, "event_invalid", "id"),
        (purchase("a", "1", at_us=NOW + 301 * SECOND_US), 422, "event_from_future", "time"),
        (purchase("a", "1", source="x" * 70_000), 413, "event_too_large", ""),
    ],
)
async def test_a_single_event_that_breaks_a_rule_has_its_status_and_place(
    door: Door, event: dict[str, Any], status: int, code: str, path: str
) -> None:
    found, body = await door.post("events", event)
    assert (found, body["code"], body["status"]) == (status, code, status)
    (error,) = body["errors"]
    assert error["path"] == path
    assert error["expected"]
    assert body["detail"] == body["message"]


async def test_when_all_were_refused_for_one_reason_that_is_the_status(door: Door) -> None:
    status, body = await door.post("events", [purchase("a", "1", -1), purchase("a", "2", -1)])
    assert (status, body["code"], [e["index"] for e in body["errors"]]) == (422, "event_invalid", [0, 1])
    await door.events(purchase("a", "3", 1))
    status, body = await door.post("events", [purchase("a", "3", 2), purchase("a", "3", 3)])
    assert (status, body["code"]) == (409, "event_conflict")
    status, body = await door.post("events", [purchase("a", "3", 2), purchase("a", "4", -1)])
    assert (status, body["code"]) == (422, "event_invalid")


async def test_the_valid_events_of_a_batch_are_stored(door: Door) -> None:
    status, body = await door.post("events", [purchase("a", "1"), {"lead": "a"}, purchase("a", "2")])
    assert (status, body["accepted"]) == (200, 2)
    assert (await door.values("a"))["rfm:frequency_purchases_90d"] == 2


async def test_atomic_stores_nothing_unless_all_are_valid(door: Door) -> None:
    batch = [purchase("a", "1"), purchase("a", "2", -1)]
    status, body = await door.post("events?atomic=true", batch)
    assert (status, body["code"]) == (422, "event_invalid")
    assert body["errors"][0]["index"] == 1
    assert (await door.get("leads/a/features"))[0] == 404
    assert (await door.post("events?atomic=true", [purchase("a", "1")]))[1]["accepted"] == 1


async def test_atomic_stores_nothing_when_the_log_refuses_one(door: Door) -> None:
    await door.events(purchase("a", "1", 1))
    status, body = await door.post("events?atomic=true", [purchase("a", "2"), purchase("a", "1", 2)])
    assert (status, body["code"], body["errors"][0]["index"]) == (409, "event_conflict", 1)
    assert (await door.values("a"))["rfm:frequency_purchases_90d"] == 1


async def test_a_bad_line_is_one_rejected_item(door: Door) -> None:
    status, body = await door.post("events", lines(purchase("a", "1"), b"{", purchase("a", "2")), headers=NDJSON)
    assert (status, body["accepted"]) == (200, 2)
    assert [(item["index"], item["code"]) for item in body["rejected"]] == [(1, "malformed_json")]


@pytest.mark.parametrize("body", [b"", b"{", b"[{]", b'{"a":1}x', b"\xff", b'["\xff"]', b"[" * 100_000])
async def test_a_body_that_does_not_parse_is_refused_whole(door: Door, body: bytes) -> None:
    status, problem = await door.post("events", body)
    assert (status, problem["code"]) == (400, "malformed_json")


@pytest.mark.parametrize("body", [b"1", b"null", b'"x"', b"[1]", b"[null]", b"true"])
async def test_what_is_no_event_is_invalid(door: Door, body: bytes) -> None:
    status, problem = await door.post("events", body)
    assert (status, problem["code"]) == (422, "event_invalid")


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "x"])
async def test_another_media_type_is_415(door: Door, media: str) -> None:
    status, problem = await door.post("events", purchase("a", "1"), headers={"Content-Type": media})
    assert (status, problem["code"]) == (415, "unsupported_media_type")


async def test_a_gzipped_body_is_inflated_and_a_corrupt_one_is_400(door: Door) -> None:
    zipped = gzip.compress(msgspec.json.encode(purchase("a", "1")))
    headers = {"Content-Encoding": "gzip"}
    assert (await door.post("events", zipped, headers=headers))[1]["accepted"] == 1
    for broken in (b"\x1f\x8bnonsense", zipped[:-12], b"no gzip at all"):
        status, problem = await door.post("events", broken, headers=headers)
        assert status == 400, problem
        assert problem["code"] in ("malformed_body", "malformed_json")
    assert (await door.post("events", zipped, headers={"Content-Encoding": "zstd"}))[0] == 415


async def test_more_bytes_or_events_than_a_request_may_carry_are_413() -> None:
    small = load_settings(environment={"LEADWHEEL_SERVER__MAX_BODY_MB": "1", "LEADWHEEL_SERVER__MAX_EVENTS": "3"})
    async with running(small) as door:
        status, problem = await door.post("events", [purchase("a", str(n)) for n in range(4)])
        assert (status, problem["code"]) == (413, "request_too_large")
        status, problem = await door.post("events", b" " * (1024 * 1024 + 1))
        assert (status, problem["code"]) == (413, "request_too_large")
        bomb = gzip.compress(b" " * (4 * 1024 * 1024))
        status, problem = await door.post("events", bomb, headers={"Content-Encoding": "gzip"})
        assert (status, problem["code"]) == (413, "request_too_large")


async def test_an_event_without_id_and_time_gets_both(door: Door) -> None:
    await door.events({"lead": "a", "type": "deal_won"}, {"lead": "a", "type": "deal_won"})
    _, timeline = await door.get("leads/a/events")
    assert len({item["id"] for item in timeline["items"]}) == 2
    assert {item["time"] for item in timeline["items"]} == {format_time(NOW)}


@pytest.mark.parametrize("query", ["?atomic=yes", "?atomc=true", "?atomic=true&atomic=true"])
async def test_a_parameter_that_is_not_as_expected_is_refused(door: Door, query: str) -> None:
    status, problem = await door.post("events" + query, [])
    assert (status, problem["code"]) == (422, "invalid_parameter")


async def test_a_subject_is_no_lead(door: Door) -> None:
    event = {"subject": "algebra", "type": "tutor_available", "data": {"tutor_id": "t", "hours": 3}}
    assert (await door.post("events", event))[1]["accepted"] == 1
    status, problem = await door.post("events", {**event, "subject": "alchemy"})
    assert (status, problem["errors"][0]["path"]) == (422, "subject")
    assert (await door.get("leads/algebra/features"))[0] == 404


async def test_a_retracted_event_leaves_every_value_and_stays_in_the_timeline(door: Door) -> None:
    await door.events(purchase("a", "1", 10), purchase("a", "2", 5))
    await door.events({"lead": "a", "type": "event_retracted", "id": "r", "data": {"event_id": "1"}})
    assert (await door.values("a"))["rfm:monetary_total"] == 5
    _, timeline = await door.get("leads/a/events")
    assert {item["id"]: item["retracted"] for item in timeline["items"]} == {"1": True, "2": False, "r": False}
