"""What an answer over HTTP costs at least that stands in the log before it is given: aiohttp, one row, nothing else.

A request is read, a row like that of a decision (same table, same indexes, same bytes of payload) is inserted with those of all
requests that wait, committed with ``synchronous=FULL``, and answered. No key, no choice, no fold, no checkpoint.
"""

import asyncio
import queue
import sqlite3
import threading
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from bench.peers import make_app, options_of_peer, run
from eventstore.schema import configure, migrate

LEADS = 1000
ROW = "(?, ?, ?, ?, 1, ?, ?, NULL, ?)"


class Rows:
    """Inserts rows in a thread, in one transaction what waits at a time."""

    def __init__(self, directory: Path, payload: bytes) -> None:
        self._directory, self._payload = directory, payload
        self._waiting: queue.SimpleQueue[asyncio.Future[None]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True).start()

    async def add(self) -> None:
        done = self._loop.create_future()
        self._waiting.put(done)
        await done

    def _run(self) -> None:
        connection = sqlite3.connect(self._directory / "rows.db", isolation_level=None)
        configure(connection, synchronous="FULL", cache_kib=65_536)
        migrate(connection)
        connection.execute("PRAGMA temp_store = MEMORY")
        position = 0
        while True:
            waiting = [self._waiting.get()]
            while not self._waiting.empty():
                waiting.append(self._waiting.get())
            values: list[object] = []
            for _ in waiting:
                position += 1
                event_id = f"~dm:{sha256(b'%d' % position).hexdigest()}"
                values += (position, position % LEADS, position // LEADS, event_id, position, position, self._payload)
            connection.execute("BEGIN IMMEDIATE")
            # One statement: the interpreter's lock changes hands once.
            connection.execute(f"INSERT INTO events VALUES {', '.join([ROW] * len(waiting))}", values)
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_tell, waiting)


def _tell(waiting: "list[asyncio.Future[None]]") -> None:
    for done in waiting:
        if not done.done():
            done.set_result(None)


async def app_with_rows(answer: bytes, directory: Path, payload: bytes) -> web.Application:
    return make_app(answer, Rows(directory, payload).add)


if __name__ == "__main__":
    options = options_of_peer("directory", "payload")
    answer, payload = options.answer.read_bytes(), options.payload.read_bytes()
    run(app_with_rows(answer, options.directory, payload), options.port)
