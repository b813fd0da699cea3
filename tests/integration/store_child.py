"""Processes that write to a log and come to grief. They tell their parent what was acknowledged."""

import asyncio
import os
import resource
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from eventstore.event import NewEvent
from eventstore.sqlite import SqliteEventStore, SqliteOptions
from eventstore.store import Stored
from kernel.clock import SystemClock
from kernel.errors import DirectoryInUse, StoreUnavailable
from tests.contract.store_events import TYPES, lead, purchase

WRITERS = 6
#: Checkpoints every few commits, so that faults hit them, too.
OPTIONS = SqliteOptions(checkpoint_events=200, high_water_interval_s=0.05)


async def opened(directory: str) -> SqliteEventStore:
    return await SqliteEventStore.open(Path(directory), types=TYPES, clock=SystemClock(), options=OPTIONS)


def batch(tag: str, writer: int, number: int) -> list[NewEvent]:
    """One to five events of several leads, the same whenever they are asked for."""
    return [
        purchase(lead(f"lead-{(number + part) % 11}"), f"{tag}-{writer}-{number}-{part}")
        for part in range(1 + number % 5)
    ]


async def _write_on(store: SqliteEventStore, tag: str, writer: int, tell: Callable[[str], None], limit: int) -> None:
    for number in range(limit):
        events = batch(tag, writer, number)
        if number % 3 == 2:  # a retry of what was acknowledged already
            events = batch(tag, writer, number - 1) + events
        outcomes = await store.append(events)
        assert all(isinstance(outcome, Stored) for outcome in outcomes)
        tell(" ".join(f"{event.stream.id}/{event.id}" for event in events))


async def _write(directory: str, tag: str, tell: Callable[[str], None], limit: int) -> None:
    store = await opened(directory)
    tell("open")
    await asyncio.gather(*(_write_on(store, tag, writer, tell, limit) for writer in range(WRITERS)))
    await store.close()


def write_until_killed(directory: str, tag: str, pipe: Connection) -> None:
    asyncio.run(_write(directory, tag, lambda line: pipe.send_bytes(line.encode()), 1_000_000))


async def _fill(directory: str, pipe: Connection) -> None:
    store = await opened(directory)
    acknowledged: list[str] = []

    async def append(number: int) -> None:
        event = purchase(lead("ann"), f"e{number}")
        await store.append([event])
        acknowledged.append(event.id)

    for number in range(20):
        await append(number)
    largest = max(os.stat(each).st_size for each in os.scandir(directory))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 50_000, hard))
    refusals = 0
    for number in range(20, 400):
        try:
            await append(number)
        except StoreUnavailable:
            refusals += 1
    while_full = [event.id for event in await store.read(lead("ann"))]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for number in range(400, 500):
        await append(number)
    afterwards = [event.id for event in await store.read(lead("ann"))]
    await store.close()
    pipe.send((refusals, acknowledged, while_full, afterwards))


def fill_the_disk(directory: str, pipe: Connection) -> None:
    asyncio.run(_fill(directory, pipe))


def open_second(directory: str, pipe: Connection) -> None:
    async def attempt() -> None:
        try:
            await opened(directory)
        except DirectoryInUse as refused:
            pipe.send((refused.path, refused.holder))
        else:
            pipe.send("opened")

    asyncio.run(attempt())


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], sys.argv[2], lambda line: print(line, flush=True), int(sys.argv[3])))
