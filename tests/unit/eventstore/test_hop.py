import sqlite3
import threading
from pathlib import Path

import pytest

from eventstore.hop import SqliteThread


async def test_functions_run_with_the_connection_in_a_thread_of_its_own(tmp_path: Path) -> None:
    hop = await SqliteThread.open(tmp_path / "a.db", name="hop-test")
    assert await hop.run(lambda connection: (threading.current_thread().name, connection.isolation_level)) == (
        "hop-test",
        None,
    )
    with pytest.raises(sqlite3.OperationalError):
        await hop.run(lambda connection: connection.execute("SELECT nonsense"))
    await hop.close()
    await hop.close()


async def test_a_library_that_changed_underneath_is_noticed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def here(self: object, function: object, *args: object) -> object:
        return function(*args)  # type: ignore[operator]

    monkeypatch.setattr("aiosqlite.Connection._execute", here)
    with pytest.raises((RuntimeError, sqlite3.ProgrammingError)):
        await SqliteThread.open(tmp_path / "a.db", name="hop-test")
