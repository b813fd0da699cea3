"""The log under faults: killed, full, unsynced, torn, rotten, owned twice. What was acknowledged is there, once."""

import asyncio
import multiprocessing
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from eventstore.sqlite import SqliteEventStore, SqliteOptions
from kernel.clock import VirtualClock
from kernel.errors import EventStoreError, LogBehindHighWater
from kernel.fatal import EXIT_CODE
from tests.contract.store_events import T0, TYPES, lead, purchase
from tests.integration import store_child

ROOT = Path(__file__).parents[2]
ROUNDS = 50

# A server process that has imported everything forks the children: 50 of them start in a second.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.integration.store_child"])


def start(target: Any, *arguments: str) -> tuple[Any, Connection]:
    receiving, sending = FORKS.Pipe(duplex=False)
    child = FORKS.Process(target=target, args=(*arguments, sending))
    child.start()
    sending.close()
    return child, receiving


def report_of(target: Any, directory: Path) -> Any:
    child, pipe = start(target, str(directory))
    try:
        return pipe.recv()
    finally:
        child.join(30)
        assert child.exitcode == 0
        pipe.close()


def stored_in(directory: Path) -> Counter[str]:
    """Every event of the file, as ``lead/id``, read without this project's code."""
    connection = sqlite3.connect(directory / "events.db")
    try:
        rows = connection.execute("SELECT s.name || '/' || e.id FROM events e JOIN streams s ON s.number = e.stream")
        found = Counter(name for (name,) in rows)
        versions = connection.execute("SELECT stream, COUNT(*), MIN(version), MAX(version) FROM events GROUP BY stream")
        assert all((first, last) == (1, count) for _, count, first, last in versions)
        count, last = connection.execute("SELECT COUNT(*), COALESCE(MAX(position), 0) FROM events").fetchone()
        assert count == last
    finally:
        connection.close()
    return found


def check(directory: Path, acknowledged: set[str]) -> None:
    found = stored_in(directory)
    assert not acknowledged - set(found), "acknowledged events are lost"
    assert max(found.values(), default=1) == 1, "an event is doubled"


def test_a_log_killed_fifty_times_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(20231114)
    acknowledged: set[str] = set()
    for round_number in range(ROUNDS):
        child, pipe = start(store_child.write_until_killed, str(tmp_path), f"r{round_number}")
        messages = chance.choice([1, 2, 5, 20, 60, 150])
        try:
            for _ in range(messages):
                acknowledged.update(pipe.recv_bytes().decode().split())
            child.kill()
            while True:
                acknowledged.update(pipe.recv_bytes().decode().split())
        except EOFError:
            pass
        finally:
            child.kill()
            child.join()
            pipe.close()
        acknowledged.discard("open")
        assert child.exitcode == -9
    check(tmp_path, acknowledged)
    assert len(acknowledged) > 2000


def test_a_full_disk_refuses_loses_nothing_and_recovers_by_itself(tmp_path: Path) -> None:
    refusals, acknowledged, while_full, afterwards = report_of(store_child.fill_the_disk, tmp_path)
    assert refusals > 0
    assert len(acknowledged) == 500 - refusals
    assert afterwards == acknowledged
    assert while_full == acknowledged[:-100]
    check(tmp_path, {f"ann/{event_id}" for event_id in acknowledged})


def can_trace() -> str | None:
    """Why system calls cannot be made to fail here; None when they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()}"


@pytest.fixture(scope="module")
def tracing() -> None:
    if reason := can_trace():
        pytest.skip(reason)


# The first seven or so belong to making the files; the later ones to commits, checkpoints and the mark.
@pytest.mark.parametrize("failing", [2, 9, 14, 25, 40])
def test_a_failed_fsync_ends_the_process_and_a_restart_finds_what_was_acknowledged(
    tmp_path: Path, tracing: None, failing: int
) -> None:
    directory = tmp_path / "data"
    inject = f"inject=fsync,fdatasync:error=EIO:when={failing}"
    tracer = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", inject]
    child = subprocess.run(
        [*tracer, sys.executable, "-m", "tests.integration.store_child", str(directory), "x", "400"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert child.returncode != 0
    lines = child.stdout.split("\n")[:-1]
    acknowledged = set(" ".join(lines).split()) - {"open"}
    if "open" in lines:
        assert child.returncode == EXIT_CODE, child.stderr
        assert "exiting to recover from disk" in child.stderr
    if failing >= 25:
        assert acknowledged

    async def restart() -> None:
        store = await store_child.opened(str(directory))
        await store.append([purchase(lead("ann"), "after")])
        await store.close()

    asyncio.run(restart())
    check(directory, acknowledged | {"ann/after"})


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A directory as a crash leaves it, with every commit in the write-ahead log, and its acknowledged ids."""
    live, copy = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("crashed")

    async def make() -> list[str]:
        options = SqliteOptions(checkpoint_events=10**9)
        store = await SqliteEventStore.open(live, types=TYPES, clock=VirtualClock(T0), options=options)
        for number in range(60):
            await store.append([purchase(lead("ann"), f"e{number}")])
        for name in ("events.db", "events.db-wal", "high-water"):
            shutil.copy(live / name, copy / name)
        await store.close()
        return [f"e{number}" for number in range(60)]

    return copy, asyncio.run(make())


async def _start_on(directory: Path, acknowledged: list[str]) -> bool:
    """Whether a damaged log was opened; then with all that was acknowledged. Refused, it is left as it is."""
    before = {name: (directory / name).read_bytes() for name in ("events.db", "events.db-wal", "high-water")}
    refused: EventStoreError | None = None
    try:
        store = await SqliteEventStore.open(directory, types=TYPES, clock=VirtualClock(T0))
    except EventStoreError as error:
        refused = error
    else:
        assert [event.id for event in await store.read(lead("ann"))] == acknowledged
        await store.close()
        return True
    assert "othing was changed" in str(refused)
    assert {name: (directory / name).read_bytes() for name in before} == before
    if isinstance(refused, LogBehindHighWater):
        assert refused.expected == len(acknowledged)
        assert f"{refused.expected - refused.actual} events are missing" in str(refused)
    return False


def damaged(kind: str, raw: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(raw))
    match kind:
        case "flip":
            return raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :]
        case "truncate":
            return raw[:at]
        case "zero":
            return raw[:at] + bytes(min(512, len(raw) - at)) + raw[at + 512 :]
    raise ValueError(kind)


@pytest.mark.parametrize("kind", ["flip", "truncate", "zero"])
async def test_a_rotten_write_ahead_log_is_refused_or_whole(
    crashed: tuple[Path, list[str]], tmp_path: Path, kind: str
) -> None:
    source, acknowledged = crashed
    chance = random.Random(f"rot {kind}")
    opened = 0
    for number in range(25):
        directory = tmp_path / str(number)
        shutil.copytree(source, directory)
        wal = directory / "events.db-wal"
        wal.write_bytes(damaged(kind, wal.read_bytes(), chance))
        opened += await _start_on(directory, acknowledged)
    assert opened < 25, "no damage was noticed"


async def test_an_undamaged_crash_is_recovered_whole(crashed: tuple[Path, list[str]], tmp_path: Path) -> None:
    source, acknowledged = crashed
    shutil.copytree(source, tmp_path / "copy")
    assert await _start_on(tmp_path / "copy", acknowledged)


async def test_a_log_without_its_write_ahead_log_is_refused(crashed: tuple[Path, list[str]], tmp_path: Path) -> None:
    source, acknowledged = crashed
    shutil.copytree(source, tmp_path / "copy")
    (tmp_path / "copy" / "events.db-wal").write_bytes(b"")
    assert not await _start_on(tmp_path / "copy", acknowledged)


async def test_a_torn_high_water_mark_hides_no_loss_and_stops_no_start(
    crashed: tuple[Path, list[str]], tmp_path: Path
) -> None:
    source, acknowledged = crashed
    for slot in (0, 1):
        directory = tmp_path / str(slot)
        shutil.copytree(source, directory)
        mark = directory / "high-water"
        raw = bytearray(mark.read_bytes())
        raw[slot * 64 : slot * 64 + 30] = os.urandom(30)
        mark.write_bytes(raw)
        assert await _start_on(directory, acknowledged)


async def test_a_second_process_is_told_who_owns_the_directory(tmp_path: Path) -> None:
    store = await SqliteEventStore.open(tmp_path, types=TYPES, clock=VirtualClock(T0))
    path, holder = await asyncio.to_thread(report_of, store_child.open_second, tmp_path)
    assert (path, holder) == (str(tmp_path), f"process {os.getpid()}")
    await store.append([purchase(lead("ann"), "e1")])
    await store.close()
