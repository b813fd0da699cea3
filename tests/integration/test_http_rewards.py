"""Rewards over HTTP: posted ones, those of the lead's own events, and what a decision settles at."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kernel.clock import VirtualClock
from kernel.errors import StoreUnavailable
from kernel.settings import ActorsSettings, Settings
from kernel.times import SECOND_US, format_time
from tests.integration.deciding import (
    PURCHASE,
    bought,
    decide,
    define,
    passing,
    record,
    reward,
    settled,
)
from tests.integration.service import NOW, Door, running

HOUR_S, DAY_S = 3600, 86_400
TAKEN = {"late": False, "learned": True, "duplicate": False}


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def amounts(door: Door, policy: str = "offers") -> list[tuple[str, float]]:
    return [(each.decision_id, each.reward) for each in await settled(door, policy)]


# Posted rewards.


async def test_a_reward_is_taken_once(door: Door) -> None:
    await define(door)
    await decide(door, decision_id="d1")
    assert await reward(door, "d1", 0.5, "r1") == (200, TAKEN)
    assert await reward(door, "d1", 0.5, "r1") == (200, TAKEN | {"duplicate": True})
    status, problem = await reward(door, "d1", 0.6, "r1")
    assert (status, problem["code"]) == (409, "reward_conflict")
    assert await reward(door, "d1", 0.25) == (200, TAKEN)
    assert await reward(door, "d1", 0.25) == (200, TAKEN), "one without an id is another one each time"
    found = await record(door, "d1")
    assert [each["value"] for each in found["rewards"]] == [0.5, 0.25, 0.25]
    assert found["rewards"][0] == {"id": "r1", "value": 0.5, "at": format_time(NOW)}
    assert (found["state"], found["reward"]) == ("open", None)
    await passing(door, HOUR_S + 10)
    assert await amounts(door) == [("d1", 1)]
    found = await record(door, "d1")
    assert (found["state"], found["reward"]) == ("settled", 1)


async def test_rewards_at_the_same_time_count_once_each(door: Door) -> None:
    await define(door)
    await decide(door, decision_id="d1")
    answers = await asyncio.gather(*(reward(door, "d1", 1, f"r{n % 4}") for n in range(16)))
    assert sum(not answer["duplicate"] for _, answer in answers) == 4
    rivals = await asyncio.gather(*(reward(door, "d1", n, "rival") for n in range(8)))
    assert sorted(status for status, _ in rivals) == [200, *[409] * 7]
    winner = next(n for n, (status, _) in enumerate(rivals) if status == 200)
    await passing(door, HOUR_S + 10)
    assert await amounts(door) == [("d1", 4 + winner)]


async def test_a_reward_of_an_unknown_decision_is_404_and_of_no_number_422(door: Door) -> None:
    await define(door)
    status, problem = await reward(door, "nothing", 1)
    assert (status, problem["code"]) == (404, "decision_not_found")
    assert (await door.post("decisions/nothing/activate", b""))[0] == 404
    await decide(door, decision_id="d1")
    before = await door.service.store.last_position()
    for body in (
        b'{"value": NaN}',
        b'{"value": 1e999}',
        b'{"value": 1e13}',
        b'{"value": -1e13}',
        b'{"value": "1"}',
        b'{"value": null}',
        b'{"value": true}',
        b"{}",
        b'{"value": 1, "id": ""}',
        b'{"value": 1, "id": "~x"}',
        b'{"value": 1, "id": "a\\nb"}',
        b'{"value": 1, "id": "%s"}' % (b"x" * 257),
        b'{"value": 1, "at": 5}',
    ):
        status, problem = await door.post("decisions/d1/reward", body)
        assert (status, problem["code"]) in ((422, "invalid_body"), (400, "malformed_json")), body
    assert await door.service.store.last_position() == before


async def test_the_waiting_time_ends_to_the_microsecond(door: Door) -> None:
    await define(door, reward={"wait_s": 60, "aggregation": "sum", "default": 7})
    await decide(door, decision_id="d1")
    await decide(door, decision_id="d2")
    door.clock.advance(60)
    assert await reward(door, "d1", 1) == (200, TAKEN)
    door.clock.advance(1e-6)
    late = {"late": True, "learned": False, "duplicate": False}
    assert await reward(door, "d2", 1, "r") == (202, late)
    assert await reward(door, "d2", 1, "r") == (202, late | {"duplicate": True})
    await passing(door, 10)
    assert sorted(await amounts(door)) == [("d1", 1), ("d2", 7)]
    found = await record(door, "d2")
    assert (found["state"], found["reward"]) == ("settled", 7)
    assert [each["value"] for each in found["rewards"]] == [1], "stored, and not counted"


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("earliest", 3), ("latest", 5), ("sum", 7), ("max", 5), ("mean", 7 / 3)]
)
async def test_several_rewards_come_to_what_the_policy_says(door: Door, aggregation: str, expected: float) -> None:
    await define(door, reward={"wait_s": 60, "aggregation": aggregation})
    await decide(door, decision_id="d1")
    for value in (3, -1, 5):
        door.clock.advance(1)
        await reward(door, "d1", value)
    await passing(door, 70)
    assert dict(await amounts(door)) == pytest.approx({"d1": expected})


async def test_under_earliest_the_first_settles_at_once_and_further_ones_teach_nothing(door: Door) -> None:
    await define(door, reward={"wait_s": 60, "aggregation": "earliest"})
    await decide(door, decision_id="d1")
    assert await reward(door, "d1", 3, "a") == (200, TAKEN)
    assert await amounts(door) == [("d1", 3)], "before it is answered"
    assert await reward(door, "d1", 4, "b") == (200, TAKEN | {"learned": False})
    assert await reward(door, "d1", 3, "a") == (200, TAKEN | {"duplicate": True})
    door.clock.advance(1)
    assert (await decide(door))["model_version"] == "1.1"
    assert [each["value"] for each in (await record(door, "d1"))["rewards"]] == [3, 4]
    await passing(door, 70)
    assert [each for each in await amounts(door) if each[0] == "d1"] == [("d1", 3)]


async def test_nothing_at_all_settles_at_the_default(door: Door) -> None:
    await define(door, reward={"wait_s": 60, "default": -0.5})
    await decide(door, decision_id="d1")
    await decide(door, None, decision_id="d2")
    await passing(door, 59)
    assert await amounts(door) == []
    await passing(door, 10)
    assert sorted(await amounts(door)) == [("d1", -0.5), ("d2", -0.5)]
    await passing(door, DAY_S)
    assert len(await amounts(door)) == 2


# Deferred decisions.


async def test_a_deferred_decision_keeps_its_rewards_and_counts_them_once_it_is_activated(door: Door) -> None:
    await define(door)
    await decide(door, decision_id="d1", defer=True)
    assert (await record(door, "d1"))["state"] == "deferred"
    assert await reward(door, "d1", 1) == (200, TAKEN | {"learned": False})
    assert await door.post("decisions/d1/activate", b"") == (200, {"late": False})
    assert await door.post("decisions/d1/activate", b"") == (200, {"late": False})
    assert (await record(door, "d1"))["state"] == "open"
    assert await reward(door, "d1", 2) == (200, TAKEN)
    await passing(door, HOUR_S + 10)
    assert await amounts(door) == [("d1", 3)]


async def test_a_deferred_decision_under_earliest_settles_when_it_is_activated(door: Door) -> None:
    await define(door, reward={"wait_s": 60, "aggregation": "earliest"})
    await decide(door, decision_id="d1", defer=True)
    await reward(door, "d1", 1)
    assert await amounts(door) == []
    await door.post("decisions/d1/activate", b"")
    assert await amounts(door) == [("d1", 1)]


async def test_one_that_is_not_activated_in_time_expires_and_teaches_nothing(door: Door) -> None:
    await define(door, reward={"wait_s": 60})
    await decide(door, decision_id="d1", defer=True)
    await reward(door, "d1", 1)
    await passing(door, 61)
    assert await door.post("decisions/d1/activate", b"") == (202, {"late": True})
    await passing(door, 10)
    (expired,) = await settled(door)
    assert (expired.kind, expired.decision_id) == ("expired", "d1")
    found = await record(door, "d1")
    assert (found["state"], found["reward"]) == ("expired", None)
    assert (await decide(door))["model_version"] == "1.0"
    assert (await door.get("policies/offers/arms"))[1]["items"][0]["matured"] == 0


# Rules.


async def ruled(door: Door, *rules: dict[str, Any], **more: Any) -> None:
    await define(door, reward={"rules": list(rules or [PURCHASE]), "wait_s": HOUR_S, "aggregation": "sum"} | more)


async def test_a_leads_own_events_reward_its_decision(door: Door) -> None:
    reply = {"on": "message_received", "within_s": 600, "value": "0.2", "where": "sentiment > 0.5"}
    await ruled(door, PURCHASE, reply)
    await decide(door, decision_id="d1")
    door.clock.advance(60)
    at_us = door.clock.now_us()
    message = {"lead": "42", "type": "message_received", "time": at_us / 1e6}
    await door.events(
        bought("42", "e1", 250, at_us),
        message | {"id": "m1", "data": {"conversation_id": "c", "sentiment": 0.9}},
        message | {"id": "m2", "data": {"conversation_id": "c", "sentiment": 0.1}},
        message | {"id": "m3", "data": {"conversation_id": "c"}},
        bought("43", "e1", 900, at_us),
    )
    found = await record(door, "d1")
    assert {each["id"]: each["value"] for each in found["rewards"]} == {"~e1/0": 2.5, "~m1/1": 0.2}
    await reward(door, "d1", 1, "posted")
    await passing(door, HOUR_S)
    assert dict(await amounts(door)) == pytest.approx({"d1": 3.7})


async def test_a_rules_window_is_open_at_the_decision_and_closed_at_its_end(door: Door) -> None:
    await ruled(door, PURCHASE | {"within_s": 100})
    await decide(door, decision_id="d1")
    door.clock.advance(200)
    for number, at_us in enumerate((NOW - 1, NOW, NOW + 1, NOW + 100 * SECOND_US, NOW + 100 * SECOND_US + 1)):
        await door.events(bought("42", f"e{number}", 100, at_us))
    assert [each["id"] for each in (await record(door, "d1"))["rewards"]] == ["~e2/0", "~e3/0"]


async def test_an_event_that_comes_late_counts_until_the_decision_settles(door: Door) -> None:
    await ruled(door, wait_s=10 * DAY_S)
    await decide(door, decision_id="d1")
    await passing(door, 9 * DAY_S)
    await door.events(bought("42", "in time", 100, NOW + SECOND_US))
    await passing(door, DAY_S + 10)
    await door.events(bought("42", "too late", 100, NOW + 2 * SECOND_US))
    assert await amounts(door) == [("d1", 1)]
    assert (await record(door, "d1"))["reward"] == 1


async def test_an_event_that_is_ahead_counts_from_its_time_on(door: Door) -> None:
    await ruled(door, aggregation="earliest")
    await decide(door, decision_id="d1")
    await door.events(bought("42", "soon", 100, NOW + 60 * SECOND_US))
    await passing(door, 30)
    assert await amounts(door) == []
    await passing(door, 40)
    assert await amounts(door) == [("d1", 1)]


async def test_what_is_retracted_before_the_settlement_never_counted(door: Door) -> None:
    await ruled(door)
    await decide(door, decision_id="d1")
    door.clock.advance(10)
    at_us = door.clock.now_us()
    await door.events(bought("42", "e1", 100, at_us), bought("42", "e2", 300, at_us))
    await door.events({"lead": "42", "type": "event_retracted", "id": "x", "data": {"event_id": "e2"}})
    assert [each["id"] for each in (await record(door, "d1"))["rewards"]] == ["~e1/0"]
    await passing(door, HOUR_S)
    assert await amounts(door) == [("d1", 1)]
    await door.events({"lead": "42", "type": "event_retracted", "id": "y", "data": {"event_id": "e1"}})
    assert (await record(door, "d1"))["reward"] == 1, "a reward already settled stands"
    assert await amounts(door) == [("d1", 1)]


async def test_a_refund_is_a_negative_reward(door: Door) -> None:
    await ruled(door, PURCHASE, {"on": "payment_failed", "within_s": HOUR_S, "value": "0.0 - amount / 100"})
    await decide(door, decision_id="d1")
    door.clock.advance(10)
    at_us = door.clock.now_us()
    await door.events(
        bought("42", "e1", 100, at_us),
        {"lead": "42", "id": "f", "type": "payment_failed", "time": at_us / 1e6, "data": {"amount": 250}},
    )
    await passing(door, HOUR_S)
    assert await amounts(door) == [("d1", -1.5)]


@pytest.mark.parametrize(("attribution", "expected"), [("last", [0, 0, 1]), ("first", [1, 0, 0]), ("all", [1, 1, 1])])
async def test_an_event_goes_to_the_decisions_that_the_policy_says(
    door: Door, attribution: str, expected: list[float]
) -> None:
    await ruled(door, attribution=attribution)
    await define(door, "others", reward={"rules": [PURCHASE], "wait_s": HOUR_S})
    for number in range(3):
        await decide(door, decision_id=f"d{number}")
        door.clock.advance(1)
    await decide(door, policy="others", decision_id="other")
    door.clock.advance(1)
    await door.events(bought("42", "e1", 100, door.clock.now_us()))
    await passing(door, HOUR_S + 10)
    assert [value for _, value in sorted(await amounts(door))] == expected
    assert await amounts(door, "others") == [("other", 1)], "another policy's decision has its own share"


async def test_decisions_keep_the_rules_they_were_made_under(door: Door) -> None:
    await ruled(door)
    await decide(door, decision_id="d1")
    await ruled(door, PURCHASE | {"value": "amount"}, attribution="all")
    await decide(door, decision_id="d2")
    door.clock.advance(5)
    await door.events(bought("42", "e1", 100, door.clock.now_us()))
    await passing(door, HOUR_S + 10)
    assert dict(await amounts(door)) == {"d1": 0, "d2": 100}


# Time and restarts.


@pytest.mark.parametrize("days", [1, 90])
async def test_deadlines_of_days_are_kept_by_the_wheel(door: Door, days: int) -> None:
    await ruled(door, wait_s=days * DAY_S)
    for number in range(5):
        await decide(door, f"lead {number}", decision_id=f"d{number}")
    await door.events(bought("lead 3", "e1", 50, NOW + 1))
    await passing(door, days * DAY_S - 1)
    assert await amounts(door) == []
    await passing(door, 10)
    assert sorted(await amounts(door)) == [("d0", 0), ("d1", 0), ("d2", 0), ("d3", 0.5), ("d4", 0)]
    assert (await decide(door))["model_version"] == "1.5"


async def test_what_came_due_while_nobody_was_there_settles_after_the_start(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    async with running(directory=tmp_path, clock=clock) as door:
        await ruled(door, wait_s=3 * DAY_S)
        await decide(door, decision_id="d1")
        await decide(door, None, decision_id="d2")
        await decide(door, "43", decision_id="d3", defer=True)
        await door.events(bought("42", "e1", 100, NOW + 1))
        await reward(door, "d2", 5)
    clock.advance(10 * DAY_S)
    async with running(directory=tmp_path, clock=clock) as door:
        await passing(door, 2)
        assert dict(await amounts(door)) == {"d1": 1, "d2": 5, "d3": 0}
        kinds = {each.decision_id: each.kind for each in await settled(door)}
        assert kinds == {"d1": "final", "d2": "final", "d3": "expired"}
        settled_us = {each.settled_us for each in await settled(door)}
        assert settled_us == {NOW + 3 * DAY_S * SECOND_US}, "as of the deadline, however late"
        assert (await reward(door, "d1", 1))[0] == 202
    async with running(directory=tmp_path, clock=clock) as door:
        await passing(door, DAY_S)
        assert len(await amounts(door)) == 3
        assert (await record(door, "d3"))["state"] == "expired"


async def test_a_settlement_that_could_not_be_written_is_written_later(door: Door) -> None:
    await define(door, reward={"wait_s": 60})
    await decide(door, decision_id="d1")
    door.service.store.fail_next(StoreUnavailable("the disk is full"))  # type: ignore[attr-defined]
    await passing(door, 70)
    await passing(door, 70)
    assert await amounts(door) == [("d1", 0)]


async def test_a_reward_whose_answer_was_lost_is_sent_again(door: Door) -> None:
    await define(door, reward={"wait_s": 60, "aggregation": "earliest"})
    await decide(door, decision_id="d1")
    door.service.store.fail_next(StoreUnavailable("the disk is full"))  # type: ignore[attr-defined]
    assert (await reward(door, "d1", 1, "r"))[0] == 503
    assert await reward(door, "d1", 1, "r") == (200, TAKEN)
    assert await amounts(door) == [("d1", 1)]


async def test_settlements_need_nobody_awake() -> None:
    async with running(Settings(actors=ActorsSettings(max_awake=1))) as door:
        await ruled(door)
        for number in range(8):
            await decide(door, f"lead {number}", decision_id=f"d{number}")
        await door.events(*(bought(f"lead {number}", "e", 100 * number, NOW + 1) for number in range(8)))
        assert await reward(door, "d2", 1) == (200, TAKEN)
        await passing(door, HOUR_S + 10)
        assert sorted(await amounts(door)) == [(f"d{n}", n + (n == 2)) for n in range(8)]


async def test_more_decisions_than_are_settled_at_once_are_settled_in_turn(door: Door) -> None:
    await define(door, reward={"wait_s": 60})
    for start in range(0, 450, 90):
        members = [{"lead": "42", "decision_id": f"d{n}"} for n in range(start, start + 90)]
        assert (await door.post("policies/offers/decide", members))[0] == 200
    for _ in range(4):
        await passing(door, 65)
    assert len(await settled(door)) == 450
    assert len({each.decision_id for each in await settled(door)}) == 450
    items = (await door.get("decisions?lead=42&limit=1000"))[1]["items"]
    assert {each["state"] for each in items} == {"settled"}
