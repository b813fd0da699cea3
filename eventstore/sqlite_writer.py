"""The writing side of ``events.db``: one batch, one transaction; plain calls in the writer's thread.

A batch is first inserted as if all of it were new, and the log's own indexes object if it is not: then it is
rolled back and judged event by event. So the usual batch pays for no look-up. (Nothing is refused in a batch of new events only, so atomic calls may go this way,
too; retractions may not, since they are judged by what they name.) What is remembered between
batches (heads of streams, numbers of names, the last position) changes only after the commit; a batch that
fails leaves no trace.
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from eventstore.event import KINDS, Event, NewEvent, Stream, StreamInfo
from eventstore.gathering import Call
from eventstore.highwater import HighWater
from eventstore.schema import BUSY_TIMEOUT_MS
from eventstore.sqlite_errors import reason, verdict
from eventstore.sqlite_rows import SqliteRows
from eventstore.staging import Head, Staging
from eventstore.store import Outcome
from eventstore.system import EVENT_RETRACTED
from eventstore.types import EventTypes
from eventstore.upcasters import Upcasters
from kernel.errors import StoreFailed, StoreUnavailable
from kernel.fatal import OnFatal

_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT = f"INSERT INTO events VALUES {_ROW}"  # noqa: S608 - no input

#: Rows of one statement: a quarter cheaper for each than one at a time, and the interpreter's lock changes hands once.
_ROWS = 16
_INSERT_ROWS = f"INSERT INTO events VALUES {', '.join([_ROW] * _ROWS)}"  # noqa: S608 - as above


class Written(NamedTuple):
    """What became of a batch: the outcomes of each call, and how many of them were what."""

    outcomes: list[list[Outcome]]
    events: int
    duplicates: int
    refused: int


class SqliteWriter:
    """Owns the writing connection and the high-water mark.

    Parameters
    ----------
    is_synced : a commit is on the disk when it returns (``synchronous=FULL``).
    heads_max : heads of streams that are remembered.
    on_fatal : called in this thread when a write's fate is unknown. Should it return, every later write raises.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        types: EventTypes,
        upcasters: Upcasters,
        high_water: HighWater,
        is_synced: bool,
        heads_max: int,
        on_fatal: OnFatal,
    ) -> None:
        self._connection = connection
        self._types = types
        self._upcasters = upcasters
        self._high_water = high_water
        self._is_synced = is_synced
        self._heads_max = heads_max
        self._on_fatal = on_fatal
        self._rows = SqliteRows(connection, upcasters)
        self._failure: BaseException | None = None
        #: Committed heads, oldest use first. Other threads may look up, and see a commit whole.
        self.heads: dict[Stream, StreamInfo] = {}
        self.last_position, self._last_recorded_us = self._rows.last()
        (self._last_stream,) = connection.execute("SELECT COALESCE(MAX(number), 0) FROM streams").fetchone()
        self._orgs: dict[str, int] = {}
        self._type_numbers: dict[str, int] = {}
        self._touched: dict[Stream, Head] = {}
        self._created: list[tuple[int, int, int, str, Head]] = []
        self._unknown: list[Head] = []

    def write(self, calls: Sequence[Call], now_us: int) -> Written:
        """Commit the events of several appends together.

        Raises
        ------
        StoreUnavailable
            Nothing was stored; trying again later is sensible.
        StoreFailed
            After ``on_fatal`` returned.
        """
        self._check_sound()
        recorded_us = max(now_us, self._last_recorded_us)
        try:
            if not any(_has_retraction(call.events) for call in calls):
                try:
                    return self._commit(calls, recorded_us, is_unseen=True)
                except sqlite3.IntegrityError:
                    pass  # an id is taken: rolled back, to be judged one by one
            return self._commit(calls, recorded_us, is_unseen=False)
        except (sqlite3.Error, OSError) as error:
            raise self._translated(error) from error

    def checkpoint(self, *, is_idle: bool) -> None:
        """Move commits from the write-ahead log into the database; when idle, give the log's space back too."""
        self._check_sound()
        committed = self.last_position
        mode = "TRUNCATE" if is_idle else "PASSIVE"
        try:
            self._connection.execute("PRAGMA busy_timeout = 0")  # appends do not wait for a checkpoint's readers
            busy, in_log, moved = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            if not busy and in_log == moved and committed > self._high_water.mark.synced:
                self._high_water.write(committed, synced=committed)
        except (sqlite3.Error, OSError) as error:
            translated = self._translated(error)
            if not isinstance(translated, StoreUnavailable):  # a full disk is no news to anybody: try again later
                raise translated from error

    def sync_high_water(self) -> None:
        """Make the mark durable."""
        try:
            self._high_water.sync()
        except OSError as error:
            raise self._translated(error) from error

    def head(self, stream: Stream) -> Head:
        head = self._touched.get(stream)
        if head is None:
            info = self.heads.get(stream) or self._rows.info(stream)
            if info is None:
                self._last_stream += 1
                head = Head(self._last_stream, 0, False)
                org, kind = self._org_number(stream.org), KINDS.index(stream.kind)
                self._created.append((head.number, org, kind, stream.id, head))
            else:
                head = Head(info.number, info.version, info.is_known)
                if not info.is_known:
                    self._unknown.append(head)
            self._touched[stream] = head
        return head

    def stored(self, stream: Stream, event_id: str) -> Event | None:
        known = self._touched.get(stream) or self.heads.get(stream)
        number = known.number if known is not None else self._rows.number_of(stream)
        return None if number is None else self._rows.find(stream, number, event_id)

    def _commit(self, calls: Sequence[Call], recorded_us: int, *, is_unseen: bool) -> Written:
        connection, streams_before = self._connection, self._last_stream
        staging = Staging(self, self._types, self.last_position, recorded_us)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if is_unseen:
                outcomes = [staging.add_unseen(call.events) for call in calls]
            else:
                outcomes = [staging.add(call.events, is_atomic=call.is_atomic) for call in calls]
            if staging.events:
                self._insert(staging.events)
                connection.execute("COMMIT")
            else:
                connection.execute("ROLLBACK")
        except BaseException:
            self._last_stream = streams_before
            self._orgs.clear()
            self._type_numbers.clear()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            touched, self._touched, self._created, self._unknown = self._touched, {}, [], []
        if staging.events:
            self._note(staging.events[-1], touched)
        return Written(outcomes, len(staging.events), staging.duplicates, staging.refused)

    def _insert(self, events: Sequence[Event]) -> None:
        connection, numbers = self._connection, self._type_numbers
        if self._created:
            rows = [(number, org, kind, name, head.is_known) for number, org, kind, name, head in self._created]
            connection.executemany("INSERT INTO streams VALUES (?, ?, ?, ?, ?)", rows)
        for head in self._unknown:
            if head.is_known:
                connection.execute("UPDATE streams SET is_known = 1 WHERE number = ?", (head.number,))
        for name in {event.type for event in events}:
            if name not in numbers:
                numbers[name] = self._type_number(name)
        params = [
            (e.position, e.number, e.version, e.id, numbers[e.type], e.at_us, e.recorded_us, e.source, e.data)
            for e in events
        ]
        whole = len(params) - len(params) % _ROWS
        for start in range(0, whole, _ROWS):
            connection.execute(_INSERT_ROWS, tuple(chain.from_iterable(params[start : start + _ROWS])))
        connection.executemany(_INSERT, params[whole:])

    def _note(self, newest: Event, touched: dict[Stream, Head]) -> None:
        """Remember a commit: the mark first, which the acknowledgement must not overtake."""
        self.last_position, self._last_recorded_us = newest.position, newest.recorded_us
        synced = newest.position if self._is_synced else self._high_water.mark.synced
        self._high_water.write(newest.position, synced=synced)
        heads = self.heads
        for stream, head in touched.items():
            heads.pop(stream, None)
            heads[stream] = StreamInfo(stream, head.number, head.version, head.is_known)
        while len(heads) > self._heads_max:
            del heads[next(iter(heads))]

    def _org_number(self, name: str) -> int:
        number = self._orgs.get(name)
        if number is None:
            self._connection.execute("INSERT OR IGNORE INTO orgs (name) VALUES (?)", (name,))
            (number,) = self._connection.execute("SELECT number FROM orgs WHERE name = ?", (name,)).fetchone()
            self._orgs[name] = number
        return number

    def _type_number(self, name: str) -> int:
        key = (name, self._upcasters.version_of(name))
        self._connection.execute("INSERT OR IGNORE INTO types (name, version) VALUES (?, ?)", key)
        number: int
        (number,) = self._connection.execute("SELECT number FROM types WHERE name = ? AND version = ?", key).fetchone()
        return number

    def _check_sound(self) -> None:
        if self._failure is not None:
            raise StoreFailed(f"the log failed: {self._failure}") from self._failure

    def _translated(self, error: sqlite3.Error | OSError) -> BaseException:
        """The error to raise; does not return when the process must end."""
        if isinstance(error, sqlite3.Error):
            judged = verdict(error)
            if judged == "refused":
                return StoreUnavailable(f"the log cannot be written now: {reason(error)}")
            if judged == "programming":
                return error
        self._failure = error
        self._on_fatal(error)
        return StoreFailed(f"the log failed: {error}")


def _has_retraction(events: Sequence[NewEvent]) -> bool:
    return EVENT_RETRACTED in {event.type for event in events}
