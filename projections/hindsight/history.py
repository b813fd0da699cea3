"""A feature vector through time: its values at many instants, from one pass over the events.

Each row equals, to the bit, what a read as of its instant answers.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import repeat
from typing import Any

import msgspec

from eventstore.event import Event
from eventstore.types import EventTypes
from kernel.steps import Steps
from kernel.times import format_time
from projections.compiler import CompiledFold
from projections.hindsight.walk import Walk
from projections.market import Span

#: Rows between two steps: a full vector of all packs takes about 20 µs, encoded about 100.
_STEP_ROWS = 32


def history(
    compiled: CompiledFold,
    types: EventTypes,
    events: Sequence[Event],
    span: Span,
    instants: Iterable[int],
    *,
    dead: Collection[int] = (),
    market: Iterable[Sequence[Any]] | None = None,
) -> Steps[list[bytes]]:
    """Rows of ``{"at", "values"}`` as JSON, one for each instant. O(events + instants).

    Parameters
    ----------
    events : those that count, by (time, id), later ones included.
    instants : rising.
    dead : versions among the events on which the entity's fold raises.
    market : the values of the span's market at each instant; None where it has none.
    """
    walk = Walk(compiled, types, events, span.own.picks, dead)
    beside = repeat(()) if market is None else iter(market)
    order = _order(span)
    rows: list[bytes] = []
    before: list[Any] | None = None
    encoded = b""
    for at_us in instants:
        yield from walk.advance(at_us)
        both = [*walk.values(at_us), *next(beside)]
        values = both if order is None else [both[place] for place in order]
        if values != before:
            before, encoded = values, _ENCODER.encode(values)
        rows.append(b'{"at":"%s","values":%s}' % (format_time(at_us).encode(), encoded))
        if len(rows) % _STEP_ROWS == 0:
            yield
    return rows


def _order(span: Span) -> list[int] | None:
    """Where each value of the span stands, if the lead's come first; None where that is its order."""
    if len(span.runs) < 2 or [run.is_own for run in span.runs] == [True, False]:
        return None
    starts = {True: 0, False: len(span.own.names)}
    return [starts[run.is_own] + place for run in span.runs for place in range(run.start, run.stop)]


_ENCODER = msgspec.json.Encoder()
