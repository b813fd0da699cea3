"""What the log on SQLite does beyond the contract: reopening, versions of payloads and files, failures."""

import asyncio
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from eventstore import schema
from eventstore.event import StreamInfo
from eventstore.schema import MIGRATIONS
from eventstore.sqlite import DEFAULT_OPTIONS, SqliteEventStore, SqliteOptions
from eventstore.store import Stored
from eventstore.upcasters import Upcasters
from kernel.clock import VirtualClock
from kernel.errors import DirectoryInUse, EventStoreError, LogBehindHighWater, LogNewerSchema, StoreFailed
from kernel.ids import Position
from tests.contract.store_events import T0, TYPES, lead, new_event, purchase, retraction

ANN, BOB = lead("ann"), lead("bob")


async def opened(directory: Path, **options: Any) -> SqliteEventStore:
    return await SqliteEventStore.open(directory, **{"types": TYPES, "clock": VirtualClock(T0)} | options)


def files(directory: Path) -> dict[str, bytes]:
    names = ("events.db", "events.db-wal", "high-water")
    found = {name: (directory / name).read_bytes() for name in names if (directory / name).exists()}
    return {name: content for name, content in found.items() if content}


async def test_a_reopened_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    store = await opened(tmp_path, clock=VirtualClock(T0 + 5))
    await store.append([purchase(ANN, "e1"), purchase(BOB, "b1"), purchase(ANN, "e2"), new_event(BOB, "~x")])
    await store.close()
    store = await opened(tmp_path, clock=VirtualClock(T0))
    [again, new, other] = await store.append([purchase(ANN, "e1"), purchase(ANN, "e3"), purchase(lead("cy"), "c1")])
    assert isinstance(again, Stored)
    assert again.is_duplicate
    assert isinstance(new, Stored)
    assert isinstance(other, Stored)
    assert (new.event.version, new.event.position, new.event.number, new.event.recorded_us) == (3, 5, 1, T0 + 5)
    assert (other.event.version, other.event.position, other.event.number) == (1, 6, 3)
    assert await store.info([BOB]) == [StreamInfo(BOB, 2, 2, True)]
    await store.close()


async def test_old_payloads_are_read_in_todays_form_and_compared_in_it(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.append([purchase(ANN, "e1", "1.50")])
    await store.close()

    def with_channel(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"channel": "web"}

    store = await opened(tmp_path, upcasters=Upcasters({"purchase_completed": [with_channel]}))
    later = new_event(ANN, "e2", "purchase_completed", {"amount": 2, "order_id": "e2"})
    same = new_event(ANN, "e1", "purchase_completed", {"amount": "1.5", "order_id": "e1", "channel": "web"})
    outcomes = await store.append([later, same])
    assert [isinstance(each, Stored) and each.is_duplicate for each in outcomes] == [False, True]
    assert [event.data for event in await store.read(ANN)] == [
        b'{"amount":"1.50","order_id":"e1","channel":"web"}',
        b'{"amount":2,"order_id":"e2"}',
    ]
    await store.close()


async def test_a_second_opening_of_the_directory_is_refused(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    with pytest.raises(DirectoryInUse, match=str(os.getpid())):
        await opened(tmp_path)
    await store.append([purchase(ANN, "e1")])
    await store.close()
    await (await opened(tmp_path)).close()


async def test_a_log_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    connection = sqlite3.connect(tmp_path / "events.db")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = files(tmp_path)
    with pytest.raises(LogNewerSchema) as refused:
        await opened(tmp_path)
    assert (refused.value.expected, refused.value.actual) == (len(MIGRATIONS), len(MIGRATIONS) + 1)
    assert files(tmp_path) == before


async def test_a_log_of_an_earlier_version_is_brought_to_todays_with_all_that_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [purchase(ANN, "e1"), purchase(BOB, "e1"), new_event(ANN, "~x"), new_event(BOB, "~x"), purchase(ANN, "e2")]
    with monkeypatch.context() as earlier:
        earlier.setattr(schema, "MIGRATIONS", MIGRATIONS[:3])
        store = await opened(tmp_path)
        await store.append(some)
        before = await store.read_log()
        await store.close()
    store = await opened(tmp_path)
    assert await store.read_log() == before
    assert await store.find(ANN.org, "~x") == before[2]
    again = await store.append(some)
    assert [each.is_duplicate for each in again if isinstance(each, Stored)] == [True] * 5
    (new,) = await store.append([new_event(ANN, "~y")])
    assert isinstance(new, Stored)
    assert (new.event.position, new.event.version) == (6, 4)
    await store.close()


async def test_events_are_found_by_id_through_an_index(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    asked: list[str] = []
    await store._reading.run(lambda connection: connection.set_trace_callback(asked.append))
    await store.append([purchase(ANN, "e1"), new_event(ANN, "~x")])
    await store.find(ANN.org, "~x")
    await store._writing.run(lambda connection: connection.set_trace_callback(asked.append))
    await store.append([purchase(ANN, "e1"), new_event(ANN, "~x")])
    looked_up = [each for each in asked if each.startswith("SELECT") and "FROM events" in each and "id =" in each]
    assert len(looked_up) == 3
    for sql in looked_up:
        plan = await store._reading.run(lambda c, sql=sql: c.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall())  # type: ignore[misc]
        assert any(" USING INDEX " in row[3] and "_ids (" in row[3] for row in plan), plan
    await store.close()


async def test_a_log_that_lost_its_file_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.append([purchase(ANN, f"e{n}") for n in range(5)])
    await store.close()
    (tmp_path / "events.db").unlink()
    before = files(tmp_path)
    for _ in range(2):
        with pytest.raises(LogBehindHighWater, match="5 events are missing"):
            await opened(tmp_path)
    assert files(tmp_path) == before


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"no database at all, " * 100)
    with pytest.raises(EventStoreError, match="nothing was changed"):
        await opened(tmp_path)


async def test_reads_do_not_wait_for_the_writer(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.append([purchase(ANN, "e1")])
    blocker = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(store.append([purchase(ANN, "e2")]))
    async with asyncio.timeout(4):
        assert [event.id for event in await store.read(ANN)] == ["e1"]
    assert not waiting.done()
    blocker.execute("ROLLBACK")
    blocker.close()
    await waiting
    await store.close()


async def test_appends_gather_into_few_commits(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await asyncio.gather(*(store.append([purchase(lead(f"l{n}"), "e")]) for n in range(500)))
    assert store.statistics().events == 500
    assert store.statistics().commits <= 5
    await store.close()


async def test_what_a_statement_undoes_itself_with_is_kept_in_memory(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    assert await store._writing.run(lambda connection: connection.execute("PRAGMA temp_store").fetchone()) == (2,)
    await store.close()


async def test_the_keeper_empties_the_write_ahead_log_when_nothing_happens(tmp_path: Path) -> None:
    clock = VirtualClock(T0)
    store = await opened(tmp_path, clock=clock)
    await store.append([purchase(ANN, f"e{n}") for n in range(100)])
    wal = tmp_path / "events.db-wal"
    assert os.stat(wal).st_size > 0
    async with asyncio.timeout(10):
        while os.stat(wal).st_size > 0:
            clock.advance(1)
            await asyncio.sleep(0)
    assert len(await store.read(ANN)) == 100
    await store.close()


async def test_with_durability_process_the_mark_claims_as_synced_what_a_checkpoint_moved(tmp_path: Path) -> None:
    store = await opened(tmp_path, options=SqliteOptions(durability="process"))
    await store.append([purchase(ANN, "e1")])
    mark = store._high_water.mark
    assert (mark.position, mark.synced) == (1, 0)
    await store._checkpoint(is_idle=False)
    assert store._high_water.mark.synced == 1
    await store.close()


async def test_one_event_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    bad = new_event(ANN, "e1", at_us=2**70)
    good, failed = await asyncio.gather(
        store.append([purchase(BOB, "b1")]), store.append([bad]), return_exceptions=True
    )
    assert isinstance(failed, OverflowError)
    assert isinstance(good, list)
    assert await store.info([ANN]) == [None]
    [outcome] = await store.append([purchase(ANN, "e1")])
    assert isinstance(outcome, Stored)
    assert (outcome.event.position, outcome.event.number) == (2, 2)
    await store.close()


async def test_a_failed_high_water_mark_is_fatal_and_nothing_is_written_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[BaseException] = []
    store = await opened(tmp_path, on_fatal=told.append)
    await store.append([purchase(ANN, "e1")])

    def fail(*args: object, **named: object) -> None:
        raise OSError(5, "I/O error")

    monkeypatch.setattr(store._high_water, "write", fail)
    with pytest.raises(StoreFailed):
        await store.append([purchase(ANN, "e2")])
    with pytest.raises(StoreFailed):
        await store.append([purchase(ANN, "e3")])
    assert [type(error) for error in told] == [OSError]
    await store.close()


async def test_retractions_among_gathered_appends_are_judged(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await asyncio.gather(
        store.append([purchase(ANN, "e1")]),
        store.append([retraction(ANN, "r1", "e1")]),
        store.append([retraction(ANN, "r2", "r1")]),
    )
    assert [event.id for event in await store.read_log(after=Position(0))] == ["e1", "r1"]
    assert store.statistics().refused == 1
    await store.close()


def test_the_defaults_are_durable_against_power_loss() -> None:
    assert DEFAULT_OPTIONS.durability == "power"


async def test_a_keeper_that_fails_is_fatal_and_leaves_no_append_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[BaseException] = []
    clock = VirtualClock(T0)
    store = await opened(tmp_path, clock=clock, on_fatal=told.append)
    await store.append([purchase(ANN, "e1")])

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(store._writer, "sync_high_water", fail)
    clock.advance(1)
    await asyncio.wait([store._keeper], timeout=10)
    await asyncio.sleep(0)
    assert [type(error) for error in told] == [ZeroDivisionError]
    with pytest.raises(StoreFailed):
        await store.append([purchase(ANN, "e2")])
    monkeypatch.undo()
    await store.close()


async def test_a_cancelled_stop_still_gives_the_directory_up(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    stopping = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    await store.close()
    await (await opened(tmp_path)).close()
