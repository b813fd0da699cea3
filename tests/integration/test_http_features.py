from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from kernel.times import DAY_US, SECOND_US, format_time
from tests.integration.service import NOW, Door, purchase, running


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def test_an_answer_is_written_to_the_letter(door: Door) -> None:
    await door.events(purchase("42", "1", 10, NOW - 3 * DAY_US))
    status, body = await door.get("leads/42/features?features=rfm:recency_days,behavior:support_ticket_rate_30d")
    assert status == 200
    assert list(body) == ["lead", "as_of", "next_change", "catalogue", "values"]
    assert (body["lead"], body["as_of"]) == ("42", "2026-11-21T10:00:00.000000Z")
    assert body["next_change"] == "2026-11-22T10:00:00.000000Z"
    assert body["values"] == {"rfm:recency_days": 3, "behavior:support_ticket_rate_30d": 0}


async def test_all_views_of_the_lead_are_the_default_and_a_star_adds_the_market(door: Door) -> None:
    await door.events(purchase("a", "1"))
    _, catalogue = await door.get("catalogue?limit=1000")
    names = [item["feature"] for item in catalogue["items"]]
    assert list(await door.values("a")) == [name for name in names if not name.startswith("market:")]
    assert list(await door.values("a", "?views=*")) == names
    assert list(await door.values("a", "?views=rfm")) == [name for name in names if name.startswith("rfm:")]


async def test_features_come_as_asked_and_views_in_catalogue_order(door: Door) -> None:
    await door.events(purchase("a", "1"))
    asked = ["rfm:monetary_total", "rfm:recency_days"]
    assert list(await door.values("a", f"?features={','.join(asked)}")) == asked
    both = list(await door.values("a", "?views=behavior,rfm"))
    assert both == list(await door.values("a", "?views=rfm,behavior"))


async def test_a_vector_is_names_and_numbers(door: Door) -> None:
    await door.events(purchase("a", "1", 10))
    status, body = await door.get("leads/a/features?views=rfm&format=vector")
    assert status == 200
    assert list(body) == ["lead", "as_of", "next_change", "catalogue", "names", "values"]
    by_name = dict(zip(body["names"], body["values"], strict=True))
    assert by_name["rfm:monetary_total"] == 10
    assert all(value is None or isinstance(value, int | float) for value in body["values"])


async def test_an_unknown_lead_is_404_or_has_the_values_of_a_lead_without_events(door: Door) -> None:
    status, body = await door.get("leads/nobody/features")
    assert (status, body["code"]) == (404, "lead_not_found")
    values = await door.values("nobody", "?on_missing=default")
    assert values["rfm:monetary_total"] == 0
    assert values["rfm:recency_days"] is None
    assert (await door.get("leads/nobody/features"))[0] == 404
    assert (await door.values("nobody", "?on_missing=default&at=0"))["rfm:monetary_total"] == 0


@pytest.mark.parametrize("lead", ["a/b", "100%", "ü ñ", "a?b#c&d", "%2F", "features", "x" * 256, "a+b"])
async def test_a_lead_of_any_name_is_found_percent_encoded(door: Door, lead: str) -> None:
    await door.events(purchase(lead, "1"))
    status, body = await door.get(f"leads/{quote(lead, safe='')}/features")
    assert (status, body["lead"]) == (200, lead)
    assert (await door.get(f"leads/{quote(lead, safe='')}/events"))[1]["items"][0]["lead"] == lead


@pytest.mark.parametrize("lead", ["..", ".", "%00", "x" * 257, "%ff"])
async def test_what_can_be_no_lead_is_not_found(door: Door, lead: str) -> None:
    status, body = await door.get(f"leads/{quote(lead, safe='%')}/features")
    assert status == 404, body


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("views=nothing", "unknown_feature"),
        ("views=", "unknown_feature"),
        ("views=rfm,", "unknown_feature"),
        ("views=*,nothing", "unknown_feature"),
        ("features=rfm:nothing", "unknown_feature"),
        ("features=rfm", "unknown_feature"),
        ("service=nothing", "unknown_feature"),
        ("views=rfm&features=rfm:recency_days", "invalid_parameter"),
        ("format=xml", "invalid_parameter"),
        ("on_missing=maybe", "invalid_parameter"),
        ("view=rfm", "invalid_parameter"),
        ("at=2017-01-01&at=2017-01-01", "invalid_parameter"),
        ("at=yesterday", "invalid_time"),
        ("known_at=x", "invalid_time"),
        ("at=2028-01-01T00:00:00Z", "invalid_time"),
        ("known_at=2028-01-01T00:00:00Z", "invalid_time"),
    ],
)
async def test_a_query_that_makes_no_sense_is_422_with_its_code(door: Door, query: str, code: str) -> None:
    await door.events(purchase("a", "1"))
    status, body = await door.get(f"leads/a/features?{query}")
    assert (status, body["code"]) == (422, code)


async def test_the_same_bytes_are_served_until_next_change(door: Door) -> None:
    await door.events(purchase("a", "1", 10, NOW - 3 * DAY_US - DAY_US + 100 * SECOND_US))
    first = await (await door.raw("GET", "leads/a/features")).read()
    door.clock.advance(99)
    assert await (await door.raw("GET", "leads/a/features")).read() == first
    door.clock.advance(1)
    second = await (await door.raw("GET", "leads/a/features")).read()
    assert b'"rfm:recency_days":4' in second
    assert second != first


async def test_an_event_changes_the_answer_at_once(door: Door) -> None:
    await door.events(purchase("a", "1"))
    before = await door.raw("GET", "leads/a/features")
    await door.events(purchase("a", "2"))
    after = await door.raw("GET", "leads/a/features")
    assert before.headers["ETag"] != after.headers["ETag"]
    assert int(after.headers["X-Lead-Version"]) == int(before.headers["X-Lead-Version"]) + 1
    assert after.headers["X-Log-Position"] > before.headers["X-Log-Position"]


async def test_as_of_is_not_after_now_and_not_before_the_newest_event(door: Door) -> None:
    await door.events(purchase("a", "1"))
    door.clock.advance(5)
    _, body = await door.get("leads/a/features")
    assert format_time(NOW) <= body["as_of"] <= format_time(NOW + 5 * SECOND_US)


async def test_who_has_the_answer_gets_304(door: Door) -> None:
    await door.events(purchase("a", "1"))
    first = await door.raw("GET", "leads/a/features")
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    for wanted in (etag, f'"x", {etag}', "*", f"W/{etag}"):
        again = await door.raw("GET", "leads/a/features", headers={"If-None-Match": wanted})
        assert again.status == 304
        assert await again.read() == b""
        assert again.headers["ETag"] == etag
        assert again.headers["X-Lead-Version"] == "1"
    assert (await door.raw("GET", "leads/a/features", headers={"If-None-Match": '"x"'})).status == 200


async def test_an_etag_differs_by_lead_format_and_names_but_not_by_time(door: Door) -> None:
    await door.events(purchase("a", "1"), purchase("b", "1"))
    queries = ["leads/a/features", "leads/b/features", "leads/a/features?format=vector", "leads/a/features?views=rfm"]
    etags = [(await door.raw("GET", query)).headers["ETag"] for query in queries]
    assert len(set(etags)) == 4
    await door.events(purchase("c", "1", at_us=NOW))
    before = (await door.raw("GET", "leads/c/features?features=rfm:monetary_total")).headers["ETag"]
    door.clock.advance(3 * 86_400)
    assert (await door.raw("GET", "leads/c/features?features=rfm:monetary_total")).headers["ETag"] == before


async def test_a_read_in_the_past_sees_what_had_happened_by_then(door: Door) -> None:
    await door.events(purchase("a", "1", 10, NOW - 10 * DAY_US), purchase("a", "2", 5, NOW - 2 * DAY_US))
    at = quote(format_time(NOW - 5 * DAY_US))
    response = await door.raw("GET", f"leads/a/features?at={at}&views=rfm")
    body = await response.json()
    assert body["values"]["rfm:monetary_total"] == 10
    assert body["values"]["rfm:recency_days"] == 5
    assert body["as_of"] == format_time(NOW - 5 * DAY_US)
    assert body["next_change"] == format_time(NOW - 4 * DAY_US)
    assert response.headers["Cache-Control"] == "private, no-cache"


async def test_a_read_in_the_future_has_the_values_if_nothing_more_happens(door: Door) -> None:
    await door.events(purchase("a", "1", 10))
    ahead = await door.values("a", f"?views=rfm&at={quote(format_time(NOW + 100 * DAY_US))}")
    assert ahead["rfm:recency_days"] == 100
    assert ahead["rfm:frequency_purchases_90d"] == 0
    assert (await door.values("a"))["rfm:frequency_purchases_90d"] == 1


async def test_a_plus_that_nobody_escaped_still_is_an_offset(door: Door) -> None:
    await door.events(purchase("a", "1", 10, NOW - 10 * DAY_US))
    body = await door.values("a", "?at=2026-11-21T11:00:00+01:00&views=rfm")
    assert body["rfm:recency_days"] == 10


async def test_known_at_is_what_we_said_at_the_time(door: Door) -> None:
    await door.events(purchase("a", "1", 10, NOW - 10 * DAY_US))
    door.clock.advance(60)
    await door.events(purchase("a", "2", 5, NOW - 9 * DAY_US))
    known_at = quote(format_time(NOW + 30 * SECOND_US))
    assert (await door.values("a", f"?known_at={known_at}"))["rfm:monetary_total"] == 10
    assert (await door.values("a"))["rfm:monetary_total"] == 15
    before_first = quote(format_time(NOW - SECOND_US))
    assert (await door.values("a", f"?known_at={before_first}"))["rfm:monetary_total"] == 0
    ahead = quote(format_time(NOW + DAY_US))
    assert (await door.values("a", f"?known_at={ahead}"))["rfm:monetary_total"] == 15


async def test_max_age_is_given_only_when_both_times_are_past(door: Door) -> None:
    await door.events(purchase("a", "1"))
    past = quote(format_time(NOW - DAY_US))
    for query, is_settled in ((f"at={past}&known_at={past}", True), (f"at={past}", False), (f"known_at={past}", False)):
        response = await door.raw("GET", f"leads/a/features?{query}")
        assert ("max-age" in response.headers["Cache-Control"]) is is_settled


async def test_an_event_a_little_ahead_counts_from_its_time_on(door: Door) -> None:
    await door.events(purchase("a", "1"), purchase("a", "2", at_us=NOW + 100 * SECOND_US))
    assert (await door.values("a"))["rfm:frequency_purchases_90d"] == 1
    door.clock.advance(100)
    assert (await door.values("a"))["rfm:frequency_purchases_90d"] == 2


async def test_many_different_questions_do_not_pile_up_answers(door: Door) -> None:
    await door.events(purchase("a", "1"))
    _, catalogue = await door.get("catalogue")
    for item in catalogue["items"][:30]:
        await door.values("a", f"?features={item['feature']}")
    from eventstore.event import Stream

    entity = door.service.awake(Stream("default", "lead", "a"))
    assert entity is not None
    assert 0 < len(entity.answers or {}) <= 8


# Many leads in one request.


async def test_a_batch_answers_in_the_order_asked_repeats_kept(door: Door) -> None:
    await door.events(purchase("a", "1", 10), purchase("b", "1", 20))
    wanted = {"leads": ["b", "nobody", "a", "b"], "features": ["rfm:monetary_total", "rfm:recency_days"]}
    status, body = await door.post("features", wanted)
    assert status == 200
    assert list(body) == ["names", "as_of", "catalogue", "results"]
    assert body["names"] == wanted["features"]
    assert body["as_of"] == format_time(NOW)
    assert body["results"] == [
        {"lead": "b", "status": "found", "values": [20, 0]},
        {"lead": "nobody", "status": "not_found", "values": None},
        {"lead": "a", "status": "found", "values": [10, 0]},
        {"lead": "b", "status": "found", "values": [20, 0]},
    ]


async def test_a_batch_says_the_same_as_single_reads(door: Door) -> None:
    await door.events(purchase("a", "1", 10), {"lead": "a", "type": "interaction", "data": {"action": "view"}})
    single = await door.values("a")
    _, as_list = await door.post("features", {"leads": ["a"]})
    assert dict(zip(as_list["names"], as_list["results"][0]["values"], strict=True)) == single
    _, as_map = await door.post("features", {"leads": ["a"], "format": "map"})
    assert as_map["results"][0]["values"] == single
    _, vector = await door.get("leads/a/features?format=vector")
    _, as_vector = await door.post("features", {"leads": ["a"], "format": "vector"})
    assert (as_vector["names"], as_vector["results"][0]["values"]) == (vector["names"], vector["values"])


async def test_a_batch_reads_at_other_times(door: Door) -> None:
    await door.events(purchase("a", "1", 10, NOW - 10 * DAY_US))
    body = {"leads": ["a", "x"], "features": ["rfm:recency_days"], "at": format_time(NOW - 5 * DAY_US)}
    _, past = await door.post("features", body)
    assert past["results"][0]["values"] == [5]
    assert past["results"][1]["status"] == "not_found"
    assert past["as_of"] == format_time(NOW - 5 * DAY_US)
    _, ahead = await door.post("features", {**body, "at": (NOW + 5 * DAY_US) // SECOND_US})
    assert ahead["results"][0]["values"] == [15]
    _, unknown = await door.post("features", {"leads": ["a"], "known_at": 0, "features": ["rfm:recency_days"]})
    assert unknown["results"][0] == {"lead": "a", "status": "found", "values": [None]}


async def test_a_batch_follows_events_and_time(door: Door) -> None:
    body = {"leads": ["a"], "features": ["rfm:recency_days", "rfm:monetary_total"]}
    await door.events(purchase("a", "1", 10))
    assert (await door.post("features", body))[1]["results"][0]["values"] == [0, 10]
    door.clock.advance(86_400)
    assert (await door.post("features", body))[1]["results"][0]["values"] == [1, 10]
    await door.events(purchase("a", "2", 5))
    assert (await door.post("features", body))[1]["results"][0]["values"] == [1, 15]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_body"),
        ({"leads": []}, 422, "invalid_body"),
        ({"leads": ["a"] * 1001}, 422, "invalid_body"),
        ({"leads": "a"}, 422, "invalid_body"),
        ({"leads": [1]}, 422, "invalid_body"),
        ({"leads": ["a"], "view": ["rfm"]}, 422, "invalid_body"),
        ({"leads": ["a"], "format": "xml"}, 422, "invalid_body"),
        ({"leads": ["a"], "views": ["nothing"]}, 422, "unknown_feature"),
        ({"leads": ["a"], "service": "nothing"}, 422, "unknown_feature"),
        ({"leads": ["a"], "views": ["rfm"], "features": ["rfm:recency_days"]}, 422, "invalid_parameter"),
        ({"leads": ["a"], "at": "yesterday"}, 422, "invalid_time"),
        ({"leads": ["a"], "at": 1e18}, 422, "invalid_time"),
        (b"{", 400, "malformed_json"),
        (b"\xff", 400, "malformed_json"),
        (b"", 400, "malformed_json"),
        (b"[]", 422, "invalid_body"),
    ],
)
async def test_a_batch_that_is_not_as_expected_is_refused(door: Door, body: object, status: int, code: str) -> None:
    found, problem = await door.post("features", body)
    assert (found, problem["code"]) == (status, code)


async def test_a_thousand_leads_are_one_request(door: Door) -> None:
    await door.events(*(purchase(str(n), "1", n) for n in range(1000)))
    status, body = await door.post("features", {"leads": [str(n) for n in range(1000)], "views": ["rfm"]})
    assert status == 200
    place = body["names"].index("rfm:monetary_total")
    assert [result["values"][place] for result in body["results"]] == list(range(1000))


# Events in, features out.


async def test_extraction_folds_and_stores_nothing(door: Door) -> None:
    events = [{"type": "purchase_completed", "time": NOW / SECOND_US, "data": {"amount": n}} for n in (1, 2)]
    status, body = await door.post("features/extract", {"events": events, "views": ["rfm"]})
    assert status == 200
    assert list(body) == ["as_of", "next_change", "catalogue", "values"]
    assert body["values"]["rfm:monetary_total"] == 3
    assert (await door.get("leads//features"))[0] == 404
    assert await door.service.store.last_position() == 0


async def test_extraction_is_the_same_fold(door: Door) -> None:
    events = [purchase("a", str(n), n, NOW - n * DAY_US) for n in range(1, 6)]
    events += [{"lead": "a", "type": "event_retracted", "id": "r", "data": {"event_id": "3"}}]
    await door.events(*events)
    stored = await door.values("a")
    _, extracted = await door.post("features/extract", {"events": events + events[:1]})
    assert extracted["values"] == stored
    at = format_time(NOW - 2 * DAY_US)
    _, past = await door.post("features/extract", {"events": events, "at": at})
    assert past["values"] == await door.values("a", f"?at={quote(at)}")


async def test_a_list_is_answered_by_a_list(door: Door) -> None:
    one = {"events": [{"type": "deal_won"}], "views": ["rfm"]}
    status, body = await door.post("features/extract", [one, {"events": []}])
    assert (status, len(body)) == (200, 2)
    assert await door.post("features/extract", []) == (200, [])
    status, problem = await door.post("features/extract", [one] * 101)
    assert (status, problem["code"]) == (422, "invalid_body")


async def test_what_is_wrong_in_an_extraction_is_named_by_path(door: Door) -> None:
    events = [{"type": "deal_won"}, {"type": "purchase_completed", "data": {"amount": -1}}]
    status, problem = await door.post("features/extract", {"events": events})
    assert (status, problem["code"], problem["errors"][0]["path"]) == (422, "event_invalid", "events[1].data.amount")
    status, problem = await door.post("features/extract", [{"events": []}, {"events": events}])
    assert (problem["errors"][0]["index"], problem["errors"][0]["path"]) == (1, "events[1].data.amount")
    conflict = [purchase("a", "1", 1), purchase("a", "1", 2)]
    assert (await door.post("features/extract", {"events": conflict}))[0] == 422
    for body in ({}, {"events": 1}, {"events": [], "feature": []}, {"events": [], "at": "x"}, 1):
        assert (await door.post("features/extract", body))[0] == 422
