"""What the snapshots lack: by stream, the position of the first event that no snapshot contains.

From it follows how far the snapshots may claim to be applied. Three things hold the claim back: a stream noted
here, an append whose events have no known position yet, and what the host has seen at all. Positions are opaque, but
they are ordered, and ``p - 1`` is a bound below ``p`` in any order of integers.
"""

from heapq import heapify, heappop, heappush

from eventstore.event import Stream
from kernel.ids import Position


class Ledger:
    """First missing positions by stream, and the floors of appends under way."""

    def __init__(self) -> None:
        self.first: dict[Stream, Position] = {}
        self._heap: list[tuple[Position, Stream]] = []
        self._floors: dict[int, Position] = {}
        self._tokens = 0

    def __len__(self) -> int:
        return len(self.first)

    def __contains__(self, stream: Stream) -> bool:
        return stream in self.first

    def note(self, stream: Stream, position: Position) -> None:
        """An event of the stream is in no snapshot. The first position counts. O(log n), O(1) when noted before."""
        known = self.first.get(stream)
        if known is None or position < known:
            self.first[stream] = position
            heappush(self._heap, (position, stream))

    def settle(self, stream: Stream) -> None:
        """All events of the stream are in a snapshot that was put."""
        if self.first.pop(stream, None) is not None and len(self._heap) > 2 * len(self.first) + 64:
            self._heap = [(position, each) for each, position in self.first.items()]
            heapify(self._heap)

    def replace(self, other: "Ledger") -> None:
        """Lack what the other one lacks; appends under way stay under way."""
        self.first.clear()
        self.first.update(other.first)
        self._heap = [(position, stream) for stream, position in self.first.items()]
        heapify(self._heap)

    def noted(self, *, up_to: Position) -> list[Stream]:
        """Streams that lack events up to the position, in the order in which they were noted: oldest first."""
        return [stream for stream, position in self.first.items() if position <= up_to]

    def begin(self, floor: Position) -> int:
        """An append begins: its events will lie after ``floor``. The token ends it."""
        self._tokens += 1
        self._floors[self._tokens] = floor
        return self._tokens

    def end(self, token: int) -> None:
        """The append's events are folded, or noted, or were never stored."""
        del self._floors[token]

    def floor_of(self, token: int) -> Position:
        """The floor an append began at."""
        return self._floors[token]

    def safe(self, high: Position) -> Position:
        """The greatest position up to which snapshots lack nothing, given the greatest one seen."""
        heap, first = self._heap, self.first
        while heap and first.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        safe = min(high, heap[0][0] - 1) if heap else high
        return Position(max(0, min(safe, *self._floors.values()) if self._floors else safe))
