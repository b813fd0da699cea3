"""A service that reads and tells topics is killed under load: what was read stands once, what follows from it is told."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.broker.cluster import Cluster
from tests.integration.process import call, serving
from tests.integration.test_kafka_topics_out import applied, headers, once
from tests.integration.topics import post, read, some_topic

pytestmark = [
    pytest.mark.broker,
    pytest.mark.xdist_group("broker"),
    pytest.mark.deep,  # brokers wait ten seconds for each consumer that was killed
]

SETTINGS = """
[kafka]
brokers = "{brokers}"
[org.default.topics_in.shop]
topic = "{shop}"
batch_events = 7
mapping = {{ "@key" = "lead", "total" = "data.amount" }}
constants = {{ type = "purchase_completed" }}
[org.default.topics_out.told]
topic = "{told}"
features = ["rfm:monetary_total"]
"""
LEADS, COUNT = 11, 400


def orders(first: int, count: int) -> list[tuple[bytes, bytes]]:
    return [(b"l%d" % (n % LEADS), json.dumps({"total": 1 + n % 9}).encode()) for n in range(first, first + count)]


def test_what_was_read_stands_once_and_its_changes_are_told_though_the_service_is_killed(
    kafka: Cluster, tmp_path: Path
) -> None:
    async def prepared() -> tuple[str, str]:
        return await some_topic(kafka, "shop"), await some_topic(kafka, "told")

    shop, told = asyncio.run(prepared())
    settings = SETTINGS.format(brokers=kafka.bootstrap, shop=shop, told=told)
    (tmp_path / "leadwheel.toml").write_text(settings)
    totals = {f"l{lead}": sum(1 + n % 9 for n in range(lead, COUNT, LEADS)) for lead in range(LEADS)}
    for first in (0, COUNT // 2):
        with serving(tmp_path) as (_, process):
            asyncio.run(post(kafka, shop, orders(first, COUNT // 2)))
            process.kill()  # whatever it was about

    async def heard(url: str) -> bool:
        records = await read(kafka, told)
        known = {lead: applied(records, lead).get("rfm:monetary_total") for lead in totals}
        served = {
            lead: call(f"{url}/v1/orgs/default/leads/{lead}/features?features=rfm:monetary_total") for lead in totals
        }
        return known == totals == {lead: body["values"]["rfm:monetary_total"] for lead, (_, body) in served.items()}

    with serving(tmp_path) as (url, process):

        async def all_heard() -> None:
            async with asyncio.timeout(40):
                while not await heard(url):
                    pass

        asyncio.run(all_heard())
        records = asyncio.run(read(kafka, told))
        process.terminate()
        assert process.wait(20) == 0
    for lead in totals:
        moves = [
            json.loads(each.value)["changes"]["rfm:monetary_total"]
            for each in once(records)
            if each.key == lead.encode()
        ]
        assert [before for before, _ in moves[1:]] == [after for _, after in moves[:-1]], "none left out"
    assert len({headers(each)["id"] for each in records}) == COUNT
