"""Decisions asked for at the same time are made together, and each is what it would have been alone."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bandit.deciding import Decision, Request
from bandit.learners.posterior import Posterior
from gateway.policies.rounds import Asking
from gateway.problems import Problem
from kernel.errors import IntakeFull
from tests.integration.deciding import bought, decide, define, logged, reward
from tests.integration.service import Door, running

LEADS = [f"lead {number}" for number in range(70)]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def learned(door: Door) -> None:
    """A model that tells contexts apart, so that decisions differ in every number."""
    await define(door, reward={"aggregation": "earliest"})
    await door.events(*(bought(lead, f"p {lead}", 7 * place) for place, lead in enumerate(LEADS)))
    for number, lead in enumerate(LEADS[:40]):
        await decide(door, lead, decision_id=f"taught {number}", context={"page": f"page {number % 3}"})
        assert (await reward(door, f"taught {number}", number % 3))[0] == 200
    door.clock.advance(2)  # a read copy of the model is used for a second


def asked_now(door: Door, *wanted: Request) -> "asyncio.Future[list[Any]]":
    org = door.service.orgs["default"]
    return asyncio.gather(
        *(door.service.decider.decide(org, "offers", each) for each in wanted), return_exceptions=True
    )


async def test_decisions_made_together_are_those_made_alone_bit_for_bit() -> None:
    wanted = [
        Request(
            lead=lead, context={"page": f"page {place % 4}"} if place % 2 else {}, exclude=["mail"] * (place % 5 == 0)
        )
        for place, lead in enumerate(LEADS)
    ]
    made = []
    for at_once in (1, len(wanted)):
        async with running() as door:
            await learned(door)
            answers: list[Any] = []
            for start in range(0, len(wanted), at_once):
                answers += await asked_now(door, *wanted[start : start + at_once])
            made.append((answers, [(await logged(door, lead))[-1] for lead in LEADS]))
    assert made[0] == made[1]
    assert len({each.scores[1] for each in made[0][1] if each.scores}) > 20


@pytest.fixture
def asked_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many contexts each question to a model was about."""
    sizes: list[int] = []
    ask_one, ask_many = Posterior.predict, Posterior.predict_many

    def one(self: Posterior, context: Any, arms: Any) -> Any:
        sizes.append(1)
        return ask_one(self, context, arms)

    def many(self: Posterior, contexts: Any, arms: Any) -> Any:
        sizes.append(len(contexts))
        return ask_many(self, contexts, arms)

    monkeypatch.setattr(Posterior, "predict", one)
    monkeypatch.setattr(Posterior, "predict_many", many)
    return sizes


async def test_a_round_asks_the_model_once(door: Door, asked_of: list[int]) -> None:
    await learned(door)
    asked_of.clear()
    await asked_now(door, *(Request(lead=lead) for lead in LEADS))
    assert sum(asked_of) == len(LEADS)
    assert len(asked_of) == 3  # 32 at most: nothing else runs meanwhile


async def test_a_round_waits_for_the_append_that_is_under_way(
    door: Door, asked_of: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    await learned(door)
    asked_of.clear()
    store, gate = door.service.store, asyncio.Event()
    append = store.append

    async def gated(events: Any, *, is_atomic: bool = False) -> Any:
        await gate.wait()
        return await append(events, is_atomic=is_atomic)

    monkeypatch.setattr(store, "append", gated)
    asked = []
    for lead in LEADS[:6]:
        asked.append(asked_now(door, Request(lead=lead)))
        for _ in range(5):  # turns of the loop in which it would have been a round by itself
            await asyncio.sleep(0)
    assert asked_of == [1]
    gate.set()
    answers = await asyncio.gather(*asked)
    assert asked_of == [1, 5]
    assert all(isinstance(answer, Decision) for (answer,) in answers)


async def test_what_one_decision_of_a_round_fails_of_the_others_do_not(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await learned(door)
    ask = Posterior.predict_many

    def fragile(self: Posterior, contexts: Any, arms: Any) -> Any:
        if any("poison" in each.named for each in contexts):
            raise RuntimeError("a fault of the model")
        return ask(self, contexts, arms)

    monkeypatch.setattr(Posterior, "predict_many", fragile)
    monkeypatch.setattr(
        Posterior, "predict", lambda self, context, arms: self.predict_many([context, context], arms)[0]
    )
    wanted = [Request(lead=lead, context={"poison": True} if lead == LEADS[3] else {}) for lead in LEADS[:9]]
    answers = await asked_now(door, *wanted)
    assert [type(each) is RuntimeError for each in answers] == [lead == LEADS[3] for lead in LEADS[:9]]
    assert [len(await logged(door, lead)) for lead in LEADS[:9]] == [2, 2, 2, 1, 2, 2, 2, 2, 2]


async def test_budgets_hold_among_decisions_of_one_round(door: Door) -> None:
    await define(door, guardrails={"per_day": {"mail": 2, "call": 3}})
    answers = await asked_now(door, *(Request(lead=lead) for lead in LEADS[:30]))
    assert Counter(each.arm for each in answers) == {"mail": 2, "call": 3, "wait": 25}


def held(door: Door, monkeypatch: pytest.MonkeyPatch) -> "asyncio.Queue[Asking]":
    """What comes to the next rounds, until the patch is undone."""
    queue = asyncio.Queue[Asking]()
    monkeypatch.setattr(door.service.decider._rounds, "add", queue.put_nowait)
    return queue


async def test_a_request_that_was_given_up_before_its_round_is_not_decided(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await define(door)
    await decide(door, "awake")
    queue = held(door, monkeypatch)
    one, other = asked_now(door, Request(lead="awake")), asked_now(door, Request(lead="awake"))
    waiting = [await queue.get(), await queue.get()]
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    monkeypatch.undo()
    for each in waiting:
        door.service.decider._rounds.add(each)
    assert [type(each).__name__ for each in await other] == ["Decision"]
    assert len(await logged(door, "awake")) == 2


async def test_a_policy_that_changes_before_the_round_decides_as_it_is_then(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await define(door)
    await decide(door, "awake")
    queue = held(door, monkeypatch)
    deciding = asked_now(door, Request(lead="awake"))
    asking = await queue.get()
    monkeypatch.undo()
    await define(door, arms=[{"id": "new"}])
    door.service.decider._rounds.add(asking)
    assert [each.arm for each in await deciding] == ["new"]
    assert (await logged(door, "awake"))[-1].policy_version == 2


async def test_a_round_that_finds_no_room_decides_nothing_and_uses_nothing_up(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await define(door, guardrails={"per_day": {"mail": 1, "call": 1}})

    def full(*_: object) -> None:
        raise IntakeFull("full")

    with monkeypatch.context() as patched:
        patched.setattr(door.service.ingest, "begin", full)
        refused = await asked_now(door, *(Request(lead=lead) for lead in LEADS[:5]))
    assert {type(each) for each in refused} == {IntakeFull}
    answers = await asked_now(door, *(Request(lead=lead) for lead in LEADS[:5]))
    assert Counter(each.arm for each in answers) == {"mail": 1, "call": 1, "wait": 3}


async def test_a_policy_deleted_before_the_round_is_not_found(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await define(door)
    await decide(door, "awake")
    queue = held(door, monkeypatch)
    deciding = asked_now(door, Request(lead="awake"))
    asking = await queue.get()
    monkeypatch.undo()
    assert (await door.send("DELETE", "policies/offers"))[0] in (200, 204)
    door.service.decider._rounds.add(asking)
    (error,) = await deciding
    assert isinstance(error, Problem)
    assert error.code == "policy_not_found"
    assert len(await logged(door, "awake")) == 1
