"""A batch on its way into the log: which events are new, which are there already, which are refused.

Shared by every backend that keeps the log itself. The backend says what it knows (``Ledger``); the batch
gives numbers: a place in the stream, a place in the log. Nothing is written here, so a batch that cannot be
committed is simply dropped.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Protocol, cast

import msgspec

from eventstore.event import Event, NewEvent, Stream
from eventstore.retraction import retracted_by
from eventstore.sameness import difference
from eventstore.store import Outcome, Refused, Stored
from eventstore.system import EVENT_RETRACTED, is_system_id
from eventstore.types import EventTypes
from kernel.ids import Position


class Head(msgspec.Struct, gc=False):
    """The end of a stream as a batch sees it: its number, its last version, whether an event from outside is in it."""

    number: int
    version: int
    is_known: bool


class Ledger(Protocol):
    """What a batch must be told of the log."""

    def head(self, stream: Stream) -> Head:
        """The stream's head in this batch, always the same object; a stream that does not exist is given a number."""

    def stored(self, stream: Stream, event_id: str) -> Event | None:
        """The stored event of that id."""


class Staging:
    """One batch under construction.

    ``events`` are the new ones in log order, ``duplicates`` and ``refused`` counters.
    """

    def __init__(self, ledger: Ledger, types: EventTypes, last_position: int, recorded_us: int) -> None:
        self._ledger = ledger
        self._types = types
        self._position = last_position
        self._recorded_us = recorded_us
        self._by_id: dict[tuple[Stream, str], Event] = {}
        self.events: list[Event] = []
        self.duplicates = 0
        self.refused = 0

    def add_unseen(self, events: Sequence[NewEvent]) -> list[Outcome]:
        """Take events for new without looking. The log's own uniqueness must catch it if one is not."""
        head_of, recorded_us = self._ledger.head, self._recorded_us
        positions = cast("Iterator[Position]", count(self._position + 1))
        outcomes: list[Outcome] = []
        staged = self.events
        for new, position in zip(events, positions):  # noqa: B905 - one of them never ends
            head = head_of(new.stream)
            head.version += 1
            if not head.is_known:
                head.is_known = not is_system_id(new.id)
            event = Event(
                new.stream,
                head.number,
                head.version,
                position,
                new.id,
                new.type,
                new.at_us,
                recorded_us,
                new.data,
                new.source,
                new.payload,
            )
            staged.append(event)
            outcomes.append(Stored(event))
        self._position += len(outcomes)
        return outcomes

    def add(self, events: Sequence[NewEvent], *, is_atomic: bool) -> list[Outcome]:
        """Take the events of one call, each one judged against the log and against what came before it."""
        outcomes: list[Outcome] = []
        unplaced: list[Event] = []
        for new in events:
            outcome = self._judge(new)
            if outcome is None:
                event = self._unplaced(new)
                self._by_id[new.stream, new.id] = event
                unplaced.append(event)
                outcome = Stored(event)
            outcomes.append(outcome)
        refused = sum(isinstance(outcome, Refused) for outcome in outcomes)
        self.refused += refused
        self.duplicates += sum(isinstance(outcome, Stored) and outcome.is_duplicate for outcome in outcomes)
        if is_atomic and refused:
            for event in unplaced:
                del self._by_id[event.stream, event.id]
        else:
            for event in unplaced:
                self._place(event)
        return outcomes

    def _judge(self, new: NewEvent) -> Outcome | None:
        """The outcome of an event that will not be written; None when it is new."""
        stored = self._find(new.stream, new.id)
        if stored is not None:
            differs = difference(stored, new, self._types)
            return Stored(stored, is_duplicate=True) if differs is None else Refused("event_conflict", *differs)
        if new.type == EVENT_RETRACTED:
            named = self._find(new.stream, retracted_by(self._unplaced(new)))
            if named is not None and named.type == EVENT_RETRACTED:
                return Refused("event_invalid", "data.event_id", "an event that is no retraction", f'"{named.id}"')
        return None

    def _find(self, stream: Stream, event_id: str) -> Event | None:
        staged = self._by_id.get((stream, event_id))
        return staged if staged is not None else self._ledger.stored(stream, event_id)

    def _unplaced(self, new: NewEvent) -> Event:
        return Event(
            new.stream,
            0,
            0,
            Position(0),
            new.id,
            new.type,
            new.at_us,
            self._recorded_us,
            new.data,
            new.source,
            new.payload,
        )

    def _place(self, event: Event) -> None:
        head = self._ledger.head(event.stream)
        head.version += 1
        head.is_known = head.is_known or not is_system_id(event.id)
        self._position += 1
        event.number, event.version, event.position = head.number, head.version, Position(self._position)
        self.events.append(event)
