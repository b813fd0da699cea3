"""What routes need that look back: the events of one entity that count, in order, as they stand in the log."""

from collections.abc import Collection
from typing import NamedTuple

from eventstore.event import Event, Stream
from eventstore.retraction import effecting
from eventstore.system import EVENT_RETRACTED
from gateway.asks import not_ahead
from gateway.engine import Engine
from gateway.parameters import time_text
from gateway.problems import Problem
from kernel.steps import finish_politely, releasing


class Lookback(NamedTuple):
    """Events by (time, id), retracted and system events left out; ``dead`` are versions on which the fold raises."""

    events: list[Event]
    dead: frozenset[int]

    async def close(self) -> None:
        """Give the events back, slice by slice. Nothing else may hold many of them by now."""
        await finish_politely(releasing(self.events))


_PAGE = 2000  # events read in one hop

NOTHING = Lookback([], frozenset())


async def look_back(
    engine: Engine, stream: Stream, known_at_us: int | None = None, types: Collection[str] | None = None
) -> Lookback | None:
    """The past of an entity, as it was known at a time; None for one that is not known.

    Parameters
    ----------
    types : of the events that matter; None for all.
    """
    (info,) = await engine.store.info([stream])
    if info is None or not info.is_known:
        return None
    events = await _read(engine, stream, types)
    # The entity is woken after the log was read, so that it has judged every event that stands in the list.
    (entity,) = await engine.wake([stream])
    dead = frozenset(entity.dead or ()) if entity is not None else frozenset()
    counting = await finish_politely(effecting(events, known_at_us=known_at_us))
    return Lookback(counting.events, dead)


async def _read(engine: Engine, stream: Stream, types: Collection[str] | None) -> list[Event]:
    """The stream page by page: of a long one only what matters is held."""
    kept: list[Event] = []
    after = 0
    while True:
        page = await engine.store.read(stream, after_version=after, limit=_PAGE)
        kept += page if types is None else [e for e in page if e.type in types or e.type == EVENT_RETRACTED]
        if len(page) < _PAGE:
            return kept
        after = page[-1].version


async def check_known(engine: Engine, stream: Stream) -> None:
    """Raises ``Problem`` for a lead that is not known."""
    (info,) = await engine.store.info([stream])
    if info is None or not info.is_known:
        raise Problem("lead_not_found", f"no lead {stream.id}")


def times_of(query: dict[str, str], now_us: int) -> tuple[int, int | None]:
    """``at`` (default now) and ``known_at`` of a query."""
    at_us = time_text(query, "at", now_us)
    return now_us if at_us is None else at_us, not_ahead(time_text(query, "known_at", now_us), now_us)
