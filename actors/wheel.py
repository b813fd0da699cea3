"""A hierarchical timer wheel: schedule, cancel and advance in O(1), whatever the number of timers.

Plain synchronous code over integers; the caller says what time it is. Four levels of 256 slots, each level
256 times coarser than the one below, and one overflow bucket for what lies beyond 2³² ticks.

Invariants:

- Every tick up to the cursor is done. A timer belongs to the level of the highest 8-bit group in which its
  tick differs from the cursor, so within a level all occupied slots lie ahead of the cursor's own, none wraps
  around, and a lower level is always due before a higher one. The first occupied slot is therefore one
  bit operation per level, and ticks without timers cost nothing.
- A timer's tick is its deadline rounded *up*: it never fires early, and at most one tick late.
- Timers leave in the order (due, entity, name), across calls too. A bucket that comes due is opened in slices:
  its timers go down a level, or into the heap of ready ones; nothing fires before the bucket is empty.
"""

from heapq import heapify, heappop, heappush
from typing import NamedTuple

import msgspec

from kernel.times import SECOND_US

_SLOT_BITS = 8
_SLOTS = 1 << _SLOT_BITS
_LEVELS = 4
_RANGE = 1 << (_SLOT_BITS * _LEVELS)
_OVERFLOW = _SLOTS * _LEVELS
_READY = _OVERFLOW + 1
# A timer's key is one integer, the name's code above the entity: with the code below, the low bits of all keys
# were alike, and every dictionary look-up a chain of collisions (twice as slow at a million timers).
_ENTITY_BITS = 56
_ENTITY_MASK = (1 << _ENTITY_BITS) - 1


class Timer(NamedTuple):
    """A deadline of an entity. Tuple order is the order of firing."""

    due_us: int
    entity: int
    name: str


class WheelStatistics(msgspec.Struct, frozen=True):
    """Counters since start, and the timers now in the wheel."""

    timers: int
    fired: int
    moved: int


class TimerWheel:
    """At most one timer for each (entity, name); entities are numbers below 2⁵⁶, names few.

    Parameters
    ----------
    start_us : the time up to which nothing is due any more.
    tick_us : length of a tick, and the longest delay of a timer.
    slice_moves : how many timers one ``advance`` may move between buckets (under 1 µs each) before it returns.

    Examples
    --------
    >>> wheel = TimerWheel(start_us=0)
    >>> wheel.schedule(7, "ignored", 2_500_000)
    >>> wheel.advance(2_999_999, budget=10), wheel.advance(3_000_000, budget=10)
    ([], [Timer(due_us=2500000, entity=7, name='ignored')])
    """

    def __init__(self, *, start_us: int, tick_us: int = SECOND_US, slice_moves: int = 5_000) -> None:
        self._tick_us = tick_us
        self._slice_moves = slice_moves
        self._cursor = start_us // tick_us
        # key → due by bucket, and key → bucket: dictionaries of integers only, which the collector never walks.
        self._buckets: list[dict[int, int]] = [{} for _ in range(_READY + 1)]
        self._where: dict[int, int] = {}
        self._masks = [0] * _LEVELS
        self._indices = list(range(_READY + 1))  # shared int objects: 28 bytes less for each timer
        self._opened: int | None = None
        # Holds every key of the ready bucket; an entry whose timer was cancelled or moved is skipped.
        self._heap: list[Timer] = []
        self._names: list[str] = []
        self._codes: dict[str, int] = {}
        self._fired = 0
        self._moved = 0

    def __len__(self) -> int:
        return len(self._where)

    def schedule(self, entity: int, name: str, due_us: int) -> None:
        """Set the timer, moving it if it is set. A deadline in the past is ready at once."""
        try:
            key = entity | self._codes[name]
        except KeyError:
            key = entity | self._code(name)
        where, buckets = self._where, self._buckets
        if key in where:
            del buckets[where[key]][key]
        # The branches of _place, repeated: the call alone would cost a tenth of the whole.
        tick = -(-due_us // self._tick_us)
        ahead = tick ^ self._cursor
        if tick <= self._cursor or ahead >= _RANGE or ahead < 0:
            self._place(key, due_us)
            return
        if ahead >= 0x10000:
            level, slot = (2, tick >> 16 & 0xFF) if ahead < 0x1000000 else (3, tick >> 24 & 0xFF)
        else:
            level, slot = (1, tick >> 8 & 0xFF) if ahead >= 0x100 else (0, tick & 0xFF)
        index = level << _SLOT_BITS | slot
        if bucket := buckets[index]:
            bucket[key] = due_us
        else:
            bucket[key] = due_us
            self._masks[level] |= 1 << slot
        where[key] = self._indices[index]

    def cancel(self, entity: int, name: str) -> bool:
        """Remove the timer; whether there was one."""
        try:
            key = entity | self._codes[name]
            index = self._where.pop(key)
        except KeyError:
            return False
        del self._buckets[index][key]
        if index == _READY:
            self._shrink_heap()
        return True

    def due_us(self, entity: int, name: str) -> int | None:
        """The deadline that is set, None without one."""
        code = self._codes.get(name)
        if code is None:
            return None
        key = entity | code
        index = self._where.get(key)
        return None if index is None else self._buckets[index][key]

    def advance(self, now_us: int, budget: int) -> list[Timer]:
        """Take at most ``budget`` timers that are due, in order; they are gone from the wheel.

        An empty answer does not mean that nothing is due: a large bucket is opened over several calls.
        Call again while ``is_behind(now_us)``.
        """
        target = now_us // self._tick_us
        moves = self._slice_moves
        fired: list[Timer] = []
        while True:
            if self._opened is not None:
                moves -= self._empty_opened(moves)
                if self._opened is not None:
                    break
            elif self._heap:
                if len(fired) >= budget:
                    break
                self._fire(fired, budget)
            elif moves <= 0 or not self._open_next(target):
                break
        return fired

    def is_behind(self, now_us: int) -> bool:
        """Whether another ``advance`` to that time has work to do."""
        return self._has_ready() or self._next_slot(now_us // self._tick_us) is not None

    def next_us(self) -> int | None:
        """A time before which no timer fires; None when the wheel is empty. O(levels)."""
        if self._has_ready():
            return self._cursor * self._tick_us
        found = self._next_slot(None)
        return None if found is None else found[0] * self._tick_us

    def statistics(self) -> WheelStatistics:
        return WheelStatistics(timers=len(self._where), fired=self._fired, moved=self._moved)

    def _has_ready(self) -> bool:
        return bool(self._buckets[_READY]) or (self._opened is not None and bool(self._buckets[self._opened]))

    def _code(self, name: str) -> int:
        code = self._codes[name] = len(self._names) << _ENTITY_BITS
        self._names.append(name)
        return code

    def _place(self, key: int, due_us: int) -> None:
        tick = -(-due_us // self._tick_us)
        difference = tick ^ self._cursor
        if tick <= self._cursor:
            index = _READY
            heappush(self._heap, Timer(due_us, key & _ENTITY_MASK, self._names[key >> _ENTITY_BITS]))
        elif not 0 <= difference < _RANGE:
            index = _OVERFLOW
        else:
            level = (difference.bit_length() - 1) >> 3
            slot = tick >> (level << 3) & 0xFF
            index = level << _SLOT_BITS | slot
            self._masks[level] |= 1 << slot
        self._buckets[index][key] = due_us
        self._where[key] = self._indices[index]
        if index == _READY:
            self._shrink_heap()

    def _fire(self, fired: list[Timer], budget: int) -> None:
        heap, ready, where = self._heap, self._buckets[_READY], self._where
        while heap and len(fired) < budget:
            timer = heappop(heap)
            key = timer.entity | self._codes[timer.name]
            if ready.get(key) == timer.due_us:
                del ready[key]
                del where[key]
                fired.append(timer)
                self._fired += 1

    def _shrink_heap(self) -> None:
        # Setting a ready timer again and again must not grow the heap.
        ready = self._buckets[_READY]
        if len(self._heap) > 2 * len(ready) + 64:
            names = self._names
            self._heap = [
                Timer(due_us, key & _ENTITY_MASK, names[key >> _ENTITY_BITS]) for key, due_us in ready.items()
            ]
            heapify(self._heap)

    def _empty_opened(self, moves: int) -> int:
        """Move timers of the opened bucket to where they belong now, at most so many."""
        if self._opened is None or moves <= 0:
            return 0
        bucket = self._buckets[self._opened]
        buckets, where, indices, masks = self._buckets, self._where, self._indices, self._masks
        tick_us, cursor = self._tick_us, self._cursor
        count = min(moves, len(bucket))
        take = bucket.popitem
        for _ in range(count):
            key, due_us = take()
            tick = -(-due_us // tick_us)
            if tick <= cursor:
                self._place(key, due_us)
                continue
            level = ((tick ^ cursor).bit_length() - 1) >> 3
            slot = tick >> (level << 3) & 0xFF
            index = level << _SLOT_BITS | slot
            masks[level] |= 1 << slot
            buckets[index][key] = due_us
            where[key] = indices[index]
        self._moved += count
        if not bucket:
            self._buckets[self._opened] = {}  # popitem keeps the old table's size
            self._opened = None
        return count

    def _open_next(self, target: int) -> bool:
        """Move the cursor to the next occupied slot up to the target, or to the target itself."""
        found = self._next_slot(target)
        if found is None:
            self._cursor = max(self._cursor, target)
            return False
        self._cursor, level = found
        if level == _LEVELS:
            # The overflow bucket is opened whole: set aside first, since what still overflows goes back in.
            self._reopen_overflow()
            return True
        slot = self._cursor >> (level << 3) & 0xFF
        self._masks[level] &= ~(1 << slot)
        self._opened = level << _SLOT_BITS | slot
        return True

    def _next_slot(self, target: int | None) -> tuple[int, int] | None:
        """(first tick, level) of the first occupied slot, if it begins by the target."""
        cursor = self._cursor
        for level, mask in enumerate(self._masks):
            while mask:
                shift = level << 3
                slot = (mask & -mask).bit_length() - 1
                if not self._buckets[level << _SLOT_BITS | slot]:
                    mask &= mask - 1  # cancelled empty: forget the slot
                    self._masks[level] = mask
                    continue
                first = (cursor >> shift + _SLOT_BITS << _SLOT_BITS | slot) << shift
                return (first, level) if target is None or first <= target else None
        if not self._buckets[_OVERFLOW]:
            return None
        first = (cursor // _RANGE + 1) * _RANGE
        if target is not None and first > target:
            return None
        # Rare (136 years of seconds): go straight to the range of the first timer.
        earliest = -(-min(self._buckets[_OVERFLOW].values()) // self._tick_us)
        first = max(first, earliest // _RANGE * _RANGE)
        return (first, _LEVELS) if target is None or first <= target else None

    def _reopen_overflow(self) -> None:
        overflow = self._buckets[_OVERFLOW]
        self._buckets[_OVERFLOW] = {}
        for key, due_us in overflow.items():
            self._place(key, due_us)
        self._moved += len(overflow)
