"""What the host needs of the state it owns. The folds themselves are handed in; the host knows no feature."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from eventstore.event import Event, NewEvent, Stream
from eventstore.snapshots import Snapshot
from kernel.ids import Position
from kernel.steps import Steps


class Entity(Protocol):
    """The folded state of one stream. Plain synchronous code: no suspension inside means no interleaving inside."""

    stream: Stream
    number: int
    version: int  #: all events of the stream up to this version are in the state
    position: Position  #: of the newest event folded

    def fold(self, event: Event) -> bool:
        """Take the next event (``event.version == version + 1``).

        False: it cannot be folded in place (it came late, retracts, or made the fold raise), and the entity
        must be replaced by one refolded from the log. The entity is then of no further use.
        """

    def due_us(self) -> int | None:
        """The next instant at which time alone has an effect outside the vector; None without one."""

    def effects(self, now_us: int) -> list[NewEvent]:
        """The events to append because of the time. Empty when nothing is due. Appending twice is harmless."""

    def written(self, events: Sequence[NewEvent]) -> None:
        """These effects stand in the log, or other events stand there under their ids: they are over."""

    def is_dead(self, version: int) -> bool:
        """Whether the event of that version was left out because it made the fold raise."""

    def dump(self) -> Snapshot: ...


@runtime_checkable
class TakesByTime(Protocol):
    """An entity whose state does not depend on the order in which events of outside are folded."""

    def fold_by_time(self, events: Sequence[Event]) -> bool:
        """Take events in order of time, of whatever versions, none of them the system's own.

        ``version`` and ``position`` are then those of the newest event folded: what precedes it may still come.
        False as in ``fold``.
        """


class Folds(Protocol):
    """Makes entities: from nothing, from a snapshot, from the log."""

    def new(self, stream: Stream, number: int) -> Entity: ...

    def load(self, stream: Stream, snapshot: Snapshot) -> Entity:
        """Raises ``SnapshotError`` when the snapshot cannot be used; the caller refolds and counts."""

    def refold(self, stream: Stream, number: int, events: Sequence[Event]) -> Steps[Entity]:
        """The entity of a whole stream, given by version, in steps. Never raises for what an event contains."""
