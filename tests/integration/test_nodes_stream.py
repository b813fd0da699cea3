"""The stream of changes over several nodes: one that tells of all leads, goes on anywhere, and says where it cannot."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.nodes.forwarding.cluster import Away
from gateway.nodes.forwarding.front import FrontOptions
from tests.integration.fronts import Nodes, running_nodes
from tests.integration.listening import Ear, listening
from tests.integration.service import purchase
from tests.patience import eventually


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with running_nodes(options=FrontOptions(poll_s=0.02)) as found:
        yield found


async def gathered(ear: Ear, count: int) -> list[tuple[str, Any]]:
    told = [await ear.next() for _ in range(count)]
    return [(each.kind, each.data.get("lead")) for each in told]


async def test_one_stream_tells_of_all_leads_and_goes_on_at_another_node(nodes: Nodes) -> None:
    leads = [lead for node in range(3) for lead in nodes.leads_at(node, 1)]
    async with listening(nodes.doors[0]) as ear:
        await ear.opened()
        await nodes.doors[1].events(*(purchase(lead, "p1") for lead in leads))
        told = await gathered(ear, 3)
        assert sorted(told) == sorted(("features", lead) for lead in leads)
        last_id = ear.last_id
    await nodes.doors[1].events(*(purchase(lead, "p2") for lead in leads))
    async with listening(nodes.doors[2], last_id=last_id) as ear:
        told = await gathered(ear, 3)
        assert sorted(told) == sorted(("features", lead) for lead in leads), "all it missed, and no reset"


async def test_a_stream_of_one_lead_listens_to_its_owner_alone(nodes: Nodes) -> None:
    mine, other = nodes.leads_at(1, 2)
    async with listening(nodes.doors[0], f"?lead={mine}&features=rfm:monetary_total") as ear:
        await ear.opened()
        await nodes.doors[0].events(purchase(other, "p1"), purchase(mine, "p1"))
        told = await ear.next()
        assert (told.data["lead"], list(told.data["changes"])) == (mine, ["rfm:monetary_total"])
        assert ear.last_id.count(":") == 1
    for query in ("?lead=", "?features=nonsense:x", "?wrong=1"):
        assert (await nodes.doors[0].get(f"stream{query}"))[0] == 422


async def test_an_id_that_no_feed_gave_is_reset_in_every_partition(nodes: Nodes) -> None:
    for last_id in ("nonsense", "1:nonsense,2:x"):
        async with listening(nodes.doors[0], last_id=last_id) as ear:
            told = await gathered(ear, 6)
            assert [kind for kind, _ in told] == ["reset"] * 6


async def test_a_partition_that_moves_resets_and_goes_on(nodes: Nodes) -> None:
    (lead,) = nodes.leads_at(1, 1)
    partition = nodes.partition(lead)
    async with listening(nodes.doors[0]) as ear:
        await ear.opened()
        await nodes.map.services[partition].feed.close()  # as a node does that gives a partition back
        nodes.map.services[partition].feed._is_closed = False
        nodes.map.leaders[partition] = 2
        assert (await ear.next()).kind == "reset"
        await nodes.doors[0].events(purchase(lead, "p1"))
        assert (await gathered(ear, 1)) == [("features", lead)]


async def test_a_stream_does_not_begin_without_an_owner_and_ends_with_its_node(nodes: Nodes) -> None:
    nodes.map.away[3] = Away("it is being handed over", None, 1)
    status, body = await nodes.doors[0].get("stream")
    assert (status, body["code"]) == (503, "owner_away")
    del nodes.map.away[3]
    async with listening(nodes.doors[0]) as ear:
        await ear.opened()
        nodes.doors[0].front.close_streams()
        async with asyncio.timeout(5):
            assert await ear.rest() == []


async def test_listeners_that_leave_leave_nothing_behind(nodes: Nodes) -> None:
    async with listening(nodes.doors[0]) as ear:
        await ear.opened()
        assert sum(each.feed.statistics().listeners for each in nodes.map.services) == 6

    async def has_none() -> bool:
        await nodes.doors[0].events(purchase("wakes-writers", None))
        return not any(each.feed.statistics().listeners for each in nodes.map.services)

    await eventually(has_none, 5)
