"""Services of parts of the leads beside the service of what all leads share: what one knows of the other."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from bandit.events import decode_settlement, policy_stream
from eventstore.event import NewEvent, Stream
from kernel.errors import NotLeading
from scoring.promotion import MODEL_PROMOTED, ModelPromoted
from tests.integration.deciding import FEATURES, decide, define, put, reward
from tests.integration.divided import Divided, divided
from tests.integration.service import Door, purchase
from tests.integration.test_http_market import available

HOUR_S = 3600
SUBJECT = "algebra"


@pytest.fixture
async def all_doors() -> AsyncIterator[Divided]:
    async with divided() as found:
        yield found


def leads_of(found: Divided, part: Door, count: int) -> list[str]:
    """So many leads that stand in a part."""
    chosen = [f"l{n}" for n in range(60) if found.of_lead(f"l{n}") is part]
    return chosen[:count]


async def settled(door: Door, policy: str = "offers") -> list[tuple[str, float]]:
    events = await door.service.store.read(policy_stream("default", policy))
    found = [decode_settlement(event.data) for event in events if event.type == "reward_settled"]
    return sorted((each.decision_id, each.reward) for each in found if each is not None)


async def test_a_service_defined_once_is_read_in_every_part(all_doors: Divided) -> None:
    assert (await put(all_doors.shared, "services/two", {"features": FEATURES}))[0] == 200
    for number, door in enumerate(all_doors.parts):
        (lead,) = leads_of(all_doors, door, 1)
        await door.events(purchase(lead, "p1", 10 + number))
        assert (await door.values(lead, "?service=two"))["rfm:monetary_total"] == 10 + number
        assert await door.service.store.last_position() == 1, "the definition stands in the shared log only"


async def test_the_market_is_joined_from_the_shared_log(all_doors: Divided) -> None:
    name = f"market:tutor_count_{SUBJECT}"
    for turn, door in enumerate(all_doors.parts, 1):
        await all_doors.shared.events(available(SUBJECT, f"a{turn}", f"t{turn}"))
        (lead,) = leads_of(all_doors, door, 1)
        await door.events(purchase(lead, "p1"))
        status, here = await door.get(f"leads/{lead}/features?features={name},rfm:monetary_total")
        assert status == 200, here
        assert here["values"] == {name: turn, "rfm:monetary_total": 10}


async def test_what_a_part_decides_is_learned_by_the_shared_policy(all_doors: Divided) -> None:
    await define(all_doors.shared)
    expected = []
    for number, door in enumerate(all_doors.parts):
        (lead,) = leads_of(all_doors, door, 1)
        await door.events(purchase(lead, "p1"))
        await decide(door, lead, decision_id=f"d{number}")
        assert (await reward(door, f"d{number}", number, "r"))[0] == 200
        expected.append((f"d{number}", float(number)))
        pending = door.service.policies.activity.pending(("default", "offers"))  # type: ignore[arg-type]
        assert sum(pending.values()) == 1
    assert await settled(all_doors.shared) == []
    await all_doors.passing(HOUR_S + 10)
    assert await settled(all_doors.shared) == expected
    for door in all_doors.parts:
        assert await settled(door) == [], "the policy's stream stands in the shared log only"
        pending = door.service.policies.activity.pending(("default", "offers"))  # type: ignore[arg-type]
        assert sum(pending.values()) == 0, "the part hears of it"


class Refusing:
    """A shared log that is being handed over."""

    def __init__(self) -> None:
        self.asked = 0

    async def record(self, events: Sequence[NewEvent]) -> object:
        self.asked += 1
        raise NotLeading("the shared log is handed over")


async def test_a_reward_is_taken_while_the_shared_log_is_away_and_settles_when_it_is_back(all_doors: Divided) -> None:
    await define(all_doors.shared, reward={"wait_s": HOUR_S, "aggregation": "earliest"})
    door = all_doors.parts[1]
    (lead,) = leads_of(all_doors, door, 1)
    await decide(door, lead, decision_id="d1")
    shared = all_doors.shared.service
    shared.recorder, kept = Refusing(), shared.recorder
    refusing = shared.recorder
    status, told = await reward(door, "d1", 1, "r")
    assert (status, told["duplicate"]) == (200, False)
    assert refusing.asked > 0
    assert await settled(all_doors.shared) == []
    await all_doors.passing(1)
    shared.recorder = kept
    await all_doors.passing(3)
    assert await settled(all_doors.shared) == []
    await all_doors.passing(3)
    assert await settled(all_doors.shared) == [("d1", 1.0)]


async def test_whoever_is_not_sure_of_its_leads_settles_nothing() -> None:
    async with divided() as found:
        await define(found.shared, reward={"wait_s": HOUR_S, "aggregation": "earliest"})
        door = found.parts[1]
        (lead,) = leads_of(found, door, 1)
        await decide(door, lead, decision_id="d1")
        found.current.discard(1)
        assert (await reward(door, "d1", 1, "r"))[0] == 200
        await found.passing(2 * HOUR_S)
        assert await settled(found.shared) == []
        found.current.add(1)
        for _ in range(3):
            await found.passing(61)
        assert await settled(found.shared) == [("d1", 1.0)]


async def test_a_follower_writes_no_settlement_and_notices_that_another_process_has() -> None:
    async with divided() as found:
        await define(found.shared, reward={"wait_s": HOUR_S, "aggregation": "earliest"})
        door, shared = found.parts[1], found.shared.service
        (lead,) = leads_of(found, door, 1)
        await decide(door, lead, decision_id="d1")
        shared.recorder, kept = Refusing(), shared.recorder
        assert (await reward(door, "d1", 1, "r"))[0] == 200
        door.service.is_leading = False
        shared.recorder = kept
        await found.passing(6)
        await found.passing(6)
        assert await settled(found.shared) == [], "it is not for a follower to write"
        (entity,) = await door.service.wake([Stream("default", "lead", lead)])
        assert entity is not None
        due = entity.effects(door.clock.now_us())
        assert [event.type for event in due] == ["reward_settled"]
        await shared.ingest.record(due)
        await found.passing(6)
        await found.passing(6)
        assert entity.effects(door.clock.now_us()) == [], "and nothing is due here any more"
        assert await settled(found.shared) == [("d1", 1.0)]


async def test_budgets_of_a_day_hold_for_all_parts_together(all_doors: Divided) -> None:
    await define(all_doors.shared, guardrails={"per_day": {"mail": 4, "call": 2}})
    chosen: dict[str, int] = {}
    for number in range(60):
        lead = f"l{number}"
        made = await decide(all_doors.of_lead(lead), lead)
        chosen[made["arm"]] = chosen.get(made["arm"], 0) + 1
    assert chosen.get("mail", 0) == 4
    assert chosen.get("call", 0) == 2
    assert chosen["wait"] == 54


async def test_a_rule_defined_once_raises_alerts_in_every_part(all_doors: Divided) -> None:
    rule = {"when": "rfm.monetary_total > 100.0", "severity": "high"}
    for door in all_doors.parts:
        await door.service.alerts.settle()
    assert (await put(all_doors.shared, "alert-rules/big", rule))[0] == 200
    for door in all_doors.parts:
        (lead,) = leads_of(all_doors, door, 1)
        await door.events(purchase(lead, "p1", 200))
        await door.service.alerts.settle()
        status, body = await door.get("alerts")
        assert status == 200
        assert [(each["lead"], each["rule"]) for each in body["items"]] == [(lead, "big")]


async def test_a_follower_writes_nothing_until_it_leads() -> None:
    async with divided(parts=1) as found:
        await put(found.shared, "alert-rules/big", {"when": "rfm.monetary_total > 100.0"})
        follower = found.parts[0].service
        follower.is_leading = False
        await follower.alerts.close()
        await found.parts[0].events(purchase("a", "p1", 200))
        assert follower.alerts.statistics().marked == 0
        follower.is_leading = True
        await follower.alerts.settle()
        _, body = await found.parts[0].get("alerts")
        assert [each["lead"] for each in body["items"]] == ["a"], "all leads are looked at first"


async def test_a_model_that_was_promoted_elsewhere_is_looked_for_here() -> None:
    async with divided() as found:
        shared = found.shared.service
        models = await shared.models.of(shared.orgs["default"])
        part = await found.parts[0].service.scores.of(shared.orgs["default"])
        used: list[object] = []
        part.use = used.append  # type: ignore[method-assign]
        shared.is_leading = False
        promoted = ModelPromoted(1, "conversion-0001", "conversion", "default", "0" * 64, "0" * 16)
        data = msgspec.json.encode(promoted)
        stream = Stream("default", "org", "default")
        event = NewEvent(stream, "~mp:1", MODEL_PROMOTED, shared.clock.now_us(), data, promoted)
        await shared.ingest.record([event])
        for _ in range(20):
            await asyncio.sleep(0)
        assert set(models.refused) == {"conversion-0001"}, "its file is not here, and that is said"
        assert used == [models.models]


async def test_a_part_that_is_closed_hears_nothing_of_the_shared_log_any_more() -> None:
    async with divided() as found:
        closed = found.parts[0].service
        await closed.close()
        heard: list[Any] = []
        closed._told_shared = heard.append  # type: ignore[method-assign]
        await define(found.shared)
        assert heard == []
        assert await found.parts[1].service.policies.of(found.parts[1].service.orgs["default"]) is not None
