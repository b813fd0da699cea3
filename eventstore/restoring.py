"""A copy that began from a changelog: what it was given in place of the log's first events, and how far these have come.

Beside the table ``restored`` (``schema``) one more in ``events.db``, of one row: ``filling``. ``end`` is the offset up to which
the copy lacked everything when it began, ``position`` the log's there, ``recorded_us`` the time of the last event before;
``next`` and ``filled`` say how far the events before have come meanwhile. It is there from the moment when all that the changelog told is in ``restored``, until nothing
needs that any more. Rows in ``restored`` without it are of a beginning that was cut short.
"""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from eventstore.changelog import Kept, Mark
from eventstore.event import KINDS
from eventstore.snapshots import Snapshot
from kernel.errors import CopyDiffers, LogIncomplete

#: Rows that are forgotten in one transaction.
_SLICE = 500
#: Streams that are compared in one go: about 20 ms.
_STREAMS = 5000

_HAS_FILLING = "SELECT 1 FROM sqlite_master WHERE name = 'filling'"


class Missing:
    """The events that a copy lacks: the topic's before ``end``, the log's up to ``position``.

    Attributes
    ----------
    recorded_us : of the last of them.
    next, filled : where the first of them stands that has not come, and the position of the last one that has.
    """

    def __init__(self, end: int, position: int, recorded_us: int, next_: int, filled: int) -> None:
        self.end, self.position, self.recorded_us = end, position, recorded_us
        self.next, self.filled = next_, filled

    @property
    def progress(self) -> float:
        """Which part of them has come, 0 to 1."""
        return 1.0 if self.end <= 0 else min(1.0, self.next / self.end)

    def error(self) -> LogIncomplete:
        """For whoever asks for one of them."""
        return LogIncomplete(self.progress)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


def restore(connection: sqlite3.Connection, kept: Iterable[Kept]) -> None:
    """Write what a changelog says of streams; of one stream the last said holds."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for each in kept:
            _restore(connection, each)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _restore(connection: sqlite3.Connection, kept: Kept) -> None:
    stream, snapshot = kept.stream, kept.snapshot
    connection.execute("INSERT OR IGNORE INTO orgs (name) VALUES (?)", (stream.org,))
    (number,) = connection.execute(
        """INSERT INTO streams (org, kind, name, is_known)
        VALUES ((SELECT number FROM orgs WHERE name = ?), ?, ?, ?)
        ON CONFLICT (org, kind, name) DO UPDATE SET is_known = max(is_known, excluded.is_known)
        RETURNING number""",
        (stream.org, KINDS.index(stream.kind), stream.id, kept.is_known),
    ).fetchone()
    blob = None if snapshot is None else _encode(snapshot)
    row = (number, kept.version, kept.ids, kept.catalogue, blob)
    connection.execute("REPLACE INTO restored VALUES (?, ?, ?, ?, ?)", row)


def begin_filling(connection: sqlite3.Connection, *, partition: int, mark: Mark) -> None:
    """All that the changelog told is here: the copy follows from the mark on."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        """CREATE TABLE filling (
            end INTEGER NOT NULL, position INTEGER NOT NULL, recorded_us INTEGER NOT NULL, next INTEGER NOT NULL,
            filled INTEGER NOT NULL, is_whole INTEGER NOT NULL
        ) STRICT"""
    )
    connection.execute("INSERT INTO filling VALUES (?, ?, ?, 0, 0, 0)", (mark.offset, mark.position, mark.recorded_us))
    connection.execute("UPDATE followed SET next = ? WHERE partition = ?", (mark.offset, partition))
    connection.execute("COMMIT")


def read_missing(connection: sqlite3.Connection) -> Missing | None:
    """What the copy lacks; None when it is whole."""
    if connection.execute(_HAS_FILLING).fetchone() is None:
        return None
    *found, is_whole = connection.execute("SELECT * FROM filling").fetchone()
    return None if is_whole else Missing(*found)


def read_begun(connection: sqlite3.Connection) -> int | None:
    """The position that snapshots in ``restored`` reach, of a copy that began so and has not forgotten it."""
    if connection.execute(_HAS_FILLING).fetchone() is None:
        return None
    (position,) = connection.execute("SELECT position FROM filling").fetchone()
    return int(position)


def note_filled(connection: sqlite3.Connection, *, next_: int, filled: int) -> None:
    """Write how far the missing events have come, in the transaction that is open."""
    connection.execute("UPDATE filling SET next = ?, filled = ?", (next_, filled))


def check_streams(connection: sqlite3.Connection, after: int) -> int | None:
    """Whether streams, some of them, have all their versions; the number to go on from, None after the last. Raises ``CopyDiffers``."""
    numbers: Sequence[tuple[int]] = connection.execute(
        "SELECT number FROM streams WHERE number > ? ORDER BY number LIMIT ?", (after, _STREAMS)
    ).fetchall()
    if not numbers:
        return None
    last = numbers[-1][0]
    found = connection.execute(
        """SELECT stream, COUNT(*), MAX(version), (SELECT r.version FROM restored r WHERE r.stream = e.stream)
        FROM events e WHERE stream > ? AND stream <= ? GROUP BY stream""",
        (after, last),
    )
    whole = {stream for stream, count, version, restored in found if count == version and version >= (restored or 0)}
    lacking = len(numbers) - len(whole)
    if lacking:
        raise CopyDiffers(f"of {len(numbers)} streams {lacking} have versions that the topic does not")
    return int(last)


def note_whole(connection: sqlite3.Connection) -> None:
    """The copy lacks nothing any more."""
    connection.execute("UPDATE filling SET is_whole = 1")


def read_restored(connection: sqlite3.Connection, after: int, limit: int) -> list[tuple[str, Snapshot]]:
    """The snapshots of streams by number, a page at a time, each with its catalogue; streams without one are left out."""
    rows = connection.execute(
        "SELECT stream, catalogue, snapshot FROM restored WHERE stream > ? AND snapshot IS NOT NULL ORDER BY stream LIMIT ?",
        (after, limit),
    )
    return [(catalogue, msgspec.structs.replace(_decode(blob), number=number)) for number, catalogue, blob in rows]


def read_ids(connection: sqlite3.Connection, number: int) -> tuple[bytes | None] | None:
    """The hashes of a stream's ids, in a tuple; None for a stream that did not begin so."""
    row: tuple[bytes | None] | None = connection.execute(
        "SELECT ids FROM restored WHERE stream = ?", (number,)
    ).fetchone()
    return row


def forget(connection: sqlite3.Connection) -> bool:
    """Drop some of what the changelog told; whether there is more. The last call forgets that the copy began so."""
    if connection.execute("SELECT 1 FROM restored LIMIT 1").fetchone() is not None:
        sql = "DELETE FROM restored WHERE stream IN (SELECT stream FROM restored LIMIT ?)"
        connection.execute(sql, (_SLICE,))
        return True
    connection.execute("DROP TABLE IF EXISTS filling")
    return False
