"""The folds of all policies' streams: how the host makes an entity, wakes one, and folds one anew."""

from collections.abc import Iterable, Sequence
from typing import Final

from bandit.events import POLICY_DEFINED, POLICY_DELETED
from bandit.policy_entity import Cadence, PolicyEntity
from bandit.target import target_of
from eventstore.event import Event, Stream
from eventstore.snapshots import Snapshot
from kernel.steps import Steps

_STEP_EVENTS: Final = 200


class PolicyFolds:
    """Makes the entities of all policies' streams: handed to the host as its folds."""

    def __init__(self, cadence: Cadence | None = None) -> None:
        self._cadence = cadence or Cadence()

    def new(self, stream: Stream, number: int) -> PolicyEntity:
        return PolicyEntity(stream, number, self._cadence)

    def load(self, stream: Stream, snapshot: Snapshot) -> PolicyEntity:
        """Raises ``SnapshotError``."""
        return PolicyEntity.load(stream, snapshot, self._cadence)

    def foretold(self, stream: Stream) -> tuple[str, ...]:
        """The types of events that ``start`` wants to know."""
        return (POLICY_DEFINED, POLICY_DELETED)

    def start(self, stream: Stream, number: int, definitions: Iterable[Event]) -> PolicyEntity:
        """An entity before its first event that knows all definitions: it folds the whole stream without a refold.

        ``definitions`` are the stream's ``policy_defined`` and ``policy_deleted`` by version; other events are skipped.
        """
        return PolicyEntity(stream, number, self._cadence, target_of(definitions))

    def refold(self, stream: Stream, number: int, events: Sequence[Event]) -> Steps[PolicyEntity]:
        """The entity of a whole stream, in steps."""
        entity = self.start(stream, number, events)
        for place, event in enumerate(events):
            if place % _STEP_EVENTS == _STEP_EVENTS - 1:
                yield
            entity.fold(event)
        return entity
