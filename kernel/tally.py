"""Times counted by how long they were: plain integers without a lock, for what one event loop does often."""

from bisect import bisect_left
from collections.abc import Sequence

#: Upper bounds in seconds for what takes microseconds: folding an event.
SHORT_S = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2)


class Tally:
    """How many times fell between which bounds, and their sum.

    Parameters
    ----------
    bounds_s : rising; a time equal to one lies below it.
    """

    __slots__ = ("bounds_s", "buckets", "sum_s")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self.bounds_s = bounds_s
        self.buckets = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Note that something took this long in all; done ``count`` times, each in an equal share of it."""
        self.buckets[bisect_left(self.bounds_s, seconds / count)] += count
        self.sum_s += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Bounds as texts, each with how many times were not longer: what a Prometheus histogram is made of."""
        total, answer = 0, []
        for bound, count in zip((*map(str, self.bounds_s), "+Inf"), self.buckets, strict=True):
            total += count
            answer.append((bound, float(total)))
        return answer
