"""What was known of a lead at a time: its features as they would have been served then.

A row that is to teach a model may contain nothing that was not known at its time. So an event counts in it from when
it had happened *and* was recorded, and a retracted one until its retraction was. Loaded history is the exception: an
organisation that brings years of events on its first day knew them when they happened, and rows of that time would
otherwise be empty. ``Knowledge`` says which it is:

``auto``
    *Old news* (recorded more than ``trigger_max_age_s`` after its time) that came no later than a day after the lead's
    first event that was none is loaded history, known since it happened. Everything else counts once it is recorded.
``recorded``
    Everything counts once it is recorded.
``happened``
    Everything counts since it happened.
"""

from collections.abc import Sequence
from typing import Any, Literal

from eventstore.event import Event, order_key
from eventstore.retraction import retracted_by
from eventstore.system import EVENT_RETRACTED, is_system_id
from eventstore.types import EventTypes
from kernel.steps import Steps
from kernel.times import DAY_US
from projections.compiler import CompiledFold
from projections.hindsight.walk import Walk

Knowledge = Literal["auto", "recorded", "happened"]

#: Later than every time.
NEVER_US = 1 << 62


def known_since(events: Sequence[Event], knowledge: Knowledge, trigger_max_age_us: int) -> dict[int, int]:
    """When each outside event of one stream began to be known, by version; retractions included."""
    outside = [event for event in events if not is_system_id(event.id)]
    if knowledge == "happened":
        return {event.version: event.at_us for event in outside}
    fresh = (e.recorded_us for e in outside if e.recorded_us - e.at_us <= trigger_max_age_us)
    loaded_us = min(fresh, default=NEVER_US) + DAY_US if knowledge == "auto" else -NEVER_US
    known: dict[int, int] = {}
    for event in outside:
        is_old = event.recorded_us - event.at_us > trigger_max_age_us
        is_history = is_old and event.recorded_us <= loaded_us
        known[event.version] = event.at_us if is_history else max(event.at_us, event.recorded_us)
    return known


class Past:
    """One lead's values at rising times, each from what was known by then.

    One pass over the events where none came late and none was taken back; otherwise the walk starts again at each time
    at which what is known of the time before has changed. Poison is left out, as every fold leaves it out.

    Parameters
    ----------
    events : the whole stream, by version.
    picks : the values to read: (index of the view, index within it).
    """

    def __init__(
        self,
        compiled: CompiledFold,
        types: EventTypes,
        picks: Sequence[tuple[int, int]],
        events: Sequence[Event],
        known: dict[int, int],
    ) -> None:
        self._compiled, self._types, self._picks = compiled, types, picks
        outside = [event for event in events if event.version in known]
        gone = _gone(outside, known)
        self._events = sorted((e for e in outside if e.type != EVENT_RETRACTED), key=order_key)
        self.first_known_us = min((known[event.version] for event in self._events), default=NEVER_US)
        #: (version, time, known since, gone since) of events that are not simply there from their time on.
        self._odd = [
            (e.version, e.at_us, known[e.version], gone.get(e.id, NEVER_US))
            for e in self._events
            if known[e.version] > e.at_us or e.id in gone
        ]
        self._hidden: frozenset[int] = frozenset()
        self._walk = self._started(self._hidden)

    def values(self, at_us: int) -> Steps[list[Any]]:
        """The values as of a time, no earlier than the last one asked for."""
        if self._odd:
            hidden = frozenset(v for v, at, since, gone in self._odd if at <= at_us and not since <= at_us < gone)
            if hidden != self._hidden:
                self._hidden, self._walk = hidden, self._started(hidden)
        yield from self._walk.advance(at_us)
        return self._walk.values(at_us)

    def _started(self, hidden: frozenset[int]) -> Walk:
        events = [event for event in self._events if event.version not in hidden] if hidden else self._events
        return Walk(self._compiled, self._types, events, self._picks)


def _gone(outside: Sequence[Event], known: dict[int, int]) -> dict[str, int]:
    """Since when each retracted id is known to be taken back. A retraction of a retraction is inert."""
    retractions = [event for event in outside if event.type == EVENT_RETRACTED]
    own_ids = {event.id for event in retractions}
    gone: dict[str, int] = {}
    for event in retractions:
        name = retracted_by(event)
        if name not in own_ids:
            gone[name] = min(gone.get(name, NEVER_US), known[event.version])
    return gone
