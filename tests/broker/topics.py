"""A topic of its own for each test."""

import itertools
import os

from eventstore.kafka_client import KafkaOptions, create_topic
from tests.broker.cluster import Cluster

_NUMBERS = itertools.count(1)


async def new_topic(cluster: Cluster, *, partitions: int = 3, attempt_s: float = 15.0) -> KafkaOptions:
    """A topic that nobody used before."""
    options = KafkaOptions(brokers=cluster.bootstrap, topic=f"log-{os.getpid()}-{next(_NUMBERS)}", attempt_s=attempt_s)
    await create_topic(options, partitions=partitions, copies=cluster.size)
    return options
