"""The change feed tells decisions, in their place among the changes."""

from collections.abc import AsyncIterator

import pytest

from kernel.times import format_time
from tests.integration.deciding import bought, decide, define
from tests.integration.listening import listening
from tests.integration.service import NOW, Door, running


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        await define(door)
        yield door


async def test_a_decision_is_told_with_what_was_chosen(door: Door) -> None:
    async with listening(door) as ear:
        await ear.opened()
        made = await decide(door, defer=True)
        told = await ear.next()
        assert told.kind == "decision"
        assert told.data == {
            "lead": "42",
            "at": format_time(NOW),
            "policy": "offers",
            "deferred": True,
            **{
                name: made[name]
                for name in ("decision_id", "policy_version", "model_version", "arm", "probability", "reason")
            },
        }


async def test_what_is_told_of_a_lead_is_in_order(door: Door) -> None:
    async with listening(door, "?lead=42&features=rfm:monetary_total") as ear:
        await ear.opened()
        expected = []
        for number in range(5):
            await door.events(bought("42", f"e{number}", 1, NOW - number))
            expected += ["features", (await decide(door))["decision_id"]]
        told = [await ear.next() for _ in expected]
        assert [each.data.get("decision_id", each.kind) for each in told] == expected
        assert [each.data["changes"]["rfm:monetary_total"] for each in told[::2]] == [[n, n + 1] for n in range(5)]


async def test_one_who_listens_to_a_lead_hears_of_no_other_and_of_none_without_one(door: Door) -> None:
    async with listening(door, "?lead=a") as one, listening(door) as everybody:
        await one.opened()
        await everybody.opened()
        made = [(await decide(door, lead))["decision_id"] for lead in ("b", None, "a")]
        assert (await one.next()).data["decision_id"] == made[2]
        told = [(await everybody.next()).data for _ in made]
        assert {each["decision_id"]: each["lead"] for each in told} == dict(zip(made, ("b", None, "a"), strict=True))


async def test_one_who_comes_back_misses_no_decision(door: Door) -> None:
    for query in ("", "?lead=42"):
        async with listening(door, query) as ear:
            await ear.opened()
            await decide(door)
            last_id = (await ear.next()).id
        made = [(await decide(door))["decision_id"] for _ in range(7)]
        without = (await decide(door, None))["decision_id"]
        async with listening(door, query, last_id) as ear:
            expected = {*made, without} if not query else set(made)
            told = [(await ear.next()).data["decision_id"] for _ in expected]
            assert set(told) == expected
            assert [each for each in told if each != without] == made


async def test_a_decision_that_is_asked_for_again_is_told_once(door: Door) -> None:
    async with listening(door) as ear:
        await ear.opened()
        for _ in range(3):
            await decide(door, decision_id="d1")
            await decide(door, None, decision_id="d2")
        last = (await decide(door, "b"))["decision_id"]
        told = [(await ear.next()).data["decision_id"] for _ in range(3)]
        assert sorted(told) == sorted(["d1", "d2", last])
