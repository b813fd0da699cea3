"""From the settings to how topics are reached: the log on Kafka, and others'."""

from typing import Any

import msgspec

from eventstore.kafka_client import KafkaOptions
from kernel.settings import Settings

#: What an event's envelope takes in the topic beside its payload, at most.
_ENVELOPE_BYTES = 4096


def kafka_options(settings: Settings) -> KafkaOptions:
    """Options for a topic that takes every event that the door lets in."""
    return KafkaOptions(**_chosen(settings), event_bytes=settings.server.max_event_kb * 1024 + _ENVELOPE_BYTES)


def topic_options(settings: Settings, topic: str, brokers: str) -> KafkaOptions:
    """Options for somebody else's topic; ``brokers`` are those of the settings where it is empty."""
    return KafkaOptions(**(_chosen(settings) | {"topic": topic, "brokers": brokers or settings.kafka.brokers}))


def _chosen(settings: Settings) -> dict[str, Any]:
    chosen = msgspec.structs.asdict(settings.kafka)
    password = settings.kafka.sasl_password
    return chosen | {"sasl_password": "" if password is None else password.value}
