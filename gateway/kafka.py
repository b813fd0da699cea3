"""From the settings to how the log on Kafka is reached."""

import msgspec

from eventstore.kafka_client import KafkaOptions
from kernel.settings import Settings

#: What an event's envelope takes in the topic beside its payload, at most.
_ENVELOPE_BYTES = 4096


def kafka_options(settings: Settings) -> KafkaOptions:
    """Options for a topic that takes every event that the door lets in."""
    chosen = msgspec.structs.asdict(settings.kafka)
    password = settings.kafka.sasl_password
    chosen["sasl_password"] = "" if password is None else password.value
    return KafkaOptions(**chosen, event_bytes=settings.server.max_event_kb * 1024 + _ENVELOPE_BYTES)
