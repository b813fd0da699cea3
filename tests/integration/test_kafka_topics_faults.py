"""The brokers of others' topics die and come back: what was not read is read, what was not told is told, the service goes on."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from gateway.topics.topics import Topics, own_submit
from tests.broker.cluster import Cluster, missing_tools, running_cluster
from tests.integration.test_kafka_topics_out import applied, bought, happen, live, once, values, waits
from tests.integration.topics import ShiftedClock, post, read, service_on, settings_with, some_topic
from tests.patience import eventually

pytestmark = [
    pytest.mark.broker,
    pytest.mark.xdist_group("broker"),
    pytest.mark.deep,  # brokers wait ten seconds for consumers that lost them
    # A client that is given up while its brokers are away is left to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

IN = {"mapping": {"@key": "lead", "total": "data.amount"}, "constants": {"type": "purchase_completed"}}


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One broker that is killed here."""
    if missing := missing_tools():
        pytest.skip(f"NO KAFKA HERE, not installed: {', '.join(missing)}")
    with running_cluster(tmp_path_factory.mktemp("kafka") / "topics") as cluster:
        yield cluster


def orders(count: int) -> list[tuple[bytes, bytes]]:
    return [(b"read%d" % (n % 5), json.dumps({"total": 1}).encode()) for n in range(count)]


async def test_topics_go_on_after_their_broker_was_killed(cluster: Cluster) -> None:
    shop, told = await some_topic(cluster, "shop"), await some_topic(cluster, "told")
    tables = {
        "topics_in": {"shop": {"topic": shop, **IN}},
        "topics_out": {"all": {"topic": told, "features": ["rfm:monetary_total"], "kinds": ["features"]}},
    }
    settings = settings_with(cluster, tables, **{"kafka.attempt_s": 3.0})
    async with service_on(settings, ShiftedClock()) as service:
        topics = Topics(service, submit=own_submit(service))
        topics.start()
        try:
            await eventually(lambda: not waits(service))
            await post(cluster, shop, orders(50))
            for number in range(40):
                await happen(service, bought(service, f"own{number % 4}", f"a{number}", 1))
            await asyncio.to_thread(cluster.brokers[0].kill)
            for number in range(40):  # the service takes events all the while
                await happen(service, bought(service, f"own{number % 4}", f"b{number}", 1))
            await eventually(lambda: all(values(service, "leadwheel_topic_waits")), 40)
            await asyncio.to_thread(cluster.brokers[0].start)
            await asyncio.to_thread(cluster.wait_ready)
            await post(cluster, shop, orders(50))
            await eventually(lambda: not waits(service), 60)
            totals = {f"read{n}": 20 for n in range(5)} | {f"own{n}": 20 for n in range(4)}
            async with asyncio.timeout(60):
                while True:
                    records = await read(cluster, told)
                    if all(applied(records, lead) == {"rfm:monetary_total": total} for lead, total in totals.items()):
                        break
            for lead, total in totals.items():
                assert (await live(service, lead))["rfm:monetary_total"] == total
        finally:
            await topics.close()
    for lead in totals:
        changes = [json.loads(each.value)["changes"] for each in once(records) if each.key == lead.encode()]
        moves = [each["rfm:monetary_total"] for each in changes]
        assert [before for before, _ in moves[1:]] == [after for _, after in moves[:-1]], "none left out"
