"""A service, composed: what routes need of everything that was built.

Parts of it are given the engine and those other parts that they need; none of them knows the whole. Built by ``gateway.app``, closed
once, in the order in which nothing acknowledged is lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry

from actors.entity import Folds
from actors.host import ActorHost
from actors.ingest import Ingest
from actors.ticker import Recorder, Ticker
from bandit.activity import Activity
from bandit.ledger import LedgerKind
from eventstore.event import Event
from eventstore.store import EventStore
from eventstore.system import SYSTEM_ID_PREFIX
from gateway.alerts.watching import Alerts
from gateway.answers import Answers
from gateway.assets import Assets
from gateway.caches import Caches
from gateway.engine import Engine
from gateway.feed.feed import Feed
from gateway.jobs import Jobs
from gateway.keyring import Keyring
from gateway.lists.lists import Lists
from gateway.market import Markets
from gateway.orgs import Orgs
from gateway.policies.deciding import Decider
from gateway.policies.policies import Policies
from gateway.ready import Dates
from gateway.routing import Route
from gateway.scoring.models import ScoringModels
from gateway.scoring.predicting import Predictor
from gateway.scoring.retraining import Retraining
from gateway.scoring.scores import Scores
from gateway.scoring.triggered import Triggered
from gateway.sharing import WHOLE, Part
from gateway.staleness import Staleness
from kernel.clock import Clock
from kernel.ids import IdSource
from kernel.metrics import Metrics
from kernel.settings import Settings
from projections.local_time import LocalTime

_log = structlog.get_logger(__name__)

Closer = Callable[[], Awaitable[None]]


class Ticking(Protocol):
    """Time, on and off."""

    def begin_ticking(self) -> None: ...

    async def end_ticking(self) -> None: ...


class Service(Engine):
    """Everything a request may need.

    Parameters
    ----------
    directory : of the models; None keeps everything in memory.
    closers : what to await at the end, in this order.
    ticking : starts the timers, and stops them.
    shared : the service of what all leads share, where that is another one; it is closed after this one.

    Attributes
    ----------
    shared : that service, or this one.
    recorder : records effects that come from services of leads into the streams that are shared.
    has_begun : it predicts and raises alerts unasked, which needs the whole log.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        ids: IdSource,
        keyring: Keyring,
        orgs: Orgs,
        store: EventStore,
        host: ActorHost,
        ingest: Ingest,
        ticker: Ticker,
        folds: Folds,
        ledgers: LedgerKind,
        caches: Caches,
        staleness: Staleness,
        directory: Path | None,
        closers: Sequence[Closer],
        ticking: "Ticking",
        shared: "Service | None" = None,
        part: Part = WHOLE,
        is_leading: bool = True,
    ) -> None:
        super().__init__(
            settings=settings,
            clock=clock,
            ids=ids,
            orgs=orgs,
            store=store,
            host=host,
            ingest=ingest,
            part=part,
            is_leading=is_leading,
        )
        self.keyring, self.ticker, self.folds, self.ledgers = keyring, ticker, folds, ledgers
        self.caches, self.staleness = caches, staleness
        self.shared = shared or self
        self.recorder: Recorder = ingest
        self._ticking = ticking
        self.jobs = Jobs(clock, ids)
        self.part_jobs = Jobs(clock, ids)  #: what jobs of several services make this one do
        self.feed = Feed(orgs=orgs, store=store, host=host, clock=clock, settings=settings.stream)
        self.lists = Lists(settings=settings, orgs=orgs, store=store, host=host, clock=clock, ids=ids)
        self.dates = Dates()
        self.answers = Answers(max_bytes=settings.server.answers_mb * 2**20, awake=self.awake)
        activity = Activity(lambda org: LocalTime(orgs[org].settings.timezone))
        if shared is None:
            self.markets = Markets(orgs.catalogue_of, awake=self.awake, wake=self.wake, store=store, clock=clock)
            self.policies = Policies(activity, store=store, host=host, ingest=ingest, clock=clock)
            self.models = ScoringModels(self, directory)
        else:
            self.markets, self.models = shared.markets, shared.models
            self.policies = Policies(
                activity, store=shared.store, host=shared.host, ingest=shared.ingest, clock=clock, decisions=store
            )
            shared.host.tap(self._told_shared)
        self.decider: Decider = Decider(
            self, policies=self.policies, markets=self.markets, shared=None if shared is None else shared.decider
        )
        self.scores = Scores(store, self.models)
        self.predictor = Predictor(self)
        self.triggered = Triggered(self, scores=self.scores, predictor=self.predictor)
        self.retraining = Retraining(self, models=self.models, jobs=self.jobs)
        self.alerts = self._new_alerts()
        host.tap(self._told)
        self.metrics = Metrics(CollectorRegistry())
        self.routes: Sequence[Route] = ()
        self.openapi: bytes | None = None
        self.assets = Assets()
        self.is_recovered = False
        self.has_begun = False
        self.is_stopping = False
        self.errors = 0
        self.prompt_failures = 0
        self.failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._closers = [
            self._leave,
            self.feed.close,
            self.lists.close,
            self.retraining.close,
            self.jobs.close,
            self.part_jobs.close,
            self.triggered.close,
            self._close_alerts,
            self.predictor.close,
            self._settle,
            *closers,
        ]
        self.rewarded = {"taken": 0, "duplicate": 0, "late": 0}
        self.refusals: dict[str, int] = {}  #: of events and of other requests, by code
        self.outcomes = {"accepted": 0, "duplicate": 0, "rejected": 0, "dead": 0}

    def lead(self) -> None:
        """The process writes the log from now on: let time have its effects."""
        self.is_leading = True
        self._ticking.begin_ticking()

    def begin(self) -> None:
        """Begin what whoever leads does of its own accord, once its log lacks nothing: predictions, trainings, alerts."""
        self.has_begun = True
        self.triggered.start()
        if self.part == WHOLE:  # what is learned from some of the leads is no model of all
            self.retraining.start()
        self.alerts.start()

    async def follow(self) -> None:
        """End what ``lead`` and ``begin`` began: another process writes the log. What was under way is begun again there."""
        self.is_leading = self.has_begun = False
        if self.shared is self:
            await self._ticking.end_ticking()
        await self.triggered.close()
        await self.retraining.close()
        await self.alerts.close()
        self.alerts = self._new_alerts()  # what it knew is read anew if this service leads again

    def _new_alerts(self) -> Alerts:
        return Alerts(self, scores=self.scores, markets=self.markets, shared_store=self.shared.store)

    async def _close_alerts(self) -> None:
        await self.alerts.close()

    async def _leave(self) -> None:
        self.shared.host.untap(self._told_shared)
        self.scores.close()
        if self.shared is self:
            await self.models.close()

    async def _settle(self) -> None:
        """Note what all leads are folded under, if they are."""
        if self.is_recovered and not self.host.is_recovering:
            self.staleness.settle()

    def _told(self, events: Sequence[Event]) -> None:
        """Events were delivered: what is folded from the streams of subjects and orgs follows."""
        alerts, triggered, is_leading = self.alerts.fold, self.triggered.fold, self.is_leading
        for event in events:
            if is_leading:
                alerts(event)
            kind = event.stream.kind
            if kind == "lead":
                if is_leading:
                    triggered(event)
            elif kind == "subject":
                self.markets.tell(event)
            elif kind == "org":
                self.orgs[event.stream.org].services.fold(event)
                self.models.fold(event)
            if event.id[0] == SYSTEM_ID_PREFIX:
                self.policies.fold(event)
                self.scores.fold(event)

    def _told_shared(self, events: Sequence[Event]) -> None:
        """Events of shared streams were delivered: what is known here of rules and of open decisions follows."""
        for event in events:
            if self.is_leading:
                self.alerts.fold(event)
            if event.id[0] == SYSTEM_ID_PREFIX:
                self.policies.fold(event)

    def count_refused(self, codes: Iterable[str]) -> None:
        """Note why events, or a request as a whole, were refused, for the metrics."""
        for code in codes:
            self.refusals[code] = self.refusals.get(code, 0) + 1

    def count(self, accepted: int, duplicates: int, rejected: int, dead: int) -> None:
        """Note what became of a request's events, for the metrics."""
        counts = self.outcomes
        counts["accepted"] += accepted
        counts["duplicate"] += duplicates
        counts["rejected"] += rejected
        counts["dead"] += dead

    # Life.

    def not_ready(self) -> list[str]:
        """Why requests are not served yet, or no longer; empty when they are."""
        reasons = []
        if self.is_stopping:
            reasons.append("stopping")
        if not self.is_recovered:
            reasons.append("recovering")
        if self.failure is not None:
            reasons.append("failed")
        if self.host.is_congested:
            reasons.append("snapshots are behind the log")
        return reasons

    def fail(self, error: BaseException) -> None:
        """Something that the service cannot do without has ended: stop, with an exit code that says so."""
        if self.failure is None:
            self.failure = error
            _log.error("failed", exc_info=error)
            self._failed.set()

    async def wait_failed(self) -> None:
        await self._failed.wait()

    async def close(self) -> None:
        """Stop jobs and timers, snapshot what is awake, close the log. Idempotent."""
        self.is_stopping = True
        closers, self._closers = self._closers, []
        for close in closers:
            await close()
