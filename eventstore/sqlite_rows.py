"""From the rows of ``events.db`` to events and back to names; plain calls in a connection's thread."""

import sqlite3

from eventstore.event import KINDS, Event, Stream, StreamInfo
from eventstore.system import is_system_id
from eventstore.upcasters import Upcasters
from kernel.ids import Position

_EVENT = "position, stream, version, id, type, at_us, recorded_us, source, data"
_SYSTEM = "events e JOIN streams s ON s.number = e.stream JOIN orgs o ON o.number = s.org WHERE substr(id, 1, 1) = '~'"
_LAST = "COALESCE((SELECT MAX(version) FROM events WHERE stream = s.number), 0)"
_RESTORED = "COALESCE((SELECT version FROM restored WHERE stream = s.number), 0)"
_HEAD = f"MAX({_LAST}, {_RESTORED})"
_INFO = f"SELECT o.name, s.kind, s.name, s.number, {_HEAD}, s.is_known FROM streams s JOIN orgs o ON o.number = s.org"  # noqa: S608 - no input

_Row = tuple[Position, int, int, str, int, int, int, str | None, bytes]


class SqliteRows:
    """Reads through one connection, with the names that rows refer to by number kept at hand.

    Parameters
    ----------
    streams_max : names of streams that are kept.
    """

    def __init__(self, connection: sqlite3.Connection, upcasters: Upcasters, *, streams_max: int = 100_000) -> None:
        self._connection = connection
        self._upcasters = upcasters
        self._streams_max = streams_max
        self._types: dict[int, tuple[str, int, bool]] = {}
        self._streams = _NamedStreams(connection)

    def last(self) -> tuple[Position, int]:
        """The newest event's position and recorded time; zeros for an empty log."""
        row = self._connection.execute(
            "SELECT position, recorded_us FROM events ORDER BY position DESC LIMIT 1"
        ).fetchone()
        return (Position(0), 0) if row is None else (Position(row[0]), row[1])

    def info(self, stream: Stream) -> StreamInfo | None:
        sql = f"{_INFO} WHERE o.name = ? AND s.kind = ? AND s.name = ?"
        row = self._connection.execute(sql, (stream.org, KINDS.index(stream.kind), stream.id)).fetchone()
        return None if row is None else _stream_info(row)

    def info_of(self, number: int) -> StreamInfo | None:
        row = self._connection.execute(f"{_INFO} WHERE s.number = ?", (number,)).fetchone()
        return None if row is None else _stream_info(row)

    def list_streams(self, after_number: int, limit: int) -> list[StreamInfo]:
        sql = f"{_INFO} WHERE s.number > ? ORDER BY s.number LIMIT ?"
        return [_stream_info(row) for row in self._connection.execute(sql, (after_number, limit))]

    def read(self, stream: Stream, after_version: int = 0, limit: int | None = None) -> list[Event]:
        number = self.number_of(stream)
        if number is None:
            return []
        sql = f"SELECT {_EVENT} FROM events WHERE stream = ? AND version > ? ORDER BY version LIMIT ?"  # noqa: S608
        rows = self._connection.execute(sql, (number, after_version, -1 if limit is None else limit)).fetchall()
        return [self._event(row, stream) for row in rows]

    def read_log(self, after: int, limit: int) -> list[Event]:
        sql = f"SELECT {_EVENT} FROM events WHERE position > ? ORDER BY position LIMIT ?"  # noqa: S608
        streams, event = self._named_streams(), self._event
        # Not all rows first: what a page holds would go through the processor's cache a second time.
        return [event(row, streams[row[1]]) for row in self._connection.execute(sql, (after, limit))]

    def find(self, stream: Stream, number: int, event_id: str) -> Event | None:
        sign = "=" if is_system_id(event_id) else "<>"  # as in the index that has it
        sql = f"SELECT {_EVENT} FROM events WHERE stream = ? AND id = ? AND substr(id, 1, 1) {sign} '~'"  # noqa: S608
        row = self._connection.execute(sql, (number, event_id)).fetchone()
        return None if row is None else self._event(row, stream)

    def has_version(self, number: int, version: int) -> bool:
        sql = "SELECT 1 FROM events WHERE stream = ? AND version = ?"
        return self._connection.execute(sql, (number, version)).fetchone() is not None

    def last_version(self, number: int, after: int) -> int:
        """Of a stream's rows if it has one behind a position, else 0."""
        sql = "SELECT version, position FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1"
        version, position = self._connection.execute(sql, (number,)).fetchone() or (0, 0)
        return int(version) if position > after else 0

    def find_system(self, org: str, event_id: str) -> Event | None:
        sql = f"SELECT {_EVENT} FROM {_SYSTEM} AND id = ? AND o.name = ? ORDER BY position LIMIT 1"  # noqa: S608
        row = self._connection.execute(sql, (event_id, org)).fetchone()
        return None if row is None else self._event(row, self._named_streams()[row[1]])

    def read_type(self, org: str, event_type: str, before: int | None, limit: int) -> list[Event]:
        newest = self._connection.execute("SELECT COALESCE(MAX(position), 0) FROM events").fetchone()[0]
        found: list[_Row] = []
        for (number,) in self._connection.execute("SELECT number FROM types WHERE name = ?", (event_type,)).fetchall():
            sql = f"SELECT {_EVENT} FROM {_SYSTEM} AND type = ? AND position < ? AND o.name = ? ORDER BY position DESC LIMIT ?"  # noqa: S608
            found += self._connection.execute(
                sql, (number, newest + 1 if before is None else before, org, limit)
            ).fetchall()
        found.sort(reverse=True)  # a type has a number for each version of its payload
        streams = self._named_streams()
        return [self._event(row, streams[row[1]]) for row in found[:limit]]

    def number_of(self, stream: Stream) -> int | None:
        sql = "SELECT s.number FROM streams s JOIN orgs o ON o.number = s.org WHERE o.name = ? AND s.kind = ? AND s.name = ?"
        row = self._connection.execute(sql, (stream.org, KINDS.index(stream.kind), stream.id)).fetchone()
        return None if row is None else row[0]

    def _event(self, row: _Row, stream: Stream) -> Event:
        position, number, version, event_id, type_number, at_us, recorded_us, source, data = row
        name, payload_version, is_old = self._types.get(type_number) or self._load_type(type_number)
        if is_old:
            data = self._upcasters.upcast(name, payload_version, data)
        return Event(stream, number, version, position, event_id, name, at_us, recorded_us, data, source)

    def _load_type(self, number: int) -> tuple[str, int, bool]:
        sql = "SELECT name, version FROM types WHERE number = ?"
        name, version = self._connection.execute(sql, (number,)).fetchone()
        entry = self._types[number] = (name, version, version < self._upcasters.version_of(name))
        return entry

    def _named_streams(self) -> "_NamedStreams":
        if len(self._streams) > self._streams_max:
            self._streams.clear()
        return self._streams


class _NamedStreams(dict[int, Stream]):
    """Streams by number, looked up when first asked for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def __missing__(self, number: int) -> Stream:
        sql = "SELECT o.name, s.kind, s.name FROM streams s JOIN orgs o ON o.number = s.org WHERE s.number = ?"
        org, kind, name = self._connection.execute(sql, (number,)).fetchone()
        found = self[number] = Stream(org, KINDS[kind], name)
        return found


def _stream_info(row: tuple[str, int, str, int, int, int]) -> StreamInfo:
    org, kind, name, number, version, is_known = row
    return StreamInfo(Stream(org, KINDS[kind], name), number, version, bool(is_known))
