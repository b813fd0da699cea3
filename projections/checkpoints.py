"""The past of one long stream: what of it has to be read, and folded on what, to know its state at a time.

Kept in memory only, in two parts. A *zone map* says for every 64 versions between which times their events lie, so
that a span of time is found among years of events, late ones included. *Checkpoints* are states at some instant
(as of the events up to it), each with the versions of the stream for which it is true: between the first,
the newest version that went into it, and the last, the one before the next event that belongs into it.

What is known at a version is all events up to it, and the retractions among them; recorded times never decrease
along the log, so what was known at a time is what is known at some version.
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from eventstore.event import Event, Stream, order_key
from eventstore.retraction import retracted_ids
from eventstore.snapshots import Snapshot
from eventstore.system import EVENT_RETRACTED, is_system_id
from kernel.steps import Steps
from kernel.times import HOUR_US
from projections.aggregators.runtime import BEFORE, NEVER
from projections.catalogue import Catalogue
from projections.entity import FoldedEntity
from projections.refolding import folding_on

ZONE = 64  # versions to an entry of the map: 24 bytes
WORTH_EVENTS = 256  # fewer are folded again sooner than a checkpoint is made and loaded
STEP_ZONES = 64  # folded at once, then a checkpoint: some ten milliseconds of reading and folding
MAX_BYTES = 4 * 2**20  # of checkpoints of one stream


class Checkpoint(msgspec.Struct, gc=False):
    """The state at ``at_us``, true for what is known at ``first`` to ``last`` (None: up to the newest version)."""

    at_us: int
    snapshot: Snapshot
    first: int
    last: int | None

    @property
    def size_bytes(self) -> int:
        return len(self.snapshot.state) + 200


class Step(msgspec.Struct, frozen=True):
    """What to read and fold next: versions [start, stop) of ``ranges``, on ``base``, up to ``until_us``."""

    base: Checkpoint | None
    until_us: int
    ranges: tuple[tuple[int, int], ...]


class Checkpoints:
    """Zone map and checkpoints of one stream; see the head of this module. Plain code: its caller reads the log."""

    def __init__(self, stream: Stream, number: int, catalogue: Catalogue) -> None:
        self.stream, self.number, self.catalogue = stream, number, catalogue
        self.version = 0  #: the map contains all versions up to it
        self._least, self._greatest, self._recorded = array("q"), array("q"), array("q")
        self._retractions: list[Event] = []
        self._checkpoints: OrderedDict[tuple[int, int], Checkpoint] = OrderedDict()
        self._newest_open_us = BEFORE
        self.size_bytes = 0

    def note(self, events: Iterable[Event]) -> None:
        """Take events into the map; those that it has, and those after a gap, are left out."""
        for event in events:
            if event.version == self.version + 1:
                self.version = event.version
                self._map(event)
                if event.type == EVENT_RETRACTED:
                    self._retractions.append(event)
                    self._close(BEFORE)  # the event that it names may lie anywhere
                elif event.at_us <= self._newest_open_us:
                    self._close(event.at_us)

    def _map(self, event: Event) -> None:
        if (event.version - 1) % ZONE == 0:
            self._least.append(event.at_us)
            self._greatest.append(event.at_us)
            self._recorded.append(event.recorded_us)
        else:
            self._least[-1] = min(self._least[-1], event.at_us)
            self._greatest[-1] = max(self._greatest[-1], event.at_us)
            self._recorded[-1] = event.recorded_us

    def _close(self, from_us: int) -> None:
        """Checkpoints of states that contain that time are no longer true for what is known from now on."""
        self._newest_open_us = BEFORE
        for each in self._checkpoints.values():
            if each.last is None:
                if each.at_us >= from_us:
                    each.last = self.version - 1
                else:
                    self._newest_open_us = max(self._newest_open_us, each.at_us)

    def zone_known(self, known_at_us: int) -> tuple[int, int]:
        """All versions up to the first number were recorded by then, and not all of so many that follow it."""
        return bisect_right(self._recorded, known_at_us) * ZONE, ZONE

    def step(self, at_us: int, version: int) -> Step:
        """The next step towards the state at a time, of what is known at a version; the last one if it ends there.

        A long way is cut where about ``STEP_ZONES`` zones are passed, unless late events have mixed the zones so
        much that every step would read most of them: then all is read at once.
        """
        base = self._best(at_us, version)
        return self.stretch(base.at_us if base else BEFORE, at_us, version, base)

    def stretch(self, after_us: int, at_us: int, version: int, base: Checkpoint | None = None) -> Step:
        """The same on a state as of ``after_us`` that its caller has."""
        needed = self._zones(after_us, at_us, version)
        until_us = at_us
        if len(needed) > STEP_ZONES:
            cut_us = sorted(self._least[zone] for zone in needed)[STEP_ZONES] - 1
            passed = self._zones(after_us, cut_us, version)
            if after_us < cut_us and len(passed) <= 2 * STEP_ZONES:
                needed, until_us = passed, cut_us
        return Step(base, until_us, _ranges(needed, version))

    def _best(self, at_us: int, version: int) -> Checkpoint | None:
        found = None
        for each in self._checkpoints.values():
            is_true = each.first <= version and (each.last is None or version <= each.last)
            if is_true and each.at_us <= at_us and (found is None or each.at_us > found.at_us):
                found = each
        if found is not None:
            self._checkpoints.move_to_end((found.at_us, found.first))
        return found

    def _zones(self, after_us: int, until_us: int, version: int) -> list[int]:
        """Zones of versions up to ``version`` that may hold an event in (after, until]. 0.2 ms for ten million events."""
        count = (version + ZONE - 1) // ZONE
        if not count:
            return []
        least = np.frombuffer(self._least, dtype=np.int64, count=count)
        greatest = np.frombuffer(self._greatest, dtype=np.int64, count=count)
        zones: list[int] = np.flatnonzero((greatest > after_us) & (least <= until_us)).tolist()
        return zones

    def folding(
        self, step: Step, events: Sequence[Event], at_us: int, version: int, later: Sequence[Event] = ()
    ) -> Steps[FoldedEntity]:
        """The state at a step's end from what it said to read. Events after ``at_us`` wait in it for their time.

        Parameters
        ----------
        later : what follows ``version`` in its zone, if the caller has read it: then it is exactly known how
            long a checkpoint stays true.
        """
        base = step.base
        counting = self.counting(events, base.at_us if base else BEFORE, version)
        is_last = step.until_us == at_us
        kept_us = at_us // HOUR_US * HOUR_US if is_last else step.until_us
        before = [event for event in counting if event.at_us <= kept_us]
        if not is_last or len(before) >= WORTH_EVENTS:
            entity = yield from folding_on(self._starting(base), before, kept_us)
            base = self._keep(entity, kept_us, base, before, version, later)
            counting = counting[len(before) :]
            if not is_last:
                return entity
        return (yield from folding_on(self._starting(base), counting, at_us))

    def _starting(self, base: Checkpoint | None) -> Callable[[], FoldedEntity]:
        if base is None:
            return lambda: FoldedEntity(self.stream, self.number, self.catalogue)
        return lambda: FoldedEntity.load(self.stream, base.snapshot, self.catalogue)

    def counting(self, events: Iterable[Event], after_us: int, version: int) -> list[Event]:
        """What of the events counts after a time, in order, for who knows the stream up to a version."""
        retracted = retracted_ids(each for each in self._retractions if each.version <= version)
        counting = [
            event
            for event in events
            if event.at_us > after_us
            and event.version <= version
            and event.type != EVENT_RETRACTED
            and event.id not in retracted
            and not is_system_id(event.id)
        ]
        counting.sort(key=order_key)
        return counting

    def _keep(
        self,
        entity: FoldedEntity,
        at_us: int,
        base: Checkpoint | None,
        folded: Sequence[Event],
        version: int,
        later: Sequence[Event],
    ) -> Checkpoint:
        """Make the state a checkpoint; those that nobody used for longest go when there are too many."""
        retracting = (each.version for each in self._retractions if each.version <= version)
        first = max([base.first if base else 0, *(event.version for event in folded), *retracting])
        lasts = [last for last in (base.last if base else None, self._last(at_us, version, later)) if last is not None]
        made = Checkpoint(at_us, entity.dump(), first, min(lasts, default=None))
        replaced = self._checkpoints.pop((at_us, first), None)
        self._checkpoints[at_us, first] = made
        self.size_bytes += made.size_bytes - (replaced.size_bytes if replaced else 0)
        while self.size_bytes > MAX_BYTES and len(self._checkpoints) > 1:
            _, dropped = self._checkpoints.popitem(last=False)
            self.size_bytes -= dropped.size_bytes
        if made.last is None:
            self._newest_open_us = max(self._newest_open_us, at_us)
        return made

    def _last(self, at_us: int, version: int, later: Sequence[Event]) -> int | None:
        """The last version at which the state at a time is what it is at ``version``; may be early, never late."""
        ends = [each.version - 1 for each in self._retractions if each.version > version][:1]
        zone = (version + ZONE - 1) // ZONE  # the first of which nothing is known yet
        if version + len(later) < min(zone * ZONE, self.version) and self._least[zone - 1] <= at_us:
            return version
        ends += [event.version - 1 for event in later if event.at_us <= at_us][:1]
        ends += [each * ZONE for each in range(zone, len(self._least)) if self._least[each] <= at_us][:1]
        return min(ends, default=None)

    def next_us(self, at_us: int, version: int) -> int:
        """No event that a step towards ``at_us`` left unread has its time in (at, the answer)."""
        count = (version + ZONE - 1) // ZONE
        return min((each for each in self._least[:count] if each > at_us), default=NEVER)


def _ranges(zones: Sequence[int], version: int) -> tuple[tuple[int, int], ...]:
    """Versions [start, stop) of consecutive zones."""
    ranges: list[tuple[int, int]] = []
    for zone in zones:
        start, stop = zone * ZONE + 1, min((zone + 1) * ZONE, version) + 1
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], stop)
        else:
            ranges.append((start, stop))
    return tuple(ranges)
