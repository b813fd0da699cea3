"""Ids of decisions that callers give: one decision each, whichever nodes are asked, and found from any of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from bandit.events import DECISION_CLAIMED, DECISION_MADE, DecisionMade, decision_stream, payload_of
from eventstore.event import Event, Stream
from gateway.nodes.across.claiming import home_of
from gateway.nodes.forwarding.cluster import Away
from gateway.nodes.forwarding.front import FrontOptions
from kernel.errors import StoreUnavailable
from tests.integration.deciding import decide, define
from tests.integration.fronts import Node, Nodes, running_nodes
from tests.integration.test_nodes_faults import known, on_append

DECIDE = "policies/offers/decide"
AWAY = Away("it is being handed over", None, 1)


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with running_nodes(options=FrontOptions(handover_wait_s=0.1)) as found:
        await define(found.doors[0])
        yield found


async def written(nodes: Nodes, kind: str) -> list[Event]:
    """Events of a type in all partitions."""
    return [
        event
        for service in nodes.map.services[1:]
        for event in await service.store.read_type("default", kind, before=None, limit=10_000)
    ]


def home(nodes: Nodes, decision_id: str) -> int:
    front = nodes.doors[0].front
    return home_of(front, front.shared.orgs["default"], decision_id)


def an_id(nodes: Nodes, homes: Sequence[int]) -> str:
    """One whose home is one of these partitions."""
    return next(name for name in (f"d{n}" for n in range(1000)) if home(nodes, name) in homes)


async def no_disk() -> None:
    raise StoreUnavailable("no disk")


async def ask(door: Node, lead: str | None, decision_id: str) -> tuple[int, Any]:
    return await door.post(DECIDE, {"lead": lead, "decision_id": decision_id})


# At once.


async def test_an_id_that_two_nodes_are_given_for_two_leads_at_once_is_decided_once(nodes: Nodes) -> None:
    leads = [lead for node in range(3) for lead in nodes.leads_at(node, 8)]
    count = 60
    asked = [
        ask(nodes.doors[(n + turn) % 3], leads[(n * 7 + turn * (1 + n % 5)) % len(leads)], f"d{n}")
        for n in range(count)
        for turn in range(2)
    ]
    answers = await asyncio.gather(*asked)
    for n in range(count):
        both = answers[2 * n : 2 * n + 2]
        assert sorted(status for status, _ in both) == [200, 409], both
        assert {body.get("code") for _, body in both} == {None, "decision_conflict"}
    made = [payload_of(event).decision_id for event in await written(nodes, DECISION_MADE)]
    assert sorted(made) == sorted(f"d{n}" for n in range(count))


async def test_a_lead_and_nobody_cannot_have_one_id(nodes: Nodes) -> None:
    (lead,) = nodes.leads_at(1, 1)
    for n in range(20):
        answers = await asyncio.gather(ask(nodes.doors[0], lead, f"d{n}"), ask(nodes.doors[2], None, f"d{n}"))
        assert sorted(status for status, _ in answers) == [200, 409]
    assert len(await written(nodes, DECISION_MADE)) == 20


async def test_the_same_decision_that_two_nodes_are_asked_for_at_once_is_one(nodes: Nodes) -> None:
    (lead,) = nodes.leads_at(1, 1)
    for n in range(20):
        answers = await asyncio.gather(*(ask(door, lead, f"d{n}") for door in nodes.doors))
        assert [status for status, _ in answers] == [200] * 3
        assert len({body["arm"] for _, body in answers}) == 1
    assert len(await written(nodes, DECISION_MADE)) == 20
    claims = await written(nodes, DECISION_CLAIMED)
    assert len(claims) == sum(home(nodes, f"d{n}") != nodes.partition(lead) for n in range(20)), "once for each"


async def test_lists_that_name_the_same_ids_for_two_leads_in_turn_do_not_wait_for_each_other(nodes: Nodes) -> None:
    here, there = (await known(nodes, 0))[0], (await known(nodes, 1))[0]
    for n in range(10):
        at_here, at_there = (
            next(name for name in (f"{n}-{m}" for m in range(1000)) if home(nodes, name) == nodes.partition(lead))
            for lead in (here, there)
        )
        lists = [[(here, at_there), (here, at_here)], [(there, at_here), (there, at_there)]]
        bodies = [[{"lead": lead, "decision_id": name} for lead, name in each] for each in lists]
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*(nodes.doors[node].post(DECIDE, body) for node, body in enumerate(bodies)))
        assert [status for status, _ in answers] == [200, 200]
    made = [payload_of(event).decision_id for event in await written(nodes, DECISION_MADE)]
    assert len(made) == len(set(made))


async def test_decisions_of_a_list_stand_in_its_order(nodes: Nodes) -> None:
    """Whichever of their ids must be claimed first, and takes its time."""
    (lead,) = await known(nodes, 1)
    names = [f"d{n}" for n in range(20)]
    body: list[dict[str, str]] = [{"lead": lead, "decision_id": name} for name in names]
    assert (await nodes.doors[1].post(DECIDE, body))[0] == 200
    stream = Stream("default", "lead", lead)
    log = await nodes.map.services[nodes.partition(lead)].store.read(stream)
    assert [payload_of(event).decision_id for event in log if event.type == DECISION_MADE] == names


# One after the other.


async def test_an_id_is_its_leads_for_good(nodes: Nodes) -> None:
    here, there = (await known(nodes, 0))[0], (await known(nodes, 1))[0]
    for decision_id in (an_id(nodes, [nodes.partition(here)]), an_id(nodes, [nodes.partition(there)]), "elsewhere"):
        first = await decide(nodes.doors[0], here, decision_id=decision_id)
        for door in nodes.doors:
            door.front.whereabouts.forget("default", decision_id)
        assert await decide(nodes.doors[1], here, decision_id=decision_id) == first
        for door in nodes.doors:
            door.front.whereabouts.forget("default", decision_id)
            status, body = await ask(door, there, decision_id)
            assert (status, body["code"]) == (409, "decision_conflict")
    assert len(await written(nodes, DECISION_MADE)) == 3


async def test_a_claim_that_led_to_nothing_is_replaced(nodes: Nodes) -> None:
    here, there = (await known(nodes, 0))[0], (await known(nodes, 1))[0]
    own = {nodes.partition(here), nodes.partition(there)}
    decision_id = an_id(nodes, [partition for partition in range(1, 7) if partition not in own])

    on_append(nodes, nodes.partition(here), no_disk, is_before=True)
    assert (await ask(nodes.doors[2], here, decision_id))[1]["code"] == "store_unavailable"
    nodes.map.away[nodes.partition(here)] = AWAY
    status, body = await ask(nodes.doors[2], there, decision_id)
    assert (status, body["code"], body["partition"]) == (503, "owner_away", nodes.partition(here)), "only it can tell"
    del nodes.map.away[nodes.partition(here)]
    assert (await ask(nodes.doors[2], there, decision_id))[0] == 200
    assert (await ask(nodes.doors[2], here, decision_id))[0] == 409
    claims = [payload_of(event) for event in await written(nodes, DECISION_CLAIMED)]
    assert [(each.decision_id, each.lead) for each in claims] == [(decision_id, there), (decision_id, here)], (
        "newest first"
    )


async def test_a_claim_that_led_to_nothing_holds_up_nobody_at_home(nodes: Nodes) -> None:
    here, there = (await known(nodes, 0))[0], (await known(nodes, 1))[0]
    decision_id = an_id(nodes, [nodes.partition(there)])

    on_append(nodes, nodes.partition(here), no_disk, is_before=True)
    assert (await ask(nodes.doors[2], here, decision_id))[0] == 503
    assert (await ask(nodes.doors[2], there, decision_id))[0] == 200
    assert (await ask(nodes.doors[2], here, decision_id))[0] == 409


async def test_a_decision_under_way_keeps_its_id(nodes: Nodes) -> None:
    here, there = (await known(nodes, 0))[0], (await known(nodes, 1))[0]
    release, is_at = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        is_at.set()
        await release.wait()

    for decision_id in (an_id(nodes, [nodes.partition(there)]), an_id(nodes, [6])):
        release.clear()
        is_at.clear()
        on_append(nodes, nodes.partition(here), wait, is_before=True)
        first = asyncio.create_task(ask(nodes.doors[0], here, decision_id))
        await is_at.wait()
        assert (await ask(nodes.doors[2], there, decision_id))[0] == 409
        release.set()
        assert (await first)[0] == 200


async def test_nobody_decides_under_an_id_whose_home_is_away(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 0)
    own = nodes.partition(lead)
    other = an_id(nodes, [own % 6 + 1])
    nodes.map.away[own % 6 + 1] = AWAY
    status, body = await ask(nodes.doors[0], lead, other)
    assert (status, body["code"], body["partition"]) == (503, "owner_away", own % 6 + 1)
    assert (await ask(nodes.doors[0], lead, an_id(nodes, [own])))[0] == 200
    assert (await nodes.doors[1].post(DECIDE, {"lead": lead}))[0] == 200, "ids that nodes give are at home there"


async def test_an_id_from_before_claims_is_still_its_leads(nodes: Nodes) -> None:
    here, there = (await known(nodes, 0))[0], (await known(nodes, 1))[0]
    decider = nodes.map.shared[0].decider
    claims, decider.claims = decider.claims, None
    names = [f"old{n}" for n in range(12)]
    for name in names:
        await decide(nodes.doors[0], here, decision_id=name)
    decider.claims = claims
    for name in names:
        assert (await ask(nodes.doors[2], there, name))[0] == 409
        assert (await nodes.doors[1].get(f"decisions/{name}"))[1]["lead"] == here
    assert len(await written(nodes, DECISION_MADE)) == len(names)


# Finding.


async def test_a_decision_is_asked_for_at_one_place(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 2)
    named = await decide(nodes.doors[2], lead, decision_id=an_id(nodes, [1]))
    given = await decide(nodes.doors[2], lead)
    assert home(nodes, given["decision_id"]) == nodes.partition(lead)
    others = {1, nodes.partition(lead)}
    nodes.map.away.update({partition: AWAY for partition in range(1, 7) if partition not in others})
    for door in nodes.doors[:2]:
        for made in (named, given):
            status, body = await door.get(f"decisions/{made['decision_id']}?replay=true")
            assert (status, body["lead"], body["replay"]["same"]) == (200, lead, True)
            door.front.whereabouts.forget("default", made["decision_id"])
            path = f"decisions/{made['decision_id']}/reward"
            assert (await door.post(path, {"value": 1, "id": "r"}))[0] == 200


async def test_a_decision_is_found_without_its_home(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 2)
    named = await decide(nodes.doors[2], lead, decision_id=an_id(nodes, [1]))
    nodes.map.away[1] = AWAY
    assert (await nodes.doors[0].get(f"decisions/{named['decision_id']}"))[1]["lead"] == lead


async def test_a_claim_is_no_decision(nodes: Nodes) -> None:
    here, there = (await known(nodes, 0))[0], (await known(nodes, 1))[0]
    decision_id = an_id(nodes, [nodes.partition(there)])

    on_append(nodes, nodes.partition(here), no_disk, is_before=True)
    assert (await ask(nodes.doors[2], here, decision_id))[0] == 503
    for door in nodes.doors:
        status, body = await door.get(f"decisions/{decision_id}")
        assert (status, body["code"]) == (404, "decision_not_found")
        assert (await door.get("decisions"))[1]["items"] == []
        listed = [each["lead"] for each in (await door.get("leads"))[1]["items"]]
        assert sorted(listed) == sorted([here, there])
    stream = decision_stream("default", None, decision_id)
    assert [event.type for event in await nodes.map.services[home(nodes, decision_id)].store.read(stream)] == [
        DECISION_CLAIMED
    ]
    made: DecisionMade = payload_of(await _made(nodes, there, decision_id))
    assert made.decision_id == decision_id


async def _made(nodes: Nodes, lead: str, decision_id: str) -> Event:
    assert (await ask(nodes.doors[0], lead, decision_id))[0] == 200
    (event,) = await written(nodes, DECISION_MADE)
    return event
