"""Which fold a stream has, by its kind: the actor host is given one object that makes them all."""

from collections.abc import Mapping, Sequence

from actors.entity import Entity, Folds
from eventstore.event import Event, Kind, Stream
from eventstore.snapshots import Snapshot
from kernel.steps import Steps


class FoldsByKind:
    """Hands each stream to the folds of its kind, and to ``others`` if its kind has none of its own."""

    def __init__(self, others: Folds, by_kind: Mapping[Kind, Folds]) -> None:
        self._others, self._by_kind = others, dict(by_kind)

    def new(self, stream: Stream, number: int) -> Entity:
        return self._of(stream).new(stream, number)

    def load(self, stream: Stream, snapshot: Snapshot) -> Entity:
        return self._of(stream).load(stream, snapshot)

    def refold(self, stream: Stream, number: int, events: Sequence[Event]) -> Steps[Entity]:
        return self._of(stream).refold(stream, number, events)

    def _of(self, stream: Stream) -> Folds:
        return self._by_kind.get(stream.kind, self._others)
