"""One topic that is read: its messages become events, in order within a partition, and its offsets follow.

A batch of messages is one append. When it stands in the log, and what of it is no event with the dead letters, its offsets
are committed: a process that ends in between takes the batch once more, and finds duplicates. An offset of a partition that
was given to another process meanwhile is refused by the brokers.

A dead letter has the key, the value and the headers of its message, and headers that say why it is one: ``leadwheel-code``,
``leadwheel-reason``, and its place as ``leadwheel-topic``, ``leadwheel-partition`` and ``leadwheel-offset``.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, MessageSizeTooLargeError

from eventstore.admission import Refusal, refusal
from eventstore.event import NewEvent
from eventstore.kafka_client import TROUBLE, Connections, check_topic, end_member, end_teller
from eventstore.store import Refused
from gateway.orgs import Org
from gateway.topics.messages import Message, MessageReader
from gateway.topics.supervision import Endeavour
from kernel.clock import Clock
from kernel.errors import LeadwheelError, RecordTooLarge
from kernel.settings_topics import TopicInSettings
from kernel.steps import finish_politely

_POLL_MS = 500
#: After so long without a message the brokers are asked whether they are there.
_LOOK_S = 5.0
_RETRY_S = 0.5
_STOP_S = 1.0
#: Messages read between two turns of the loop: about 2 ms.
_STEP_MESSAGES = 128
#: Refused messages of one batch that are named in the log.
_NAMED = 5

_log = structlog.get_logger(__name__)


class Kept(NamedTuple):
    """An event stands in the log; ``is_duplicate`` if it already did."""

    is_duplicate: bool


#: What became of an event.
Fate = Kept | Refused


class Submit(Protocol):
    """Stores events of an organisation, wherever they belong."""

    async def __call__(self, org: Org, events: Sequence[NewEvent]) -> Sequence[Fate]:
        """The fate of each event, in place, durable. Raises ``LeadwheelError``, transient where a repetition helps."""


class Source:
    """Reads one topic.

    Parameters
    ----------
    connections : to the brokers, of the topic; ``dead_letters`` likewise, None where messages are only counted.

    Attributes
    ----------
    counts : messages by what became of them.
    """

    def __init__(
        self,
        org: Org,
        name: str,
        settings: TopicInSettings,
        *,
        connections: Connections,
        dead_letters: Connections | None,
        submit: Submit,
        clock: Clock,
    ) -> None:
        self._org, self._name, self._settings = org, name, settings
        self._connections, self._dead_letters = connections, dead_letters
        self._submit, self._clock = submit, clock
        self._reader = MessageReader(settings, types=org.catalogue.event_types, limits=org.limits)
        self._consumer: AIOKafkaConsumer | None = None
        self._taken: dict[TopicPartition, int] = {}
        self.counts = {"accepted": 0, "duplicate": 0, "refused": 0}

    @property
    def behind(self) -> int:
        """Messages that wait in the partitions that are this process's, as far as it knows."""
        consumer = self._consumer
        if consumer is None:
            return 0
        ends = ((consumer.highwater(part), taken) for part, taken in self._taken.items())
        return sum(max(0, end - taken) for end, taken in ends if end is not None)

    async def work(self, endeavour: Endeavour) -> None:
        """Read until cancelled. Raises ``TopicMissing``, ``BrokersRefused``, ``StoreUnavailable``."""
        await check_topic(self._connections)
        if self._dead_letters is not None:
            await check_topic(self._dead_letters)
        batch = self._settings.batch_events
        consumer = self._connections.member(
            self._settings.group or f"leadwheel-{self._org.name}-{self._name}",
            is_from_beginning=self._settings.start == "beginning",
            max_records=batch,
        )
        letters = None if self._dead_letters is None else self._dead_letters.teller()
        try:
            if letters is not None:
                await letters.start()
            await consumer.start()
            self._consumer = consumer
            while True:
                found = await self._poll(consumer, batch, endeavour)
                if found:
                    await self._take(
                        [_message(each) for records in found.values() for each in records], letters, endeavour
                    )
                    await self._commit(consumer, {part: records[-1].offset + 1 for part, records in found.items()})
                    endeavour.succeed()
        except TROUBLE as error:
            raise await self._connections.translated(error) from error
        finally:
            self._consumer, self._taken = None, {}
            await end_member(consumer, _STOP_S)
            if letters is not None:
                await end_teller(letters, _STOP_S)

    async def _poll(
        self, consumer: AIOKafkaConsumer, batch: int, endeavour: Endeavour
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """The next messages; none after a while of silence in which the brokers were there. Raises what the client raises."""
        try:
            async with asyncio.timeout(_LOOK_S):
                while True:
                    polled = await consumer.getmany(timeout_ms=_POLL_MS, max_records=batch)
                    found: dict[TopicPartition, list[ConsumerRecord]] = polled
                    if found:
                        return found
                    endeavour.succeed()
        except TimeoutError:  # of brokers that are away the client says nothing, and waits for its group for ever
            await consumer.end_offsets([self._connections.of(0)])
            return {}

    async def _take(self, messages: Sequence[Message], letters: AIOKafkaProducer | None, endeavour: Endeavour) -> None:
        """Store what is an event, and lay aside what is none."""
        raws: list[bytes] = []
        senders: list[Message] = []
        dead: list[tuple[Message, Refusal]] = []
        for count, message in enumerate(messages, 1):
            read = self._reader.read(message)
            if isinstance(read, Refusal):
                dead.append((message, read))
            else:
                raws.append(read)
                senders.append(message)
            if count % _STEP_MESSAGES == 0:
                await asyncio.sleep(0)
        admitted = await finish_politely(self._org.admission.admitting_many(raws))
        dead += [(senders[each.index], each) for each in admitted.rejected]
        events = [(senders[index], event) for index, event in admitted.events]
        dead += await self._store(events, endeavour)
        if dead:
            await self._lay_aside(sorted(dead, key=lambda each: each[0].offset), letters)

    async def _store(
        self, events: Sequence[tuple[Message, NewEvent]], endeavour: Endeavour
    ) -> list[tuple[Message, Refusal]]:
        """Store events, however long that takes; those that the log refuses."""
        if not events:
            return []
        try:
            outcomes = await self._persist([event for _, event in events], endeavour)
        except RecordTooLarge as error:
            if len(events) > 1:
                return [refused for each in events for refused in await self._store([each], endeavour)]
            told = refusal(0, "event_too_large", "", f"at most {error.limit} bytes", f"{error.actual} bytes")
            return [(events[0][0], told)]
        refused: list[tuple[Message, Refusal]] = []
        for (message, _), outcome in zip(events, outcomes, strict=True):
            if isinstance(outcome, Kept):
                self.counts["duplicate" if outcome.is_duplicate else "accepted"] += 1
            else:
                told = refusal(0, outcome.code, outcome.path, outcome.expected, outcome.actual)
                refused.append((message, told))
        return refused

    async def _persist(self, events: Sequence[NewEvent], endeavour: Endeavour) -> Sequence[Fate]:
        while True:
            try:
                return await self._submit(self._org, events)
            except LeadwheelError as error:
                if not error.is_transient:
                    raise
                endeavour.stumble(str(error))
                await self._clock.sleep(_RETRY_S)

    async def _lay_aside(self, dead: Sequence[tuple[Message, Refusal]], letters: AIOKafkaProducer | None) -> None:
        """Put messages with the dead letters, durably, or name some of them in the log."""
        for count, (message, refused) in enumerate(dead):
            if letters is None and count < _NAMED:
                _log.warning(
                    "topic_message_refused",
                    topic=message.topic,
                    partition=message.partition,
                    offset=message.offset,
                    code=refused.code,
                    path=refused.path,
                    expected=refused.expected,
                )
        if letters is not None:
            posts = [self._post(letters, message, refused, message.value) for message, refused in dead]
            for (message, refused), result in zip(
                dead, await asyncio.gather(*posts, return_exceptions=True), strict=True
            ):
                if isinstance(result, MessageSizeTooLargeError):
                    await self._post_alone(letters, message, refused)
                elif isinstance(result, BaseException):
                    raise result
        self.counts["refused"] += len(dead)

    async def _post_alone(self, letters: AIOKafkaProducer, message: Message, refused: Refusal) -> None:
        """Perhaps only what it was sent together with is too large; if it is itself, its place is what can be kept."""
        try:
            await self._post(letters, message, refused, message.value)
        except MessageSizeTooLargeError:
            await self._post(letters, message._replace(headers=()), refused, None)

    async def _post(self, letters: AIOKafkaProducer, message: Message, refused: Refusal, value: bytes | None) -> None:
        said = {
            "code": refused.code,
            "reason": refused.detail,
            "topic": message.topic,
            "partition": str(message.partition),
            "offset": str(message.offset),
        }
        headers = [*message.headers, *((f"leadwheel-{name}", text.encode()) for name, text in said.items())]
        await letters.send_and_wait(self._settings.dead_letters, value, message.key, headers=headers)

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit what is still this process's; whoever has the rest takes it once more, and finds duplicates."""
        own = {part: offset for part, offset in offsets.items() if part in consumer.assignment()}
        self._taken = {part: self._taken.get(part, 0) for part in consumer.assignment()} | own
        try:
            if own:
                async with asyncio.timeout(
                    self._connections.options.attempt_s
                ):  # the client would wait for brokers for ever
                    await consumer.commit(own)
        except (CommitFailedError, IllegalStateError) as error:
            _log.warning("topic_offsets_not_committed", topic=self._settings.topic, reason=str(error))


def _message(record: ConsumerRecord) -> Message:
    headers = [(name, value or b"") for name, value in record.headers]
    return Message(record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, headers)
