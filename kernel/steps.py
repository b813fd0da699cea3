"""Long computations in steps: a generator that yields where the caller may do something else.

The core stays synchronous; whether a computation runs through or lets the loop breathe is its caller's choice.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

#: A computation that yields between its steps and returns its result.
Steps: TypeAlias = Generator[None, None, T]

#: Items that are worked off between two steps where each costs about a microsecond.
STEP_ITEMS = 2000


def finish(steps: Steps[T]) -> T:
    """Run through to the result.

    Examples
    --------
    >>> def three() -> Steps[int]:
    ...     yield
    ...     return 3
    >>> finish(three())
    3
    """
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result


async def finish_politely(steps: Steps[T]) -> T:
    """Run to the result, letting other tasks run between the steps."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        await asyncio.sleep(0)


def ordering(items: Sequence[T], key: Callable[[T], Any]) -> Steps[list[T]]:
    """``sorted(items, key=key)`` in steps: dealt into ranges by a sample of the keys, each of which is sorted alone.

    It takes about twice as long; a step is long only where thousands of keys are equal.

    Examples
    --------
    >>> finish(ordering([3, 1, 2], key=int))
    [1, 2, 3]
    """
    if len(items) <= STEP_ITEMS:
        return sorted(items, key=key)
    ranges = len(items) // (STEP_ITEMS // 2) + 1
    sample = sorted(map(key, items[:: max(1, len(items) // (8 * ranges))]))
    edges = sample[:: max(1, len(sample) // ranges)][1:]
    dealt: list[list[T]] = [[] for _ in range(len(edges) + 1)]
    for start in range(0, len(items), STEP_ITEMS):
        for item in items[start : start + STEP_ITEMS]:
            dealt[bisect_right(edges, key(item))].append(item)
        yield
    ordered: list[T] = []
    for each in dealt:
        each.sort(key=key)
        ordered += each
        yield
    return ordered


def releasing(items: list[Any]) -> Steps[None]:
    """Empty a list in steps: to free a hundred thousand events at once takes tens of milliseconds."""
    while items:
        del items[-STEP_ITEMS:]
        yield
