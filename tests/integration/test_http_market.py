"""The market over HTTP: composed into answers, read alone, live and at other times, equal to the oracle's."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.clock import VirtualClock
from kernel.settings import DEFAULT_SUBJECTS, ActorsSettings, OrgSettings
from kernel.settings import Settings as ServiceSettings
from kernel.times import DAY_US, HOUR_US, SECOND_US, format_time, parse_rfc3339
from tests.integration.service import NOW, Door, purchase, running
from tests.oracle.features import market_features, subject_features
from tests.property.folding import differences
from tests.property.strategies import History, subject_histories
from tests.unit.projections.packs import Written, importable

ROWS = ("supply_demand_ratio", "avg_match_time", "utilization_rate", "tutor_count")
EMPTY = subject_features([], 0)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


def available(subject: str, event_id: str, tutor: str = "t", hours: float = 2, at_us: int = NOW) -> dict[str, Any]:
    data = {"tutor_id": tutor, "hours": hours}
    return {"subject": subject, "id": event_id, "type": "tutor_available", "time": format_time(at_us), "data": data}


def asked(subject: str, event_id: str, request: str = "r", at_us: int = NOW) -> dict[str, Any]:
    data = {"request_id": request}
    return {"subject": subject, "id": event_id, "type": "match_requested", "time": format_time(at_us), "data": data}


async def etag(door: Door, path: str) -> str:
    response = await door.raw("GET", path)
    assert response.status == 200, await response.read()
    return response.headers["ETag"]


async def test_market_values_stand_row_by_row_after_the_leads_own(door: Door) -> None:
    await door.events(purchase("a", "1"), available("algebra", "1"), asked("physics", "1"))
    values = await door.values("a", "?views=*")
    expected = [f"market:{row}_{subject}" for row in ROWS for subject in DEFAULT_SUBJECTS]
    assert list(values)[-80:] == expected
    assert list(values)[:-80] == list(await door.values("a"))
    assert len(values) == 232
    assert values["market:tutor_count_algebra"] == 1
    assert values["market:supply_demand_ratio_physics"] == 0
    assert values["market:supply_demand_ratio_algebra"] is None


async def test_features_of_both_sides_come_in_the_order_asked(door: Door) -> None:
    await door.events(purchase("a", "1", 10), available("algebra", "1"), available("physics", "1", "u"))
    names = [
        "market:tutor_count_physics",
        "rfm:monetary_total",
        "market:utilization_rate_algebra",
        "market:tutor_count_algebra",
        "rfm:recency_days",
        "market:tutor_count_physics",
    ]
    query = f"?features={','.join(names)}"
    assert list((await door.values("a", query)).items()) == [
        ("market:tutor_count_physics", 1),
        ("rfm:monetary_total", 10),
        ("market:utilization_rate_algebra", 0),
        ("market:tutor_count_algebra", 1),
        ("rfm:recency_days", 0),
    ]
    _, vector = await door.get(f"leads/a/features{query}&format=vector")
    assert (vector["names"], vector["values"]) == (names, [1, 10, 0, 1, 0, 1])
    _, batch = await door.post("features", {"leads": ["a", "x"], "features": names})
    assert (batch["names"], batch["results"][0]["values"]) == (names, [1, 10, 0, 1, 0, 1])
    assert batch["results"][1] == {"lead": "x", "status": "not_found", "values": None}


@pytest.mark.parametrize("form", ["list", "map", "vector"])
async def test_a_batch_says_of_each_lead_what_its_own_answer_says(door: Door, form: str) -> None:
    await door.events(purchase("a", "1", 10), purchase("b", "1", 20), available("algebra", "1"))
    _, batch = await door.post("features", {"leads": ["a", "b"], "views": ["*"], "format": form})
    query = "?views=*" + ("&format=vector" if form == "vector" else "")
    for result in batch["results"]:
        _, one = await door.get(f"leads/{result['lead']}/features{query}")
        assert one["catalogue"] == batch["catalogue"]
        if form == "vector":
            assert (batch["names"], result["values"]) == (one["names"], one["values"])
        elif form == "map":
            assert result["values"] == one["values"]
        else:
            assert dict(zip(batch["names"], result["values"], strict=True)) == one["values"]


async def test_a_market_event_leaves_the_leads_own_answer_alone_and_changes_the_joined_one(door: Door) -> None:
    await door.events(purchase("a", "1"))
    own = await (await door.raw("GET", "leads/a/features")).read()
    etags = {path: await etag(door, path) for path in ("leads/a/features", "leads/a/features?views=*")}
    door.clock.advance(1)
    await door.events(available("algebra", "1"))
    assert await (await door.raw("GET", "leads/a/features")).read() == own
    assert await etag(door, "leads/a/features") == etags["leads/a/features"]
    joined = await etag(door, "leads/a/features?views=*")
    assert joined != etags["leads/a/features?views=*"]
    again = await door.raw("GET", "leads/a/features?views=*", headers={"If-None-Match": joined})
    assert again.status == 304
    await door.events(purchase("a", "2"))
    assert await etag(door, "leads/a/features?views=*") != joined


async def test_the_subjects_of_the_settings_are_nothing_to_a_lead_alone() -> None:
    seen = set()
    for subjects in (("algebra",), ("algebra", "physics")):
        async with running(ServiceSettings(org={"default": OrgSettings(subjects=subjects)})) as door:
            await door.events(purchase("a", "1"))
            seen.add((await etag(door, "leads/a/features"), (await door.get("leads/a/features"))[1]["catalogue"]))
    assert len(seen) == 1


async def test_a_joined_answers_etag_survives_a_restart_and_differs_by_lead_and_form(tmp_path: Any) -> None:
    paths = [f"leads/{lead}/features?views=*{form}" for lead in "ab" for form in ("", "&format=vector")]
    etags = []
    for _ in range(2):
        async with running(directory=tmp_path, clock=VirtualClock(NOW)) as door:
            await door.events(purchase("a", "1"), purchase("b", "1"), available("algebra", "1"))
            etags.append([await etag(door, path) for path in paths])
    assert etags[0] == etags[1]
    assert len(set(etags[0])) == 4


async def test_a_joined_answer_is_the_same_bytes_until_the_earliest_change_of_all_parts(door: Door) -> None:
    await door.events(
        purchase("a", "1", at_us=NOW - 3 * DAY_US), asked("algebra", "1", at_us=NOW - 30 * DAY_US + 100 * SECOND_US)
    )
    path = "leads/a/features?views=*"
    first = await (await door.raw("GET", path)).read()
    _, body = await door.get(path)
    assert body["next_change"] == format_time(NOW + 100 * SECOND_US)
    assert (await door.get("leads/a/features"))[1]["next_change"] == format_time(NOW + DAY_US)
    door.clock.advance(99)
    assert await (await door.raw("GET", path)).read() == first
    door.clock.advance(1)
    _, after = await door.get(path)
    assert after["as_of"] == format_time(NOW + 100 * SECOND_US)
    assert after["values"]["market:supply_demand_ratio_algebra"] is None
    assert body["values"]["market:supply_demand_ratio_algebra"] == 0


@pytest.mark.parametrize("query", ["?views=*", "?views=*&format=vector", "?views=rfm,market", "?views=market"])
async def test_an_answer_whose_market_was_exchanged_is_what_a_new_one_would_be(door: Door, query: str) -> None:
    """Whatever way the bytes were put together: the lead b is read first, so the market's part is at hand for a."""
    await door.events(
        purchase("a", "1"), purchase("b", "1"), asked("physics", "1", at_us=NOW - 30 * DAY_US + SECOND_US)
    )
    paths = {lead: f"leads/{lead}/features{query}" for lead in "ab"}
    for path in paths.values():
        await door.raw("GET", path)
    for count in range(1, 4):
        door.clock.advance(1)
        await door.events(available("algebra", str(count), f"t{count}", at_us=door.clock.now_us()))
        await door.raw("GET", paths["b"])
        found = [await door.raw("GET", paths["a"]) for _ in range(3)]
        found.append(await door.raw("GET", paths["a"], headers={"If-None-Match": '"other"'}))
        assert len({await response.read() for response in found}) == 1
        heads = [{k.lower(): v for k, v in response.headers.items() if k != "Date"} for response in found]
        assert all(head == heads[0] for head in heads)
        body = await found[0].json()
        assert body["as_of"] == format_time(NOW + count * SECOND_US)
        async with running(clock=VirtualClock(door.clock.now_us())) as fresh:
            await fresh.events(purchase("a", "1"), asked("physics", "1", at_us=NOW - 30 * DAY_US + SECOND_US))
            for n in range(1, count + 1):
                await fresh.events(available("algebra", str(n), f"t{n}", at_us=NOW + n * SECOND_US))
            other = await fresh.raw("GET", paths["a"])
            assert {**await other.json(), "as_of": body["as_of"]} == body
            assert other.headers["ETag"] == heads[0]["etag"]


async def test_an_unknown_lead_is_404_or_a_default_with_the_market(door: Door) -> None:
    await door.events(available("algebra", "1"))
    assert (await door.get("leads/x/features?views=market"))[0] == 404
    for query in ("", f"&at={NOW // SECOND_US - 60}"):
        values = await door.values("x", f"?views=market&on_missing=default{query}")
        assert len(values) == 80
    assert (await door.values("x", "?views=*&on_missing=default"))["market:tutor_count_algebra"] == 1


async def test_a_subject_is_read_alone_under_the_names_it_has_in_answers(door: Door) -> None:
    await door.events(available("algebra", "1"), available("algebra", "2", "u"))
    status, body = await door.get("market/algebra/features")
    assert status == 200
    assert list(body) == ["subject", "as_of", "next_change", "catalogue", "values"]
    assert list(body["values"]) == [f"market:{row}_algebra" for row in ROWS]
    assert body["values"]["market:tutor_count_algebra"] == 2
    assert body["next_change"] == format_time(NOW + 7 * DAY_US)
    _, vector = await door.get("market/algebra/features?features=market:tutor_count_algebra&format=vector")
    assert (vector["names"], vector["values"]) == (["market:tutor_count_algebra"], [2])
    _, past = await door.get(f"market/algebra/features?at={quote(format_time(NOW - 1))}&views=*")
    assert past["values"] == {f"market:{row}_algebra": EMPTY[f"market:{row}"] for row in ROWS}
    response = await door.raw("GET", "market/algebra/features")
    assert response.headers["X-Subject-Version"] == "2"
    again = await door.raw("GET", "market/algebra/features", headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304


async def test_a_subject_without_events_is_empty_and_one_that_is_not_the_orgs_is_404(door: Door) -> None:
    _, body = await door.get("market/writing/features")
    assert body["values"] == {f"market:{row}_writing": EMPTY[f"market:{row}"] for row in ROWS}
    status, problem = await door.get("market/astrology/features")
    assert (status, problem["code"]) == (404, "subject_not_found")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("market/algebra/features?views=rfm", "unknown_feature"),
        ("market/algebra/features?features=market:tutor_count_physics", "unknown_feature"),
        ("market/algebra/features?service=x", "unknown_feature"),
        ("market/algebra/features?views=market&features=x", "invalid_parameter"),
        ("market/algebra/features?at=x", "invalid_time"),
        ("leads/a/features?features=market:tutor_count", "unknown_feature"),
        ("leads/a/features?features=market:tutor_count_astrology", "unknown_feature"),
    ],
)
async def test_what_the_market_does_not_have_is_422(door: Door, path: str, code: str) -> None:
    await door.events(purchase("a", "1"))
    status, problem = await door.get(path)
    assert (status, problem["code"]) == (422, code)


async def test_the_catalogue_lists_every_subjects_features_with_what_moves_them(door: Door) -> None:
    _, body = await door.get("catalogue?limit=1000")
    assert len(body["items"]) == 232
    one = (await door.get("catalogue/market:tutor_count_algebra"))[1]
    assert one in body["items"]
    assert one["view"] == "market"
    assert set(one["affected_by"]) == {"tutor_available", "tutor_unavailable", "match_made", "hours_booked"}
    assert "algebra" in one["description"]
    assert all("purchase_completed" not in item["affected_by"] for item in body["items"] if item["view"] == "market")


async def test_the_first_event_of_a_subject_is_seen_at_once_even_when_nobody_stays_awake() -> None:
    tiny = ServiceSettings(actors=ActorsSettings(max_awake=1))
    async with running(tiny) as door:
        await door.events(purchase("a", "1"))
        for count in range(1, 6):
            assert (await door.values("a", "?views=market"))["market:tutor_count_algebra"] == count - 1
            await door.events(available("algebra", str(count), f"t{count}"), available("physics", str(count)))
            assert (await door.values("a", "?views=market"))["market:tutor_count_algebra"] == count


async def test_a_retraction_and_a_late_event_move_the_market(door: Door) -> None:
    await door.events(purchase("a", "1"), available("algebra", "1"), available("algebra", "2", "u"))
    assert (await door.values("a", "?views=market"))["market:tutor_count_algebra"] == 2
    retraction = {"subject": "algebra", "id": "r", "type": "event_retracted", "data": {"event_id": "2"}}
    await door.events(retraction)
    assert (await door.values("a", "?views=market"))["market:tutor_count_algebra"] == 1
    await door.events(available("algebra", "3", "v", at_us=NOW - 3 * DAY_US))
    assert (await door.values("a", "?views=market"))["market:tutor_count_algebra"] == 2


async def test_reads_while_events_arrive_never_miss_one_that_was_answered(door: Door) -> None:
    """Readers and a writer side by side; what the writer was told of, every later read has."""
    await door.events(purchase("a", "1"))
    written = 0

    async def write() -> None:
        nonlocal written
        for count in range(1, 40):
            late = NOW - (count % 3) * DAY_US  # every third folds in place, the others refold
            await door.events(available("algebra", str(count), f"t{count}", at_us=late))
            written = count

    async def read() -> None:
        while written < 39:
            before = written
            seen = (await door.values("a", "?views=*"))["market:tutor_count_algebra"]
            assert before <= seen <= written + 1

    await asyncio.gather(write(), read(), read())
    assert (await door.values("a", "?views=*"))["market:tutor_count_algebra"] == 39


async def test_extraction_joins_the_market_of_the_org(door: Door) -> None:
    await door.events(available("algebra", "1", at_us=NOW - HOUR_US))
    events = [{"type": "purchase_completed", "time": NOW / SECOND_US, "data": {"amount": 5}}]
    _, now = await door.post("features/extract", {"events": events, "views": ["*"]})
    assert (now["values"]["rfm:monetary_total"], now["values"]["market:tutor_count_algebra"]) == (5, 1)
    before = {"events": events, "views": ["rfm", "market"], "at": format_time(NOW - DAY_US)}
    _, past = await door.post("features/extract", before)
    assert (past["values"]["rfm:monetary_total"], past["values"]["market:tutor_count_algebra"]) == (0, 0)


@given(st.lists(subject_histories(14), min_size=1, max_size=3), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_composed_answers_are_the_oracles_now_then_and_ahead(drawn: list[History], chance: random.Random) -> None:
    histories = dict(zip(("algebra", "physics", "writing"), drawn, strict=False))
    now_us = max(history.newest_us for history in drawn)
    facts = {subject: histories[subject].facts if subject in histories else [] for subject in DEFAULT_SUBJECTS}
    events = [{**each, "subject": name} for name, history in histories.items() for each in history.events]
    if not any(each["type"] == "event_retracted" for each in events):
        chance.shuffle(events)

    async def post(door: Door) -> None:
        await door.events(purchase("a", "1", at_us=now_us))
        for each in events:
            status, answer = await door.post("events", [each])
            assert status == 200 or answer["errors"][0]["path"] == "data.event_id", answer

    async def check(door: Door) -> None:
        for at_us in {now_us - 3 * DAY_US, now_us - 1, *(history.tau_us for history in drawn), now_us + 40 * DAY_US}:
            read = await door.values("a", f"?views=market&at={format_time(at_us)}")
            assert differences(read, market_features(facts, at_us)) == {}
        for _ in range(2):
            _, live = await door.get("leads/a/features?views=market")
            assert differences(live["values"], market_features(facts, door.clock.now_us())) == {}
            if live["next_change"] is None:
                return
            ahead = await door.values("a", f"?views=market&at={live['next_change']}")
            door.clock.set(parse_rfc3339(live["next_change"]) - 1)
            assert await door.values("a", "?views=market") == live["values"], "values hold until the stated instant"
            door.clock.advance(1e-6)
            assert await door.values("a", "?views=market") == ahead, "and become what was foretold"

    async def run() -> None:
        async with running(clock=VirtualClock(now_us)) as door:
            await post(door)
            await check(door)

    asyncio.run(run())


async def test_what_was_known_at_a_time_is_what_was_said_then(door: Door) -> None:
    await door.events(purchase("a", "1", at_us=NOW - 9 * DAY_US))
    said = []
    for count in range(6):
        await door.events(available("algebra", str(count), f"t{count}", at_us=NOW - count * DAY_US))
        said.append((door.clock.now_us(), await door.values("a", "?views=market")))
        door.clock.advance(600)
    for at_us, values in said:
        time = quote(format_time(at_us))
        response = await door.raw("GET", f"leads/a/features?views=market&at={time}&known_at={time}")
        assert (await response.json())["values"] == values
        assert "max-age" in response.headers["Cache-Control"]
        _, batch = await door.post(
            "features",
            {
                "leads": ["a"],
                "views": ["market"],
                "at": format_time(at_us),
                "known_at": format_time(at_us),
                "format": "map",
            },
        )
        assert batch["results"][0]["values"] == values


async def test_a_history_shows_the_market_as_reads_at_each_instant_do(door: Door) -> None:
    await door.events(purchase("a", "1", 7, at_us=NOW - 9 * DAY_US))
    for count in range(12):
        late = NOW - (count * 5 % 12) * DAY_US
        await door.events(
            available("algebra", str(count), f"t{count}", at_us=late),
            {
                "subject": "physics",
                "type": "match_requested",
                "time": format_time(late),
                "data": {"request_id": f"{count}"},
            },
        )
    await door.events({"subject": "algebra", "type": "event_retracted", "data": {"event_id": "3"}})
    mixed = b'{"features": ["market:tutor_count_algebra", "rfm:monetary_total"]}'
    await door.send("PUT", "services/mixed", data=mixed, headers={"Content-Type": "application/json"})
    known = quote(format_time(door.clock.now_us()))
    door.clock.advance(3600)
    await door.events(available("algebra", "later", "t99", at_us=NOW - 8 * DAY_US))
    span = f"from={format_time(NOW - 20 * DAY_US)}&to={format_time(NOW + 40 * DAY_US)}&step={2.5 * 86_400}"
    for asked in (
        "features=market:tutor_count_algebra",
        "features=market:tutor_count_algebra,rfm:monetary_total,market:supply_demand_ratio_physics,rfm:recency_days",
        "features=market:tutor_count_english,market:utilization_rate_algebra",
        "views=market",
        "views=rfm,market",
        "views=*",
        "service=mixed",
        f"features=market:tutor_count_algebra,rfm:monetary_total&known_at={known}",
    ):
        status, body = await door.get(f"leads/a/features/history?{asked}&{span}")
        assert (status, len(body.get("items", ()))) == (200, 25), (asked, body)
        for row in body["items"]:
            values = await door.values("a", f"?{asked}&at={row['at']}")
            assert body["names"] == list(values)
            assert row["values"] == list(values.values()), (asked, row["at"])


OWN_PACK = """
from typing import Literal

from eventstore.fields import Text
from projections.language import *

pack = Pack("{name}", "Leagues")


@pack.event(about="subject")
class {camel}Graded(Payload, frozen=True):
    grade: Literal["a", "b"]
    note: Text | None = None


view = pack.view("{name}", "Leagues", about="subject")
view["grade"] = events({camel}Graded).latest("grade").doc("latest grade", null="none", vocabulary=("a", "b"))
view["note"] = events({camel}Graded).latest("note").doc("latest note", null="none")
"""


async def test_a_pack_of_ones_own_may_describe_subjects_in_words(tmp_path: Path) -> None:
    with importable(tmp_path):
        pack = Written(tmp_path, "", head=OWN_PACK)
        org = OrgSettings(packs=("commerce", pack.name), subjects=("algebra", "physics"))
        async with running(ServiceSettings(org={"default": org})) as door:
            graded = {"subject": "physics", "type": f"{pack.name}_graded", "data": {"grade": "b", "note": "well"}}
            await door.events(purchase("a", "1", 10), graded)
            values = await door.values("a", "?views=*")
            own = {name: value for name, value in values.items() if name.startswith(pack.name)}
            assert own == {
                f"{pack.name}:grade_algebra": None,
                f"{pack.name}:grade_physics": "b",
                f"{pack.name}:note_algebra": None,
                f"{pack.name}:note_physics": "well",
            }
            grades = [f"{pack.name}:grade_{subject}={word}" for subject in org.subjects for word in ("a", "b", "other")]
            for _ in range(2):
                await door.events({**graded, "data": {"grade": "b"}})
                for query in (f"?views=rfm,{pack.name}", f"?features=rfm:recency_days,{pack.name}:note_physics"):
                    for _ in range(2):
                        _, vector = await door.get(f"leads/a/features{query}&format=vector")
                        assert len(vector["names"]) == len(vector["values"])
                        assert [name for name in vector["names"] if name.startswith(pack.name)] in (grades, [])
                _, vector = await door.get(f"leads/a/features?views={pack.name}&format=vector")
                assert dict(zip(vector["names"], vector["values"], strict=True)) == dict.fromkeys(grades, 0) | {
                    f"{pack.name}:grade_physics=b": 1
                }
