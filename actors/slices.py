"""Folding a long stream in slices, so that memory does not grow with it.

Most entities are refolded from their whole stream at once, since a late event may belong anywhere. One whose stream only
the system writes, in its order, takes everything in place, once it knows the few events that decide on all the rest:
those are read first, by their type. A page is in memory at a time.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from actors.entity import Entity
from eventstore.event import Event, Stream
from eventstore.store import EventStore
from kernel.ids import Position

#: Events of a page: a few milliseconds of reading, and of folding in parts of ``_STEP_EVENTS``.
_PAGE = 512
_STEP_EVENTS = 64


@runtime_checkable
class FoldsInSlices(Protocol):
    """Folds of which some make entities that take a whole stream in place."""

    def foretold(self, stream: Stream) -> tuple[str, ...]:
        """The types of the system's events that an entity of this stream must know first; none: it is refolded whole."""
        ...

    def start(self, stream: Stream, number: int, events: Sequence[Event]) -> Entity:
        """The entity before its first event; ``events`` are all of the types foretold, by version."""
        ...


async def fold_in_slices(
    store: EventStore,
    folds: FoldsInSlices,
    stream: Stream,
    number: int,
    *,
    until: int,
    on_page: Callable[[int], None] | None = None,
) -> Entity:
    """The entity of a stream folded from nothing up to a version, which it has.

    Parameters
    ----------
    on_page : told after each page how many events were folded.

    Raises
    ------
    StoreUnavailable
    """
    entity = folds.start(stream, number, await _foretold(store, folds.foretold(stream), stream, until))
    while entity.version < until:
        page = await store.read(stream, after_version=entity.version, limit=min(_PAGE, until - entity.version))
        for place, event in enumerate(page, start=1):
            if not entity.fold(event):
                raise AssertionError(f"{stream} is not folded in place, though what is foretold was known")
            if place % _STEP_EVENTS == 0:
                await asyncio.sleep(0)
        if on_page is not None:
            on_page(len(page))
    return entity


async def _foretold(store: EventStore, types: Sequence[str], stream: Stream, until: int) -> list[Event]:
    found: list[Event] = []
    for event_type in types:
        before: Position | None = None
        while page := await store.read_type(stream.org, event_type, before=before, limit=_PAGE):
            found += [event for event in page if event.stream == stream and event.version <= until]
            before = page[-1].position
            await asyncio.sleep(0)
    return sorted(found, key=lambda event: event.version)
