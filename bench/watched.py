"""Our service with a pulse in its loop: how long the loop has not turned, at most.

A timer of the loop is due every millisecond; what passes beyond it until it runs is a hold: some callback had the loop, or
another thread the interpreter. By the clock, and by processor time of the whole process in between, which does
not run on while a neighbour on the machine has the core. ``GET /`` on the port of its own answers the longest holds
since the last time it was asked.
"""

import argparse
import asyncio
import time
from pathlib import Path

import uvloop
from aiohttp import web

from gateway.commands.common import settings_of
from gateway.server import serve
from kernel.clock import SystemClock

PULSE_S = 0.001


class Pulse:
    """``longest_ms``: by the clock; ``longest_busy_ms``: of that, what this process was at work."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._forget()
        self._due()

    def take(self) -> dict[str, float]:
        """The longest holds since it was last asked."""
        found = {
            "longest_ms": self._longest_s * 1e3,
            "longest_busy_ms": self._longest_busy_s * 1e3,
            "over_20_ms": self._long,
            "pulses": self._pulses,
        }
        self._forget()
        return found

    def _forget(self) -> None:
        self._longest_s = self._longest_busy_s = 0.0
        self._long = self._pulses = 0

    def _due(self) -> None:
        self._at_s, self._busy_s = time.perf_counter(), time.process_time()
        self._loop.call_later(PULSE_S, self._beat)

    def _beat(self) -> None:
        held_s = time.perf_counter() - self._at_s - PULSE_S
        busy_s = min(held_s, time.process_time() - self._busy_s)
        self._longest_s = max(self._longest_s, held_s)
        self._longest_busy_s = max(self._longest_busy_s, busy_s)
        self._long += busy_s > 0.020
        self._pulses += 1
        self._due()


async def main(directory: Path, port: int, pulse_port: int) -> int:
    pulse = Pulse()

    async def holds(_: web.Request) -> web.Response:
        return web.json_response(pulse.take())

    app = web.Application()
    app.router.add_get("/", holds)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", pulse_port).start()
    try:
        settings = settings_of(directory, None, {"server.host": None, "server.port": port})
        return await serve(settings, directory, clock=SystemClock())
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pulse-port", type=int, required=True)
    options = parser.parse_args()
    raise SystemExit(uvloop.run(main(options.data_dir, options.port, options.pulse_port)))
