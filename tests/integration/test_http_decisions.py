"""Decisions over HTTP: what is chosen, what is logged, what is answered again."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from bandit.deciding import replayed
from bandit.events import DecisionClaimed, claim_event, unpack_vector
from eventstore.event import Stream
from kernel.clock import VirtualClock
from kernel.errors import StoreUnavailable
from kernel.times import format_time
from tests.integration.deciding import ARMS, asked, bought, decide, define, logged, record
from tests.integration.service import NOW, Door, running


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        await define(door)
        yield door


async def test_a_decision_is_answered_as_it_is_logged(door: Door) -> None:
    await door.events(bought("42", "e1", 12.5))
    made = await decide(door, context={"hour": 10, "page": "prices | a:b\n"})
    assert list(made) == [
        "decision_id",
        "arm",
        "probability",
        "ranking",
        "model_version",
        "policy_version",
        "reason",
    ]
    (event,) = await logged(door, "42")
    assert (event.arm, event.probability, event.reason) == (made["arm"], made["probability"], made["reason"])
    assert (event.policy, event.policy_version, event.model_version) == ("offers", 1, made["model_version"])
    assert list(unpack_vector(event.context)) == [12.5, 0]
    assert event.named == {"hour": 10, "page": "prices | a:b\n"}
    assert [(arm.id, arm.features) for arm in event.arms] == [(arm["id"], arm.get("features", {})) for arm in ARMS]
    assert math.fsum(event.distribution) == pytest.approx(1, abs=1e-6)
    assert min(event.distribution) >= 0.02 / 3 - 1e-12
    assert replayed(event).is_same


async def test_claims_that_nodes_have_left_in_the_log_mean_nothing_to_one_process(door: Door) -> None:
    for name in ("d1", "d2"):
        stream = Stream("default", "decision", name)
        await door.service.ingest.record([claim_event(stream, DecisionClaimed(name, "42", "turn"), NOW)])
    await decide(door, "42", decision_id="d1")
    await decide(door, "43", decision_id="d2")
    assert (await asked(door, "43", decision_id="d1"))[0] == 409
    for name, lead in (("d1", "42"), ("d2", "43")):
        status, found = await door.get(f"decisions/{name}?replay=true")
        assert (status, found["lead"], found["replay"]["same"]) == (200, lead, True)
    assert (await decide(door, None, decision_id="d3"))["decision_id"] == "d3"


async def test_the_ranking_holds_all_arms_by_probability_then_id(door: Door) -> None:
    made = await decide(door, exclude=["call"])
    ranking = [(each["arm"], each["probability"]) for each in made["ranking"]]
    assert ranking == sorted(ranking, key=lambda each: (-each[1], each[0]))
    assert ranking[-1] == ("call", 0)
    assert made["ranking"][-1]["score"] is None
    assert sum(probability for _, probability in ranking) == pytest.approx(1, abs=1e-6)
    assert (made["arm"] == ranking[0][0]) == (made["reason"] == "exploit")


async def test_an_unknown_lead_is_a_lead_without_events_and_stays_unknown(door: Door) -> None:
    made = await decide(door, "nobody")
    (event,) = await logged(door, "nobody")
    total, recency = unpack_vector(event.context)
    assert (total, math.isnan(recency)) == (0, True)
    assert (await door.get("leads/nobody/features"))[1]["code"] == "lead_not_found"
    assert (await door.get("leads/nobody/events"))[1]["code"] == "lead_not_found"
    assert (await record(door, made["decision_id"]))["context"] == {
        "rfm:monetary_total": 0,
        "rfm:recency_days": None,
    }


async def test_a_decision_needs_no_lead(door: Door) -> None:
    made = await decide(door, None)
    (event,) = await logged(door, None, made["decision_id"])
    assert event.arm == made["arm"]
    found = await record(door, made["decision_id"])
    assert (found["lead"], found["state"], found["decided"]) == (None, "open", format_time(NOW))


async def test_a_decision_does_not_change_the_etag_of_its_lead(door: Door) -> None:
    await door.events(bought("42", "e1"))
    before = await door.raw("GET", "leads/42/features")
    await decide(door)
    after = await door.raw("GET", "leads/42/features")
    assert after.headers["ETag"] == before.headers["ETag"]
    assert int(after.headers["X-Lead-Version"]) == int(before.headers["X-Lead-Version"]) + 1
    same = await door.raw("GET", "leads/42/features", headers={"If-None-Match": before.headers["ETag"]})
    assert same.status == 304
    assert [each["type"] for each in (await door.get("leads/42/events"))[1]["items"]] == [
        "decision_made",
        "purchase_completed",
    ]


# The id.


async def test_the_same_id_gives_the_first_answer_whatever_has_changed_since(door: Door) -> None:
    first = await decide(door, decision_id="d1")
    await door.events(bought("42", "e1", 500))
    await define(door, floor=0.5)
    again = await decide(door, decision_id="d1", exclude=[first["arm"]], context={"x": 1})
    assert again == first
    assert len(await logged(door, "42")) == 1


async def test_the_same_id_for_another_policy_or_lead_is_a_conflict(door: Door) -> None:
    await define(door, "others")
    await decide(door, decision_id="d1")
    await decide(door, None, decision_id="d2")
    for lead, policy, decision_id in (
        ("43", "offers", "d1"),
        ("42", "others", "d1"),
        (None, "offers", "d1"),
        ("42", "offers", "d2"),
    ):
        status, problem = await asked(door, lead, policy, decision_id=decision_id)
        assert (status, problem["code"]) == (409, "decision_conflict")
    assert len(await logged(door, "42")) == 1
    assert await logged(door, "43") == []


async def test_twins_at_the_same_time_get_one_decision(door: Door) -> None:
    answers = await asyncio.gather(*(decide(door, decision_id="d1", context={"n": n}) for n in range(12)))
    assert all(answer == answers[0] for answer in answers)
    rivals = await asyncio.gather(*(asked(door, f"lead {n}", decision_id="d2") for n in range(12)))
    assert Counter(status for status, _ in rivals) == {200: 1, 409: 11}
    made = [await logged(door, f"lead {n}") for n in range(12)]
    assert sum(map(len, made)) == 1


async def test_a_decision_survives_a_restart_and_is_not_made_again(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    async with running(directory=tmp_path, clock=clock) as door:
        await define(door)
        first = [await decide(door, lead, decision_id=f"d-{lead}") for lead in ("42", None)]
        before = [await record(door, each["decision_id"]) for each in first]
    clock.advance(60)
    async with running(directory=tmp_path, clock=clock) as door:
        assert [await decide(door, lead, decision_id=f"d-{lead}") for lead in ("42", None)] == first
        assert [await record(door, each["decision_id"]) for each in first] == before
        assert (await asked(door, "43", decision_id="d-42"))[0] == 409
        made = await decide(door, "42")
        assert made["decision_id"] not in {each["decision_id"] for each in first}


async def test_an_id_may_be_any_printable_text(door: Door) -> None:
    for decision_id in ("a/b?c=d&e", "ü ñ 100%", "~x", "d" * 256):
        made = await decide(door, decision_id=decision_id)
        assert made["decision_id"] == decision_id
        assert (await record(door, decision_id))["arm"] == made["arm"]
        status, _ = await door.post(f"decisions/{quote(decision_id, safe='')}/reward", {"value": 1})
        assert status == 200


NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"decision_id": ""}, "decision_id"),
    ({"decision_id": "d" * 257}, "decision_id"),
    ({"decision_id": "a\nb"}, "decision_id"),
    ({"lead": ""}, "lead"),
    ({"lead": "x" * 257}, "lead"),
    ({"lead": ".."}, "lead"),
    ({"lead": "a\u0000"}, "lead"),
    ({"lead": 1}, "lead"),
    ({"context": {"x": [1]}}, "context"),
    ({"context": {"x": 1e13}}, "context.x"),
    ({"context": {"": 1}}, "context"),
    ({"context": {"x": "y" * 257}}, "context.x"),
    ({"context": {f"x{n}": 1 for n in range(101)}}, "context"),
    ({"arms": []}, "arms"),
    ({"arms": [{"id": "a"}, {"id": "a"}]}, "arms[1].id"),
    ({"arms": [{"id": "a\n"}]}, "arms[0].id"),
    ({"arms": [{"id": "a", "enabled": True}]}, "arms[0]"),
    ({"arms": [{"features": {}}]}, "arms[0]"),
    ({"exclude": "mail"}, "exclude"),
    ({"exclude": ["x"] * 1001}, "exclude"),
    ({"defer": "yes"}, "defer"),
    ({"surprise": 1}, ""),
]


async def test_a_request_that_makes_no_sense_is_refused_by_path_and_logs_nothing(door: Door) -> None:
    before = await door.service.store.last_position()
    for request, path in NONSENSE:
        status, problem = await door.post("policies/offers/decide", {"lead": "42"} | request)
        assert (status, problem["code"]) == (422, "invalid_body"), request
        assert problem["errors"][0]["path"].startswith(path), request
        assert problem["errors"][0].keys() >= {"path", "expected", "actual"}
    assert await door.service.store.last_position() == before


async def test_a_policy_that_is_not_there_is_404(door: Door) -> None:
    status, problem = await asked(door, "42", "nothing")
    assert (status, problem["code"]) == (404, "policy_not_found")
    assert (await door.post("policies/nothing/decide", [{"lead": "42"}]))[1]["code"] == "policy_not_found"


# Lists.


async def test_a_list_is_decided_in_place(door: Door) -> None:
    asked_for = [{"lead": f"lead {n}", "decision_id": f"d{n}"} for n in range(100)]
    status, made = await door.post("policies/offers/decide", asked_for)
    assert status == 200
    assert [each["decision_id"] for each in made] == [f"d{n}" for n in range(100)]
    for number in (0, 57, 99):
        (event,) = await logged(door, f"lead {number}")
        assert event.arm == made[number]["arm"]
    assert (await door.post("policies/offers/decide", asked_for))[1] == made


async def test_a_list_has_1_to_100_members(door: Door) -> None:
    before = await door.service.store.last_position()
    for count in (0, 101):
        status, problem = await door.post("policies/offers/decide", [{"lead": "a"}] * count)
        assert (status, problem["code"]) == (422, "invalid_body")
    assert await door.service.store.last_position() == before


async def test_members_that_are_refused_are_so_in_their_place(door: Door) -> None:
    await decide(door, "other", decision_id="taken")
    members = [
        {"lead": "a"},
        {"lead": "a", "decision_id": "taken"},
        {"lead": "b", "exclude": ["mail", "call", "wait"]},
        {"lead": ""},
        {"lead": 5},
        7,
        {"lead": "c", "surprise": True},
        {"lead": "d"},
    ]
    status, answers = await door.post("policies/offers/decide", members)
    assert status == 200
    codes = [each["error"]["code"] if "error" in each else "" for each in answers]
    assert codes == ["", "decision_conflict", "no_eligible_arm", *["invalid_body"] * 4, ""]
    assert [each["error"]["status"] for each in answers[1:3]] == [409, 422]
    assert answers[4]["error"]["errors"][0]["path"] == "lead"
    assert len(await logged(door, "a")) == len(await logged(door, "d")) == 1
    assert await logged(door, "b") == []


async def test_the_same_id_twice_in_a_list_is_one_decision(door: Door) -> None:
    _, answers = await door.post("policies/offers/decide", [{"lead": "a", "decision_id": "d1"}] * 5)
    assert all(each == answers[0] for each in answers)
    assert len(await logged(door, "a")) == 1


async def test_a_body_that_is_no_json_is_400(door: Door) -> None:
    for body in (b"", b"{", b"[{]", b'{"lead": "\xff"}', b"nope"):
        status, problem = await door.post("policies/offers/decide", body)
        assert (status, problem["code"]) == (400, "malformed_json"), body
    status, problem = await door.post("policies/offers/decide", b"5")
    assert (status, problem["code"]) == (422, "invalid_body")


# Arms.


async def test_arms_in_the_request_replace_those_of_the_policy(door: Door) -> None:
    arms = [{"id": "a b|c:d", "features": {"x": True, "y": None}}, {"id": "mail"}]
    made = await decide(door, arms=arms)
    assert {each["arm"] for each in made["ranking"]} == {"a b|c:d", "mail"}
    (event,) = await logged(door, "42")
    assert [(arm.id, arm.features) for arm in event.arms] == [("a b|c:d", {"x": True, "y": None}), ("mail", {})]


async def test_a_policy_may_leave_its_arms_to_the_requests(door: Door) -> None:
    await define(door, arms=[])
    status, problem = await asked(door)
    assert (status, problem["code"]) == (422, "no_eligible_arm")
    made = await decide(door, arms=[{"id": "only"}])
    assert (made["arm"], made["probability"], made["reason"]) == ("only", 1, "exploit")


async def test_whom_the_request_leaves_nobody_is_422_and_whom_the_guardrails_leave_nobody_409(door: Door) -> None:
    status, problem = await asked(door, exclude=["mail", "call", "wait"])
    assert (status, problem["code"], problem["status"]) == (422, "no_eligible_arm", 422)
    paused = [arm | {"enabled": False} for arm in ARMS]
    await define(door, arms=paused)
    status, problem = await asked(door)
    assert (status, problem["code"]) == (409, "no_eligible_arm")
    assert await logged(door, "42") == []


async def test_a_paused_arm_is_not_chosen_and_not_eligible(door: Door) -> None:
    await define(door, arms=[ARMS[0] | {"enabled": False}, *ARMS[1:]])
    for number in range(30):
        made = await decide(door, f"lead {number}")
        assert made["arm"] != "mail"
        assert {each["arm"]: each["probability"] for each in made["ranking"]}["mail"] == 0


# Failures.


async def test_what_could_not_be_written_was_not_decided(door: Door) -> None:
    await define(door, guardrails={"per_day": {"mail": 1, "call": 0, "wait": 0}})
    door.service.store.fail_next(StoreUnavailable("the disk is full"))  # type: ignore[attr-defined]
    status, problem = await asked(door, decision_id="d1")
    assert (status, problem["code"]) == (503, "store_unavailable")
    assert (await door.get("decisions/d1"))[0] == 404
    assert (await decide(door, decision_id="d1"))["arm"] == "mail", "the budget was given back"
    assert (await asked(door))[0] == 409


# Records.


async def test_a_record_tells_all_and_draws_it_again(door: Door) -> None:
    await door.events(bought("42", "e1", 12.5))
    made = await decide(door, decision_id="d1", context={"hour": 10, "page": "x", "new": True, "gone": None})
    found = await record(door, "d1")
    assert found == {name: made[name] for name in made} | {
        "policy": "offers",
        "lead": "42",
        "context": {
            "rfm:monetary_total": 12.5,
            "rfm:recency_days": 0,
            "hour": 10,
            "page": "x",
            "new": True,
            "gone": None,
        },
        "state": "open",
        "rewards": [],
        "reward": None,
        "decided": format_time(NOW),
    }
    again = await record(door, "d1", "?replay=true")
    assert again.pop("replay") == {
        "arm": made["arm"],
        "probability": made["probability"],
        "reason": made["reason"],
        "same": True,
    }
    assert again == found
    status, problem = await door.get("decisions/nothing")
    assert (status, problem["code"]) == (404, "decision_not_found")


async def _pages(door: Door, query: str) -> list[str]:
    seen: list[str] = []
    cursor = ""
    while True:
        status, page = await door.get(f"decisions?limit=3{query}{cursor}")
        assert status == 200, page
        assert len(page["items"]) <= 3
        seen += [each["decision_id"] for each in page["items"]]
        if page["cursor"] is None:
            return seen
        cursor = f"&cursor={page['cursor']}"


async def test_decisions_are_listed_newest_first_page_by_page_and_by_policy_and_lead(door: Door) -> None:
    await define(door, "others")
    made: list[tuple[str, str | None, str]] = []
    for number in range(20):
        lead = [None, "a", "b"][number % 3]
        policy = "others" if number % 4 == 0 else "offers"
        made.append((policy, lead, (await decide(door, lead, policy, decision_id=f"d{number}"))["decision_id"]))
    made.reverse()
    assert await _pages(door, "") == [each for _, _, each in made]
    assert await _pages(door, "&policy=others") == [each for policy, _, each in made if policy == "others"]
    assert await _pages(door, "&lead=a") == [each for _, lead, each in made if lead == "a"]
    both = [each for policy, lead, each in made if (policy, lead) == ("offers", "b")]
    assert await _pages(door, "&policy=offers&lead=b") == both
    assert await _pages(door, "&lead=nobody") == []
    items = (await door.get("decisions?limit=1000"))[1]["items"]
    assert items == [await record(door, each) for _, _, each in made]
    cursor = (await door.get("decisions?limit=3"))[1]["cursor"]
    for wrong in (f"?cursor={cursor}&policy=offers", f"?cursor={cursor}&lead=a", "?cursor=x", "?limit=0", "?x=1"):
        assert (await door.get(f"decisions{wrong}"))[0] == 422


async def test_what_is_listed_while_more_is_decided_comes_exactly_once(door: Door) -> None:
    first = [f"d{number}" for number in range(10)]
    for each in first:
        await decide(door, None, decision_id=each)
    seen: list[str] = []
    cursor = ""
    for number in range(4):
        page = (await door.get(f"decisions?limit=3{cursor}"))[1]
        seen += [each["decision_id"] for each in page["items"]]
        cursor = f"&cursor={page['cursor']}"
        await decide(door, None, decision_id=f"new {number}")
    assert seen == first[::-1]


# The service.


async def test_decisions_and_rewards_move_the_metrics(door: Door) -> None:
    made = await decide(door)
    await door.post(f"decisions/{made['decision_id']}/reward", {"value": 1, "id": "r"})
    await door.post(f"decisions/{made['decision_id']}/reward", {"value": 1, "id": "r"})
    text = await (await door.raw("GET", "/metrics")).text()
    assert f'leadwheel_decisions_total{{reason="{made["reason"]}"}} 1.0' in text
    assert 'leadwheel_rewards_total{outcome="taken"} 1.0' in text
    assert 'leadwheel_rewards_total{outcome="duplicate"} 1.0' in text


async def test_nobody_decides_by_posting_an_event(door: Door) -> None:
    for name in (
        "decision_made",
        "decision_claimed",
        "decision_activated",
        "reward_received",
        "reward_settled",
        "policy_defined",
    ):
        status, problem = await door.post("events", {"lead": "a", "type": name, "data": {}})
        assert (status, problem["code"]) == (422, "event_invalid"), name


async def test_a_decision_is_in_the_log_before_it_is_answered(door: Door) -> None:
    made = await decide(door, "x", decision_id="d1")
    (event,) = await door.service.store.read(Stream("default", "lead", "x"))
    assert msgspec.json.decode(event.data)["arm"] == made["arm"]
    assert event.id.startswith("~dm:")
    assert (event.at_us, event.type) == (NOW, "decision_made")
