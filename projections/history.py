"""A feature vector through time: its values at many instants, from one pass over the events.

Each row equals, to the bit, what a read as of its instant answers.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from eventstore.event import Event
from eventstore.types import EventTypes
from kernel.steps import Steps
from kernel.times import format_time
from projections.compiler import CompiledFold
from projections.selection import Selection
from projections.walk import Walk

#: Rows between two steps: a full vector of all packs takes about 20 µs, encoded about 100.
_STEP_ROWS = 32


def history(
    compiled: CompiledFold,
    types: EventTypes,
    events: Sequence[Event],
    selection: Selection,
    instants: Iterable[int],
    *,
    dead: Collection[int] = (),
) -> Steps[list[bytes]]:
    """Rows of ``{"at", "values"}`` as JSON, one for each instant. O(events + instants).

    Parameters
    ----------
    events : those that count, by (time, id), later ones included.
    instants : rising.
    dead : versions among the events on which the entity's fold raises.
    """
    walk = Walk(compiled, types, events, selection.picks, dead)
    rows: list[bytes] = []
    before: list[Any] | None = None
    encoded = b""
    for at_us in instants:
        yield from walk.advance(at_us)
        values = walk.values(at_us)
        if values != before:
            before, encoded = values, _ENCODER.encode(values)
        rows.append(b'{"at":"%s","values":%s}' % (format_time(at_us).encode(), encoded))
        if len(rows) % _STEP_ROWS == 0:
            yield
    return rows


_ENCODER = msgspec.json.Encoder()
