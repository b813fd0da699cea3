"""One SQLite connection with a thread of its own, reached in one hop.

aiosqlite's public calls cost a hop a statement, and statements of different tasks mix within a transaction.
Its private ``_execute`` runs any function in the connection's thread; it is called here and nowhere else, and
tried at each opening.
"""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiosqlite

T = TypeVar("T")


class SqliteThread:
    """A connection in autocommit mode (transactions are explicit) whose functions run in its thread, in order.

    A cancelled wait leaves the function running.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, path: Path, *, name: str) -> "SqliteThread":
        """Open the database in a thread of that name. Raises ``sqlite3.Error``."""
        connection = aiosqlite.connect(path, isolation_level=None, cached_statements=256)
        connection._thread.name = name
        connection._thread.daemon = True
        hop = cls(await connection)
        try:
            await hop._try_out(name)
        except BaseException:
            await connection.close()
            raise
        return hop

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """The result of ``function(connection)``, run in the thread."""
        result: T = await self._connection._execute(function, self._connection._conn)  # type: ignore[no-untyped-call]
        return result

    async def close(self) -> None:
        """Run what was sent, then close. Idempotent."""
        await self._connection.close()

    async def _try_out(self, name: str) -> None:
        def probe(connection: sqlite3.Connection) -> tuple[str, int]:
            (one,) = connection.execute("SELECT 1").fetchone()
            return threading.current_thread().name, one

        if await self.run(probe) != (name, 1):
            raise RuntimeError(f"aiosqlite {aiosqlite.__version__} no longer runs functions in its thread")
