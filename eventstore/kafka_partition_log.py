"""One partition of the log's topic, written and followed in turns: its copy stays open, whoever writes it.

Enter: batches while this process leads the partition, else what another one wrote there. Leaves: a copy (``kafka_copy``
is its format) that ends where the partition ended a moment ago. ``lead`` fences whoever wrote before, claims the
partition, and follows it up to that claim; so whatever another process has acknowledged is in the copy before anything is
judged against it. ``release`` goes back to following; so does a claim of somebody else's, of which ``on_lost`` is told.

What is followed is handed to an ``Adopting`` as something to do, so that its caller knows of it before and after.

A copy that is made anew begins from the topic's changelog where there is one: with what is kept of each stream, and the events
after the changelog's mark. It can be led so at once; ``fill`` brings in the events before (``eventstore.restoring``).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer

from eventstore.changelog import Kept, Mark
from eventstore.event import Event
from eventstore.kafka_changelog import read_changelog
from eventstore.kafka_client import TROUBLE, Connections, Topic, started
from eventstore.kafka_copy import begin_following, note_offsets
from eventstore.kafka_partition import PartitionWriter, records_of
from eventstore.kafka_reader import TopicReader
from eventstore.kafka_records import Claim, read_record
from eventstore.primary import Copy, OnAway
from eventstore.restoring import (
    Missing,
    begin_filling,
    check_streams,
    forget,
    note_whole,
    read_begun,
    read_missing,
    read_restored,
    restore,
)
from eventstore.snapshots import SnapshotStore
from eventstore.sqlite_writer import Note, Told
from eventstore.upcasters import Upcasters
from kernel.clock import Clock
from kernel.errors import (
    CopyDiffers,
    NotLeading,
    OwnershipLost,
    StoreFailed,
    StoreUnavailable,
    TopicUnfit,
)
from kernel.ids import Position

#: Does what it is given, which answers with the events that the copy has then, and folds them.
Adopting = Callable[[Callable[[], Awaitable[Sequence[Event]]]], Coroutine[Any, Any, None]]

#: Waits after so many events.
FillPause = Callable[[int], Awaitable[None]]

#: Events of one commit while the copy follows.
_ADOPT_EVENTS = 2000
_PAGE_RECORDS = 500
_POLL_MS = 500
#: Missing events of one commit: appends wait for it, some milliseconds.
_FILL_EVENTS = 500
#: Of a changelog, in one commit.
_KEPT, _KEPT_BYTES = 200, 4 * 1024**2
_SNAPSHOTS = 500
#: Offsets before a mark in which its event is sought: the marker of a transaction has one, too, and a claim.
_BEFORE_MARK = 64

_log = structlog.get_logger(__name__)


class PartitionLog:
    """``Primary`` of one partition. The store that is opened with it follows, and is brought up to the partition's end.

    Parameters
    ----------
    topic : as the brokers described it.
    may_write : whether this process is the one that is meant to; asked before it fences another one.
    on_lost : told, after the fact, that another process writes the partition now.
    is_whole_first : do not go on before the copy lacks nothing, even where it could.
    fill_pause : awaited after so many missing events have come.

    Attributes
    ----------
    is_leading : batches are taken.
    missing : the events that the copy lacks, where it began from the changelog; None when it is whole.
    begin, end : of the way that the copy has to go before it is complete for the first time; equal when it was.
    next_offset : up to where the copy has come.
    lag : records that another process has written and the copy has not, when it was last looked at.
    """

    def __init__(
        self,
        connections: Connections,
        topic: Topic,
        partition: int,
        *,
        clock: Clock,
        may_write: Callable[[], bool],
        on_lost: Callable[[OwnershipLost], None],
        upcasters: Upcasters | None = None,
        is_whole_first: bool = False,
        fill_pause: FillPause | None = None,
    ) -> None:
        self._connections, self._topic, self._partition = connections, topic, partition
        self._is_whole_first, self._fill_pause = is_whole_first, fill_pause
        self._clock, self._may_write, self._on_lost = clock, may_write, on_lost
        self._upcasters = upcasters or Upcasters()
        self._writer: PartitionWriter | None = None
        self._copy: Copy
        self._on_away: OnAway
        self._idle = asyncio.Event()
        self._idle.set()
        self.is_leading = False
        self.missing: Missing | None = None
        self.begin = self.end = self.next_offset = self.lag = 0

    @property
    def progress(self) -> float:
        """Which part of its first way the copy has gone, 0 to 1."""
        if self.missing is not None:
            return self.missing.progress
        way = self.end - self.begin
        return 1.0 if way <= 0 else min(1.0, (self.next_offset - self.begin) / way)

    # What the store asks of it.

    async def start(self, copy: Copy, on_away: OnAway) -> None:
        self._copy, self._on_away = copy, on_away
        name = self._connections.options.topic
        begun = partial(begin_following, name=name, topic=self._topic, followed=(self._partition,))
        self.begin = self.next_offset = (await copy.run(begun))[self._partition]
        try:
            await self._begin_from_changelog(copy)
            await self._catch_up(_straight)
            if self._is_whole_first:
                await self._fill_all(None)  # nobody is served meanwhile who would suffer
        except TROUBLE as error:
            raise await self._connections.translated(error) from error

    def check(self) -> None:
        if not self.is_leading or self._writer is None:
            raise NotLeading(f"partition {self._partition} is written by another process, or will be in a moment")
        if self._writer.is_settling:
            raise StoreUnavailable(f"the Kafka brokers at {self._connections.options.brokers} do not answer")

    async def take(self, events: Sequence[Event]) -> Note:
        self.check()
        writer = self._writer
        assert writer is not None  # noqa: S101 - check has looked
        records = await records_of(events, self._upcasters, self._topic.record_bytes)
        self._idle.clear()
        try:
            self.next_offset = await writer.write(records)
        except OwnershipLost as error:
            self.is_leading = False
            self._on_lost(error)
            raise NotLeading(str(error)) from error
        except StoreFailed as error:  # let go of in haste: whoever writes from now on settles it
            raise NotLeading(str(error)) from error
        finally:
            self._idle.set()
        return partial(note_offsets, offsets={self._partition: self.next_offset})

    def hurry(self) -> None:
        self.is_leading = False
        if self._writer is not None:
            self._writer.hurry()

    async def close(self) -> None:
        self.is_leading = False
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

    # Turns.

    async def follow(self, adopting: Adopting) -> None:
        """Adopt what another process writes, until cancelled. Raises what makes it vain to go on."""
        while True:
            try:
                await self._follow(adopting)
            except (*TROUBLE, StoreUnavailable) as error:
                _log.warning("kafka_follow_waits", partition=self._partition, error=repr(error))
            await asyncio.sleep(self._connections.options.retry_s)

    async def lead(self, owner: str, adopting: Adopting) -> None:
        """Become the one that writes; nobody follows here meanwhile.

        Parameters
        ----------
        owner : names this turn, and no other one ever.

        Raises
        ------
        OwnershipLost, NotLeading
            Another process did so at the same time; or it is not for this one any more.
        StoreUnavailable, BrokersRefused
            Trying again is sensible.
        """
        writer = PartitionWriter(
            self._connections,
            self._partition,
            owner=owner,
            clock=self._clock,
            on_away=self._on_away,
            may_write=self._may_write,
        )
        try:
            async with asyncio.timeout(self._connections.options.attempt_s):
                self._check_entitled()
                await writer.open()
                self._check_entitled()
                await writer.claim()
            last = await self._catch_up(adopting, at_least=writer.next_offset)
            if last != owner:
                raise OwnershipLost(self._connections.options.topic, self._partition, last or "nobody known")
            self._check_entitled()
        except BaseException as error:
            await writer.close()
            if isinstance(error, TROUBLE):
                raise await self._connections.translated(error) from error
            raise
        writer.next_offset = self.next_offset
        self.lag = 0
        self._writer = writer
        self.is_leading = True

    async def release(self, grace_s: float) -> None:
        """Take nothing more, and give the partition up, as soon as the batch under way is over or its time is up."""
        self.is_leading = False
        writer = self._writer
        if writer is None:
            return
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            writer.hurry()
            await self._idle.wait()
        self._writer = None
        await writer.close()

    def _check_entitled(self) -> None:
        if not self._may_write():
            raise NotLeading(f"partition {self._partition} is not for this process to write")

    # From a changelog.

    async def seed(self, snapshots: SnapshotStore, catalogue: str) -> None:
        """Put what the changelog kept into a cache that is empty. Call it before anything is folded.

        Parameters
        ----------
        catalogue : names all definitions of today, in full; what was kept under others is left out.
        """
        position = await self._copy.run(read_begun)
        if position is None:
            return
        after = 0
        while snapshots.applied() == 0 and (
            page := await self._copy.run(partial(read_restored, after=after, limit=_SNAPSHOTS))
        ):
            for under, snapshot in page:
                if under and catalogue.startswith(under):
                    snapshots.put(snapshot)
            after = page[-1][1].number
            await snapshots.flush()
        if snapshots.applied() == 0:
            snapshots.note_applied(Position(position))
            await snapshots.flush()
        if self.missing is None:
            await self._forget()

    async def fill(self) -> None:
        """Bring in what the copy lacks, however often that is tried; returns when it is whole.

        Raises
        ------
        CopyDiffers
        """
        while self.missing is not None:
            try:
                await self._fill_all(self._fill_pause)
                await self._forget()
            except (*TROUBLE, StoreUnavailable) as error:
                _log.warning("kafka_fill_waits", partition=self._partition, error=repr(error))
                await asyncio.sleep(self._connections.options.retry_s)

    async def _begin_from_changelog(self, copy: Copy) -> None:
        """Where the copy has nothing yet, take what the changelog has; else go on as it began."""
        if self.next_offset == 0:
            mark = await self._restore(copy)
            if mark is not None:
                await copy.run(partial(begin_filling, partition=self._partition, mark=mark))
                self.begin = self.next_offset = mark.offset
                _log.info("copy_begins_from_changelog", partition=self._partition, offset=mark.offset)
        self.missing = await copy.run(read_missing)
        if self.missing is not None:
            await copy.lack(self.missing)

    async def _restore(self, copy: Copy) -> Mark | None:
        await self._forget()  # of a beginning that was cut short
        mark: Mark | None = None
        waiting, size_bytes = list[Kept](), 0
        async with aclosing(read_changelog(self._connections, self._partition)) as told:
            async for said in told:
                if isinstance(said, Mark):
                    mark = said
                    continue
                waiting.append(said)
                size_bytes += len(said.ids or b"") + (0 if said.snapshot is None else len(said.snapshot.state))
                if len(waiting) == _KEPT or size_bytes > _KEPT_BYTES:
                    await copy.run(partial(restore, kept=waiting))
                    waiting, size_bytes = [], 0
        await copy.run(partial(restore, kept=waiting))
        if mark is None or mark.offset == 0 or not await self._is_of_this_log(mark):
            await self._forget()
            return None
        return mark

    async def _is_of_this_log(self, mark: Mark) -> bool:
        """Whether the event before a mark is the one that the mark says; not so in a topic that was made anew."""
        begin, last = max(0, mark.offset - _BEFORE_MARK), mark.recorded_us
        reader = TopicReader(self._connections, {self._partition: begin})
        try:
            async with reader, aclosing(reader.events()) as read:
                async for each in read:
                    if each.offset >= mark.offset:
                        break
                    last = each.told.event.recorded_us
        except TopicUnfit:
            last = -1
        is_it = last == mark.recorded_us and reader.ends.get(self._partition, 0) >= mark.offset
        if not is_it:
            name = self._connections.options.topic
            _log.warning("changelog_of_another_log", topic=name, partition=self._partition, remove=f"{name}.changelog")
        return is_it

    async def _fill_all(self, pause: FillPause | None) -> None:
        missing, partition = self.missing, self._partition
        if missing is None:
            return
        told = list[Told]()
        async with (
            TopicReader(self._connections, {partition: missing.next}) as reader,
            aclosing(reader.events()) as read,
        ):
            async for each in read:
                if each.offset >= missing.end:
                    break
                told.append(each.told)
                if len(told) == _FILL_EVENTS:
                    await self._copy.fill(told, each.offset + 1)
                    if pause is not None:
                        await pause(len(told))
                    told = []
        await self._copy.fill(told, missing.end)
        if missing.filled != missing.position:
            raise CopyDiffers(f"before offset {missing.end} there are {missing.filled} events, not {missing.position}")
        after: int | None = 0
        while after is not None:
            after = await self._copy.run(partial(check_streams, after=after))
        await self._copy.run(note_whole)
        await self._copy.lack(None)
        self.missing = None
        _log.info("copy_whole", partition=partition, events=missing.filled)

    async def _forget(self) -> None:
        while await self._copy.run(forget):
            pass

    # Following.

    async def _catch_up(self, adopting: Adopting, *, at_least: int = 0) -> str | None:
        """Bring the copy up to the partition's end; the owner that the last claim on the way names."""
        partition, told, owner = self._partition, list[Told](), None
        offsets = {partition: self.next_offset}
        async with TopicReader(self._connections, offsets, at_least={partition: at_least}) as reader:
            self.end = reader.ends[partition]
            async for read in reader.events():
                told.append(read.told)
                if len(told) == _ADOPT_EVENTS:
                    await self._adopt(adopting, told, read.offset + 1)
                    told = []
            await self._adopt(adopting, told, self.end)
            owner = reader.claims[partition][-1] if reader.claims[partition] else None
        self.begin = self.end = self.next_offset
        return owner

    async def _follow(self, adopting: Adopting) -> None:
        part = self._connections.of(self._partition)
        consumer: AIOKafkaConsumer = self._connections.consumer()
        try:
            await started(consumer.start())
            consumer.assign([part])
            begins = await consumer.beginning_offsets([part])
            ends = await consumer.end_offsets([part])
            self._check_reach(begins[part], ends[part])
            consumer.seek(part, self.next_offset)
            while True:
                found = await consumer.getmany(part, timeout_ms=_POLL_MS, max_records=_PAGE_RECORDS)
                told = [each for record in found.get(part, ()) if (each := self._told(record)) is not None]
                reached = await consumer.position(part)
                self.lag = max(0, (consumer.last_stable_offset(part) or 0) - reached)
                if told or reached - self.next_offset >= _PAGE_RECORDS:
                    await self._adopt(adopting, told, reached)
                elif reached > self.next_offset:  # claims, and what tells of transactions: noted with the next events
                    self.next_offset = reached
        finally:
            await consumer.stop()

    def _told(self, record: object) -> Told | None:
        said = read_record(self._connections.options.topic, record.key, record.value, record.headers)  # type: ignore[attr-defined]
        return None if isinstance(said, Claim) else said

    def _check_reach(self, begin: int, end: int) -> None:
        if not begin <= self.next_offset <= end:
            name, here = self._connections.options.topic, f"partition {self._partition}"
            raise TopicUnfit(name, f"{here} to have offset {self.next_offset}", f"offsets from {begin} to {end}")

    async def _adopt(self, adopting: Adopting, told: Sequence[Told], reached: int) -> None:
        note = partial(note_offsets, offsets={self._partition: reached})
        adopted = asyncio.ensure_future(adopting(lambda: self._copy.adopt(told, note)))
        try:
            await asyncio.shield(adopted)
        except asyncio.CancelledError:  # whoever leads next must not find events in the log that nobody has folded
            await asyncio.wait([adopted])
            raise
        finally:
            if adopted.done() and not adopted.cancelled() and adopted.exception() is None:
                self.next_offset = reached


async def _straight(work: Callable[[], Awaitable[Sequence[Event]]]) -> None:
    await work()
