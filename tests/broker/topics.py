"""A topic of its own for each test."""

import itertools
import os

from aiokafka.admin import AIOKafkaAdminClient

from eventstore.kafka_client import KafkaOptions, create_topic
from tests.broker.cluster import Cluster
from tests.patience import eventually

_NUMBERS = itertools.count(1)


async def new_topic(cluster: Cluster, *, partitions: int = 3, attempt_s: float = 15.0) -> KafkaOptions:
    """A topic that nobody used before."""
    options = KafkaOptions(brokers=cluster.bootstrap, topic=f"log-{os.getpid()}-{next(_NUMBERS)}", attempt_s=attempt_s)
    await create_topic(options, partitions=partitions, copies=cluster.size)
    return options


async def all_in_step(cluster: Cluster) -> None:
    """Wait until every broker has all of every topic again, of the brokers' own, too."""
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()

    async def is_in_step() -> bool:
        topics = await admin.describe_topics()
        return all(len(part["isr"]) == cluster.size for topic in topics for part in topic["partitions"])

    try:
        await eventually(is_in_step, 90, every_s=0.2)
    finally:
        await admin.close()
