"""Looking at leads: what begins to hold of each, or no longer does, and when to look again.

Enters: leads of an org, and for what occasion. Leave: ``alert_raised`` and ``alert_resolved``, through the one way into the
log, and for each lead the next instant at which time alone may change something, in the wheel.

Old news raises nothing: what begins to hold by it is hushed until it has not held for once. What is hushed stands in no
log; after a restart a rule that holds without an alert is hushed again if it held when the lead's newest old news was
recorded, and raised otherwise.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, cast

from actors.wheel import TimerWheel
from eventstore.event import NewEvent, Stream
from gateway.alerts.occasions import Marked, Run
from gateway.alerts.org_alerts import OrgAlerts
from gateway.engine import Engine
from gateway.market import Markets
from kernel.steps import finish_politely, releasing
from kernel.times import SECOND_US
from projections.aggregators.runtime import BEFORE
from projections.entity import FoldedEntity
from projections.refolding import refolding
from scoring.alerts import ALERTS, AlertBook, look
from scoring.events import ALERT_RAISED

SLICE = 10  # leads between two turns of the loop: a millisecond, or ten where they sleep with many predictions
_RETRY_US = SECOND_US
_WHEEL_TICK_US = SECOND_US // 4
_LOOK = "look"


class Looker:
    """Looks at leads of a service.

    Attributes
    ----------
    looks : counted since the start.
    """

    def __init__(self, engine: Engine, markets: Markets) -> None:
        self._engine, self._markets, self._clock = engine, markets, engine.clock
        self._wheel = TimerWheel(start_us=engine.clock.now_us(), tick_us=_WHEEL_TICK_US)
        self._market_until_us: dict[str, int | None] = {}
        self.looks = 0

    @property
    def timers(self) -> int:
        """Leads that are to be looked at some time."""
        return len(self._wheel)

    @property
    def is_behind(self) -> bool:
        """Something is due that ``due`` has not told yet."""
        return self._wheel.is_behind(self._clock.now_us())

    def due(self, limit: int) -> list[int]:
        """Numbers of leads whose time has come; each is told once."""
        return [timer.entity for timer in self._wheel.advance(self._clock.now_us(), limit)]

    def put_off(self, numbers: Iterable[int]) -> None:
        """They could not be looked at: in a moment, then."""
        for number in numbers:
            self._wheel.schedule(number, _LOOK, self._clock.now_us() + _RETRY_US)

    def forget(self, number: int) -> None:
        self._wheel.cancel(number, _LOOK)

    def market_until_us(self, org: str) -> int | None:
        """Until when the market's values hold that were read last; None: for good, or none were read."""
        return self._market_until_us.get(org)

    async def look_at(
        self, org: OrgAlerts, marked: Sequence[Marked], *, is_doubtful: bool = False, is_old_news: bool = False
    ) -> None:
        """Look at leads, a slice at a time. What was not looked at stays marked. Raises ``LeadwheelError``."""
        done = 0
        try:
            while done < len(marked):
                chunk = marked[done : done + SLICE]
                await self._look_slice(org, chunk, is_doubtful=is_doubtful, is_old_news=is_old_news)
                done += len(chunk)
                await asyncio.sleep(0)
        except BaseException:
            org.occasions.put_back(each for each in marked[done:] if each.runs)
            raise

    async def _look_slice(
        self, org: OrgAlerts, marked: Sequence[Marked], *, is_doubtful: bool, is_old_news: bool
    ) -> None:
        market = await self._market_values(org)
        for stream, runs in marked:
            if len(runs) > 1 and org.reading.reads_leads:
                await self._look_through(org, stream, runs[:-1], market)
        entities = cast("list[FoldedEntity | None]", await self._engine.host.look([each.stream for each in marked]))
        now_us = self._clock.now_us()
        events: list[NewEvent] = []
        for (_, runs), entity in zip(marked, entities, strict=True):
            if entity is not None and entity.has_outside_event:
                is_old = runs[-1].is_old_news if runs else is_old_news
                found = self._look(org, entity, now_us, market, is_old_news=is_old)
                events += await self._not_hushed(org, entity, found) if is_doubtful else found
        await self._record(events)

    def _look(
        self, org: OrgAlerts, entity: FoldedEntity, now_us: int, market: dict[str, Any], *, is_old_news: bool
    ) -> list[NewEvent]:
        """What begins to hold of a lead as it is now, or no longer does; and when to look again."""
        values, change_us = org.reading.values(entity, now_us, market)
        hushed = org.hushed.get(entity.stream, set())
        found = look(
            entity.stream, org.rules.in_force, _book(entity), values.get, now_us, hushed=hushed, is_old_news=is_old_news
        )
        if hushed:
            org.hushed[entity.stream] = hushed
        else:
            org.hushed.pop(entity.stream, None)
        due = [at_us for at_us in (change_us, found.due_us) if at_us is not None]
        if due:
            self._wheel.schedule(entity.number, _LOOK, max(min(due), now_us + 1))
        else:
            self._wheel.cancel(entity.number, _LOOK)
        self.looks += 1
        return found.events

    async def _look_through(self, org: OrgAlerts, stream: Stream, runs: Iterable[Run], market: dict[str, Any]) -> None:
        """Look at a lead as it was after each run of events, so that old news is not taken for what came after it."""
        log = await self._engine.store.read(stream)
        for run in runs:
            known = [event for event in log if event.version <= run.version]
            live = await self._live(stream)
            if live is None or not known:
                continue
            past = await finish_politely(refolding(stream, live.number, org.org.catalogue, known))
            now_us = self._clock.now_us()
            values, _ = org.reading.values(past, now_us, market)
            values |= org.reading.predictions(live)
            hushed = org.hushed.setdefault(stream, set())
            found = look(
                stream, org.rules.in_force, _book(live), values.get, now_us, hushed=hushed, is_old_news=run.is_old_news
            )
            await self._record(found.events)
        await finish_politely(releasing(log))

    async def _not_hushed(self, org: OrgAlerts, entity: FoldedEntity, found: Sequence[NewEvent]) -> list[NewEvent]:
        """Without what held already when old news of the lead was recorded, which has hushed it, or should have."""
        old_us, book = entity.old_news_us, _book(entity)
        began = {event.payload.rule for event in found if event.type == ALERT_RAISED}
        # A rule that was defined after the old news is looked at anew, whatever made it true.
        doubtful = {name for name in began if max(_since(book, name), org.changed.get(name, BEFORE)) <= old_us}
        if old_us <= BEFORE or not doubtful or not org.reading.reads_leads:
            return list(found)
        past = await self._engine.read_at(entity.stream, old_us, old_us)
        if past is None:
            return list(found)
        values, _ = org.reading.values(past, old_us, {})
        values |= org.reading.predictions(entity)
        quiet = {rule.name for rule in org.rules.in_force if rule.name in doubtful and rule.when.holds(values.get)}
        if quiet:
            org.hushed.setdefault(entity.stream, set()).update(quiet)
        return [event for event in found if event.type != ALERT_RAISED or event.payload.rule not in quiet]

    async def _live(self, stream: Stream) -> FoldedEntity | None:
        return cast("FoldedEntity | None", (await self._engine.host.look([stream]))[0])

    async def _market_values(self, org: OrgAlerts) -> dict[str, Any]:
        if not org.reading.reads_market:
            return {}
        values, until_us = await org.reading.market(self._markets.of(org.org.name))
        self._market_until_us[org.org.name] = until_us
        return values

    async def _record(self, events: Sequence[NewEvent]) -> None:
        """What another looker has written already, or a person, is a duplicate, or refused; both are as good."""
        if events:
            await self._engine.ingest.record(events)


def _book(entity: FoldedEntity) -> AlertBook | None:
    found = entity.companion(ALERTS)
    return found if isinstance(found, AlertBook) else None


def _since(book: AlertBook | None, rule: str) -> int:
    """When the latest alert of a rule was raised."""
    episode = None if book is None else book.episode(rule)
    return BEFORE if episode is None else episode.raised_us
