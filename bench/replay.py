"""Replay of a million events of two packs on one core, against a bare loop over SQLite rows and msgpack dictionaries.

Ours is the service's own replay job, from request to swap: it reads the log, decodes typed payloads, folds every feature
and writes new snapshots. The peer scans the same rows, all their columns, in a table of the same make whose payloads are
msgpack, and decodes each to a dictionary; a second one fetches nothing but the payload, for comparison. Beside the rates
stands the ratio of processor time, ours of all threads of the service: neighbours on the machine move it less.
"""

import json
import os
import sqlite3
import statistics
import time
from pathlib import Path

import msgspec

from bench.events import batches
from bench.harness import (
    LOAD_CORE,
    SERVER_CORE,
    Claim,
    Server,
    cpu_s,
    fetch,
    in_turns,
    leadwheel,
    pin_self,
    report,
    run_main,
    say,
    scratch,
    write_settings,
)
from bench.ingest_durable import log_file, read_rows
from bench.posting import post_all

LEADS, PER_LEAD, ROUNDS = 20_000, 50, 3
EVENTS = LEADS * PER_LEAD
JOBS = "/v1/orgs/default/jobs"


def main() -> None:
    pin_self(LOAD_CORE)
    say(f"replay: {EVENTS:,} events of {LEADS:,} leads")
    with scratch() as directory, leadwheel(write_settings(directory / "data")) as server:
        filled_per_s = post_all(server.url, batches(range(LEADS), PER_LEAD))
        say(f"  filled at {filled_per_s:,.0f} events a second")
        peer, place = make_peer(directory / "data", directory / "peer.db")
        ours_cpu_s: list[float] = []
        bare_cpu_s: list[float] = []
        medians = in_turns(
            ROUNDS,
            ours=lambda: replay(server, ours_cpu_s),
            bare=lambda: scan(peer, place, used_s=bare_cpu_s),
            payload_only=lambda: scan(peer, 0, "data"),
        )
    report(
        "replay",
        [Claim("replay", medians["ours"] / medians["bare"], 0.15)],
        {
            "ours_events_per_s": medians["ours"],
            "ratio_by_cpu": statistics.median(bare / ours for ours, bare in zip(ours_cpu_s, bare_cpu_s, strict=True)),
            "ours_cpu_us_per_event": statistics.median(ours_cpu_s) / EVENTS * 1e6,
            "bare_cpu_us_per_row": statistics.median(bare_cpu_s) / EVENTS * 1e6,
            "bare_rows_per_s": medians["bare"],
            "bare_payloads_per_s": medians["payload_only"],
            "ratio_to_bare_payloads": medians["ours"] / medians["payload_only"],
            "filled_events_per_s": filled_per_s,
        },
    )


def replay(server: Server, used_s: list[float]) -> float:
    """Events a second of a replay job, from its request to its end; adds the processor time that it took."""
    url, pid = server.url, server.process.pid
    began_s, before_s = time.perf_counter(), cpu_s(pid)
    job = json.loads(fetch(url + JOBS, body=b'{"kind":"replay"}')[0])
    while job["state"] == "running":
        time.sleep(0.05)
        job = json.loads(fetch(f"{url}{JOBS}/{job['id']}")[0])
    if job["state"] != "done":
        raise RuntimeError(f"the replay {job['state']}: {job['error']}")
    used_s.append(cpu_s(pid) - before_s)
    return EVENTS / (time.perf_counter() - began_s)


def make_peer(data: Path, path: Path) -> tuple[Path, int]:
    """The log's table again, with payloads as msgpack, and the place of the payload in a row."""
    (create, *_), table, rows = read_rows(log_file(data), 0)
    place = next(index for index, value in enumerate(rows[0]) if isinstance(value, bytes))
    connection = sqlite3.connect(path)
    connection.execute(create)
    packed = (
        (*row[:place], msgspec.msgpack.encode(msgspec.json.decode(row[place])), *row[place + 1 :]) for row in rows
    )
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", packed)
    connection.commit()
    connection.close()
    return path, place


def scan(path: Path, place: int, columns: str = "*", *, used_s: list[float] | None = None) -> float:
    """Rows a second of reading the table in order and decoding each payload; adds the processor time that it took."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE})
    connection = sqlite3.connect(path)
    decode = msgspec.msgpack.Decoder().decode
    began_s, before_s, count = time.perf_counter(), time.process_time(), 0
    for row in connection.execute(f"SELECT {columns} FROM events ORDER BY position"):
        decode(row[place])
        count += 1
    took_s = time.perf_counter() - began_s
    if used_s is not None:
        used_s.append(time.process_time() - before_s)
    connection.close()
    os.sched_setaffinity(0, usual)
    if count != EVENTS:
        raise RuntimeError(f"{count} rows, not {EVENTS}")
    return count / took_s


if __name__ == "__main__":
    run_main(main)
