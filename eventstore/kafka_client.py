"""Talking to Kafka: how to connect, what a topic must be like, and what the client's errors mean, decided once."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from eventstore.kafka_records import FRAME_BYTES, PARTITIONS_LEAST
from eventstore.kafka_refusal import REFUSED, why, words
from kernel.errors import BrokersRefused, EventStoreError, SettingsError, StoreUnavailable, TopicMissing, TopicUnfit

# What the client tells while it tries again is told by what comes of it, in this program's words.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

_log = structlog.get_logger(__name__)

#: What a connection may raise for the other side's sake.
TROUBLE = (KafkaError, TimeoutError, OSError)

#: A batch of records as it goes to the broker; a record that is larger goes alone.
_BATCH_BYTES = 128 * 1024

_NO_ACCESS = 29
#: A topic that was made a moment ago is not known to every broker yet.
_LOOKS = 6
_LOOK_S = 0.25
_START_GRACE_S = 1.0


class KafkaOptions(msgspec.Struct, frozen=True):
    """Which topic, and how it is reached.

    Attributes
    ----------
    brokers : ``HOST:PORT`` of one or more, separated by commas; the others are learned from them.
    topic : the log.
    security_protocol, sasl_mechanism, sasl_username, sasl_password : as the brokers want them.
    ca_file, cert_file, key_file : PEM files for TLS; the system's authorities without ``ca_file``.
    attempt_s : how long brokers may take to hold a batch before its fate is looked up.
    request_s : how long they may take for an answer.
    retry_s : between two looks while they are away.
    event_bytes : the largest event that the topic must take.
    """

    brokers: str
    topic: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str = ""
    sasl_password: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    attempt_s: float = 15.0
    request_s: float = 5.0
    retry_s: float = 0.5
    event_bytes: int = 512 * 1024


class Topic(msgspec.Struct, frozen=True):
    """What the brokers say of the topic."""

    cluster: str
    partitions: int
    record_bytes: int


class Found(NamedTuple):
    """A topic as the brokers describe it."""

    partitions: int
    copies: int
    configs: dict[str, str]


class Connections:
    """Makes the clients of one topic."""

    def __init__(self, options: KafkaOptions) -> None:
        self.options = options
        security: dict[str, Any] = {"security_protocol": options.security_protocol}
        if options.security_protocol.endswith("SSL"):
            security["ssl_context"] = _tls(options)
        if options.security_protocol.startswith("SASL"):
            security |= {
                "sasl_mechanism": options.sasl_mechanism,
                "sasl_plain_username": options.sasl_username,
                "sasl_plain_password": options.sasl_password,
            }
        self._security = security
        self._common = {
            "bootstrap_servers": options.brokers.split(","),
            "request_timeout_ms": round(options.request_s * 1000),
            "retry_backoff_ms": 100,
            **security,
        }

    def producer(self, partition: int) -> AIOKafkaProducer:
        """The producer that writes a partition: its transactional id is the partition's own, so one fences another."""
        return AIOKafkaProducer(
            transactional_id=f"leadwheel-{self.options.topic}-{partition}",
            acks="all",
            max_batch_size=_BATCH_BYTES,
            max_request_size=2**31 - 1,  # the topic's own limit is looked at
            **self._common,
        )

    def consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="none",
            **self._common,
        )

    def client(self, request_s: float) -> AIOKafkaClient:
        """Sends requests of the protocol by itself."""
        return AIOKafkaClient(**{**self._common, "request_timeout_ms": round(request_s * 1000)})

    def member(self, group: str, *, is_from_beginning: bool, max_records: int) -> AIOKafkaConsumer:
        """A consumer of the topic that shares it with its group."""
        return AIOKafkaConsumer(
            self.options.topic,
            group_id=group,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest" if is_from_beginning else "latest",
            max_poll_records=max_records,
            **self._common,
        )

    def keeper(self, group: str) -> AIOKafkaConsumer:
        """A client that keeps offsets in the name of a group, and reads nothing."""
        return AIOKafkaConsumer(group_id=group, enable_auto_commit=False, **self._common)

    def teller(self) -> AIOKafkaProducer:
        """A producer that writes any topic, in order; a message may be there twice when brokers were away.

        Not an idempotent one: the numbers that it gives miss those of a message that a topic refused as too large, and
        from then on brokers take nothing more.
        """
        return AIOKafkaProducer(
            acks="all", linger_ms=5, max_batch_size=_BATCH_BYTES, max_request_size=2**31 - 1, **self._common
        )

    def admin(self) -> AIOKafkaAdminClient:
        return AIOKafkaAdminClient(**self._common)

    def of(self, partition: int) -> TopicPartition:
        return TopicPartition(self.options.topic, partition)

    async def translated(self, error: BaseException) -> EventStoreError:
        """The error for whoever waits; where the client does not say why it cannot connect, it is found out."""
        if isinstance(error, EventStoreError):
            return error
        options, security = self.options, self._security
        if not isinstance(error, REFUSED):
            error = await why(options.brokers.split(",")[0], security, options.request_s) or error
        if isinstance(error, REFUSED):
            return BrokersRefused(options.brokers, words(error, security))
        return StoreUnavailable(f"the Kafka brokers at {options.brokers} do not answer: {words(error, security)}")


async def started(starting: Coroutine[Any, Any, None]) -> None:
    """Wait until a client has started. Cancelled halfway it would leave a connection behind, so it has a moment to get there."""
    task = asyncio.ensure_future(starting)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_START_GRACE_S)
        task.cancel()
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


@asynccontextmanager
async def asking(connections: Connections) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that asks brokers about topics, for ``attempt_s`` at most. Raises ``BrokersRefused``, ``StoreUnavailable``."""
    admin = connections.admin()
    try:
        async with asyncio.timeout(connections.options.attempt_s):
            await admin.start()
            yield admin
    except TROUBLE as error:
        raise await connections.translated(error) from error
    finally:
        await admin.close()


async def describe(connections: Connections) -> Topic:
    """Look the topic up, and whether it can be the log.

    Raises
    ------
    TopicUnfit, BrokersRefused, StoreUnavailable
    """
    async with asking(connections) as admin:
        return await _describe(connections, admin)


async def check_topic(connections: Connections) -> int:
    """How many partitions the topic has. Raises ``TopicMissing``, ``BrokersRefused``, ``StoreUnavailable``."""
    options = connections.options
    async with asking(connections) as admin:
        (found,) = await admin.describe_topics([options.topic])
    if found["error_code"]:
        raise TopicMissing(options.topic, options.brokers)
    return len(found["partitions"])


async def create_topic(options: KafkaOptions, *, partitions: int, copies: int = 1) -> None:
    """Make the topic as the log needs it. Raises as ``describe``, and ``TopicUnfit`` when it is there already."""
    async with asking(Connections(options)) as admin:
        await _create(admin, options.topic, partitions, copies)


async def _create(admin: AIOKafkaAdminClient, topic: str, partitions: int, copies: int) -> None:
    configs = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    if copies > 2:
        configs["min.insync.replicas"] = "2"  # a machine may be lost with what only it has: another one has it, too
    new = NewTopic(topic, num_partitions=partitions, replication_factor=copies, topic_configs=configs)
    response = (await admin.create_topics([new])).to_object()
    (said,) = response["topic_errors"]
    if said["error_code"]:
        reason = said.get("error_message") or f"error {said['error_code']}"
        raise TopicUnfit(topic, f"a new topic of {partitions} partitions in {copies} copies", reason)


async def look_up(connections: Connections, admin: AIOKafkaAdminClient, topic: str) -> Found | None:
    """What the brokers say of a topic; None where there is none. Raises ``BrokersRefused`` and what the client raises.

    Its settings are asked for first: to ask for the partitions of a topic that is missing makes it, at many brokers.
    """
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    ((error, _, _, _, entries),) = answer.resources
    if not error:
        (found,) = await admin.describe_topics([topic])
        error = found["error_code"]
    if error == _NO_ACCESS:
        raise BrokersRefused(connections.options.brokers, f"no access to the topic {topic}")
    if error:
        return None
    copies = min(len(partition["replicas"]) for partition in found["partitions"])
    return Found(len(found["partitions"]), copies, {entry[0]: entry[1] for entry in entries})


async def look_up_new(connections: Connections, admin: AIOKafkaAdminClient, topic: str) -> Found | None:
    """The same for a topic that may have been made a moment ago."""
    for _ in range(_LOOKS):
        if (found := await look_up(connections, admin, topic)) is not None:
            return found
        await asyncio.sleep(_LOOK_S)
    return None


async def _describe(connections: Connections, admin: AIOKafkaAdminClient) -> Topic:
    topic, options = connections.options.topic, connections.options
    cluster = await admin.describe_cluster()
    found = await look_up_new(connections, admin, topic)
    if found is None:
        expected = "a topic that exists (leadwheel create-topic makes one)"
        raise TopicUnfit(topic, expected, f"none of that name at {options.brokers}")
    return _check(topic, options, str(cluster["cluster_id"]), found)


def _check(topic: str, options: KafkaOptions, cluster: str, found: Found) -> Topic:
    partitions, copies, configs = found
    if partitions < PARTITIONS_LEAST:
        raise TopicUnfit(topic, f"at least {PARTITIONS_LEAST} partitions: what leads share has one of its own", "1")
    if configs.get("cleanup.policy") != "delete":
        actual = configs.get("cleanup.policy") or "none"
        raise TopicUnfit(topic, "cleanup.policy=delete (compaction would drop events)", f"cleanup.policy={actual}")
    for name in ("retention.ms", "retention.bytes"):
        if (value := configs.get(name)) != "-1":
            raise TopicUnfit(topic, f"{name}=-1 (the log is kept for good)", f"{name}={value}")
    least = int(configs.get("min.insync.replicas") or 1)
    if least > copies:
        expected = f"at least {least} copies of each partition, as min.insync.replicas wants"
        raise TopicUnfit(topic, expected, f"{copies}")
    largest = int(configs.get("max.message.bytes") or 0)
    if largest < options.event_bytes:
        raise TopicUnfit(topic, f"max.message.bytes of at least {options.event_bytes}", str(largest))
    return Topic(cluster, partitions, largest - FRAME_BYTES)


async def end_member(consumer: AIOKafkaConsumer, limit_s: float) -> None:
    """Leave the group and end, not waiting for long for brokers that are away, or for a group that is just forming.

    The client's own ``stop`` waits for both, and cut short it leaves its connections open.
    """
    if await _within(limit_s, consumer.stop()):
        return
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    if coordinator is not None:
        await _within(limit_s, coordinator._stop_heartbeat_task())
        await _within(limit_s, coordinator._stop_commit_offsets_refresh_task())
        await _within(limit_s, coordinator._maybe_leave_group())
    if fetcher is not None:
        await _within(limit_s, fetcher.close())
    await _within(limit_s, consumer._client.close())


async def _within(limit_s: float, ending: Awaitable[object]) -> bool:
    """Whether it ended well in time. The client's tasks may tell whoever waits for them of their own cancellation."""
    task = asyncio.current_task()
    asked = 0 if task is None else task.cancelling()
    try:
        async with asyncio.timeout(limit_s):
            await ending
            return True
    except TROUBLE as error:
        _log.info("kafka_client_not_ended_in_time", reason=repr(error))
    except asyncio.CancelledError:
        if task is not None and task.cancelling() > asked:
            raise
    return False


async def end_teller(producer: AIOKafkaProducer, limit_s: float) -> None:
    """End a producer; what brokers that are away have not taken is given up."""
    if not await _within(limit_s, producer.stop()):
        await _within(limit_s, producer.client.close())


class _Parting(ssl.SSLObject):
    """Ends a connection with a goodbye, and does not wait for one.

    A broker that is busy with a request of the connection may not hear it, and the loop would wait for half a minute.
    """

    def unwrap(self) -> Any:
        with suppress(ssl.SSLWantReadError):
            super().unwrap()


def _tls(options: KafkaOptions) -> ssl.SSLContext:
    """Raises ``SettingsError`` for files that are no such."""
    key = "kafka.ca_file"
    try:
        context = ssl.create_default_context(cafile=options.ca_file or None)
        context.sslobject_class = _Parting
        if options.cert_file:
            key = "kafka.cert_file"
            context.load_cert_chain(options.cert_file, options.key_file, lambda: "")  # else it would ask the terminal
    except OSError as error:  # that of TLS is one, too
        raise SettingsError(key, "settings", f"expected PEM files that can be read: {error}") from error
    return context
