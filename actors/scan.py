"""Folding a log in its own order, all its streams side by side.

Enter: pages of the log, in order. Leave: the entities of all streams that could be folded in place, and the names of
those that have to be folded from their whole streams.

A page is folded stream by stream, each one's events in order of time: what a fold touches is then at hand for the
next event, and what a sender's connections mixed up does no harm. Nor does it across the end of a page: events that
one of the page's last ``_REACH`` events precedes wait for the next page. A stream with an event of the system's own
is folded by version from then on, since its further folds go by what was recorded when.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from operator import attrgetter
from typing import cast

from actors.activation import READ_EVENTS, SLICE_EVENTS, fold_all
from actors.entity import Entity, Folds, TakesByTime
from eventstore.event import Event, Stream
from eventstore.system import SYSTEM_ID_PREFIX
from kernel.steps import Steps, ordering

#: How far apart, in events of the whole log, those may stand that a sender mixed up.
_REACH = 8192

_TIME = attrgetter("at_us")  # of one instant, an entity that cannot take them in any order asks for a refold
_VERSION = attrgetter("version")


class Scan:
    """One way through the log.

    Parameters
    ----------
    max_entities : streams that are folded; further ones are left to the end.

    Attributes
    ----------
    entities : by number of stream; whole after ``finish``.
    late : streams that could not be folded in place, by number.
    """

    def __init__(self, folds: Folds, *, max_entities: int) -> None:
        self.entities: dict[int, Entity] = {}
        self.late: dict[int, Stream] = {}
        self._folds = folds
        self._max_entities = max_entities
        self._by_version: set[int] = set()
        self._held: list[Event] = []

    def take(self, page: list[Event]) -> Steps[None]:
        """Fold the next page, and empty it: its events go one by one, all at once would take many milliseconds.

        One that is shorter than ``_REACH`` makes up for less that was mixed up.
        """
        yield from self._fold(page, _least(page[-_REACH:]))

    def finish(self) -> Steps[None]:
        """Fold what waited."""
        yield from self._fold([], {})

    def _fold(self, page: list[Event], bounds: dict[int, int]) -> Steps[None]:
        runs = yield from self._dealt(page)
        since = 0
        while runs:
            number, run = runs.popitem()
            if not self._is_folded(number, run[0].stream):
                continue
            if number in self._by_version:
                run = yield from ordering(run, _VERSION)
            else:
                run = yield from ordering(run, _TIME)
                if number in bounds:
                    ready = bisect_left(run, bounds[number], key=_TIME)
                    self._held += run[ready:]
                    del run[ready:]
            for start in range(0, len(run), SLICE_EVENTS):
                events = run[start : start + SLICE_EVENTS]
                if not self._take(number, events):
                    self.late[number] = self.entities.pop(number).stream
                    break
                since += len(events)
                if since >= SLICE_EVENTS:
                    since = 0
                    yield

    def _dealt(self, page: list[Event]) -> Steps[defaultdict[int, list[Event]]]:
        """What waited and the page's events, by stream; the page is then empty."""
        page[:0] = self._held
        self._held = []
        runs: defaultdict[int, list[Event]] = defaultdict(list)
        for start in range(0, len(page), READ_EVENTS):
            for event in page[start : start + READ_EVENTS]:
                runs[event.number].append(event)
                if event.id[0] == SYSTEM_ID_PREFIX:
                    self._by_version.add(event.number)
            yield
        page.clear()
        return runs

    def _is_folded(self, number: int, stream: Stream) -> bool:
        """Whether the stream has an entity here, made if it is new and there is room."""
        if number in self.entities:
            return True
        if number in self.late:
            return False
        if len(self.entities) >= self._max_entities:
            self.late[number] = stream
            return False
        entity = self.entities[number] = self._folds.new(stream, number)
        if not isinstance(entity, TakesByTime):
            self._by_version.add(number)
        return True

    def _take(self, number: int, events: list[Event]) -> bool:
        entity = self.entities[number]
        if number in self._by_version:
            return fold_all(entity, events)
        return cast("TakesByTime", entity).fold_by_time(events)


def _least(events: Iterable[Event]) -> dict[int, int]:
    """The earliest time of each stream's events."""
    least: dict[int, int] = {}
    for event in events:
        number, at_us = event.number, event.at_us
        if at_us < least.get(number, at_us + 1):
            least[number] = at_us
    return least
