"""What a changelog has to cover, asked of a copy: plain functions for the thread that reads it (``SqliteEventStore.ask``)."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from eventstore.event import KINDS, Stream


class Reached(NamedTuple):
    """How far a copy has come: every event before ``offset`` is in it, at ``position`` or before; times as of that last one."""

    offset: int
    position: int
    recorded_us: int


class Changed(NamedTuple):
    """A stream that a changelog has to cover up to a version. ``position`` is where to go on from for more of them."""

    stream: Stream
    number: int
    version: int
    is_known: bool
    position: int


class Ids(NamedTuple):
    """Ids of a stream's events, by version; whether these are all there are."""

    ids: list[str]
    is_whole: bool


_NAMES = "SELECT s.number, o.name, s.kind, s.name, s.is_known"
_VERSION = "COALESCE((SELECT MAX(version) FROM events WHERE stream = s.number), 0), 0"
_STREAMS = "FROM streams s JOIN orgs o ON o.number = s.org"


def reached_by(connection: sqlite3.Connection, *, partition: int) -> Reached:
    """How far the copy has come, offset and position as of one commit."""
    row = connection.execute(
        """SELECT (SELECT next FROM followed WHERE partition = ?), e.position, e.recorded_us
        FROM (SELECT COALESCE(MAX(position), 0) AS last FROM events) LEFT JOIN events e ON e.position = last""",
        (partition,),
    ).fetchone()
    offset, position, recorded_us = row
    return Reached(offset, position or 0, recorded_us or 0)


def recorded_at(connection: sqlite3.Connection, *, position: int) -> int | None:
    """When the event at a position was recorded; None where there is none."""
    row = connection.execute("SELECT recorded_us FROM events WHERE position = ?", (position,)).fetchone()
    return None if row is None else int(row[0])


def changed_between(connection: sqlite3.Connection, *, after: int, until: int, limit: int) -> list[Changed]:
    """Streams of the next ``limit`` events after a position and up to another one, each once, by their last event there."""
    sql = f"""{_NAMES}, MAX(e.version), MAX(e.position) FROM (
            SELECT stream, version, position FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?
        ) e JOIN streams s ON s.number = e.stream JOIN orgs o ON o.number = s.org GROUP BY s.number ORDER BY 7"""  # noqa: S608 - no input
    return [_changed(*row) for row in connection.execute(sql, (after, until, limit))]


def streams_after(connection: sqlite3.Connection, *, number: int, limit: int) -> list[Changed]:
    """All streams, by number, after one. ``position`` is 0; without an event the version is 0."""
    sql = f"{_NAMES}, {_VERSION} {_STREAMS} WHERE s.number > ? ORDER BY s.number LIMIT ?"
    return [_changed(*row) for row in connection.execute(sql, (number, limit))]


def streams_named(connection: sqlite3.Connection, *, streams: Iterable[Stream]) -> list[Changed]:
    """The same of some streams; those that are not there are left out."""
    sql = f"{_NAMES}, {_VERSION} {_STREAMS} WHERE o.name = ? AND s.kind = ? AND s.name = ?"
    rows = (connection.execute(sql, (org, KINDS.index(kind), name)).fetchone() for org, kind, name in streams)
    return [_changed(*row) for row in rows if row is not None]


def known_among(connection: sqlite3.Connection, *, numbers: Sequence[int]) -> frozenset[int]:
    """Those of the streams that have an event from outside."""
    sql = "SELECT 1 FROM streams WHERE number = ? AND is_known"
    return frozenset(each for each in numbers if connection.execute(sql, (each,)).fetchone() is not None)


def ids_after(connection: sqlite3.Connection, *, wanted: Sequence[tuple[int, int]], limit: int) -> list[Ids]:
    """Ids of streams given by number, each after a version; those that come after ``limit`` ids are left out."""
    found: list[Ids] = []
    sql = "SELECT id FROM events WHERE stream = ? AND version > ? ORDER BY version LIMIT ?"
    for number, version in wanted:
        if limit <= 0:
            break
        ids = [row[0] for row in connection.execute(sql, (number, version, limit))]
        found.append(Ids(ids, len(ids) < limit))
        limit -= len(ids)
    return found


def _changed(number: int, org: str, kind: int, name: str, is_known: int, version: int, position: int) -> Changed:
    return Changed(Stream(org, KINDS[kind], name), number, version, bool(is_known), position)
