"""Several nodes read one topic together, and each tells of the leads that it leads, going on where another one was."""

import json
from contextlib import AbstractAsyncContextManager

import pytest

from eventstore.event import Stream
from gateway.nodes.forwarding.cluster import Away
from gateway.nodes.topics import NodeTopics
from tests.broker.cluster import Cluster
from tests.integration.fronts import Nodes, running_nodes
from tests.integration.test_kafka_topics_out import applied, headers, once
from tests.integration.topics import post, read, settings_with, some_topic
from tests.patience import all_the_while, eventually

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]

IN = {
    "mapping": {"@key": "lead", "nr": "id", "total": "data.amount"},
    "constants": {"type": "purchase_completed", "time": "2026-11-21T09:00:00Z"},
}


def passing(nodes: Nodes) -> AbstractAsyncContextManager[None]:
    """Time passes by itself."""
    return all_the_while(lambda: nodes.clock.advance(0.1), every_s=0.02)


def orders(first: int, count: int) -> list[tuple[bytes, bytes]]:
    return [
        (b"l%d" % (n % 20), json.dumps({"nr": f"o{n}", "total": 1 + n % 9}).encode())
        for n in range(first, first + count)
    ]


async def stored(nodes: Nodes) -> int:
    logs = [await service.store.read_log(limit=10_000) for service in nodes.map.services]
    assert not logs[0]
    return sum(event.id.startswith("o") for log in logs for event in log)


async def wait_stored(nodes: Nodes, count: int) -> None:
    async def is_stored() -> bool:
        return await stored(nodes) >= count

    await eventually(is_stored, every_s=0.05)


async def test_nodes_share_what_is_read_and_tell_each_of_their_own_leads_through_a_handover(kafka: Cluster) -> None:
    shop, told = await some_topic(kafka, "shop"), await some_topic(kafka, "told")
    tables = {
        "topics_in": {"shop": {"topic": shop, **IN}},
        "topics_out": {"all": {"topic": told, "features": ["rfm:monetary_total"], "kinds": ["features"]}},
    }
    await post(kafka, shop, orders(0, 100))
    async with running_nodes(3, 7, settings_with(kafka, tables)) as nodes, passing(nodes):
        topics = [NodeTopics(door.front) for door in nodes.doors]
        for each in topics:
            each.start()
        try:
            await wait_stored(nodes, 100)
            for partition in (1, 4):  # from one node to another
                nodes.map.leaders[partition] = 2
            await post(kafka, shop, orders(100, 100))
            await wait_stored(nodes, 200)
            assert await stored(nodes) == 200
            totals = {f"l{n}": sum(1 + each % 9 for each in range(n, 200, 20)) for n in range(20)}
            records = []

            async def is_told() -> bool:
                nonlocal records
                records = await read(kafka, told)
                return all(applied(records, lead) == {"rfm:monetary_total": total} for lead, total in totals.items())

            await eventually(is_told)
        finally:
            for each in topics:
                await each.close()
        for lead, total in totals.items():
            service = nodes.map.services[nodes.partition(lead)]
            entity = await service.read(Stream("default", "lead", lead))
            assert entity is not None
            everything = entity.entities.everything
            values = dict(zip(everything.names, entity.values(everything), strict=True))
            assert values["rfm:monetary_total"] == total
    for lead in totals:
        moves = [
            json.loads(each.value)["changes"]["rfm:monetary_total"]
            for each in once(records)
            if each.key == lead.encode()
        ]
        assert [before for before, _ in moves[1:]] == [after for _, after in moves[:-1]], "in order, none left out"
    assert {headers(each)["kind"] for each in records} == {"features"}


async def test_what_an_owner_does_not_confirm_is_read_again(kafka: Cluster) -> None:
    shop = await some_topic(kafka, "shop")
    await post(kafka, shop, orders(0, 60))
    async with running_nodes(2, 5, settings_with(kafka, {"topics_in": {"shop": {"topic": shop, **IN}}})) as nodes:
        nodes.map.away[2] = Away("it is being handed over", None, 0.5)
        topics = NodeTopics(nodes.doors[0].front)
        async with passing(nodes):
            topics.start()
            try:
                mine = nodes.map.services[2]
                await eventually(
                    lambda: "1.0" in nodes.doors[0].service.metrics.render().decode().partition("topic_waits{")[2][:80]
                )
                assert not await mine.store.read_log()
                del nodes.map.away[2]
                await wait_stored(nodes, 60)
                assert await stored(nodes) == 60
                assert await mine.store.read_log()
            finally:
                await topics.close()
