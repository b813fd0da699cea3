"""What a log must be able to do, whichever medium keeps it. ``tests/contract/`` proves it for every backend."""

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

from eventstore.event import Event, NewEvent, Stream, StreamInfo
from kernel.ids import Position


class Stored(msgspec.Struct, gc=False):
    """The event stands in the log; ``is_duplicate`` if it already did (then ``event`` is the stored one)."""

    event: Event
    is_duplicate: bool = False


class Refused(msgspec.Struct, frozen=True):
    """The log refused the event: another one has its id, or it retracts what cannot be retracted."""

    code: Literal["event_conflict", "event_invalid"]
    path: str
    expected: str
    actual: str


Outcome = Stored | Refused

#: The position before every event.
START = Position(0)


class StoreStatistics(msgspec.Struct, frozen=True):
    """Counters since start, for metrics."""

    events: int
    commits: int
    duplicates: int
    refused: int
    streams_cached: int


class EventStore(Protocol):
    """An append-only log of streams.

    Appending is idempotent by (stream, id): a cancelled or timed-out append may still have happened, and is
    simply repeated. Ids are unique per stream, positions opaque; nothing assumes one machine.
    """

    async def append(self, events: Sequence[NewEvent], *, is_atomic: bool = False) -> list[Outcome]:
        """Store events, durably before it returns, in the order given; one outcome per event, in place.

        Within one call earlier wins. With ``is_atomic`` nothing is stored when one outcome is a refusal
        (the outcomes then say what *would* have been: duplicates as they are, new ones with version 0).
        Appends of several callers are gathered into one commit.

        Raises ``StoreUnavailable`` (nothing of this call was stored) and ``StoreClosed``.
        """

    async def read(self, stream: Stream, *, after_version: int = 0, limit: int | None = None) -> list[Event]:
        """Events of one stream by version, in a list of the reader's own. An unknown stream is empty."""

    async def read_many(self, streams: Sequence[Stream]) -> list[list[Event]]:
        """Whole streams, in one hop, in the order asked."""

    async def read_log(self, *, after: Position = START, limit: int = 1000) -> list[Event]:
        """Events of all streams in log order, after a position."""

    async def find(self, org: str, event_id: str) -> Event | None:
        """A system event by its id, in whatever stream of the organisation it stands; the first one of that id."""

    async def read_type(
        self, org: str, event_type: str, *, before: Position | None = None, limit: int = 100
    ) -> list[Event]:
        """System events of one type in an organisation, newest first, before a position."""

    def subscribe(self, *, after: Position) -> AsyncIterator[list[Event]]:
        """Batches of events in log order from a position on, waiting for new ones at the end."""

    async def info(self, streams: Sequence[Stream]) -> list[StreamInfo | None]:
        """Number, version and whether known, per stream; None for one that does not exist. One hop at most."""

    async def streams_of(self, numbers: Sequence[int]) -> list[StreamInfo | None]:
        """The way back from internal numbers to streams. One hop at most."""

    async def list_streams(self, *, after_number: int = 0, limit: int = 1000) -> list[StreamInfo]:
        """All streams by number, a page at a time."""

    async def last_position(self) -> Position:
        """The position of the newest event; 0 for an empty log."""

    def statistics(self) -> StoreStatistics: ...

    async def close(self) -> None:
        """Finish what was begun, write the high-water mark, and close. Idempotent."""
