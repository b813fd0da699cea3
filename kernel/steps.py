"""Long computations in steps: a generator that yields where the caller may do something else.

The core stays synchronous; whether a computation runs through or lets the loop breathe is its caller's choice.
"""

import asyncio
from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

#: A computation that yields between its steps and returns its result.
Steps: TypeAlias = Generator[None, None, T]


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
