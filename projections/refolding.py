"""Entities folded from their log: a whole stream in order of (time, id), as a live fold of it would have come out.

In steps of a few milliseconds, so that a loop can do other things between them.
"""

from collections.abc import Callable, Sequence

from eventstore.event import Event, Stream
from eventstore.retraction import effecting, retracted_ids
from eventstore.snapshots import Snapshot
from kernel.clock import Clock
from kernel.steps import Steps, finish
from projections.aggregators.runtime import BEFORE
from projections.catalogue import Catalogue
from projections.companion import CompanionKind, accompanying
from projections.entity import FoldedEntity
from projections.poison import DeadLetter, letter, tried

#: Events refolded in one step: a few milliseconds.
_STEP_EVENTS = 500


def refolded(
    stream: Stream,
    number: int,
    catalogue: Catalogue,
    events: Sequence[Event],
    *,
    until_us: int | None = None,
    known_at_us: int | None = None,
) -> FoldedEntity:
    """``refolding`` in one go: up to a few milliseconds per thousand events."""
    return finish(refolding(stream, number, catalogue, events, until_us=until_us, known_at_us=known_at_us))


def refolding(
    stream: Stream,
    number: int,
    catalogue: Catalogue,
    events: Sequence[Event],
    *,
    until_us: int | None = None,
    known_at_us: int | None = None,
    kinds: Sequence[CompanionKind] = (),
) -> Steps[FoldedEntity]:
    """The entity of a whole stream, folded in order of (time, id) up to a time; later events wait for theirs.

    Retracted events are left out, and whole those on which the fold raises. ``known_at_us`` admits only what was
    recorded by then. ``events`` are given by version, and the companions of ``kinds`` take all of them so.
    """
    known = [e for e in events if known_at_us is None or e.recorded_us <= known_at_us]
    yield
    counting, system = yield from effecting(known)
    newest_us = max((e.recorded_us for e in known), default=BEFORE)
    entity = yield from folding_on(
        lambda: FoldedEntity(stream, number, catalogue, kinds), counting, newest_us if until_us is None else until_us
    )
    for event in system:
        entity.fold_system(event)
    yield
    outside = {e.id for e in known} - {e.id for e in system}
    entity.has_outside_event = bool(outside)
    yield
    entity.awaited = set(retracted_ids(known)) - outside or None
    if known:
        entity.version, entity.position = known[-1].version, known[-1].position
        entity.floor_us = newest_us if until_us is None else BEFORE
    entity.companions = yield from accompanying(stream, kinds, known)
    return entity


def folding_on(start: Callable[[], FoldedEntity], events: Sequence[Event], until_us: int) -> Steps[FoldedEntity]:
    """What ``start`` makes, with the events folded that follow it in order of (time, id), up to a time.

    Later events wait for theirs. Those on which the fold raises are left out whole, and are ``dead``.
    """
    dead: dict[int, DeadLetter] = {}
    entity = None
    while entity is None:
        entity = yield from _fold_all(start(), events, dead, until_us)
    entity.dead = dead or None
    return entity


def _fold_all(
    entity: FoldedEntity, events: Sequence[Event], dead: dict[int, DeadLetter], until_us: int
) -> Steps[FoldedEntity | None]:
    """Fold in order, leaving out what is in ``dead``. None: another event raised; it was added, start again.

    Events of a type that raised before are tried on a copy first, so that a lead with many of them is not
    started again for each.
    """
    careful = {each.type for each in dead.values()}
    for place, event in enumerate(events):
        if place % _STEP_EVENTS == _STEP_EVENTS - 1:
            yield
        if event.version in dead:
            continue
        if event.at_us > until_us:
            entity.wait(event)
        elif event.type in careful and (error := tried(entity.entities, entity.state, event)) is not None:
            dead[event.version] = error
        elif not entity.apply(event, True):
            dead[event.version] = tried(entity.entities, entity.state, event) or letter(
                event, RuntimeError("raised once, not again")
            )
            return None
    entity.entities.compiled.prune(entity.state, entity.folded_us)
    return entity


class FoldedEntities:
    """Makes the entities of all organisations, with their companions: handed to the actor host as its folds."""

    def __init__(
        self,
        catalogue_of: Callable[[str], Catalogue],
        clock: Clock,
        kinds_of: Callable[[str], Sequence[CompanionKind]] = lambda org: (),
    ) -> None:
        self._catalogue_of, self._clock, self._kinds_of = catalogue_of, clock, kinds_of

    def new(self, stream: Stream, number: int) -> FoldedEntity:
        return FoldedEntity(stream, number, self._catalogue_of(stream.org), self._kinds_of(stream.org))

    def load(self, stream: Stream, snapshot: Snapshot) -> FoldedEntity:
        return FoldedEntity.load(stream, snapshot, self._catalogue_of(stream.org), self._kinds_of(stream.org))

    def refold(self, stream: Stream, number: int, events: Sequence[Event]) -> Steps[FoldedEntity]:
        return refolding(stream, number, self._catalogue_of(stream.org), events, kinds=self._kinds_of(stream.org))
