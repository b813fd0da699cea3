"""Which events a value rests on, read off its expression: node by node, the whole is the union.

Each node names events such that its value is the same over *every* set between these and all that happened. So
what one node adds never disturbs another, and the union, folded alone, gives the whole expression's value. For
what depends on order this means context: of a thread in which an answer counts, every message; of a campaign that
somebody opened in time, the opening. A node of a pack's own rests on every event of its signals, unless it
registers here::

    @behind.register
    def _(node: MyAggregate, past: Past) -> Iterable[Event]: ...
"""

from collections.abc import Iterable, Sequence
from functools import singledispatch
from itertools import chain, pairwise
from typing import Any

from eventstore.event import Event, order_key
from kernel.steps import Steps
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
from projections.instants import FirstOf, Instant, Since, TimeText
from projections.sieves import Past
from projections.signals import DATE, Signal


def events_behind(expr: Expr, past: Past) -> Steps[list[Event]]:
    """The events that an expression's value rests on, by (time, id). A step for each node."""
    found: dict[int, Event] = {}
    for node in expr.nodes():
        found.update((event.version, event) for event in behind(node, past))
        yield
    return sorted(found.values(), key=order_key)


@singledispatch
def behind(node: Expr | Instant, past: Past) -> Iterable[Event]:
    """The events that this node's own value rests on, those of its parts apart; in any order."""
    return chain.from_iterable(past.of(signal) for signal in node.signals())


@behind.register
def _(node: Windowed, past: Past) -> Iterable[Event]:
    return past.of(node.signal, getattr(node, "field", None) or None, window_us=node.window_us)


@behind.register
def _(node: Totals, past: Past) -> Iterable[Event]:
    return past.of(node.signal, node.field, form="micro", window_us=node.window_us)


# Instants, and values that came with one event.


@behind.register
def _(node: Since, past: Past) -> Iterable[Event]:
    return [*behind(node.start, past), *(behind(node.end, past) if node.end is not None else ())]


@behind.register
def _(node: TimeText, past: Past) -> Iterable[Event]:
    return behind(node.instant, past)


@behind.register
def _(node: FirstTime, past: Past) -> Iterable[Event]:
    return past.of(node.signal, window_us=node.window_us)[:1]


@behind.register
def _(node: LastTime, past: Past) -> Iterable[Event]:
    return past.of(node.signal, window_us=node.window_us)[-1:]


@behind.register
def _(node: FirstOf, past: Past) -> Iterable[Event]:
    return list(behind(node.preferred, past)) or behind(node.other, past)


@behind.register
def _(node: Carried, past: Past) -> Iterable[Event]:
    sources = [(each.signal, None if node.is_strict else each.field) for each in node.sources]
    carrying = _merged(past.of(signal, field, window_us=node.window_us) for signal, field in sources)
    return carrying[:1] if node.is_first else carrying[-1:]


@behind.register
def _(node: Recent, past: Past) -> Iterable[Event]:
    carrying = past.of(node.signal, node.field, window_us=node.window_us)
    return carrying[: node.n] if node.is_first else carrying[-node.n :]


@behind.register
def _(node: FavouriteShare, past: Past) -> Iterable[Event]:
    return [event for event, _ in _recent(node.favourite, past)]


@behind.register
def _(node: FavouriteMean, past: Past) -> Iterable[Event]:
    recent = _recent(node.favourite, past)
    best = favourite([key for _, key in recent])
    rated = {event.version for event in past.of(node.favourite.signal, node.rated)}
    keyed = past.valued(node.favourite.signal, node.favourite.field, "key")
    of_best = [event for event, key in keyed if key == best and event.version in rated]
    return [*(event for event, _ in recent), *of_best]


def _recent(node: Favourite, past: Past) -> list[tuple[Event, Any]]:
    return past.valued(node.signal, node.field, "key")[-node.n :]


# Identities. What an identity that does not count did is left out, where its part could not count alone.


@behind.register
def _(node: Keys, past: Past) -> Iterable[Event]:
    met = [past.valued(signal, node.field, "key") for signal in node.met]
    counting = set.intersection(*({key for _, key in pairs} for pairs in met))
    return [event for pairs in met for event, key in pairs if key in counting]


@behind.register
def _(node: Turns, past: Past) -> Iterable[Event]:
    """Threads with a turn, whole. In the others no answer follows an opening, and none does in a part of them."""
    opened, replied = _versions(past, node.opening), _versions(past, node.reply)
    threads = _threads(past, node.key, node.opening, node.reply)
    return chain.from_iterable(each for each in threads.values() if _has_turn(each, opened, replied))


def _has_turn(thread: Sequence[Event], opened: set[int], replied: set[int]) -> bool:
    return any(before.version in opened and after.version in replied for before, after in pairwise(thread))


@behind.register
def _(node: Replies, past: Past) -> Iterable[Event]:
    """Identities with a reply at or after the first opening, whole: of the others no part has one."""
    opened, replied = _versions(past, node.opening), _versions(past, node.reply)
    for thread in _threads(past, node.key, node.opening, node.reply).values():
        first_us = next((event.at_us for event in thread if event.version in opened), None)
        if first_us is not None and any(e.version in replied and e.at_us >= first_us for e in thread):
            yield from thread


@behind.register
def _(node: Unanswered, past: Past) -> Iterable[Event]:
    """Of each identity whose time is up its first cause, and the answers in time that keep it from counting."""
    caused = _versions(past, node.cause)
    for thread in _threads(past, node.key, node.cause, node.answer).values():
        first = next((event for event in thread if event.version in caused), None)
        if first is None or first.at_us + node.within_us > past.at_us:
            continue
        yield first
        until_us = first.at_us + node.within_us
        yield from (e for e in thread if e.version not in caused and first.at_us <= e.at_us < until_us)


@behind.register
def _(node: Reached, past: Past) -> Iterable[Event]:
    enrolled = past.valued(node.enrolled, node.key, "key")[-1:]
    for event, current in enrolled:
        yield event
        yield from (step for step, key in past.valued(node.completed, node.key, "key") if key == current)


@behind.register
def _(node: Running, past: Past) -> Iterable[Event]:
    enrolled = past.valued(node.enrolled, node.key, "key")[-1:]
    for event, current in enrolled:
        yield event
        finished = past.valued(node.finished, node.key, "key")
        yield from (end for end, key in finished if key == current and order_key(end) > order_key(event))


@behind.register
def _(node: Available, past: Past) -> Iterable[Event]:
    """The last switch of each identity, those off included: without it an earlier one would count."""
    return [thread[-1] for thread in _threads(past, node.key, node.on, node.off).values()]


@behind.register
def _(node: Open, past: Past) -> Iterable[Event]:
    asked = past.valued(node.asked, node.key, "key", window_us=node.window_us)
    keys = {key for _, key in asked}
    closing = past.valued(node.closed, node.key, "key")
    return [*(event for event, _ in asked), *(event for event, key in closing if key in keys)]


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


def _merged(lists: Iterable[Sequence[Event]]) -> list[Event]:
    return sorted(chain.from_iterable(lists), key=order_key)


def _versions(past: Past, signal: Signal) -> set[int]:
    return {event.version for event in past.of(signal)}


def _threads(past: Past, field: str, *signals: Signal) -> dict[Any, list[Event]]:
    """The events of some signals by what a field of theirs names, each thread by (time, id)."""
    pairs = {event.version: (event, key) for signal in signals for event, key in past.valued(signal, field, "key")}
    threads: dict[Any, list[Event]] = {}
    for event, key in sorted(pairs.values(), key=lambda pair: order_key(pair[0])):
        threads.setdefault(key, []).append(event)
    return threads
