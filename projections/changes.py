"""What changes of a lead, when, and because of what: a private copy of its state that only moves forward.

Enters: the lead's events by version, and time. Leaves: changes, each at one instant, from what to what, because of an
event or because time passed. Invariant: the changes, applied in order to the values at the beginning, give the
values at any later instant up to which the copy was advanced.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from eventstore.event import Event
from projections.entity import FoldedEntity

#: Reference → (value before, value after).
Moves = dict[str, tuple[Any, Any]]


class Change(NamedTuple):
    """Values that changed together. ``cause`` is the event, None where time alone did it."""

    at_us: int
    cause: Event | None
    moves: Moves


class Shadow:
    """A lead followed from one instant on.

    Parameters
    ----------
    entity : its state, which belongs to the shadow from now on.
    at_us : the instant at which following begins, or that of its newest event if that is later.
    """

    def __init__(self, entity: FoldedEntity, at_us: int) -> None:
        self._entity = entity
        self._everything = entity.entities.everything
        entity.read(at_us)
        self.at_us = max(at_us, entity.floor_us, entity.folded_us)
        self._values = entity.values(self._everything)

    @property
    def version(self) -> int:
        """All events of the lead up to this version are in the copy."""
        return self._entity.version

    @property
    def number(self) -> int:
        """The lead's internal number; 0 before its first event."""
        return self._entity.number

    @property
    def next_change_us(self) -> int | None:
        """When the copy may change next if nothing happens."""
        return self._entity.next_change_us(self._everything)

    def advance(self, until_us: int) -> Iterator[Change]:
        """Let time pass, from one instant at which something may change to the next."""
        while (at_us := self.next_change_us) is not None and at_us <= until_us:
            due = [event for event in self._entity.waiting if event.at_us <= at_us]
            self._entity.read(at_us)
            yield from self._changes(at_us, due[-1] if due else None)
        self.at_us = max(self.at_us, until_us)

    def take(self, event: Event) -> list[Change] | None:
        """Fold the next event, at the instant to which the copy was advanced. None: it has to be folded anew."""
        self._entity.number = event.number  # a lead has one from its first event on
        if not self._entity.fold(event):
            return None
        self._entity.read(self.at_us)
        return list(self._changes(self.at_us, event))

    def replace(self, entity: FoldedEntity, cause: Event) -> list[Change]:
        """Go on with an entity that was folded anew, ``cause`` being its newest event."""
        self._entity = entity
        self.at_us = max(self.at_us, cause.recorded_us)
        entity.read(self.at_us)
        return list(self._changes(self.at_us, cause))

    def _changes(self, at_us: int, cause: Event | None) -> Iterator[Change]:
        before, self._values = self._values, self._entity.values(self._everything)
        self.at_us = max(self.at_us, at_us)
        moves: Moves = {
            name: (old, new)
            for name, old, new in zip(self._everything.names, before, self._values, strict=True)
            if old != new
        }
        if moves:
            yield Change(self.at_us, cause, moves)
