"""NDJSON batches of 1,000 over HTTP, synchronous=FULL, against raw sqlite3 inserting the same rows by 1,000.

The peer writes the rows of our own log's event table (read from it after each of our turns) into a fresh file of
the same schema and pragmas, from ready tuples, on the core that the server has.
"""

import os
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any

from bench.events import batches
from bench.harness import (
    LOAD_CORE,
    SERVER_CORE,
    Claim,
    cpu_s,
    in_turns,
    leadwheel,
    pin_self,
    report,
    run_main,
    say,
    scratch,
    write_settings,
)
from bench.posting import post_all

ROUNDS, LEADS_A_ROUND, PER_LEAD, SIZE, CONNECTIONS = 3, 2000, 50, 1000, 4
EVENTS_A_ROUND = LEADS_A_ROUND * PER_LEAD


def main() -> None:
    pin_self(LOAD_CORE)
    say(f"ingest_durable: {ROUNDS} x {EVENTS_A_ROUND:,} events in batches of {SIZE:,}, {CONNECTIONS} connections")
    bodies = [
        list(batches(range(first, first + LEADS_A_ROUND), PER_LEAD, SIZE))
        for first in range(0, ROUNDS * LEADS_A_ROUND, LEADS_A_ROUND)
    ]
    waiting = iter(bodies)
    cpu_us: list[float] = []
    with scratch() as directory, leadwheel(write_settings(directory / "data")) as server:
        peer = RawPeer(directory)

        def post() -> float:
            before_s = cpu_s(server.process.pid)
            rate = post_all(server.url, next(waiting), connections=CONNECTIONS)
            cpu_us.append((cpu_s(server.process.pid) - before_s) / EVENTS_A_ROUND * 1e6)
            return rate

        medians = in_turns(
            ROUNDS,
            ours=post,
            raw=lambda: peer.insert_new_rows(log_file(directory / "data")),
        )
        disk_bytes = log_file(directory / "data").stat().st_size
    report(
        "ingest_durable",
        [Claim("durable batches over HTTP", medians["ours"] / medians["raw"], 0.35)],
        {
            "ours_events_per_s": medians["ours"],
            "raw_rows_per_s": medians["raw"],
            "ratio_by_cpu": statistics.median(peer.cpu_us) / statistics.median(cpu_us),
            "ours_cpu_us_per_event": statistics.median(cpu_us),
            "raw_cpu_us_per_row": statistics.median(peer.cpu_us),
            "body_bytes_per_event": sum(map(len, bodies[0])) / EVENTS_A_ROUND,
            "log_bytes_per_event": disk_bytes / (ROUNDS * EVENTS_A_ROUND),
        },
    )


def log_file(directory: Path) -> Path:
    """The SQLite file of a data directory: the largest file that begins as one."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    logs = [path for path in files if path.open("rb").read(15) == b"SQLite format 3"]
    return max(logs, key=lambda path: path.stat().st_size)


class RawPeer:
    """A file with our event table's schema, and nothing else between it and ``executemany``."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "raw.db"
        self._seen = 0
        self.cpu_us: list[float] = []  #: processor time for each row, by turn

    def insert_new_rows(self, log: Path) -> float:
        """Rows a second of inserting what our log took since the last turn."""
        schema, table, rows = read_rows(log, self._seen)
        self._seen += len(rows)
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
            for statement in schema:
                connection.execute(statement)
        insert = f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})"
        usual = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {SERVER_CORE} if len(os.sched_getaffinity(0) | {0}) > 1 else usual)
        began_s, before_s = time.perf_counter(), time.process_time()
        for start in range(0, len(rows), SIZE):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, rows[start : start + SIZE])
            connection.execute("COMMIT")
        took_s = time.perf_counter() - began_s
        self.cpu_us.append((time.process_time() - before_s) / len(rows) * 1e6)
        os.sched_setaffinity(0, usual)
        connection.close()
        return len(rows) / took_s


def read_rows(log: Path, skip: int) -> tuple[list[str], str, list[tuple[Any, ...]]]:
    """The log's event table: what makes it, its name, and the rows after the first ``skip``."""
    connection = sqlite3.connect(f"file:{log}?mode=ro", uri=True)
    try:
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        own = [(name, sql) for name, sql in tables if not name.startswith("sqlite_")]
        table, sql = max(own, key=lambda each: connection.execute(f"SELECT count(*) FROM {each[0]}").fetchone()[0])
        wanted = "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
        indexes = [row[0] for row in connection.execute(wanted, (table,))]
        order = "" if "WITHOUT ROWID" in sql.upper() else "ORDER BY rowid "
        rows = connection.execute(f"SELECT * FROM {table} {order}LIMIT -1 OFFSET ?", (skip,)).fetchall()
        return [sql, *indexes], table, rows
    finally:
        connection.close()


if __name__ == "__main__":
    run_main(main)
