"""Which events a value rests on, read off its expression: node by node, the whole is the union.

Each node names events such that its value is the same over *every* set between these and all that happened. So
what one node adds never disturbs another, and the union, folded alone, gives the whole expression's value. For
what depends on order this means context: of a thread in which an answer counts, every message; of a campaign that
somebody opened in time, the opening. A node of a pack's own rests on every event of its signals, unless it
registers here::

    @behind.register
    def _(node: MyAggregate, past: Past) -> Iterable[Event | None]: ...

None among the events is a pause: whoever goes through a hundred thousand of them may let others have their turn.
"""

from collections.abc import Iterable, Sequence
from functools import partial, singledispatch
from itertools import chain, pairwise
from typing import Any

from eventstore.event import Event, order_key
from kernel.steps import STEP_ITEMS, Steps, ordering
from projections.aggregators.keys import Keys
from projections.aggregators.ordered import (
    Carried,
    Favourite,
    FavouriteMean,
    FavouriteShare,
    FirstTime,
    LastTime,
    Recent,
)
from projections.aggregators.pairs import Replies, Turns, Unanswered
from projections.aggregators.progress import Available, Open, Reached, Running
from projections.aggregators.rhythm import Decayed, Streak
from projections.aggregators.runtime import favourite, streak
from projections.aggregators.series import Windowed
from projections.aggregators.sums import Totals
from projections.expressions import Expr
from projections.hindsight.sieves import Past
from projections.instants import FirstOf, Instant, Since, TimeText
from projections.signals import DATE, FieldLike, Signal


def events_behind(expr: Expr, past: Past) -> Steps[list[Event]]:
    """The events that an expression's value rests on, by (time, id)."""
    found: dict[int, Event] = {}
    for node in expr.nodes():
        yield from past.politely(partial(_gathering, node, past, found))
        yield
    return (yield from ordering(list(found.values()), order_key))


def _gathering(node: Expr, past: Past, found: dict[int, Event]) -> Steps[None]:
    for place, event in enumerate(behind(node, past)):
        if event is not None:
            found[event.version] = event
        if event is None or place % STEP_ITEMS == STEP_ITEMS - 1:
            yield


def resting(node: Expr, past: Past) -> Steps[bool]:
    """Whether the node's own value rests on any event."""

    def asking() -> Steps[bool]:
        for event in behind(node, past):
            if event is not None:
                return True
            yield
        return False

    return (yield from past.politely(asking))


@singledispatch
def behind(node: Expr | Instant, past: Past) -> Iterable[Event | None]:
    """The events that this node's own value rests on, those of its parts apart; in any order, with pauses."""
    return chain.from_iterable(past.of(signal) for signal in node.signals())


@behind.register
def _(node: Windowed, past: Past) -> Iterable[Event]:
    return past.of(node.signal, getattr(node, "field", None) or None, window_us=node.window_us)


@behind.register
def _(node: Totals, past: Past) -> Iterable[Event]:
    return past.of(node.signal, node.field, form="micro", window_us=node.window_us)


# Instants, and values that came with one event.


@behind.register
def _(node: Since, past: Past) -> Iterable[Event | None]:
    return chain(behind(node.start, past), behind(node.end, past) if node.end is not None else ())


@behind.register
def _(node: TimeText, past: Past) -> Iterable[Event | None]:
    return behind(node.instant, past)


@behind.register
def _(node: FirstTime, past: Past) -> Iterable[Event]:
    return past.of(node.signal, window_us=node.window_us)[:1]


@behind.register
def _(node: LastTime, past: Past) -> Iterable[Event]:
    return past.of(node.signal, window_us=node.window_us)[-1:]


@behind.register
def _(node: FirstOf, past: Past) -> Iterable[Event | None]:
    return list(filter(None, behind(node.preferred, past))) or behind(node.other, past)


@behind.register
def _(node: Carried, past: Past) -> Iterable[Event]:
    sources = [(each.signal, None if node.is_strict else each.field) for each in node.sources]
    lists = [past.valued(signal, field, "raw", window_us=node.window_us) for signal, field in sources]
    if node.is_first:
        return sorted((pairs[0][0] for pairs in lists if pairs), key=order_key)[:1]
    return sorted((pairs[-1][0] for pairs in lists if pairs), key=order_key)[-1:]


@behind.register
def _(node: Recent, past: Past) -> Iterable[Event]:
    carrying = past.of(node.signal, node.field, window_us=node.window_us)
    return carrying[: node.n] if node.is_first else carrying[-node.n :]


@behind.register
def _(node: FavouriteShare, past: Past) -> Iterable[Event]:
    return [event for event, _ in _recent(node.favourite, past)]


@behind.register
def _(node: FavouriteMean, past: Past) -> Iterable[Event | None]:
    recent = _recent(node.favourite, past)
    yield from (event for event, _ in recent)
    best = favourite([key for _, key in recent])
    rated = yield from _versions(past, node.favourite.signal, node.rated)
    for place, (event, key) in enumerate(past.valued(node.favourite.signal, node.favourite.field, "key")):
        if key == best and event.version in rated:
            yield event
        elif _is_pause(place):
            yield None


def _recent(node: Favourite, past: Past) -> list[tuple[Event, Any]]:
    return past.valued(node.signal, node.field, "key")[-node.n :]


# Identities. What an identity that does not count did is left out, where its part could not count alone.


@behind.register
def _(node: Keys, past: Past) -> Iterable[Event | None]:
    met = [past.valued(signal, node.field, "key") for signal in node.met]
    keys = []
    for pairs in met:
        keys.append({key for _, key in pairs})
        yield None
    counting = set.intersection(*keys)
    for pairs in met:
        for place, (event, key) in enumerate(pairs):
            if key in counting:
                yield event
            elif _is_pause(place):
                yield None


@behind.register
def _(node: Turns, past: Past) -> Iterable[Event | None]:
    """Threads with a turn, whole. In the others no answer follows an opening, and none does in a part of them."""
    opened, replied, threads = yield from _conversations(past, node)
    for thread in threads.values():
        yield from thread if _has_turn(thread, opened, replied) else _pauses(thread)


def _has_turn(thread: Sequence[Event], opened: set[int], replied: set[int]) -> bool:
    return any(before.version in opened and after.version in replied for before, after in pairwise(thread))


@behind.register
def _(node: Replies, past: Past) -> Iterable[Event | None]:
    """Identities with a reply at or after the first opening, whole: of the others no part has one."""
    opened, replied, threads = yield from _conversations(past, node)
    for thread in threads.values():
        first_us = next((event.at_us for event in thread if event.version in opened), None)
        is_met = first_us is not None and any(e.version in replied and e.at_us >= first_us for e in thread)
        yield from thread if is_met else _pauses(thread)


@behind.register
def _(node: Unanswered, past: Past) -> Iterable[Event | None]:
    """Of each identity whose time is up its first cause, and the answers in time that keep it from counting."""
    caused = yield from _versions(past, node.cause)
    threads = yield from _threads(past, node.key, node.cause, node.answer)
    for thread in threads.values():
        yield from _pauses(thread)
        first = next((event for event in thread if event.version in caused), None)
        if first is None or first.at_us + node.within_us > past.at_us:
            continue
        yield first
        until_us = first.at_us + node.within_us
        yield from (e for e in thread if e.version not in caused and first.at_us <= e.at_us < until_us)


@behind.register
def _(node: Reached, past: Past) -> Iterable[Event | None]:
    enrolled = past.valued(node.enrolled, node.key, "key")[-1:]
    for event, current in enrolled:
        yield event
        for place, (step, key) in enumerate(past.valued(node.completed, node.key, "key")):
            if key == current:
                yield step
            elif _is_pause(place):
                yield None


@behind.register
def _(node: Running, past: Past) -> Iterable[Event | None]:
    enrolled = past.valued(node.enrolled, node.key, "key")[-1:]
    for event, current in enrolled:
        yield event
        for place, (end, key) in enumerate(past.valued(node.finished, node.key, "key")):
            if key == current and order_key(end) > order_key(event):
                yield end
            elif _is_pause(place):
                yield None


@behind.register
def _(node: Available, past: Past) -> Iterable[Event | None]:
    """The last switch of each identity, those off included: without it an earlier one would count."""
    threads = yield from _threads(past, node.key, node.on, node.off)
    yield from (thread[-1] for thread in threads.values())


@behind.register
def _(node: Open, past: Past) -> Iterable[Event | None]:
    asked = past.valued(node.asked, node.key, "key", window_us=node.window_us)
    yield from (event for event, _ in asked)
    keys = {key for _, key in asked}
    for place, (event, key) in enumerate(past.valued(node.closed, node.key, "key")):
        if key in keys:
            yield event
        elif _is_pause(place):
            yield None


# Rhythms.


@behind.register
def _(node: Streak, past: Past) -> Iterable[Event]:
    dated = past.valued(node.signal, DATE, "raw")
    dates, today = {date for _, date in dated}, past.local_date()
    length = streak(dates, today)
    last = today if today in dates else today - 1
    return [event for event, date in dated if last - length < date <= last]


@behind.register
def _(node: Decayed, past: Past) -> Iterable[Event]:
    whole = past.at_us // node.step_us * node.step_us
    return past.of(node.signal, window_us=past.at_us - whole + 64 * node.half_life_us)


def _is_pause(place: int) -> bool:
    return place % STEP_ITEMS == STEP_ITEMS - 1


def _pauses(events: Sequence[Event]) -> Iterable[None]:
    """As many as it took to go through the events."""
    return (None for _ in range(len(events) // STEP_ITEMS))


def _conversations(past: Past, node: Turns | Replies) -> Steps[tuple[set[int], set[int], dict[Any, list[Event]]]]:
    """Which events open and which reply, and the threads of both."""
    opened = yield from _versions(past, node.opening)
    replied = yield from _versions(past, node.reply)
    threads = yield from _threads(past, node.key, node.opening, node.reply)
    return opened, replied, threads


def _versions(past: Past, signal: Signal, field: FieldLike | None = None) -> Steps[set[int]]:
    versions: set[int] = set()
    for place, (event, _) in enumerate(past.valued(signal, field, "raw")):
        versions.add(event.version)
        if _is_pause(place):
            yield
    return versions


def _threads(past: Past, field: str, *signals: Signal) -> Steps[dict[Any, list[Event]]]:
    """The events of some signals by what a field of theirs names, each thread by (time, id)."""
    keyed: dict[int, tuple[Event, Any]] = {}
    for signal in signals:
        for place, (event, key) in enumerate(past.valued(signal, field, "key")):
            keyed[event.version] = (event, key)
            if _is_pause(place):
                yield
    ordered = yield from ordering(list(keyed.values()), lambda pair: order_key(pair[0]))
    threads: dict[Any, list[Event]] = {}
    for place, (event, key) in enumerate(ordered):
        threads.setdefault(key, []).append(event)
        if _is_pause(place):
            yield
    return threads
