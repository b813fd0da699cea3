"""Watching leads: a worker looks at them when something happened, when time makes a rule true, and at all when rules change.

Enter: delivered events and time. Leave: leads that are to be looked at, and what webhooks are told. Nothing
waits on the way of a request: a delivered event that no rule is about costs one look-up, any other marks its lead.

Rules about predictions alone look only at leads that have predictions. A rule about features needs to know when each
lead may change next: the wheel holds one deadline for each, about 160 bytes, filled by a look at all leads in the
background after the start and whenever rules change, some 10 leads between two turns of the loop.

How one is looked at, and when again, is ``gateway.alerts.looking``.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence

import msgspec
import structlog

from eventstore.event import Event, Stream
from eventstore.store import EventStore
from gateway.alerts.deliveries import Counts, OrgDeliveries
from gateway.alerts.looking import SLICE, Looker
from gateway.alerts.occasions import Marked
from gateway.alerts.org_alerts import OrgAlerts
from gateway.alerts.posting import Poster
from gateway.engine import Engine
from gateway.market import Markets
from gateway.orgs import Org
from gateway.scoring.scores import Scores
from kernel.errors import LeadwheelError
from kernel.settings_scoring import DEFAULT_CONFIGURATION
from kernel.times import SECOND_US
from projections.aggregators.runtime import BEFORE
from scoring.alert_board import AlertBoard

_AT_ONCE = 200  # leads of one kind of occasion in a tick
_PAGE = 1000

_log = structlog.get_logger(__name__)


class AlertStatistics(msgspec.Struct, frozen=True):
    """The alerts of all orgs now, and what happened since the start."""

    open: int
    raised: int
    resolved: int
    marked: int
    timers: int
    looks: int
    failures: int
    waiting: int
    dead: int


class Scan:
    """A look at all leads of an org that is under way.

    Parameters
    ----------
    leads : them, a slice at a time.
    is_start : the first one; what holds may have been hushed before.
    is_doubtful : that, or what happened could not be noted: of a lead it is not known whether old news made a rule true.
    """

    def __init__(
        self, leads: AsyncGenerator[list[Stream], None], *, is_start: bool, is_doubtful: bool, is_old_news: bool
    ) -> None:
        self.leads, self.is_start, self.is_doubtful, self.is_old_news = leads, is_start, is_doubtful, is_old_news


class Alerts:
    """The worker, for all orgs of a service. ``tick`` does a part of what is due now, ``settle`` all of it.

    Parameters
    ----------
    shared_store : of what all leads share, where the rules are.
    """

    def __init__(self, engine: Engine, *, scores: Scores, markets: Markets, shared_store: EventStore) -> None:
        self._engine, self._scores, self._shared_store = engine, scores, shared_store
        self._settings, self._clock = engine.settings.alerts, engine.clock
        self._orgs: dict[str, OrgAlerts] = {}
        self._scans: dict[str, Scan] = {}
        self._scanned_us: dict[str, int] = {}  # when the last look at all leads of an org began
        self._poster = Poster(engine.clock)
        self._looker = Looker(engine, markets)
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.posted = Counts()
        self.failures = 0

    @property
    def looks(self) -> int:
        """At leads, since the start."""
        return self._looker.looks

    def fold(self, event: Event) -> None:
        """An event was delivered. Never waits."""
        org = self._orgs.get(event.stream.org)
        if org is not None:
            org.fold(event)

    async def of(self, org: Org) -> OrgAlerts:
        """Those of an org; the first call reads them from the log."""
        found = self._orgs.get(org.name)
        if found is None:
            found = self._orgs[org.name] = self._new(org)
            found.must_scan = True
        if not (found.is_loaded and found.rules.is_loaded):
            await found.load(self._engine.store, self._shared_store)
        return found

    def forget(self, stream: Stream, number: int) -> None:
        """A lead is erased: nothing of it is kept here."""
        self._looker.forget(number)
        org = self._orgs.get(stream.org)
        if org is not None:
            org.forget(stream.id)

    def statistics(self) -> AlertStatistics:
        orgs = self._orgs.values()
        return AlertStatistics(
            open=sum(each.board.open for each in orgs),
            raised=sum(each.raised for each in orgs),
            resolved=sum(each.resolved for each in orgs),
            marked=sum(len(each.occasions) for each in orgs),
            timers=self._looker.timers,
            looks=self.looks,
            failures=self.failures,
            waiting=sum(each.deliveries.waiting for each in orgs),
            dead=sum(len(each.deliveries.dead) for each in orgs),
        )

    # Life.

    def start(self) -> None:
        """Begin to watch, and to tell."""
        self._task = asyncio.create_task(self._run(), name="alerts")

    async def close(self) -> None:
        """Watch no more; what is being told is told again after the next start. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for scan in self._scans.values():
            await scan.leads.aclose()
        for org in self._orgs.values():
            await org.deliveries.close()
        await self._poster.close()

    async def settle(self) -> None:
        """Do all that is due now."""
        while await self.tick():
            pass

    async def _run(self) -> None:
        while True:
            is_busy = False
            try:
                is_busy = await self.tick()
            except LeadwheelError as error:  # the log cannot be read now: what is marked stays so
                self.failures += 1
                _log.warning("alerts_wait", error=str(error))
            except Exception:  # noqa: BLE001 - a supervision boundary: counted, logged; all leads are looked at again
                self.failures += 1
                _log.exception("alerts_failed")
                for org in self._orgs.values():
                    org.must_scan = True
            await self._clock.sleep(0 if is_busy else self._settings.tick_s)

    async def tick(self) -> bool:
        """Look at some of the leads that are due; whether there may be more."""
        async with self._turn:
            for org in list(self._engine.orgs.values()):
                alerts = await self.of(org)
                if not alerts.deliveries.is_open:
                    alerts.deliveries.start()
            is_busy = await self._look_due()
            for alerts in list(self._orgs.values()):
                alerts.deliveries.work()
                is_busy |= await self._look_marked(alerts)
                self._watch_market(alerts)
                is_busy |= await self._scan(alerts)
            return is_busy

    def _new(self, org: Org) -> OrgAlerts:
        board = AlertBoard()
        deliveries = OrgDeliveries(
            org.name,
            board,
            org.settings.webhooks,
            poster=self._poster,
            store=self._engine.store,
            ingest=self._engine.ingest,
            clock=self._clock,
            counts=self.posted,
        )
        return OrgAlerts(org, deliveries, board, marked_max=self._settings.marked_max, clock=self._clock)

    # Occasions.

    async def _look_due(self) -> bool:
        """Leads whose values change with time, or whose cooldown is over."""
        due = self._looker.due(_AT_ONCE)
        if not due:
            return self._looker.is_behind
        try:
            infos = await self._engine.store.streams_of(due)
            by_org: dict[str, list[Stream]] = {}
            for info in infos:
                if info is not None:
                    by_org.setdefault(info.stream.org, []).append(info.stream)
            for name, streams in by_org.items():
                org = self._orgs[name]
                is_doubtful = org.occasions.is_overrun
                marked = [org.occasions.claim(stream) for stream in streams]
                await self._looker.look_at(org, marked, is_doubtful=is_doubtful)
        except LeadwheelError:
            self._looker.put_off(due)
            raise
        return True

    async def _look_marked(self, org: OrgAlerts) -> bool:
        """Leads that got an event."""
        is_doubtful = org.occasions.is_overrun
        marked = org.occasions.take(_AT_ONCE)
        await self._looker.look_at(org, marked, is_doubtful=is_doubtful)
        return bool(marked)

    def _watch_market(self, org: OrgAlerts) -> None:
        """All leads are looked at when the market has moved, but not all the time."""
        if not org.reading.reads_market:
            return
        now_us = self._clock.now_us()
        name = org.org.name
        until_us = self._looker.market_until_us(name)
        if until_us is not None and until_us <= now_us:
            org.is_market_moved = True
        since_us = now_us - self._scanned_us.get(name, BEFORE)
        if org.is_market_moved and name not in self._scans and since_us >= self._settings.market_s * SECOND_US:
            org.is_market_moved = False
            org.must_scan = True

    async def _scan(self, org: OrgAlerts) -> bool:
        """Look at the next of all leads, if a look at all is under way or due."""
        scan = await self._begun(org)
        if scan is None:
            return False
        done = 0
        async for streams in scan.leads:
            try:
                if scan.is_old_news:  # nobody knows which lead it was about: nothing is raised that might be wrong
                    await self._looker.look_at(org, [Marked(stream) for stream in streams], is_old_news=True)
                else:
                    marked = [org.occasions.claim(stream) for stream in streams]
                    await self._looker.look_at(org, marked, is_doubtful=scan.is_doubtful)
            except LeadwheelError:
                org.must_scan = True
                raise
            done += len(streams)
            if done >= _AT_ONCE:
                return True
        del self._scans[org.org.name]
        if scan.is_start:
            org.changed.clear()
        return False

    async def _begun(self, org: OrgAlerts) -> Scan | None:
        name, occasions = org.org.name, org.occasions
        if org.must_scan or occasions.is_overrun:
            before = self._scans.get(name)
            is_start = name not in self._scanned_us or (before is not None and before.is_start)
            is_doubtful = is_start or occasions.is_overrun or (before is not None and before.is_doubtful)
            is_old_news = not org.must_scan and not occasions.is_overrun_by_news
            self._scanned_us[name] = self._clock.now_us()
            org.must_scan = False
            occasions.begin_anew()
            if before is not None:
                await before.leads.aclose()
            self._scans[name] = Scan(
                self._leads(org), is_start=is_start, is_doubtful=is_doubtful, is_old_news=is_old_news
            )
        return self._scans.get(name)

    async def _leads(self, org: OrgAlerts) -> AsyncGenerator[list[Stream], None]:
        """Every lead that a rule may be about: all known ones, or those with predictions or open alerts."""
        name = org.org.name
        if org.reading.reads_leads or org.reading.reads_market:
            after = 0
            while page := await self._engine.store.list_streams(after_number=after, limit=_PAGE):
                known = [each.stream for each in page if each.is_known and _is_lead_of(each.stream, name)]
                for chunk in _chunks(known):
                    yield chunk
                after = page[-1].number
            return
        ranking = (await self._scores.of(org.org)).ranking(DEFAULT_CONFIGURATION)
        opened = (alert.lead for alert in org.board.newest_first() if alert.state != "resolved")
        for chunk in _chunks([Stream(name, "lead", lead) for lead in dict.fromkeys([*ranking.leads(), *opened])]):
            yield chunk


def _is_lead_of(stream: Stream, org: str) -> bool:
    return stream.kind == "lead" and stream.org == org


def _chunks(streams: Sequence[Stream]) -> Iterable[list[Stream]]:
    return (list(streams[start : start + SLICE]) for start in range(0, len(streams), SLICE))
