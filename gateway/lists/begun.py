"""Lists that somebody pages through, as they were when they were begun: so each lead in it comes exactly once.

Values move while a list is read, and with them places. Pages after the first are cut from the order of the first. What
is kept is bounded in bytes and in time; lists of which only the first page was ever asked for give way first.
"""

from collections import OrderedDict
from typing import NamedTuple

from kernel.clock import Clock
from kernel.ids import IdSource
from kernel.times import SECOND_US
from projections.ranking.paging import Standing


class _Kept(NamedTuple):
    standing: Standing
    used_us: int


class Begun:
    """Lists by id.

    Parameters
    ----------
    max_bytes : of all lists together; a single larger one is kept alone.
    keep_s : after the last page asked for.
    """

    def __init__(self, *, clock: Clock, ids: IdSource, max_bytes: int, keep_s: float) -> None:
        self._clock, self._ids = clock, ids
        self._max_bytes, self._keep_us = max_bytes, round(keep_s * SECOND_US)
        self._first: OrderedDict[str, _Kept] = OrderedDict()
        self._continued: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._first) + len(self._continued)

    def add(self, standing: Standing) -> str:
        """Keep a list; its id."""
        list_id = self._ids.uuid7()
        now_us = self._clock.monotonic_us()
        self._expire(now_us)
        self._first[list_id] = _Kept(standing, now_us)
        self._bytes += standing.size_bytes
        while self._bytes > self._max_bytes and len(self) > 1:
            self._drop(self._first if len(self._first) > 1 else self._continued)
        return list_id

    def get(self, list_id: str) -> Standing | None:
        """A list that goes on; None when it is no longer kept."""
        now_us = self._clock.monotonic_us()
        self._expire(now_us)
        kept = self._continued.pop(list_id, None) or self._first.pop(list_id, None)
        if kept is None:
            return None
        self._continued[list_id] = _Kept(kept.standing, now_us)
        return kept.standing

    def _expire(self, now_us: int) -> None:
        for lists in (self._first, self._continued):
            while lists and next(iter(lists.values())).used_us + self._keep_us < now_us:
                self._drop(lists)

    def _drop(self, lists: OrderedDict[str, _Kept]) -> None:
        _, kept = lists.popitem(last=False)
        self._bytes -= kept.standing.size_bytes
