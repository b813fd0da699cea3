"""The writing side of ``events.db``: one batch, one transaction; plain calls in the writer's thread.

A batch is first inserted as if all of it were new, and the log's own indexes object if it is not: then it is
rolled back and judged event by event. So the usual batch pays for no look-up. (Nothing is refused in a batch of new events only, so atomic calls may go this way,
too; retractions may not, since they are judged by what they name.) What is remembered between
batches (heads of streams, numbers of names, the last position) changes only after the commit; a batch that
fails leaves no trace.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple

from eventstore.changelog import has_hash
from eventstore.event import KINDS, Event, NewEvent, Stream, StreamInfo
from eventstore.gathering import Call
from eventstore.highwater import HighWater
from eventstore.restoring import Missing, note_filled, read_ids
from eventstore.schema import BUSY_TIMEOUT_MS
from eventstore.sqlite_errors import reason, verdict
from eventstore.sqlite_rows import SqliteRows
from eventstore.staging import Head, Staging
from eventstore.store import Outcome
from eventstore.system import EVENT_RETRACTED, is_system_id
from eventstore.types import EventTypes
from eventstore.upcasters import Upcasters
from kernel.errors import CopyDiffers, StoreFailed, StoreUnavailable
from kernel.fatal import OnFatal
from kernel.ids import Position

_COLUMNS = 9
_ROW = f"({', '.join(['?'] * _COLUMNS)})"
#: Statements that insert several rows, by how many values they take, the most first: for each row a quarter cheaper than one
#: at a time, and the interpreter's lock changes hands once.
_INSERTS = [
    (rows * _COLUMNS, f"INSERT INTO events VALUES {', '.join([_ROW] * rows)}")  # noqa: S608 - no input
    for rows in (16, 8, 4, 2, 1)
]


#: Writes more in the transaction of a batch.
Note = Callable[[sqlite3.Connection], None]


class Told(NamedTuple):
    """An event that another log holds, and the version of its payload. Its number and position are to be given."""

    event: Event
    payload_version: int


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

    Attributes
    ----------
    missing : the events that this log, a copy, lacks still; None for a whole one.
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
        # A statement of several rows keeps the pages that it changes, to undo itself: a file of a few hundred kilobytes,
        # opened, written and deleted with each commit. Not set before the migrations, whose sorting may need a real file.
        connection.execute("PRAGMA temp_store = MEMORY")
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
        self._streams_before = self._last_stream
        self._prepared: tuple[Staging, list[list[Outcome]]]
        self.missing: Missing | None = None

    def lack(self, missing: Missing) -> None:
        """Go on without the log's first events, which ``fill`` brings in."""
        self.missing = missing
        self.last_position = max(self.last_position, Position(missing.position))
        self._last_recorded_us = max(self._last_recorded_us, missing.recorded_us)
        (self._last_stream,) = self._connection.execute("SELECT COALESCE(MAX(number), 0) FROM streams").fetchone()

    def write(self, calls: Sequence[Call], now_us: int) -> Written:
        """Commit the events of several appends together.

        Raises
        ------
        StoreUnavailable
            Nothing was stored; trying again later is sensible.
        StoreFailed
            After ``on_fatal`` returned.
        """
        self.prepare(calls, now_us)
        return self.finish()

    def prepare(self, calls: Sequence[Call], now_us: int) -> Sequence[Event]:
        """Judge a batch and insert what is new of it, seen by nobody until ``finish``; ``drop`` undoes it.

        Raises as ``write``; then nothing was prepared.
        """
        self._check_sound()
        recorded_us = max(now_us, self._last_recorded_us)
        try:
            if self.missing is None and not any(_has_retraction(call.events) for call in calls):
                try:
                    return self._prepare(calls, recorded_us, is_unseen=True)
                except sqlite3.IntegrityError:
                    pass  # an id is taken: rolled back, to be judged one by one
            return self._prepare(calls, recorded_us, is_unseen=False)
        except (sqlite3.Error, OSError) as error:
            raise self._translated(error) from error

    def finish(self, note: Note | None = None) -> Written:
        """Commit what was prepared, and what ``note`` writes with it. Raises as ``write``."""
        self._check_sound()
        staging, outcomes = self._prepared
        try:
            if staging.events:
                if note is not None:
                    note(self._connection)
                self._connection.execute("COMMIT")
            touched = self._touched
        except (sqlite3.Error, OSError) as error:
            self.drop()
            raise self._translated(error) from error
        self._forget_batch()
        try:
            if staging.events:
                self._note(staging.events[-1], touched)
        except OSError as error:
            raise self._translated(error) from error
        return Written(outcomes, len(staging.events), staging.duplicates, staging.refused)

    def drop(self) -> None:
        """Undo what was prepared. Idempotent."""
        self._forget_batch()
        self._last_stream = self._streams_before
        self._orgs.clear()
        self._type_numbers.clear()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def adopt(self, told: Sequence[Told], note: Note) -> list[Event]:
        """Commit events that another log holds already, in its order, and what ``note`` writes with them.

        What does not continue its stream, or has a taken id, was not written by a store's rules and is passed
        over. The others are answered, with their numbers and positions here. The high-water mark stays as it is: it says what this log is to reach.

        Raises
        ------
        StoreUnavailable, StoreFailed
            As ``write``.
        """
        self._check_sound()
        self._streams_before = self._last_stream
        taken: dict[Stream, set[str]] = {}
        ends: dict[Stream, int] = {}
        kept: list[Told] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for each in told:
                event = each.event
                ids = taken.setdefault(event.stream, set())
                known = self._touched.get(event.stream) or self.heads.get(event.stream) or self._rows.info(event.stream)
                if not self._continues(event, known, ends):
                    continue
                if event.id in ids or self._find(event.stream, event.id) is not None:
                    continue
                head = self.head(event.stream)
                head.version = max(head.version, event.version)
                ends[event.stream] = event.version
                head.is_known = head.is_known or not is_system_id(event.id)
                event.number, event.position = head.number, Position(self.last_position + len(kept) + 1)
                ids.add(event.id)
                kept.append(each)
            self._insert([each.event for each in kept], [each.payload_version for each in kept])
            note(self._connection)
            self._connection.execute("COMMIT")
            touched = self._touched
        except (sqlite3.Error, OSError) as error:
            self.drop()
            raise self._translated(error) from error
        self._forget_batch()
        if kept:
            self._remember(kept[-1].event, touched)
        return [each.event for each in kept]

    def fill(self, told: Sequence[Told], reached: int) -> None:
        """Commit some of the missing events, in their log's order; the next of them stands at the offset ``reached``.

        What is no event by the rules of ``adopt`` is passed over here, too, so that all get the positions that they have in
        a copy that never lacked them.

        Raises
        ------
        CopyDiffers
            One of a stream that the changelog should have told of, or more than it told of.
        StoreUnavailable, StoreFailed
            As ``write``.
        """
        self._check_sound()
        missing = self.missing
        assert missing is not None  # noqa: S101 - of a copy that lacks some
        taken: set[tuple[int, str]] = set()
        ends: dict[int, int] = {}
        kept: list[Told] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for each in told:
                event = each.event
                number = self._rows.number_of(event.stream)
                if number is None:
                    raise CopyDiffers(f"nothing is said of {'/'.join(event.stream)}")
                if not self._precedes(event, number, ends):
                    continue
                if (number, event.id) in taken or self._rows.find(event.stream, number, event.id) is not None:
                    continue
                ends[number] = event.version
                taken.add((number, event.id))
                event.number, event.position = number, Position(missing.filled + len(kept) + 1)
                kept.append(each)
            filled = missing.filled + len(kept)
            if filled > missing.position:
                raise CopyDiffers(f"before offset {missing.end} there are more than {missing.position} events")
            self._insert([each.event for each in kept], [each.payload_version for each in kept])
            note_filled(self._connection, next_=reached, filled=filled)
            self._connection.execute("COMMIT")
            missing.next, missing.filled = reached, filled
        except (sqlite3.Error, OSError) as error:
            self.drop()
            raise self._translated(error) from error
        except CopyDiffers:
            self.drop()
            raise

    def checkpoint(self, *, is_idle: bool) -> None:
        """Move commits from the write-ahead log into the database; when idle, give the log's space back too."""
        self._check_sound()
        if self._connection.in_transaction:  # of a batch that another log is to take first
            return
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
        """The stored event of that id. Raises ``LogIncomplete`` where one that is missing may have it."""
        found = self._find(stream, event_id)
        if found is None and self.missing is not None and self._may_be_missing(stream, event_id):
            raise self.missing.error()
        return found

    def _find(self, stream: Stream, event_id: str) -> Event | None:
        known = self._touched.get(stream) or self.heads.get(stream)
        number = known.number if known is not None else self._rows.number_of(stream)
        return None if number is None else self._rows.find(stream, number, event_id)

    def _may_be_missing(self, stream: Stream, event_id: str) -> bool:
        number = self._rows.number_of(stream)
        row = None if number is None else read_ids(self._connection, number)
        return row is not None and (row[0] is None or has_hash(row[0], event_id))

    def _continues(self, event: Event, known: Head | StreamInfo | None, ends: dict[Stream, int]) -> bool:
        """Whether an event is the next one of its stream: after ``ends``, the versions that are about to be inserted."""
        following = 1 if known is None else known.version + 1
        if self.missing is None or known is None:
            return event.version == following
        last = ends.get(event.stream) or self._rows.last_version(known.number, self.missing.position)
        if last:
            return event.version == last + 1
        return event.version <= following  # what its snapshot covers may be written before the copy begins, or after

    def _precedes(self, event: Event, number: int, ends: dict[int, int]) -> bool:
        """Whether a missing event is the next one of its stream."""
        before = event.version - 1
        is_next = before == 0 or ends.get(number) == before or self._rows.has_version(number, before)
        return is_next and ends.get(number, 0) < event.version and not self._rows.has_version(number, event.version)

    def _prepare(self, calls: Sequence[Call], recorded_us: int, *, is_unseen: bool) -> Sequence[Event]:
        self._streams_before = self._last_stream
        staging = Staging(self, self._types, self.last_position, recorded_us)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if is_unseen:
                outcomes = [staging.add_unseen(call.events) for call in calls]
            else:
                outcomes = [staging.add(call.events, is_atomic=call.is_atomic) for call in calls]
            if staging.events:
                self._insert(staging.events)
            else:
                self._connection.execute("ROLLBACK")
        except BaseException:
            self.drop()
            raise
        self._prepared = staging, outcomes
        return staging.events

    def _insert(self, events: Sequence[Event], versions: Sequence[int] | None = None) -> None:
        """Insert events; ``versions`` are those of their payloads, the newest ones when absent."""
        connection, numbers = self._connection, self._type_numbers
        if self._created:
            rows = [(number, org, kind, name, head.is_known) for number, org, kind, name, head in self._created]
            connection.executemany("INSERT INTO streams VALUES (?, ?, ?, ?, ?)", rows)
        for head in self._unknown:
            if head.is_known:
                connection.execute("UPDATE streams SET is_known = 1 WHERE number = ?", (head.number,))
        for name in {event.type for event in events}:
            if name not in numbers:
                numbers[name] = self._type_number(name, self._upcasters.version_of(name))
        types = [numbers[event.type] for event in events]
        if versions is not None:
            types = [self._type_number(event.type, each) for event, each in zip(events, versions, strict=True)]
        params: list[object] = []
        for e, number in zip(events, types, strict=True):
            params += (e.position, e.number, e.version, e.id, number, e.at_us, e.recorded_us, e.source, e.data)
        start = 0
        for width, statement in _INSERTS:
            while start + width <= len(params):
                connection.execute(statement, params[start : start + width])
                start += width

    def _forget_batch(self) -> None:
        self._touched, self._created, self._unknown = {}, [], []

    def _note(self, newest: Event, touched: dict[Stream, Head]) -> None:
        """Remember a commit: the mark first, which the acknowledgement must not overtake."""
        synced = newest.position if self._is_synced else self._high_water.mark.synced
        self._high_water.write(newest.position, synced=synced)
        self._remember(newest, touched)

    def _remember(self, newest: Event, touched: dict[Stream, Head]) -> None:
        self.last_position = newest.position
        self._last_recorded_us = max(self._last_recorded_us, newest.recorded_us)
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

    def _type_number(self, name: str, version: int) -> int:
        key = (name, version)
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
