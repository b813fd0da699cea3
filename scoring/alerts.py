"""Alerts: raised once when a rule begins to hold of a lead, resolved by themselves when it no longer does.

``look`` compares a lead as it is now with the alerts that it has: whoever folds events or lets time pass calls it, and
appends what comes back. Which alerts a lead has is a companion of its stream, ``AlertBook``, begun by the first
``alert_raised``: nothing is remembered that is not in the log. An alert's id follows from lead, rule and episode, so an
alert that is raised twice at once stands in the log once.

- Raised: ``when`` holds, no alert of the rule is open, and the last one was raised at least ``cooldown_s`` ago.
- Resolved: ``when`` does not hold and ``until``, if there is one, does; or the rule is gone; or a person says so.
- Old news raises nothing: what it makes true is *hushed* until it has not held for once.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from eventstore.event import Event, NewEvent, Stream
from kernel.times import SECOND_US
from scoring.alert_rules import CompiledRule
from scoring.events import (
    ALERT_ACKNOWLEDGED,
    ALERT_DELIVERED,
    ALERT_RAISED,
    ALERT_RESOLVED,
    AlertAcknowledged,
    AlertDelivered,
    AlertRaised,
    AlertResolved,
    Resolver,
)
from scoring.identity import (
    acknowledged_event_id,
    alert_id,
    delivered_event_id,
    delivery_id,
    raised_event_id,
    resolved_event_id,
)

ALERTS = "alerts"

Values = Callable[[str], Any]

_RAISED = msgspec.json.Decoder(AlertRaised)
_RESOLVED = msgspec.json.Decoder(AlertResolved)


class Episode(msgspec.Struct, array_like=True, gc=False):
    """The latest alert of a rule."""

    rule: str
    number: int
    raised_us: int
    is_open: bool = True


class AlertBook:
    """The alerts of one lead: the latest of each rule. Implements what a companion is; time does nothing to it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._episodes: dict[str, Episode] = {}

    def episode(self, rule: str) -> Episode | None:
        """The latest alert of a rule."""
        return self._episodes.get(rule)

    def open_rules(self) -> list[str]:
        """Rules of which an alert is open."""
        return [rule for rule, episode in self._episodes.items() if episode.is_open]

    def fold(self, event: Event) -> None:
        try:
            if event.type == ALERT_RAISED:
                self._raise(event.payload or _RAISED.decode(event.data), event.at_us)
            elif event.type == ALERT_RESOLVED:
                self._resolve(event.payload or _RESOLVED.decode(event.data))
        except msgspec.MsgspecError:
            return  # written by another version of this program

    def _raise(self, raised: AlertRaised, at_us: int) -> None:
        before = self._episodes.get(raised.rule)
        if before is None or raised.episode > before.number:
            self._episodes[raised.rule] = Episode(raised.rule, raised.episode, at_us)

    def _resolve(self, resolved: AlertResolved) -> None:
        episode = self._episodes.get(resolved.rule)
        if episode is not None and episode.number == resolved.episode:
            episode.is_open = False

    def due_us(self) -> int | None:
        return None

    def effects(self, now_us: int) -> list[NewEvent]:
        return []

    def written(self, events: Sequence[NewEvent]) -> None:
        """It causes no effects."""

    def dump(self) -> Any | None:
        return msgspec.to_builtins(list(self._episodes.values()))

    def restore(self, dumped: Any) -> None:
        """Raises ``ValueError``."""
        try:
            episodes = msgspec.convert(dumped, list[Episode])
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from error
        self._episodes = {episode.rule: episode for episode in episodes}


class AlertBookKind:
    """Makes the alert books of leads."""

    name = ALERTS
    starters = frozenset({ALERT_RAISED})

    def new(self, stream: Stream, waiting: Sequence[Event], awaited: Iterable[str]) -> AlertBook:
        return AlertBook(stream)

    def load(self, stream: Stream, dumped: Any) -> AlertBook:
        book = AlertBook(stream)
        book.restore(dumped)
        return book


class Look(NamedTuple):
    """What to append, and when to look again if no value changes before; None: not for that."""

    events: list[NewEvent]
    due_us: int | None


def look(
    stream: Stream,
    rules: Sequence[CompiledRule],
    book: AlertBook | None,
    values: Values,
    now_us: int,
    *,
    hushed: set[str] | None = None,
    is_old_news: bool = False,
) -> Look:
    """What begins to hold of a lead, and what no longer does.

    Parameters
    ----------
    rules : all that are in force: an open alert of any other is resolved.
    book : None for a lead without an alert so far.
    values : of features (``view:name``) and predictions (``prediction:NAME``); None for null.
    hushed : names of rules that hold because of old news; changed here. None: nothing is hushed.
    is_old_news : the occasion is an event that was recorded long after its time.
    """
    quiet = set[str]() if hushed is None else hushed
    found, due_us = [], None
    for rule in rules:
        episode = None if book is None else book.episode(rule.name)
        if rule.when.holds(values):
            if episode is not None and episode.is_open:
                continue
            if is_old_news:
                quiet.add(rule.name)
            again_us = now_us if episode is None else episode.raised_us + rule.rule.cooldown_s * SECOND_US
            if rule.name in quiet:
                continue
            if again_us > now_us:
                due_us = again_us if due_us is None else min(due_us, again_us)
            else:
                found.append(_raised(stream, rule, 1 if episode is None else episode.number + 1, values, now_us))
        else:
            quiet.discard(rule.name)
            if episode is not None and episode.is_open and (rule.until is None or rule.until.holds(values)):
                number = episode.number
                found.append(resolved_event(stream, rule.name, number, "itself", now_us, is_old_news=is_old_news))
    return Look([*found, *_orphans(stream, rules, book, now_us)], due_us)


def resolved_event(
    stream: Stream, rule: str, episode: int, by: Resolver, at_us: int, *, is_old_news: bool = False
) -> NewEvent:
    """The event that ends an alert; the same one however often it ends."""
    alert = alert_id(stream.id, rule, episode)
    payload = AlertResolved(alert, rule, episode, by, is_old_news)
    data = msgspec.json.encode(payload)
    return NewEvent(stream, resolved_event_id(alert), ALERT_RESOLVED, at_us, data, payload, has_time=False)


def acknowledged_event(stream: Stream, rule: str, episode: int, at_us: int) -> NewEvent:
    """The event that says that somebody has seen an alert."""
    alert = alert_id(stream.id, rule, episode)
    payload = AlertAcknowledged(alert, rule, episode)
    data = msgspec.json.encode(payload)
    return NewEvent(stream, acknowledged_event_id(alert), ALERT_ACKNOWLEDGED, at_us, data, payload, has_time=False)


def delivered_event(stream: Stream, payload: AlertDelivered, at_us: int) -> NewEvent:
    """The event that says what became of telling a webhook; one for each end."""
    event_id = delivered_event_id(delivery_id(payload.alert, payload.transition, payload.sink), payload.outcome)
    return NewEvent(stream, event_id, ALERT_DELIVERED, at_us, msgspec.json.encode(payload), payload, has_time=False)


def _raised(stream: Stream, rule: CompiledRule, episode: int, values: Values, now_us: int) -> NewEvent:
    payload = AlertRaised(
        rule=rule.name,
        version=rule.version,
        episode=episode,
        severity=rule.rule.severity,
        when=rule.rule.when,
        sinks=rule.rule.sinks,
        values={name: values(name) for name in rule.when.reads},
    )
    event_id = raised_event_id(alert_id(stream.id, rule.name, episode))
    return NewEvent(stream, event_id, ALERT_RAISED, now_us, msgspec.json.encode(payload), payload, has_time=False)


def _orphans(stream: Stream, rules: Sequence[CompiledRule], book: AlertBook | None, now_us: int) -> list[NewEvent]:
    """Alerts whose rule is no longer there."""
    if book is None:
        return []
    in_force = {rule.name for rule in rules}
    gone = [rule for rule in book.open_rules() if rule not in in_force]
    numbers = {rule: episode.number for rule in gone if (episode := book.episode(rule)) is not None}
    return [resolved_event(stream, rule, number, "rule", now_us) for rule, number in numbers.items()]
