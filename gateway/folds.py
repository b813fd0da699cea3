"""Which fold a stream has, by its kind: the actor host is given one object that makes them all."""

from collections.abc import Mapping, Sequence

from actors.entity import Entity, Folds
from actors.slices import FoldsInSlices
from bandit.ledger import LedgerKind
from bandit.policy_entity import Cadence
from bandit.policy_folds import PolicyFolds
from eventstore.event import Event, Kind, Stream
from eventstore.snapshots import Snapshot
from gateway.orgs import Orgs
from kernel.clock import Clock
from kernel.settings import BanditSettings, Settings
from kernel.steps import Steps
from kernel.times import SECOND_US
from projections.refolding import FoldedEntities


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

    def foretold(self, stream: Stream) -> tuple[str, ...]:
        """What must be known first of a stream that is folded in slices; none of one that is not."""
        folds = self._of(stream)
        return folds.foretold(stream) if isinstance(folds, FoldsInSlices) else ()

    def start(self, stream: Stream, number: int, events: Sequence[Event]) -> Entity:
        """The entity before its first event, of a stream that is folded in slices. Raises ``TypeError`` for any other."""
        folds = self._of(stream)
        if not isinstance(folds, FoldsInSlices):
            raise TypeError(f"streams of kind {stream.kind} are not folded in slices")
        return folds.start(stream, number, events)

    def _of(self, stream: Stream) -> Folds:
        return self._by_kind.get(stream.kind, self._others)


def service_folds(settings: Settings, orgs: Orgs, clock: Clock) -> tuple[FoldsByKind, LedgerKind]:
    """The folds of all streams of a service, and the companion that settles its decisions."""
    ledgers = LedgerKind(lambda org: orgs.catalogue_of(org).event_types)
    leads = FoldedEntities(orgs.catalogue_of, clock, lambda org: (ledgers, *orgs[org].companions))
    return FoldsByKind(leads, {"policy": policy_folds(settings.bandit)}), ledgers


def policy_folds(settings: BanditSettings) -> PolicyFolds:
    """The folds of policies' streams."""
    return PolicyFolds(Cadence(settings.version_updates, round(settings.version_interval_s * SECOND_US)))
