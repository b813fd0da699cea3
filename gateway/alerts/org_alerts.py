"""The alerts of one org: its rules, what is open, which leads have to be looked at, and whom to tell.

Everything is folded from the log: rules from the org's stream; the board, and what webhooks were told, from the events
of their types. What is delivered while that is read waits, and is folded after it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from eventstore.event import Event, Stream
from eventstore.store import EventStore
from gateway.alerts.deliveries import OrgDeliveries
from gateway.alerts.occasions import Occasions
from gateway.alerts.readings import Reading
from gateway.alerts.rules import OrgRules
from gateway.orgs import Org
from kernel.clock import Clock
from kernel.ids import Position
from scoring.alert_board import KEPT, AlertBoard
from scoring.events import (
    ALERT_ACKNOWLEDGED,
    ALERT_DELIVERED,
    ALERT_RAISED,
    ALERT_RESOLVED,
    PREDICTION_MADE,
    AlertResolved,
)

BOARD_TYPES = (ALERT_RAISED, ALERT_RESOLVED, ALERT_ACKNOWLEDGED)
_ALERT_TYPES = frozenset((*BOARD_TYPES, ALERT_DELIVERED))
_PAGE = 500
_AT_ONCE = 200  # events folded between two turns of the loop: a millisecond

_RESOLVED = msgspec.json.Decoder(AlertResolved)


class OrgAlerts:
    """The alerts of one org.

    Attributes
    ----------
    hushed : by lead, the rules that hold because of old news; only of leads that have any.
    raised, resolved : counted since the start.
    must_scan : all leads have to be looked at.
    changed : rules that were defined since the first look at all leads began, and when.
    """

    def __init__(
        self, org: Org, deliveries: OrgDeliveries, board: AlertBoard, *, marked_max: int, clock: Clock
    ) -> None:
        self.org, self.board, self.deliveries, self._clock = org, board, deliveries, clock
        self.rules = OrgRules(org)
        self.occasions = Occasions(marked_max)
        self.reading = Reading(org, frozenset())
        self.hushed: dict[Stream, set[str]] = {}
        self.changed: dict[str, int] = {}
        self.raised = self.resolved = 0
        self.must_scan = False
        self.is_market_moved = False
        self.is_loaded = False
        self._loading = asyncio.Lock()
        self._waiting: list[Event] = []
        self._watched: frozenset[str] = frozenset()
        self._set_watched()

    # What happens.

    def fold(self, event: Event) -> None:
        """An event of this org was delivered. Never waits; nearly free for events that no rule is about."""
        if event.type in self._watched:
            if event.type in _ALERT_TYPES:
                self._fold_alert(event)
            else:
                self.occasions.note(event, is_old_news=self._is_old_news(event))
        elif event.stream.kind == "org":
            changed = self.rules.fold(event)
            if changed is not None:
                self.rules_changed([changed])
        elif event.stream.kind == "subject" and self.reading.reads_market and not self._is_old_news(event):
            self.is_market_moved = True

    def rules_changed(self, names: Iterable[str]) -> None:
        """Every lead has to be looked at; what was hushed of these rules may be raised."""
        names = list(names)
        if not names:
            return
        for stream, hushed in list(self.hushed.items()):
            hushed.difference_update(names)
            if not hushed:
                del self.hushed[stream]
        now_us = self._clock.now_us()
        self.changed.update(dict.fromkeys(names, now_us))
        self._set_watched()
        self.must_scan = True

    def forget(self, lead: str) -> None:
        """The lead is erased."""
        self.board.forget(lead)
        self.deliveries.forget(lead)
        self.hushed.pop(Stream(self.org.name, "lead", lead), None)

    def _set_watched(self) -> None:
        self.reading = Reading(self.org, self.rules.features)
        self._watched = _ALERT_TYPES | {PREDICTION_MADE} | self.reading.types

    def _is_old_news(self, event: Event) -> bool:
        return event.recorded_us - event.at_us > self.org.catalogue.trigger_max_age_us

    def _fold_alert(self, event: Event) -> None:
        if not self.is_loaded:
            self._waiting.append(event)
            return
        if event.type == ALERT_DELIVERED:
            self.deliveries.fold(event)
            return
        open_before = self.board.open
        self.board.fold(event)
        change = self.board.open - open_before
        self.raised += max(change, 0)
        self.resolved += max(-change, 0)
        if event.type == ALERT_RESOLVED:
            self._ended(event)
        if change and (alert := self.board.get(_alert_of(event))) is not None:
            self.deliveries.offer(alert)

    def _ended(self, event: Event) -> None:
        resolved = _resolved(event)
        if resolved is None:
            return
        if resolved.is_old_news:
            self.deliveries.hush(resolved.alert)
        if resolved.by == "person":
            self.occasions.note(event, is_old_news=False)  # it may hold still, and be raised when it has cooled down

    # What stands in the log.

    async def load(self, store: EventStore, definitions: EventStore) -> None:
        """Read the rules from the log of the org, board and deliveries from that of the leads, once."""
        async with self._loading:
            if not self.rules.is_loaded:
                self.rules_changed(await self.rules.load(definitions))
                self.changed.clear()
            if not self.is_loaded:
                await self._load_board(store)

    async def _load_board(self, store: EventStore) -> None:
        last = await store.last_position()
        name = self.org.name
        kept, over = await _resolutions(store, name, last)
        events = [event for event in await _read_type(store, name, ALERT_RAISED, last) if _alert_of(event) not in over]
        acknowledged = await _read_type(store, name, ALERT_ACKNOWLEDGED, last)
        events += [*kept, *acknowledged]
        events.sort(key=lambda event: event.position)
        await _fold_all(self.board.fold, events)
        for event in kept:
            resolved = _resolved(event)
            if resolved is not None and resolved.is_old_news:
                self.deliveries.hush(resolved.alert)
        delivered = await _read_type(store, name, ALERT_DELIVERED, last)
        await _fold_all(self.deliveries.fold, reversed(delivered))
        self.is_loaded = True
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._fold_alert(event)


def _alert_of(event: Event) -> str:
    """The alert that an event is about: what follows the prefix of its id."""
    return event.id[4:]


def _resolved(event: Event) -> AlertResolved | None:
    try:
        found: AlertResolved = event.payload or _RESOLVED.decode(event.data)
    except msgspec.MsgspecError:
        return None
    return found


async def _resolutions(store: EventStore, org: str, last: Position) -> tuple[list[Event], set[str]]:
    """The newest resolutions, as many as the board keeps, and the alerts of the others."""
    kept: list[Event] = []
    over: set[str] = set()
    async for page in _pages(store, org, ALERT_RESOLVED, last):
        room = KEPT - len(kept)
        kept += page[:room]
        over.update(_alert_of(event) for event in page[room:])
    return kept, over


async def _read_type(store: EventStore, org: str, event_type: str, last: Position) -> list[Event]:
    return [event async for page in _pages(store, org, event_type, last) for event in page]


async def _pages(store: EventStore, org: str, event_type: str, last: Position) -> AsyncIterator[list[Event]]:
    before = Position(last + 1)
    while page := await store.read_type(org, event_type, before=before, limit=_PAGE):
        yield page
        before = page[-1].position


async def _fold_all(fold: Callable[[Event], None], events: Iterable[Event]) -> None:
    for count, event in enumerate(events, start=1):
        fold(event)
        if count % _AT_ONCE == 0:
            await asyncio.sleep(0)
