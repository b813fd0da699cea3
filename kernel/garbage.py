"""The collector of reference cycles, kept out of the way of work that builds many objects which stay.

Enters: the span of such work. Leaves: the process's thresholds as they were found. A full collection walks every object
there is, tens of milliseconds for tens of thousands of entities in memory, and comes each time the heap has grown by a
quarter: a rebuild spends a tenth of its time in them, and nothing else runs meanwhile. What dies young is collected all the
while, so requests that are served beside the work leave nothing behind but what outlived two collections.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_YOUNG = 20_000
_NEVER = 2**31 - 1

_found: list[tuple[int, int, int]] = []
_spans = 0


@contextmanager
def no_full_collections() -> Iterator[None]:
    """No full collection begins in here. Spans may overlap; the last one to end restores what the first one found."""
    global _spans
    if not _spans:
        _found.append(gc.get_threshold())
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young and max(young, _YOUNG), middle, _NEVER)
    _spans += 1
    try:
        yield
    finally:
        _spans -= 1
        if not _spans:
            gc.set_threshold(*_found.pop())
