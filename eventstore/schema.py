"""The log's file ``events.db``: an SQLite database in WAL mode.

``orgs`` and ``streams`` give internal numbers to names, so that a lead's name stands in one row only;
``streams.kind`` is an index into ``KINDS``, ``is_known`` says that an event from outside is in the stream.
``types`` numbers each (event type, payload version). ``events`` is the log: ``position`` 1, 2, 3 … without
gaps, ``version`` likewise within its stream, both times in UTC microseconds, ``data`` the payload's JSON as
it was sent. Indexes are the concurrency checks: a version once per stream, an id once per stream. The ids of outside events
stand by stream, those of the system's own by id: decisions and predictions are found by them in whatever stream, and an
index that a hash leads costs a page for each row, so no second one holds them. One more has the system's own by type.

``restored`` is empty but in a copy that began from a changelog and does not have the log's first events yet: of each
stream the version up to which its snapshot reaches, the hashes of its ids (null: any may be taken), the snapshot, and which
definitions it is of (``eventstore.restoring``). Positions then begin after those that are missing, which get theirs when they come.

``PRAGMA user_version`` is the number of migrations that the file has seen; each one runs in a transaction
with it. A commit is whole or absent: what a torn write leaves in the write-ahead log fails its checksums and
is ignored, together with all that follows it, which is why the high-water mark stands beside it.
"""

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from kernel.errors import EventStoreError, LogIsCopy, LogNewerSchema

#: Statements of each migration, in order. Only ever append to it.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE orgs (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
        """CREATE TABLE streams (
            number INTEGER PRIMARY KEY,
            org INTEGER NOT NULL REFERENCES orgs (number),
            kind INTEGER NOT NULL,
            name TEXT NOT NULL,
            is_known INTEGER NOT NULL,
            UNIQUE (org, kind, name)
        ) STRICT""",
        """CREATE TABLE types (
            number INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            UNIQUE (name, version)
        ) STRICT""",
        """CREATE TABLE events (
            position INTEGER PRIMARY KEY,
            stream INTEGER NOT NULL REFERENCES streams (number),
            version INTEGER NOT NULL,
            id TEXT NOT NULL,
            type INTEGER NOT NULL REFERENCES types (number),
            at_us INTEGER NOT NULL,
            recorded_us INTEGER NOT NULL,
            source TEXT,
            data BLOB NOT NULL,
            UNIQUE (stream, version),
            UNIQUE (stream, id)
        ) STRICT""",
    ),
    (
        "CREATE INDEX system_ids ON events (id) WHERE substr(id, 1, 1) = '~'",
        "CREATE INDEX system_types ON events (type, position) WHERE substr(id, 1, 1) = '~'",
    ),
    (
        """CREATE TABLE restored (
            stream INTEGER PRIMARY KEY REFERENCES streams (number),
            version INTEGER NOT NULL,
            ids BLOB,
            catalogue TEXT NOT NULL,
            snapshot BLOB
        ) STRICT""",
    ),
    # An index that belongs to a table's definition goes only with the table: the log is copied, once.
    (
        """CREATE TABLE moved_events (
            position INTEGER PRIMARY KEY,
            stream INTEGER NOT NULL REFERENCES streams (number),
            version INTEGER NOT NULL,
            id TEXT NOT NULL,
            type INTEGER NOT NULL REFERENCES types (number),
            at_us INTEGER NOT NULL,
            recorded_us INTEGER NOT NULL,
            source TEXT,
            data BLOB NOT NULL,
            UNIQUE (stream, version)
        ) STRICT""",
        "INSERT INTO moved_events SELECT * FROM events",
        "DROP TABLE events",
        "ALTER TABLE moved_events RENAME TO events",
        "CREATE UNIQUE INDEX outside_ids ON events (stream, id) WHERE substr(id, 1, 1) <> '~'",
        "CREATE UNIQUE INDEX system_ids ON events (id, stream) WHERE substr(id, 1, 1) = '~'",
        "CREATE INDEX system_types ON events (type, position) WHERE substr(id, 1, 1) = '~'",
    ),
)

#: How long to wait for a lock that only a foreign tool can hold (a backup, a shell).
BUSY_TIMEOUT_MS = 5000

#: ``leadwheel`` in the file's header, so that another program's database is not taken for a log.
APPLICATION_ID = 0x4C444857


def configure(connection: sqlite3.Connection, *, synchronous: str, cache_kib: int) -> None:
    """Set what a connection does not remember between runs. Checkpoints are ours, so that none fails unnoticed."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")
    connection.execute("PRAGMA foreign_keys = OFF")  # numbers are given by the same code that writes the rows
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


def inspect_log(path: Path) -> int:
    """The last position in a log that is about to be opened; 0 when there is none yet.

    Looks through a read-only connection: one that may write would, on closing, move a damaged write-ahead
    log's remains into the database and delete it, and with it what could still be saved.

    Raises
    ------
    LogNewerSchema
        A later version of this program wrote it.
    EventStoreError
        It is no database, or a damaged one.
    """
    if not path.exists():
        return 0
    try:
        return _last_position(path)
    except sqlite3.Error as error:
        raise EventStoreError(f"{path} cannot be read: {error}; nothing was changed") from error


def _last_position(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise LogNewerSchema(str(path), len(MIGRATIONS), version)
        if version == 0:
            return 0
        (position,) = connection.execute("SELECT COALESCE(MAX(position), 0) FROM events").fetchone()
    return int(position)


def check_original(connection: sqlite3.Connection, *, path: str) -> None:
    """A copy of another log is written by following it only. Raises ``LogIsCopy``."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'followed'").fetchone() is not None:
        (topic,) = connection.execute("SELECT topic FROM followed_log").fetchone()
        raise LogIsCopy(path, topic)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file, already inspected, to this version's schema."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
