"""The log on SQLite: the asynchronous shell around one writing and one reading connection.

Appends gather while the commit before them runs, and go to the writer's thread together, in one hop and one
transaction; each is answered when its commit is on the disk and in the high-water mark. Reads have a thread
of their own and never wait for a commit. The directory belongs to this process until ``close``.

Files: ``events.db`` with its ``-wal`` and ``-shm`` (``schema``), ``high-water`` (``highwater``), ``lock``
(``directory``).
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from eventstore.directory import DirectoryLock, sync_directory
from eventstore.event import Event, NewEvent, Stream, StreamInfo
from eventstore.gathering import Call, Gathering, Pending, answer, refuse
from eventstore.highwater import HighWater
from eventstore.hop import SqliteThread
from eventstore.primary import Primary
from eventstore.restoring import Missing
from eventstore.schema import check_original, configure, inspect_log, migrate
from eventstore.sqlite_errors import reason
from eventstore.sqlite_rows import SqliteRows
from eventstore.sqlite_writer import Note, SqliteWriter, Told, Written
from eventstore.store import Outcome, StoreStatistics
from eventstore.subscription import Bell, follow
from eventstore.types import EventTypes
from eventstore.upcasters import Upcasters
from kernel.clock import Clock
from kernel.errors import EventStoreError, LogIncomplete, RecordTooLarge, StoreClosed, StoreFailed, StoreUnavailable
from kernel.fatal import OnFatal, exit_now
from kernel.ids import Position

T = TypeVar("T")


class SqliteOptions(msgspec.Struct, frozen=True):
    """How the log is kept.

    Attributes
    ----------
    durability : ``power``: an acknowledged event survives a power cut; ``process``: the end of the process only.
    batch_events : events of one commit, unless a single append has more.
    pending_events : events that may wait for a commit; appends wait for room beyond that.
    heads_max : streams whose last version is remembered (about 300 bytes each).
    checkpoint_events : a checkpoint is due after that many events.
    checkpoint_interval_s : and after that time. Without an append in between the write-ahead log is emptied.
    high_water_interval_s : how often the high-water mark is synced.
    cache_kib : page cache of the writer; the reader has a quarter of it.
    """

    durability: Literal["power", "process"] = "power"
    batch_events: int = 4000
    pending_events: int = 50_000
    heads_max: int = 200_000
    checkpoint_events: int = 8000
    checkpoint_interval_s: float = 5.0
    high_water_interval_s: float = 1.0
    cache_kib: int = 64 * 1024


DEFAULT_OPTIONS = SqliteOptions()


class SqliteEventStore:
    """``EventStore`` in a directory of its own. Made by ``open``."""

    def __init__(
        self,
        *,
        lock: DirectoryLock,
        high_water: HighWater,
        writing: SqliteThread,
        reading: SqliteThread,
        writer: SqliteWriter,
        rows: SqliteRows,
        clock: Clock,
        options: SqliteOptions,
        on_fatal: OnFatal,
        primary: Primary | None,
        gathering: Gathering,
        copy: "_Copy",
    ) -> None:
        self._lock = lock
        self._high_water = high_water
        self._writing = writing
        self._reading = reading
        self._writer = writer
        self._rows = rows
        self._clock = clock
        self._options = options
        self._on_fatal = on_fatal
        self._primary = primary
        self._bell = Bell()
        self._gathering = gathering
        self._copy = copy
        copy.on_adopted = self._note_adopted
        self._end: EventStoreError | None = None
        self._closing: asyncio.Task[None] | None = None
        self._commits = self._events = self._duplicates = self._refused = 0
        self._unmoved_events = 0
        self._committer = asyncio.create_task(self._commit_gathered(), name="eventstore-committer")
        self._keeper = asyncio.create_task(self._keep(), name="eventstore-keeper")
        self._committer.add_done_callback(self._note_end)
        self._keeper.add_done_callback(self._note_end)

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        types: EventTypes,
        clock: Clock,
        upcasters: Upcasters | None = None,
        options: SqliteOptions = DEFAULT_OPTIONS,
        on_fatal: OnFatal = exit_now,
        primary: Primary | None = None,
    ) -> "SqliteEventStore":
        """Open the log of a data directory, made if there is none.

        Parameters
        ----------
        primary : the log that this one is a copy of (``eventstore.kafka``); it is closed with the store.

        Raises
        ------
        DirectoryInUse, LogNewerSchema, LogBehindHighWater, HighWaterUnreadable, LogIsCopy
            Nothing was changed. Whatever else the primary's start raises.
        """
        upcasters = upcasters or Upcasters()
        path = directory / "events.db"
        lock = DirectoryLock(directory)
        high_water: HighWater | None = None
        threads: list[SqliteThread] = []
        try:
            high_water = HighWater(directory / "high-water")
            found = await asyncio.to_thread(inspect_log, path)
            if primary is None:
                high_water.check(found, log_path=str(path))
            is_power = options.durability == "power"
            writing = await SqliteThread.open(path, name="eventstore-writer")
            threads.append(writing)
            level = "FULL" if is_power else "NORMAL"
            await writing.run(partial(configure, synchronous=level, cache_kib=options.cache_kib))
            if primary is None:
                await writing.run(partial(check_original, path=str(path)))
            await writing.run(migrate)
            await asyncio.to_thread(sync_directory, directory)
            writer = await writing.run(
                partial(
                    SqliteWriter,
                    types=types,
                    upcasters=upcasters,
                    high_water=high_water,
                    is_synced=is_power,
                    heads_max=options.heads_max,
                    on_fatal=on_fatal,
                )
            )
            reading = await SqliteThread.open(path, name="eventstore-reader")
            threads.append(reading)
            await reading.run(partial(configure, synchronous=level, cache_kib=options.cache_kib // 4))
            await reading.run(lambda connection: connection.execute("PRAGMA query_only = ON").fetchall())
            rows = await reading.run(partial(SqliteRows, upcasters=upcasters))
            gathering = Gathering(batch_events=options.batch_events, pending_events=options.pending_events)
            copy = _Copy(writing, writer)
            if primary is not None:
                await primary.start(copy, gathering.refuse_waiting)
                high_water.check(writer.last_position, log_path=str(path))
        except BaseException:
            if primary is not None:
                await primary.close()
            for thread in threads:
                await thread.close()
            if high_water is not None:
                high_water.close()
            lock.release()
            raise
        return cls(
            lock=lock,
            high_water=high_water,
            writing=writing,
            reading=reading,
            writer=writer,
            rows=rows,
            clock=clock,
            options=options,
            on_fatal=on_fatal,
            primary=primary,
            gathering=gathering,
            copy=copy,
        )

    async def append(self, events: Sequence[NewEvent], *, is_atomic: bool = False) -> list[Outcome]:
        self._check_open()
        if not events:
            return []
        if self._primary is not None:
            self._primary.check()
        return await self._gathering.put(Call(events, is_atomic))

    # What a copy lacks still is no empty answer: these raise ``LogIncomplete`` for it.

    async def read(self, stream: Stream, *, after_version: int = 0, limit: int | None = None) -> list[Event]:
        if self._copy.missing is not None:
            return await self._read_there(self._copy.missing, stream, after_version, limit)
        return await self._read(lambda rows: rows.read(stream, after_version, limit))

    async def read_many(self, streams: Sequence[Stream]) -> list[list[Event]]:
        if self._copy.missing is not None:
            return [await self._read_there(self._copy.missing, stream) for stream in streams]
        return await self._read(lambda rows: [rows.read(stream) for stream in streams])

    async def read_log(self, *, after: Position = Position(0), limit: int = 1000) -> list[Event]:  # noqa: B008 - an int
        missing = self._copy.missing
        if missing is not None and missing.filled <= after < missing.position:
            raise missing.error()
        events = await self._read(lambda rows: rows.read_log(after, limit))
        if missing is None or after >= missing.position:
            return events
        return [event for event in events if event.position <= missing.filled]

    async def find(self, org: str, event_id: str) -> Event | None:
        missing = self._copy.missing
        found = await self._read(lambda rows: rows.find_system(org, event_id))
        if found is None and missing is not None:
            raise missing.error()
        return found

    async def read_type(
        self, org: str, event_type: str, *, before: Position | None = None, limit: int = 100
    ) -> list[Event]:
        missing = self._copy.missing
        events = await self._read(lambda rows: rows.read_type(org, event_type, before, limit))
        if missing is not None and (len(events) < limit or events[-1].position <= missing.position):
            raise missing.error()
        return events

    def subscribe(self, *, after: Position) -> AsyncIterator[list[Event]]:
        self._check_open()
        return follow(lambda at, limit: self.read_log(after=at, limit=limit), self._bell, after=after)

    async def info(self, streams: Sequence[Stream]) -> list[StreamInfo | None]:
        self._check_open()
        heads = self._writer.heads
        found = [heads.get(stream) for stream in streams]
        missing = [index for index, info in enumerate(found) if info is None]
        if missing:
            looked_up = await self._read(lambda rows: [rows.info(streams[index]) for index in missing])
            for index, info in zip(missing, looked_up, strict=True):
                found[index] = info
        return found

    async def streams_of(self, numbers: Sequence[int]) -> list[StreamInfo | None]:
        return await self._read(lambda rows: [rows.info_of(number) for number in numbers])

    async def list_streams(self, *, after_number: int = 0, limit: int = 1000) -> list[StreamInfo]:
        return await self._read(lambda rows: rows.list_streams(after_number, limit))

    async def last_position(self) -> Position:
        self._check_open()
        return self._writer.last_position

    async def ask(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What a function finds in the file, run in the thread that reads it, with a connection that cannot write."""
        return await self._read_by(function)

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(
            events=self._events,
            commits=self._commits,
            duplicates=self._duplicates,
            refused=self._refused,
            streams_cached=len(self._writer.heads),
        )

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="eventstore-close")
        await asyncio.shield(self._closing)  # a stop that is cancelled half-way would leave the directory owned

    async def _close(self) -> None:
        self._end = self._end or StoreClosed("the store is closed")
        self._gathering.end(self._end)
        if self._primary is not None:
            self._primary.hurry()
        self._keeper.cancel()
        await asyncio.gather(self._keeper, self._committer, return_exceptions=True)
        if self._primary is not None:
            await self._primary.close()
        self._bell.close()
        try:
            await self._writing.run(lambda _: self._writer.checkpoint(is_idle=True))
            await self._writing.run(lambda _: self._writer.sync_high_water())
        except StoreFailed:
            pass  # told when it happened; there is nothing left to finish
        finally:
            await self._reading.close()
            await self._writing.close()
            self._high_water.close()
            self._lock.release()

    async def _read_there(
        self, missing: Missing, stream: Stream, after: int = 0, limit: int | None = None
    ) -> list[Event]:
        """Events of a stream in a copy that lacks some: of the stream's first ones some may have come."""
        (info,) = await self.info([stream])
        events = await self._read(lambda rows: rows.read(stream, after, limit))
        is_dense = all(event.version == version for version, event in enumerate(events, after + 1))
        least = 0 if info is None else info.version
        if not is_dense or (len(events) != limit and after + len(events) < least):
            raise missing.error()
        return events

    async def _read(self, function: Callable[[SqliteRows], T]) -> T:
        return await self._read_by(lambda _: function(self._rows))

    async def _read_by(self, function: Callable[[sqlite3.Connection], T]) -> T:
        self._check_open()
        try:
            return await self._reading.run(function)
        except sqlite3.Error as error:
            raise EventStoreError(f"the log cannot be read: {reason(error)}") from error
        except ValueError as error:  # aiosqlite's word for a closed connection
            if self._end is not None:
                raise self._end.with_traceback(None) from error
            raise

    async def _commit_gathered(self) -> None:
        while batch := await self._gathering.take():
            await self._commit(batch)
            if self._unmoved_events >= self._options.checkpoint_events:
                await self._checkpoint(is_idle=False)

    async def _commit(self, batch: Sequence[Pending]) -> None:
        calls = [pending.call for pending in batch]
        now_us = self._clock.now_us()
        try:
            if self._primary is None:
                written = await self._writing.run(lambda _: self._writer.write(calls, now_us))
            else:
                written = await self._commit_led(self._primary, calls, now_us)
        except EventStoreError as error:
            if isinstance(error, RecordTooLarge | LogIncomplete) and len(batch) > 1:
                for pending in batch:  # one call's fault; the others go on without it
                    await self._commit([pending])
            else:
                refuse(batch, error)
        except Exception as error:  # noqa: BLE001 - told to the caller at fault; the others go on without it
            if len(batch) == 1:
                refuse(batch, error)
            else:
                for pending in batch:
                    await self._commit([pending])
        else:
            self._count(written)
            if written.events:
                self._bell.ring()
            answer(batch, written.outcomes)

    async def _commit_led(self, primary: Primary, calls: Sequence[Call], now_us: int) -> Written:
        """Commit a batch that the primary takes first."""
        async with self._copy.turn:
            return await self._commit_in_turn(primary, calls, now_us)

    async def _commit_in_turn(self, primary: Primary, calls: Sequence[Call], now_us: int) -> Written:
        writing, writer = self._writing, self._writer
        events = await writing.run(lambda _: writer.prepare(calls, now_us))
        if not events:
            return await writing.run(lambda _: writer.finish())
        try:
            note = await primary.take(events)
        except EventStoreError as error:
            await writing.run(lambda _: writer.drop())
            if not isinstance(error, StoreUnavailable | RecordTooLarge):
                self._fail(error)
            raise
        try:
            return await writing.run(lambda _: writer.finish(note))
        except StoreUnavailable as error:  # the primary holds what the copy cannot: a restart follows it anew
            failed = StoreFailed(f"the copy of the log cannot follow: {error}")
            self._fail(failed)
            raise failed from error

    def _fail(self, error: EventStoreError) -> None:
        if self._end is None:
            self._end = error
            self._on_fatal(error)
        self._gathering.abandon(error)

    def _note_adopted(self, events: int) -> None:
        self._events += events
        self._unmoved_events += events
        self._bell.ring()

    def _count(self, written: Written) -> None:
        self._commits += written.events > 0
        self._events += written.events
        self._duplicates += written.duplicates
        self._refused += written.refused
        self._unmoved_events += written.events

    async def _keep(self) -> None:
        """Sync the mark and checkpoint, by the clock."""
        options, since_checkpoint_s, events_before, is_empty = self._options, 0.0, 0, True
        while True:
            await self._clock.sleep(options.high_water_interval_s)
            await self._writing.run(lambda _: self._writer.sync_high_water())
            since_checkpoint_s += options.high_water_interval_s
            if since_checkpoint_s < options.checkpoint_interval_s:
                continue
            since_checkpoint_s = 0.0
            is_idle = self._events == events_before
            if not (is_idle and is_empty):
                await self._checkpoint(is_idle=is_idle)
            events_before, is_empty = self._events, is_idle

    async def _checkpoint(self, *, is_idle: bool) -> None:
        self._unmoved_events = 0
        await self._writing.run(lambda _: self._writer.checkpoint(is_idle=is_idle))

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """Nobody waits for an append that no task will commit."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, StoreFailed):  # that one was told when it happened
            self._on_fatal(error)
        self._end = StoreFailed(f"the log failed: {error}")
        self._gathering.abandon(self._end)

    def _check_open(self) -> None:
        if self._end is not None:
            raise self._end.with_traceback(None)


class _Copy:
    """The file, as its primary may touch it.

    Attributes
    ----------
    turn : held while a batch is between its two halves: a transaction is open then.
    missing : what the file lacks; None when it is whole.
    """

    def __init__(self, writing: SqliteThread, writer: SqliteWriter) -> None:
        self._writing = writing
        self._writer = writer
        self.turn = asyncio.Lock()
        self.on_adopted: Callable[[int], None] | None = None
        self.missing: Missing | None = None

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await self._writing.run(function)

    async def adopt(self, told: Sequence[Told], note: Note) -> list[Event]:
        async with self.turn:
            kept = await self._writing.run(lambda _: self._writer.adopt(told, note))
        if self.on_adopted is not None and kept:
            self.on_adopted(len(kept))
        return kept

    async def lack(self, missing: Missing | None) -> None:
        def lack(_: sqlite3.Connection) -> None:
            if missing is None:
                self._writer.missing = None
            else:
                self._writer.lack(missing)

        await self._writing.run(lack)
        self.missing = missing

    async def fill(self, told: Sequence[Told], reached: int) -> None:
        async with self.turn:
            await self._writing.run(lambda _: self._writer.fill(told, reached))
