"""The composition root: every object of a service, built in one place and handed to the others.

``open_service`` builds and starts, ``build_app`` puts HTTP around it. The order of starting: log, cache,
host, recovery, timers; of stopping: timers, host (snapshots), cache, log.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from actors.entity import Folds
from actors.host import ActorHost
from actors.ingest import Ingest
from actors.limits import ActorLimits
from actors.ticker import Ticker
from actors.wheel import TimerWheel
from eventstore.event import NewEvent
from eventstore.memory import MemoryEventStore
from eventstore.snapshots import SnapshotStore
from eventstore.sqlite import SqliteEventStore
from eventstore.store import EventStore
from eventstore.types import EventTypes
from gateway.caches import Caches, LmdbCaches, MemoryCaches
from gateway.endpoint import binder, missing
from gateway.folds import service_folds
from gateway.keyring import Keyring
from gateway.lists.lists import check_ranked
from gateway.measures import watch
from gateway.orgs import Orgs
from gateway.routes import (
    alert_rules,
    alerts,
    batch,
    bulk_predictions,
    catalogue,
    dead_letters,
    decisions,
    events,
    explain,
    extract,
    features,
    handshake,
    history,
    jobs,
    lead_rankings,
    lead_scoring,
    lists,
    market,
    models,
    operations,
    pages,
    policies,
    prompt,
    services,
    stream,
    timeline,
    webhooks,
)
from gateway.routing import Route, RouteTable
from gateway.service import Service
from gateway.sharing import WHOLE, DividedRecorder, FollowingRecorder, Part, RecorderInTurns, always
from gateway.sqlite import copy_options, sqlite_options
from gateway.staleness import Staleness
from kernel.clock import Clock
from kernel.errors import SettingsError
from kernel.fatal import OnFatal, exit_now
from kernel.ids import IdSource
from kernel.settings import Settings, source_of
from kernel.times import SECOND_US

#: Where a node has its copies, in its data directory.
PARTITIONS = "partitions"

STOP_TIMEOUT_S = 2.5  # for snapshots, when the service stops

SERVICE: web.AppKey[Service] = web.AppKey("service", Service)

#: Opens a log for events of these types.
OpenLog = Callable[[EventTypes], Awaitable[EventStore]]

#: Puts snapshots that were made under a catalogue into a cache that is empty.
SeedCache = Callable[[SnapshotStore, str], Awaitable[None]]

#: Every route, the hot ones first. What is here is dispatched, documented and measured.
ROUTES: Sequence[Route] = (
    *features.ROUTES,
    *events.ROUTES,
    *decisions.ROUTES,
    *handshake.ROUTES,
    *batch.ROUTES,
    *extract.ROUTES,
    *timeline.ROUTES,
    *lists.ROUTES,
    *stream.ROUTES,
    *explain.ROUTES,
    *history.ROUTES,
    *prompt.ROUTES,
    *market.ROUTES,
    *lead_scoring.ROUTES,
    *bulk_predictions.ROUTES,
    *lead_rankings.ROUTES,
    *alerts.ROUTES,
    *alert_rules.ROUTES,
    *webhooks.ROUTES,
    *services.ROUTES,
    *policies.ROUTES,
    *catalogue.ROUTES,
    *dead_letters.ROUTES,
    *jobs.ROUTES,
    *models.ROUTES,
    *operations.ROUTES,
    *pages.ROUTES,
)


class Paths(msgspec.Struct, frozen=True):
    """Where a service keeps its files; ``root`` holds keys and models where these are not in its directory."""

    directory: Path
    root: Path | None = None

    @property
    def kept(self) -> Path:
        """Where keys and models are."""
        return self.root or self.directory


def build_app(service: Service) -> web.Application:
    """An application that serves one service; closing the service is its opener's."""
    app = web.Application(client_max_size=service.settings.server.max_body_mb * 1024 * 1024)
    app[SERVICE] = service
    service.routes = ROUTES
    app.router.register_resource(RouteTable(ROUTES, binder(service), missing(service)))
    app.on_shutdown.append(_close_streams)
    return app


async def _close_streams(app: web.Application) -> None:
    app[SERVICE].feed.close_streams()  # an open stream would hold the stop up until it times out


async def open_service(
    settings: Settings,
    *,
    paths: Paths | None,
    clock: Clock,
    seed: int | None = None,
    is_trusting: bool = False,
    is_ticking: bool = True,
    on_fatal: OnFatal = exit_now,
    shared: Service | None = None,
    part: Part = WHOLE,
    log: OpenLog | None = None,
    seed_cache: SeedCache | None = None,
    is_following: bool = False,
    is_current: Callable[[], bool] = always,
) -> Service:
    """Open or make the data directory, recover, and start what runs on its own.

    Parameters
    ----------
    paths : None keeps everything in memory.
    seed : of the ids that the server gives; None for the system's chance.
    is_ticking : False leaves it to the caller to tick ``Service.ticker``.
    is_trusting : callers need no key and may name any org: for the process that owns the directory.
    shared : the service of subjects, orgs and policies, where this one is to have leads only; it outlives this one.
        Settings, clock, keys and orgs are its.
    part : which of the leads this service has, where several share them.
    log : opens the log, where it is none of those that the settings name.
    seed_cache : given the cache of snapshots before anything is folded.
    is_current : whether this process is surely still the one that has its leads; asked before what they bring about is
        written into shared streams.
    is_following : another process writes the log; nothing is written here of its own accord until ``Service.lead``.

    Raises
    ------
    SettingsError, EventStoreError, DefinitionError
        Nothing was started.
    """
    ids = IdSource(clock, seed)
    if shared is None:
        trusted = frozenset(settings.org) if is_trusting else None
        keyring = Keyring(paths.kept if paths else None, clock, trusted_orgs=trusted)
        orgs = Orgs(settings, clock=clock, ids=ids)
        check_ranked(settings, orgs)
    else:
        keyring, orgs = shared.keyring, shared.orgs
    if log is None:
        store = await _open_store(settings, paths, orgs, clock, ids, on_fatal)
    else:
        store = await log(orgs.types())
    try:
        caches = _caches(settings, paths, orgs, clock, on_fatal)
        snapshots = await caches.open()
    except BaseException:
        await store.close()
        raise
    if seed_cache is not None:
        try:
            await seed_cache(snapshots, orgs.fingerprint())
        except BaseException:
            await snapshots.close()
            await store.close()
            raise
    folds, ledgers = service_folds(settings, orgs, clock)
    parts = _Parts(settings, clock, store, snapshots, folds, shared, is_current)
    staleness = Staleness(paths.directory if paths else None, orgs)
    service = Service(
        settings=settings,
        clock=clock,
        ids=ids,
        keyring=keyring,
        orgs=orgs,
        store=store,
        host=parts.host,
        ingest=parts.ingest,
        ticker=parts.ticker,
        folds=folds,
        ledgers=ledgers,
        caches=caches,
        staleness=staleness,
        directory=paths.kept if paths else None,
        closers=[parts.close, store.close],
        ticking=parts,
        shared=shared,
        part=part,
        is_leading=not is_following,
    )
    parts.on_failure, parts.is_leading = service.fail, lambda: service.is_leading
    watch(service)
    try:
        await parts.start()
        staleness.find()
        for org in list(orgs.values()):
            await org.services.load(service.shared.store)
            if shared is None and not is_trusting and service.models.has_any(org):
                await service.models.of(org)  # before it is ready: what explains takes seconds to import
    except BaseException:
        await service.close()
        raise
    service.is_recovered = True
    service.lists.start()
    if is_ticking and is_following and shared is not None:
        parts.begin_ticking()
    elif is_ticking and not is_following:
        service.lead()
        service.begin()
    return service


async def _open_store(
    settings: Settings, paths: Paths | None, orgs: Orgs, clock: Clock, ids: IdSource, on_fatal: OnFatal
) -> EventStore:
    kind, types = settings.store.kind, orgs.types()
    if paths is None or kind == "memory":
        return MemoryEventStore(types=types, clock=clock)
    if settings.nodes.url or (paths.directory / PARTITIONS).is_dir():
        source = source_of("nodes.url", settings.sources)
        expected = "one process cannot open what nodes share: serve it with --node-url, ask a running node with --url"
        raise SettingsError("nodes.url", source, expected)
    if kind == "sqlite":
        options = sqlite_options(settings.store)
        return await SqliteEventStore.open(
            paths.directory, types=types, clock=clock, options=options, on_fatal=on_fatal
        )
    # Only here: Kafka's client is a twentieth of what all imports take.
    from eventstore.kafka import open_kafka
    from gateway.kafka import kafka_options

    return await open_kafka(
        paths.directory,
        kafka=kafka_options(settings),
        owner=ids.uuid7(),
        types=types,
        clock=clock,
        options=copy_options(settings.store),
        on_fatal=on_fatal,
    )


def _caches(settings: Settings, paths: Paths | None, orgs: Orgs, clock: Clock, on_fatal: OnFatal) -> Caches:
    if paths is None or settings.store.kind == "memory":
        return MemoryCaches()
    return LmdbCaches(
        paths.directory,
        clock=clock,
        on_fatal=on_fatal,
        fingerprint=orgs.fingerprint(),
        map_size_bytes=round(settings.actors.snapshot_max_gb * 2**30),
    )


class _RecorderOf:
    """The recorder that a service has at the time of recording."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def record(self, events: Sequence[NewEvent]) -> object:
        return await self._service.recorder.record(events)


class _Parts:
    """What runs on its own: the host's housekeeping and the timers, each a named task that is awaited at the end."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        store: EventStore,
        snapshots: SnapshotStore,
        folds: Folds,
        shared: Service | None,
        is_current: Callable[[], bool],
    ) -> None:
        actors = settings.actors
        wheel = TimerWheel(start_us=clock.now_us(), tick_us=round(actors.tick_s * SECOND_US))
        limits = ActorLimits(
            max_awake=actors.max_awake,
            idle_timeout_s=actors.idle_timeout_s,
            snapshot_interval_s=actors.snapshot_interval_s,
            snapshot_slice=actors.snapshot_slice,
            mailbox_events=actors.mailbox_events,
            backlog_max=actors.backlog_max,
            recovery_batch=actors.recovery_batch,
        )
        self.host = ActorHost(store=store, snapshots=snapshots, folds=folds, clock=clock, wheel=wheel, limits=limits)
        self.ingest = Ingest(
            store=store,
            host=self.host,
            max_events=actors.intake_events,
            max_bytes=actors.intake_mb * 2**20,
            batch_events=settings.store.batch_events,
        )
        self.ticker = Ticker(
            store=store,
            host=self.host,
            ingest=self.ingest if shared is None else self._in_turns(store, shared, is_current),
            wheel=wheel,
            clock=clock,
            tick_s=actors.tick_s,
            budget=actors.due_budget,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._ticker: asyncio.Task[None] | None = None
        self.is_leading: Callable[[], bool] = always
        self.on_failure: Callable[[BaseException], None]

    def _in_turns(self, store: EventStore, shared: Service, is_current: Callable[[], bool]) -> RecorderInTurns:
        return RecorderInTurns(
            leading=DividedRecorder(own=self.ingest, shared=_RecorderOf(shared), is_current=is_current),
            following=FollowingRecorder(own=store, shared=shared.store),
            is_leading=lambda: self.is_leading(),
        )

    async def start(self) -> None:
        """Recover what must be before anything is read, then begin to run."""
        await self.host.start()
        self._run("actors", self.host.run)

    def begin_ticking(self) -> None:
        """Let time have its effects. Idempotent."""
        if self._ticker is None:
            self._ticker = self._run("ticker", self.ticker.run)

    async def end_ticking(self) -> None:
        """Let it have none any more. Idempotent."""
        task, self._ticker = self._ticker, None
        if task is not None:
            self._tasks.remove(task)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _run(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                self.on_failure(task.exception() or RuntimeError(f"{task.get_name()} ended"))

        task = asyncio.create_task(run(), name=name)
        task.add_done_callback(ended)
        self._tasks.append(task)
        return task

    async def close(self) -> None:
        """Stop the timers, finish what is under way, snapshot what is awake, close the cache."""
        for task in reversed(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.ingest.drain()
        await self.host.stop(timeout_s=STOP_TIMEOUT_S)
        await self.host.snapshots.close()
