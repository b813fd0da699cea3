"""What a changelog has to cover, asked of a copy."""

import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from eventstore.kafka_coverage import (
    Changed,
    Ids,
    Reached,
    changed_between,
    ids_after,
    reached_by,
    recorded_at,
    streams_after,
)
from eventstore.sqlite import SqliteEventStore
from kernel.clock import VirtualClock
from kernel.errors import EventStoreError
from tests.contract.store_events import T0, TYPES, lead, new_event, purchase

A, B, C = lead("a"), lead("b"), lead("c")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteEventStore]:
    found = await SqliteEventStore.open(tmp_path, types=TYPES, clock=VirtualClock(T0))
    yield found
    await found.close()


def followed(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE followed (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL) STRICT")
    connection.execute("INSERT INTO followed VALUES (3, 40)")


async def test_how_far_a_copy_has_come(store: SqliteEventStore) -> None:
    await store._copy.run(followed)
    assert await store.ask(partial(reached_by, partition=3)) == Reached(40, 0, 0)
    await store.append([purchase(A, "a1"), purchase(B, "b1")])
    assert await store.ask(partial(reached_by, partition=3)) == Reached(40, 2, T0)
    assert await store.ask(partial(recorded_at, position=2)) == T0
    assert await store.ask(partial(recorded_at, position=3)) is None


async def test_streams_with_events_between_two_positions(store: SqliteEventStore) -> None:
    await store.append(
        [purchase(A, "a1"), purchase(A, "a2"), new_event(B, "~b1"), purchase(A, "a3"), purchase(C, "c1")]
    )
    between = partial(changed_between, limit=10)
    assert await store.ask(partial(between, after=0, until=9)) == [
        Changed(B, 2, 1, False, 3),
        Changed(A, 1, 3, True, 4),
        Changed(C, 3, 1, True, 5),
    ]
    assert await store.ask(partial(between, after=1, until=3)) == [
        Changed(A, 1, 2, True, 2),
        Changed(B, 2, 1, False, 3),
    ]
    page = await store.ask(partial(changed_between, after=0, until=9, limit=2))
    assert page == [Changed(A, 1, 2, True, 2)], "pages are of events"
    assert await store.ask(partial(between, after=5, until=9)) == []


async def test_all_streams(store: SqliteEventStore) -> None:
    await store.append([purchase(A, "a1"), purchase(A, "a2"), new_event(B, "~b1")])
    assert await store.ask(partial(streams_after, number=0, limit=1)) == [Changed(A, 1, 2, True, 0)]
    assert await store.ask(partial(streams_after, number=1, limit=9)) == [Changed(B, 2, 1, False, 0)]


async def test_ids_of_streams_page_by_page(store: SqliteEventStore) -> None:
    await store.append([*(purchase(A, f"a{n}") for n in range(5)), purchase(B, "b0")])
    wanted = [(1, 2), (2, 0), (9, 0)]
    assert await store.ask(partial(ids_after, wanted=wanted, limit=9)) == [
        Ids(["a2", "a3", "a4"], True),
        Ids(["b0"], True),
        Ids([], True),
    ]
    assert await store.ask(partial(ids_after, wanted=wanted, limit=3)) == [Ids(["a2", "a3", "a4"], False)]
    assert await store.ask(partial(ids_after, wanted=wanted, limit=2)) == [Ids(["a2", "a3"], False)]


async def test_who_asks_cannot_write(store: SqliteEventStore) -> None:
    with pytest.raises(EventStoreError, match="cannot be read"):
        await store.ask(lambda connection: connection.execute("DELETE FROM events"))
