"""What tests of others' topics share: topics of their own, messages in and out, and a service whose clock can be put forward."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from gateway.app import build_app, open_service
from gateway.service import Service
from kernel.clock import SystemClock
from kernel.settings import Settings
from kernel.settings_sources import load_settings
from tests.broker.cluster import Cluster
from tests.patience import eventually

_NUMBERS = itertools.count(1)


class ShiftedClock(SystemClock):
    """The machine's clock, put forward."""

    def __init__(self) -> None:
        super().__init__()
        self.shift_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.shift_us


async def some_topic(kafka: Cluster, what: str, *, partitions: int = 3, **configs: str) -> str:
    """The name of a topic that was made for this test."""
    name = f"{what}-{os.getpid()}-{next(_NUMBERS)}"
    await make_topic(kafka, name, partitions=partitions, **configs)
    return name


async def make_topic(kafka: Cluster, name: str, *, partitions: int = 3, **configs: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    named = {key.replace("_", "."): value for key, value in configs.items()}
    new = NewTopic(name, num_partitions=partitions, replication_factor=kafka.size, topic_configs=named)
    await admin.create_topics([new])
    await admin.close()


async def post(kafka: Cluster, topic: str, messages: Sequence[tuple[bytes | None, bytes | None]], **more: Any) -> None:
    """Send messages, keys and values, one after the other."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=2**24)
    await producer.start()
    for key, value in messages:
        await producer.send_and_wait(topic, value, key, **more)
    await producer.stop()


async def read(kafka: Cluster, topic: str, count: int | None = None, within_s: float = 20.0) -> list[ConsumerRecord]:
    """Messages of a topic, partition by partition; waits for so many, or takes what is there."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    found: list[ConsumerRecord] = []
    try:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        if not parts:
            parts = [TopicPartition(topic, number) for number in range(3)]
        consumer.assign(parts)
        async with asyncio.timeout(within_s):
            while True:
                ends = await consumer.end_offsets(parts)
                is_read = all([await consumer.position(part) >= end for part, end in ends.items()])
                if is_read and (count is None or len(found) >= count):
                    return found
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
    finally:
        await consumer.stop()


async def eventually_said(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """The service's log says so."""
    said = ""

    def is_said() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return text in said

    await eventually(is_said)


def settings_with(kafka: Cluster, org: dict[str, Any], **flags: object) -> Settings:
    """Settings of the org ``default`` with tables of topics."""
    leaves: dict[str, object] = {
        "kafka.brokers": kafka.bootstrap,
        "kafka.request_s": 1.0,
        "store.kind": "memory",
        **flags,
    }
    for table, named in org.items():
        for name, values in named.items():
            leaves |= {f"org.default.{table}.{name}.{key}": value for key, value in values.items()}
    return load_settings(flags=leaves)


@asynccontextmanager
async def service_on(settings: Settings, clock: ShiftedClock) -> AsyncIterator[Service]:
    """A service in memory whose topics are its test's to start."""
    service = await open_service(settings, paths=None, clock=clock, seed=1)
    build_app(service)
    try:
        yield service
    finally:
        await service.close()
