"""Running a service: bind, serve, and stop in order when asked to.

SIGTERM or SIGINT: the socket closes, requests in flight are answered, awake leads are snapshotted, the log is
closed, exit 0, within 10 s in all. What the snapshots do not reach in time costs a refold at the next start.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from threadpoolctl import threadpool_limits

from gateway.app import Paths, build_app, open_service
from gateway.auth import is_loopback
from gateway.service import Service
from kernel.clock import Clock, SystemClock
from kernel.errors import SettingsError
from kernel.settings import Settings, source_of

if TYPE_CHECKING:
    from gateway.topics.topics import Topics

CLOSE_TIMEOUT_S = 3.5  # with the 6 s for requests in flight below the 10 s that a stop may take
FAILED = 1
# Objects made and not freed until cycles are looked for, under a millisecond a time: a batch of events makes thousands that
# go with it, and with the default of 700 nearly all of them were looked at, and soon everything else.
_COLLECT_AFTER = 10_000
# The next generation after three of these, some 5 ms: with the default of eleven a pass over leads that wake stalls for 25 ms.
_COLLECT_NEXT = (2, 50)
# How long a thread that asks models may keep the interpreter from the loop; with the default of 5 ms the loop was held for 20.
_SWITCH_S = 0.001

_log = structlog.get_logger(__name__)


def run(settings: Settings, directory: Path) -> int:
    """Serve until a signal; the exit code."""
    return runner_of_loops()(serve(settings, directory, clock=SystemClock()))


def runner_of_loops() -> Callable[[Coroutine[Any, Any, int]], int]:
    try:
        import uvloop
    except ImportError:  # a third slower, the same answers
        return asyncio.run
    return uvloop.run


async def serve(settings: Settings, directory: Path, *, clock: Clock) -> int:
    """Open, listen, wait for a signal, stop."""
    stop = stop_signal()
    service = await open_service(settings, paths=Paths(directory), clock=clock)
    try:
        check_binding(settings, service.keyring.is_open)
        topics = _topics(service)
        settle_in()
        runner = make_runner(build_app(service), settings)
        await runner.setup()
        try:
            await listen(runner, settings)
            for each in topics:
                each.start()
            await wait_either(stop.wait(), service.wait_failed())
            service.is_stopping = True
        finally:
            await asyncio.gather(*(each.close() for each in topics), runner.cleanup())
    finally:
        is_closed = await _close(service)
    _log.info("stopped", failed=service.failure is not None, snapshots_complete=is_closed)
    return FAILED if service.failure is not None else 0


def _topics(service: Service) -> "list[Topics]":
    """What the settings name of others' topics; without any, Kafka's client is not loaded."""
    if not any(org.topics_in or org.topics_out for org in service.settings.org.values()):
        return []
    from gateway.topics.topics import Topics, own_submit

    return [Topics(service, submit=own_submit(service))]


def stop_signal() -> asyncio.Event:
    """Set when somebody asks this process to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def settle_in() -> None:
    """Set the interpreter up for what is loaded now, and for requests."""
    # Small matrices: threads of BLAS would wait for each other, and for the loop's core, longer than they work.
    threadpool_limits(limits=1, user_api="blas")
    gc.collect()
    gc.freeze()  # modules and catalogues stay: going through them with every full collection stalls for 50 ms
    gc.set_threshold(_COLLECT_AFTER, *_COLLECT_NEXT)
    sys.setswitchinterval(_SWITCH_S)


def check_binding(settings: Settings, is_open: bool) -> None:
    """Without any key nobody but this machine may connect. Raises ``SettingsError``."""
    if is_open and not is_loopback(settings.server.host):
        raise SettingsError(
            "server.host",
            source_of("server.host", settings.sources),
            f"expected a loopback address while there is no key, got {settings.server.host}; "
            "make one with: leadwheel keys create",
        )


def make_runner(app: web.Application, settings: Settings) -> web.AppRunner:
    """Aiohttp's runner with the settings' limits."""
    server = settings.server
    return web.AppRunner(
        app,
        handle_signals=False,
        access_log=structlog.get_logger("access") if server.access_log else None,
        shutdown_timeout=server.shutdown_timeout_s,
        keepalive_timeout=server.keep_alive_s,
        auto_decompress=False,  # bodies.read_body inflates: it can bound the work, and say what is wrong
    )


async def listen(runner: web.AppRunner, settings: Settings) -> None:
    """Take connections. Raises ``SettingsError`` where the address is taken."""
    server = settings.server
    site = web.TCPSite(runner, server.host, server.port, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        source = source_of("server.port", settings.sources)
        raise SettingsError("server.port", source, f"cannot listen on {server.host}:{server.port}: {error}") from error
    for address in runner.addresses:
        _log.info("listening", host=address[0], port=address[1])


async def wait_either(stop: Coroutine[Any, Any, object], failure: Coroutine[Any, Any, object]) -> None:
    """Until a signal, or until the process cannot go on."""
    stopping = asyncio.create_task(stop, name="signal")
    failing = asyncio.create_task(failure, name="failure")
    try:
        await asyncio.wait([stopping, failing], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        failing.cancel()


async def _close(service: Service) -> bool:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await service.close()
    except TimeoutError:
        return False
    return True
