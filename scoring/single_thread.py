"""One thread for what scikit-learn would spread over all.

Models are trained and asked beside a service that needs the other cores, and on a busy machine OpenMP's threads wait for
each other many times longer than they work: 100 trees took 119 s on two threads, 7 s on one.
"""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # finds the libraries that are loaded by now: made late, once


def single_thread() -> AbstractContextManager[object]:
    """Within it, this thread's numeric libraries start no others."""
    limiter: AbstractContextManager[object] = _controller().limit(limits=1)
    return limiter
