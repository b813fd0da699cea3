"""Guardrails over HTTP: what no learner may do, whoever asks at the same time, and across restarts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kernel.clock import VirtualClock
from kernel.settings import OrgSettings, Settings
from kernel.times import parse_rfc3339
from tests.integration.deciding import ARMS, POLICY, asked, bought, decide, define, logged, passing, reward, settled
from tests.integration.service import NOW, Door, running

DAY_S = 86_400


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def many(door: Door, count: int, leads: int | None = None, **request: Any) -> list[dict[str, Any]]:
    """Decisions of different leads, in lists."""
    made: list[dict[str, Any]] = []
    for start in range(0, count, 100):
        members = [{"lead": f"lead {n % (leads or count)}"} | request for n in range(start, min(start + 100, count))]
        made += (await door.post("policies/offers/decide", members))[1]
    return made


def probabilities(made: dict[str, Any]) -> dict[str, float]:
    return {each["arm"]: each["probability"] for each in made["ranking"]}


async def test_arms_are_drawn_as_their_probabilities_say(door: Door) -> None:
    await define(door, learner={"kind": "uniform"})
    made = await many(door, 900)
    counts = Counter(each["arm"] for each in made)
    assert all(abs(counts[arm["id"]] - 300) < 75 for arm in ARMS), counts
    assert all(each["probability"] == pytest.approx(1 / 3) for each in made)


async def test_the_floor_is_spread_over_the_eligible_arms(door: Door) -> None:
    await define(door, learner={"kind": "fixed"}, floor=0.3)
    made = await decide(door)
    assert probabilities(made) == {"mail": pytest.approx(0.8), "call": pytest.approx(0.1), "wait": pytest.approx(0.1)}
    made = await decide(door, exclude=["wait"])
    assert probabilities(made) == {"mail": pytest.approx(0.85), "call": pytest.approx(0.15), "wait": 0}


async def test_shares_clip_the_distribution_after_the_floor(door: Door) -> None:
    share = {"mail": {"max": 0.5}, "wait": {"min": 0.3}}
    await define(door, learner={"kind": "fixed"}, guardrails={"share": share})
    found = probabilities(await decide(door))
    assert found["mail"] == pytest.approx(0.5)
    assert found["wait"] >= 0.3 - 1e-9
    assert sum(found.values()) == pytest.approx(1, abs=1e-9)
    only = await decide(door, exclude=["call", "wait"])
    assert (only["arm"], only["probability"]) == ("mail", 1), "one arm has all there is"


async def test_the_holdout_is_permanent_and_sits_on_the_baseline(door: Door) -> None:
    await define(door, baseline="call", guardrails={"holdout": 0.3})
    first = {each: made["reason"] == "holdout" for each, made in enumerate(await many(door, 300))}
    assert 55 < sum(first.values()) < 125
    await define(door, baseline="call", floor=0.5, learner={"kind": "uniform"}, guardrails={"holdout": 0.3})
    again = await many(door, 300)
    assert {each: made["reason"] == "holdout" for each, made in enumerate(again)} == first
    for made in again:
        if made["reason"] == "holdout":
            assert (made["arm"], made["probability"]) == ("call", 1)
            assert probabilities(made) == {"mail": 0, "call": 1, "wait": 0}
    assert (await decide(door, None))["reason"] != "holdout", "nobody is held out who is nobody"


async def test_rewards_of_the_holdout_do_not_teach(door: Door) -> None:
    await define(door, guardrails={"holdout": 1})
    made = await decide(door)
    assert await reward(door, made["decision_id"], 1) == (
        200,
        {"late": False, "learned": False, "duplicate": False},
    )
    await passing(door, 3700)
    assert [each.reward for each in await settled(door)] == [1], "it is settled all the same"
    assert (await decide(door))["model_version"] == "1.0"


async def test_the_kill_switch_puts_everything_on_the_baseline_and_teaches(door: Door) -> None:
    await define(door, guardrails={"kill": True})
    for made in await many(door, 20):
        assert (made["arm"], made["probability"], made["reason"]) == ("mail", 1, "forced")
    await reward(door, made["decision_id"], 1)
    made = await decide(door, exclude=["mail"])
    assert (made["arm"], made["probability"], made["reason"]) == ("call", 1, "forced"), "the first that may act"
    await passing(door, 3700)
    assert (await decide(door))["model_version"] == "1.21"


async def test_an_apprentice_learns_to_imitate_while_the_baseline_acts(door: Door) -> None:
    await define(door, baseline="call", floor=0.1, guardrails={"apprentice": True})
    for number in range(60):
        made = await decide(door, f"lead {number}")
        assert (made["arm"], made["probability"], made["reason"]) == ("call", 1, "forced")
    await passing(door, 3700)
    _, health = await door.get("policies/offers/health")
    assert 0 <= health["imitation_rate"] <= 1
    await define(door, baseline="call", floor=0.1)
    made = await decide(door)
    assert made["model_version"] == "1.60"
    assert made["ranking"][0]["arm"] == "call", "it has learned whom to imitate"


# Budgets of a day.


async def test_a_days_budget_holds_whoever_asks_at_the_same_time(door: Door) -> None:
    await define(door, learner={"kind": "uniform"}, guardrails={"per_day": {"mail": 5, "call": 7, "wait": 0}})
    answers = await asyncio.gather(*(asked(door, f"lead {n}") for n in range(40)))
    counts = Counter(made["arm"] for status, made in answers if status == 200)
    assert counts == {"mail": 5, "call": 7}
    assert Counter(status for status, _ in answers) == {200: 12, 409: 28}
    door.clock.advance(14 * 3600 - 1)
    assert (await asked(door))[0] == 409
    door.clock.advance(1)
    assert (await asked(door))[0] == 200, "another day"


async def test_a_list_is_within_a_days_budget(door: Door) -> None:
    await define(door, guardrails={"per_day": {"mail": 3, "call": 0, "wait": 0}})
    _, answers = await door.post("policies/offers/decide", [{"lead": f"{n}"} for n in range(10)])
    assert [each.get("arm") for each in answers].count("mail") == 3
    assert {each["error"]["status"] for each in answers if "error" in each} == {409}


async def test_a_day_begins_at_midnight_where_the_org_is(tmp_path: Path) -> None:
    settings = Settings(org={"default": OrgSettings(timezone="America/New_York")})
    clock = VirtualClock(
        parse_rfc3339("2026-11-01T03:30:00Z")
    )  # 23:30 of the day before; the clock is put back at 06:00
    rails: dict[str, Any] = {"guardrails": {"per_day": {"mail": 1, "call": 0, "wait": 0}}}
    async with running(settings, directory=tmp_path, clock=clock) as door:
        await define(door, **rails)
        await decide(door)
        assert (await asked(door))[0] == 409
        clock.set(parse_rfc3339("2026-11-01T04:00:00Z"))
        await decide(door)
    clock.set(parse_rfc3339("2026-11-02T04:59:00Z"))  # a day of 25 hours
    async with running(settings, directory=tmp_path, clock=clock) as door:
        assert (await asked(door))[0] == 409, "what was decided earlier that day is remembered"
        clock.set(parse_rfc3339("2026-11-02T05:00:00Z"))
        await decide(door)
    async with running(settings, directory=tmp_path, clock=clock) as door:
        assert (await asked(door))[0] == 409


# Limits of a lead's week.


async def test_a_leads_week_holds_whoever_asks_at_the_same_time(door: Door) -> None:
    limits = {"total": 6, "arms": {"mail": 2}, "channels": {"phone": 3}}
    await define(door, learner={"kind": "uniform"}, guardrails={"per_lead_week": limits})
    answers = await asyncio.gather(*(asked(door) for _ in range(15)), *(asked(door, "43") for _ in range(3)))
    assert Counter(status for status, _ in answers[:15]) == {200: 6, 409: 9}
    assert [status for status, _ in answers[15:]] == [200] * 3, "another lead's week is another"
    counts = Counter(each.arm for each in await logged(door, "42"))
    assert counts["mail"] <= 2
    assert counts["call"] <= 3
    await define(door, "others", guardrails={"per_lead_week": limits})
    assert (await asked(door, "42", "others"))[0] == 200, "another policy's limit is another"


async def test_limits_of_arms_and_channels_leave_the_others(door: Door) -> None:
    limits = {"arms": {"mail": 1}, "channels": {"phone": 1}}
    await define(door, guardrails={"per_lead_week": limits})
    made = [(await decide(door))["arm"] for _ in range(8)]
    assert (made.count("mail"), made.count("call")) in ((1, 1), (1, 0), (0, 1), (0, 0))
    limited = [{"id": "sms", "features": {"channel": "phone"}}, {"id": "post", "features": {"channel": "paper"}}]
    await define(door, arms=[*ARMS, *limited], guardrails={"per_lead_week": {"channels": {"phone": 2}}})
    chosen = [(await decide(door, "44", exclude=["mail", "wait", "post"]))["arm"] for _ in range(2)]
    assert set(chosen) <= {"call", "sms"}
    assert (await asked(door, "44", exclude=["mail", "wait", "post"]))[0] == 409, "the channel is used up, not one arm"


async def test_a_week_is_seven_days_to_the_second_and_survives_restarts(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    async with running(directory=tmp_path, clock=clock) as door:
        await define(door, guardrails={"per_lead_week": {"total": 2}})
        await decide(door)
        clock.advance(DAY_S)
        await decide(door)
        assert (await asked(door))[1]["code"] == "no_eligible_arm"
    async with running(directory=tmp_path, clock=clock) as door:
        await passing(door, 6 * DAY_S - 1)
        assert (await asked(door))[0] == 409
    async with running(directory=tmp_path, clock=clock) as door:
        door.clock.advance(1)
        await decide(door)
        assert (await asked(door))[0] == 409
        clock.advance(DAY_S)
        await decide(door)


async def test_a_decision_without_a_lead_has_no_week(door: Door) -> None:
    await define(door, guardrails={"per_lead_week": {"total": 1}})
    assert [(await asked(door, None))[0] for _ in range(3)] == [200] * 3


# Conditions.


async def test_who_is_eligible_is_asked_of_the_lead_as_it_is_now(door: Door) -> None:
    rails = {"eligible": {"mail": "rfm.monetary_total > 100.0", "call": "rfm.recency_days < 3"}}
    await define(door, guardrails=rails)

    async def may(lead: str) -> set[str]:
        return {arm for arm, probability in probabilities(await decide(door, lead)).items() if probability}

    assert await may("nobody") == {"wait"}, "a comparison with null is false"
    await door.events(bought("a", "e1", 100))
    assert await may("a") == {"call", "wait"}
    await door.events(bought("a", "e2", 0.01))
    assert await may("a") == {"mail", "call", "wait"}
    door.clock.advance(3 * DAY_S)
    assert await may("a") == {"mail", "wait"}, "time alone ends it"
    await define(door, guardrails={"eligible": {"mail": "rfm.recency_days == null"}})
    assert await may("a") == {"call", "wait"}
    assert await may("nobody") == {"mail", "call", "wait"}


async def test_one_who_opted_out_is_left_alone_for_good_reason_only(door: Door) -> None:
    await define(door, guardrails={"opt_out": "rfm.monetary_total >= 50.0 && rfm.recency_days == 0"})
    assert (await asked(door, "a"))[0] == 200
    await door.events(bought("a", "e1", 50))
    status, problem = await asked(door, "a")
    assert (status, problem["code"]) == (409, "no_eligible_arm")
    door.clock.advance(DAY_S)
    assert (await asked(door, "a"))[0] == 200


async def test_features_of_the_market_are_conditions_too(door: Door) -> None:
    await define(door, guardrails={"opt_out": "market.tutor_count_algebra == 0"})
    assert (await asked(door))[0] == 409
    event = {"subject": "algebra", "type": "tutor_available", "id": "1", "data": {"tutor_id": "t", "hours": 1}}
    await door.events(event)
    assert (await asked(door))[0] == 200


async def test_predictions_are_conditions_and_one_that_was_not_made_is_null(door: Door) -> None:
    rails = {"mail": "prediction.conversion_30d >= 0.0", "call": "prediction.conversion_30d > 1.0"}
    await define(door, guardrails={"eligible": rails})
    found = probabilities(await decide(door))
    assert (found["mail"], found["call"]) == (0, 0)
    await door.events(bought("42", "e1", 10))
    status, answer = await door.post("/api/lead-scoring/leads/42/ml/predict", {"ruleBasedOnly": True})
    assert status == 200, answer
    found = probabilities(await decide(door))
    assert (found["mail"] > 0, found["call"]) == (True, 0)


async def test_an_expression_is_never_more_than_an_expression(door: Door) -> None:
    for text in (
        "__import__('os').system('true')",
        "rfm.monetary_total.__class__ == null",
        "open('/etc/passwd') != null",
        "[1].map(x, x).size() > rfm.nothing",
    ):
        status, problem = await door.send(
            "PUT",
            "policies/bad",
            json=POLICY | {"context": None, "guardrails": {"opt_out": text}},
        )
        assert status == 422, text
        assert problem["errors"][0]["path"] == "guardrails.opt_out"
