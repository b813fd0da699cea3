"""Rows to learn from: (lead, time) → the features as they were and were known then, and what came of the lead.

Enters: whole streams, one lead after the other. Leaves: a ``Dataset``: one matrix of features, times, leads, one label
per outcome, and the wait for the first conversion. Invariants: a row contains nothing that was not known at its time
(``knowledge``); a label says what happened strictly after it; a label whose window reaches past the end of the log is
NaN, never false. Each event of a lead is folded once however many rows it gives.
"""

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from eventstore.event import Event
from eventstore.retraction import effective
from kernel.steps import Steps
from kernel.times import DAY_US
from projections.catalogue import Catalogue
from scoring.features import FeatureSet
from scoring.knowledge import Knowledge, Past, known_since
from scoring.model import Matrix, Rules, Vector
from scoring.outcomes import Future, Happens, Outcome

#: Rows gathered as lists before they become a block of the matrix.
_BLOCK_ROWS = 1024

Times = npt.NDArray[np.int64]
Indexes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Sampling(msgspec.Struct, frozen=True):
    """At which times a lead gives rows.

    Attributes
    ----------
    step_days : whole days between two rows of a lead, at midnights (UTC); each lead has a phase of its own, so that
        all days have rows.
    at_types : instead, at each event of these types (a campaign received, say), the event included.
    share : of all these rows, the share that is kept, chosen by a hash of lead and time.
    """

    step_days: int = 15
    at_types: tuple[str, ...] = ()
    share: float = 1.0


class Dataset(msgspec.Struct, frozen=True):
    """Rows in order of time, then of lead.

    Attributes
    ----------
    rows : shape (n, columns); null is NaN.
    at_us, lead : time of each row, and its place in ``leads``.
    labels : outcome → 1, 0, or NaN where it is censored.
    wait_days : days until the first conversion event after the row, infinite where none came.
    seen_days : days from the row to the end of the log; a wait is known to be longer than that.
    points : the rules' 0 to 100; None where no rules were handed in.
    """

    features: FeatureSet
    leads: tuple[str, ...]
    rows: Matrix
    at_us: Times
    lead: Indexes
    labels: dict[str, Vector]
    wait_days: Vector
    seen_days: Vector
    points: Vector | None
    until_us: int

    def __len__(self) -> int:
        return len(self.at_us)

    def take(self, chosen: Indexes | Mask) -> "Dataset":
        """Some of the rows."""
        return msgspec.structs.replace(
            self,
            rows=self.rows[chosen],
            at_us=self.at_us[chosen],
            lead=self.lead[chosen],
            labels={name: label[chosen] for name, label in self.labels.items()},
            wait_days=self.wait_days[chosen],
            seen_days=self.seen_days[chosen],
            points=None if self.points is None else self.points[chosen],
        )


class DatasetBuilder:
    """Takes leads one after the other.

    Parameters
    ----------
    outcomes : the labels; the first one of kind ``Happens`` that is called ``conversion`` gives the wait.
    until_us : the end of the log: after it nothing is known, not even that nothing happened.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        features: FeatureSet,
        outcomes: Sequence[Outcome],
        *,
        until_us: int,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        knowledge: Knowledge = "auto",
        rules: Rules | None = None,
    ) -> None:
        self._catalogue, self._features, self._outcomes = catalogue, features, tuple(outcomes)
        self._until_us, self._sampling, self._knowledge, self._rules = until_us, sampling, knowledge, rules
        read = features.references + tuple(
            each for each in (rules.features if rules is not None else ()) if each not in features.references
        )
        self._selection = catalogue.select(features=read)
        self._width = len(features.references)
        self._interactions = frozenset(t.name for t in catalogue.event_types if t.by == "lead")
        self._waited = next((o.types for o in outcomes if isinstance(o, Happens) and o.name == "conversion"), ())
        self._leads: list[str] = []
        self._vectors: list[list[Any]] = []
        self._blocks: deque[Matrix] = deque()
        self._at_us: list[int] = []
        self._lead: list[int] = []
        self._labels: dict[str, list[float]] = {outcome.name: [] for outcome in outcomes}
        self._wait_us: list[float] = []
        self._points: list[float] = []

    @property
    def rows(self) -> int:
        """Rows so far."""
        return len(self._at_us)

    def add(self, events: Sequence[Event]) -> Steps[None]:
        """Take one lead's whole stream, by version. O(events + rows) unless events came late."""
        if not events:
            return
        known = known_since(events, self._knowledge, self._catalogue.trigger_max_age_us)
        past = Past(self._catalogue.compiled, self._catalogue.event_types, self._selection.picks, events, known)
        counting = [event for event in effective(events).events if event.at_us <= self._until_us]
        future = Future(counting, self._interactions)
        lead, place = events[0].stream.id, len(self._leads)
        times = [at_us for at_us in self._times(lead, future, past.first_known_us) if self._is_kept(lead, at_us)]
        if times:
            self._leads.append(lead)
        for at_us in times:
            values = yield from past.values(at_us)
            self._take(place, at_us, values, future)
            if len(self._vectors) == _BLOCK_ROWS:
                self._flush()
                yield

    def finish(self) -> Dataset:
        """The rows of all leads taken."""
        self._flush()
        at_us, lead = np.array(self._at_us, dtype=np.int64), np.array(self._lead, dtype=np.int64)
        order = np.lexsort((lead, at_us))
        return Dataset(
            features=self._features,
            leads=tuple(self._leads),
            rows=self._sorted_rows(order),
            at_us=at_us[order],
            lead=lead[order],
            labels={name: np.array(label, dtype=np.float64)[order] for name, label in self._labels.items()},
            wait_days=np.array(self._wait_us, dtype=np.float64)[order] / DAY_US,
            seen_days=(self._until_us - at_us[order]) / DAY_US,
            points=np.array(self._points, dtype=np.float64)[order] if self._rules is not None else None,
            until_us=self._until_us,
        )

    def _sorted_rows(self, order: Indexes) -> Matrix:
        """The blocks as one matrix; each is let go as it is copied, so that the rows stand in memory once."""
        rows = np.empty((len(order), len(self._features.columns)))
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        start = 0
        while self._blocks:
            block = self._blocks.popleft()
            rows[place[start : start + len(block)]] = block
            start += len(block)
        return rows

    def _times(self, lead: str, future: Future, first_known_us: int) -> Iterator[int]:
        if self._sampling.at_types:
            found = {at_us for each in self._sampling.at_types for at_us in future.times(each)}
            yield from (at_us for at_us in sorted(found) if at_us >= first_known_us)
            return
        step = self._sampling.step_days
        phase = zlib.crc32(lead.encode()) % step
        first_day = -(-first_known_us // DAY_US)
        first_day += (phase - first_day) % step
        yield from (day * DAY_US for day in range(first_day, self._until_us // DAY_US + 1, step))

    def _is_kept(self, lead: str, at_us: int) -> bool:
        share = self._sampling.share
        return share >= 1.0 or zlib.crc32(f"{lead}\n{at_us}".encode()) < share * 2**32

    def _take(self, place: int, at_us: int, values: list[Any], future: Future) -> None:
        self._vectors.append(self._features.selection.vector(values))
        self._at_us.append(at_us)
        self._lead.append(place)
        for outcome in self._outcomes:
            is_seen = at_us + round(outcome.within_days * DAY_US) <= self._until_us
            self._labels[outcome.name].append(float(outcome.of(future, at_us)) if is_seen else np.nan)
        next_us = future.next_us(self._waited, at_us)
        self._wait_us.append(np.inf if next_us is None else next_us - at_us)
        if self._rules is not None:
            self._points.append(self._rules.points(dict(zip(self._selection.names, values, strict=True))))

    def _flush(self) -> None:
        if self._vectors:
            self._blocks.append(np.array(self._vectors, dtype=np.float64))
            self._vectors = []
