"""What callers feel while a partition goes from node to node: that it takes a moment, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from eventstore.event import Stream
from gateway.nodes.forwarding.cluster import Away
from gateway.nodes.forwarding.front import FrontOptions
from kernel.errors import NotLeading, StoreClosed
from tests.integration.deciding import decide, define
from tests.integration.fronts import Node, Nodes, running_nodes
from tests.integration.service import purchase
from tests.integration.test_nodes_faults import known, log, on_append
from tests.patience import eventually

BRIEF = Away("it is being handed over", None, 0.5, is_brief=True)
LONG_S = 60.0  # nothing here takes so long: who waits is woken
AMOUNT = "rfm:monetary_total"


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with running_nodes(options=FrontOptions(handover_wait_s=LONG_S)) as found:
        yield found


async def during(nodes: Nodes, partition: int, to: int, *requests: Awaitable[Any]) -> list[Any]:
    """The answers of requests that come while a partition is being handed over."""
    rooms = [door.front.room for door in nodes.doors]
    nodes.map.away[partition] = BRIEF
    asked = [asyncio.ensure_future(each) for each in requests]
    await eventually(lambda: sum(room.waiting for room in rooms) >= len(asked))
    assert not any(each.done() for each in asked)
    nodes.map.move(partition, to)
    answers = await asyncio.gather(*asked)
    assert not any(room.waiting for room in rooms)
    return answers


@pytest.mark.parametrize("to", [0, 2])
async def test_what_is_asked_during_a_handover_is_answered_after_it(nodes: Nodes, to: int) -> None:
    (lead,) = await known(nodes, 1)
    door: Node = nodes.doors[0]
    await define(door)
    made = await decide(door, lead)
    path, reward = f"leads/{lead}/features?features={AMOUNT}", {"value": 1, "id": "r"}
    answers = await during(
        nodes,
        nodes.partition(lead),
        to,
        door.get(path),
        nodes.doors[2].get(path),
        door.post("events", purchase(lead, "p2", 5)),
        door.post("features", {"leads": [lead], "features": [AMOUNT]}),
        door.get("leads"),
        door.post("policies/offers/decide", {"lead": lead}),
        door.post(f"decisions/{made['decision_id']}/reward", reward),
        door.get(f"leads/{lead}/events"),
    )
    assert [status for status, _ in answers] == [200] * len(answers)
    assert answers[2][1]["accepted"] == 1
    assert await door.values(lead, "?views=rfm") == await nodes.doors[1].values(lead, "?views=rfm")
    assert [each for each in await log(nodes, lead) if not each.startswith("~")] == ["p1", "p2"]


async def test_what_all_leads_share_is_written_after_its_handover(nodes: Nodes) -> None:
    door = nodes.doors[1]
    written = door.send("PUT", "services/two", json={"features": [AMOUNT]})
    ((status, _),) = await during(nodes, 0, 2, written)
    assert status == 200


async def test_nobody_waits_for_longer_than_is_allowed() -> None:
    async with running_nodes(options=FrontOptions(handover_wait_s=0.05)) as nodes:
        (lead,) = await known(nodes, 1)
        nodes.map.away[nodes.partition(lead)] = BRIEF
        response = await nodes.doors[0].raw("GET", f"leads/{lead}/features")
        body = await response.json(content_type=None)
        assert (response.status, body["code"], response.headers["Retry-After"]) == (503, "owner_away", "1")
        assert nodes.doors[0].front.room.waiting == 0


async def test_what_takes_longer_than_a_moment_is_told_at_once(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 1)
    partition = nodes.partition(lead)
    for away in (Away("its new node makes the copy", 0.5, 5), Away("it has not heard of the others", None, 1)):
        nodes.map.away[partition] = away
        async with asyncio.timeout(LONG_S / 2):
            assert (await nodes.doors[0].get(f"leads/{lead}/features"))[0] == 503
    nodes.map.away[partition], nodes.map.followers[partition] = BRIEF, {0}
    async with asyncio.timeout(LONG_S / 2):
        status, body = await nodes.doors[0].get(f"leads/{lead}/features?stale=ok")
    assert (status, body["stale"]) == (200, True), "who takes an old answer has it now"


async def test_so_many_wait_and_no_more() -> None:
    async with running_nodes(options=FrontOptions(handover_wait_s=LONG_S, waiting=2)) as nodes:
        (lead,) = await known(nodes, 1)
        door, partition, path = nodes.doors[0], nodes.partition(lead), f"leads/{lead}/features"
        nodes.map.away[partition] = BRIEF
        waiting = [asyncio.create_task(door.get(path)) for _ in range(2)]
        await eventually(lambda: door.front.room.waiting == 2)
        assert (await door.get(path))[1]["code"] == "owner_away"
        nodes.map.move(partition, 1)
        assert [status for status, _ in await asyncio.gather(*waiting)] == [200, 200]


async def test_a_stop_ends_the_waiting(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 1)
    door = nodes.doors[0]
    nodes.map.away[nodes.partition(lead)] = BRIEF
    waiting = asyncio.create_task(door.get(f"leads/{lead}/features"))
    await eventually(lambda: door.front.room.waiting == 1)
    await door.client.app.shutdown()
    assert (await waiting)[1]["code"] == "owner_away"
    assert (await door.get(f"leads/{lead}/features"))[0] == 503, "and nobody waits any more"


# Maps that are not the same everywhere.


async def test_a_node_that_does_not_know_yet_that_it_leads_finds_out_before_it_refuses(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 1)
    partition = nodes.partition(lead)
    nodes.map.behind, nodes.map.believed = {2: 1}, {2: {partition: 1}}
    nodes.map.move(partition, 2)
    asked = asyncio.create_task(nodes.doors[0].post("events", purchase(lead, "p2")))
    await eventually(lambda: nodes.doors[2].front.room.waiting == 1)
    nodes.map.behind, nodes.map.believed = {}, {}
    nodes.map.tell()
    assert (await asked)[0] == 200
    assert await log(nodes, lead) == ["p1", "p2"]
    assert [door.front.tallies.refused for door in nodes.doors] == [0, 0, 0]


async def test_who_is_refused_by_the_former_owner_asks_again_when_it_knows_more(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 1)
    partition = nodes.partition(lead)
    nodes.map.behind, nodes.map.believed = {0: 1}, {0: {partition: 1}}
    nodes.map.move(partition, 2)
    predict = nodes.doors[0].post(f"/api/lead-scoring/leads/{lead}/ml/predict", {"ruleBasedOnly": True})
    asked = [
        asyncio.create_task(each)
        for each in (predict, nodes.doors[0].get(f"leads/{lead}/features"), nodes.doors[0].get("leads"))
    ]
    await eventually(lambda: nodes.doors[0].front.room.waiting == 3)
    assert nodes.doors[1].front.tallies.refused >= 3
    nodes.map.behind, nodes.map.believed = {}, {}
    nodes.map.tell()
    assert [status for status, _ in await asyncio.gather(*asked)] == [200, 200, 200]


async def test_who_finds_the_former_owner_gone_asks_again_when_it_knows_more() -> None:
    options = FrontOptions(handover_wait_s=LONG_S, gone_wait_s=LONG_S)
    async with running_nodes(options=options) as nodes:
        (lead,) = await known(nodes, 1)
        await define(nodes.doors[0])
        door, path = nodes.doors[0], f"leads/{lead}/features?features={AMOUNT}"
        await nodes.stop(1)
        requests = [
            door.get(path),
            door.post("features", {"leads": [lead], "features": [AMOUNT]}),
            door.post("policies/offers/decide", {"lead": lead, "decision_id": "d1"}),
            door.post(f"/api/lead-scoring/leads/{lead}/ml/predict", {"ruleBasedOnly": True}),
        ]
        asked = [asyncio.create_task(each) for each in requests]
        await eventually(lambda: door.front.room.waiting >= len(asked))
        assert not any(each.done() for each in asked)
        for partition, leader in list(nodes.map.leaders.items()):
            if leader == 1:
                nodes.map.move(partition, 2)
        assert [status for status, _ in await asyncio.gather(*asked)] == [200] * len(asked)


async def test_a_node_that_stays_gone_is_waited_for_a_moment_only() -> None:
    async with running_nodes(options=FrontOptions(handover_wait_s=LONG_S, gone_wait_s=0.05)) as nodes:
        (lead,) = await known(nodes, 1)
        await nodes.stop(1)
        status, body = await nodes.doors[0].get(f"leads/{lead}/features")
        assert (status, body["code"], body["partition"]) == (503, "owner_away", nodes.partition(lead))


async def test_light_reads_do_not_hold_up_those_behind_them(nodes: Nodes) -> None:
    """On a connection that many share only what is answered at once may go on."""
    moving, staying = await two_partitions(nodes)
    path = "leads/{}/features"
    assert (await nodes.doors[0].get(path.format(staying)))[0] == 200  # a connection to share is there
    partition = nodes.partition(moving)
    cluster: Any = nodes.doors[1].front.cluster
    place = cluster.place
    cluster.place = lambda wanted: BRIEF if wanted == partition else place(wanted)
    asked = asyncio.create_task(nodes.doors[0].get(path.format(moving)))
    await eventually(lambda: nodes.doors[1].front.room.waiting == 1)
    async with asyncio.timeout(LONG_S / 2):
        assert (await nodes.doors[0].get(path.format(staying)))[0] == 200
    cluster.place = place
    nodes.map.tell()
    assert (await asked)[0] == 200


async def two_partitions(nodes: Nodes) -> tuple[str, str]:
    """Leads of two partitions of node 1, each with an event."""
    first, *others = nodes.leads_at(1, 30)
    second = next(lead for lead in others if nodes.partition(lead) != nodes.partition(first))
    await nodes.doors[0].events(purchase(first, "p1"), purchase(second, "p1"))
    return first, second


# Given back while something was under way.


GIVEN_BACK = NotLeading("it is written by another process, or will be in a moment")
CLOSED = StoreClosed("the store is closed")  # it was given back, and this node keeps no copy of it


def given_back(nodes: Nodes, partition: int, to: int, *, is_stored: bool, by: Exception = GIVEN_BACK) -> None:
    """The next append of a partition meets that it is not this node's to write any more; another node takes it."""

    async def move() -> None:
        nodes.map.away[partition] = BRIEF
        asyncio.get_running_loop().call_later(0.02, nodes.map.move, partition, to)
        raise by

    on_append(nodes, partition, move, is_before=not is_stored)


@pytest.mark.parametrize("by", [GIVEN_BACK, CLOSED])
@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize("door", [0, 1])
async def test_what_was_under_way_is_done_once_by_the_next_owner(
    nodes: Nodes, door: int, is_stored: bool, by: Exception
) -> None:
    (lead,) = await known(nodes, 1)
    partition, asked = nodes.partition(lead), nodes.doors[door]
    await define(asked)
    given_back(nodes, partition, 2, is_stored=is_stored, by=by)
    status, body = await asked.post("events", purchase(lead, "p2"))
    assert (status, body["accepted"] + body["duplicates"]) == (200, 1)
    nodes.map.move(partition, 1)
    given_back(nodes, partition, 2, is_stored=is_stored)
    status, made = await asked.post("policies/offers/decide", {"lead": lead})
    assert status == 200
    nodes.map.move(partition, 1)
    given_back(nodes, partition, 2, is_stored=is_stored)
    status, told = await asked.post(f"decisions/{made['decision_id']}/reward", {"value": 1, "id": "r"})
    assert (status, told["duplicate"]) == (200, is_stored)
    stream = Stream("default", "lead", lead)
    types = [event.type for event in await nodes.map.services[partition].store.read(stream)]
    assert types == ["purchase_completed", "purchase_completed", "decision_made", "reward_received"]


@pytest.mark.parametrize("door", [0, 1])
async def test_what_could_be_done_twice_is_not_tried_again(nodes: Nodes, door: int) -> None:
    (lead,) = await known(nodes, 1)
    partition, asked = nodes.partition(lead), nodes.doors[door]
    await define(asked)
    made = await decide(asked, lead)
    given_back(nodes, partition, 2, is_stored=True)
    status, body = await asked.post(f"decisions/{made['decision_id']}/reward", {"value": 1})
    assert (status, body["code"]) == (503, "store_unavailable")
    await eventually(lambda: partition not in nodes.map.away)
    nodes.map.move(partition, 1)
    given_back(nodes, partition, 2, is_stored=True)
    status, body = await asked.post(f"/api/lead-scoring/leads/{lead}/ml/predict", {"ruleBasedOnly": True})
    assert (status, body["code"]) == (503, "store_unavailable")
