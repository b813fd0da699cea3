"""The contract of a log, on a real Kafka broker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eventstore.kafka import open_kafka
from eventstore.sqlite import SqliteOptions
from eventstore.store import EventStore
from kernel.clock import VirtualClock
from tests.broker.cluster import Cluster
from tests.broker.topics import new_topic
from tests.contract.store_events import TYPES
from tests.contract.store_suite import StoreSuite

pytestmark = [pytest.mark.broker, pytest.mark.xdist_group("broker")]


class TestKafkaStore(StoreSuite):
    @pytest.fixture
    async def store(self, clock: VirtualClock, tmp_path: Path, kafka: Cluster) -> AsyncIterator[EventStore]:
        options = SqliteOptions(durability="process", cache_kib=256)
        topic = await new_topic(kafka)
        store = await open_kafka(tmp_path, kafka=topic, owner="one", types=TYPES, clock=clock, options=options)
        yield store
        await store.close()
