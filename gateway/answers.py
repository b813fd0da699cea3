"""Encoded answers, kept with their leads under one budget of bytes.

A lead forgets its answers whenever it changes or sleeps; those of the others that were encoded longest ago go
when the budget is spent. What was forgotten already is counted until its turn comes, so the budget holds.
"""

from collections import deque
from collections.abc import Callable

from eventstore.event import Stream
from projections.answer import Answer
from projections.entity import FoldedEntity

MAX_PER_LEAD = 8  # more are different questions
OVERHEAD_BYTES = 400  # of the objects and headers around a body


class Answers:
    """Keeps answers, within bounds.

    Parameters
    ----------
    max_bytes : of all leads together.
    awake : the entity of a stream, if it is in memory.
    """

    def __init__(self, *, max_bytes: int, awake: Callable[[Stream], FoldedEntity | None]) -> None:
        self._max_bytes = max_bytes
        self._awake = awake
        self._kept: deque[tuple[Stream, int]] = deque()
        self.hits = self.joins = self.misses = 0  #: live answers since the start, by what there was of them
        self.size_bytes = 0

    def keep(self, entity: FoldedEntity, key: str, answer: Answer) -> None:
        """Keep an answer until the entity changes. Amortised O(1)."""
        answers = entity.answers
        if answers is None or len(answers) >= MAX_PER_LEAD:
            answers = entity.answers = {}
        answers[key] = answer
        size_bytes = len(answer.body) + OVERHEAD_BYTES
        self._kept.append((entity.stream, size_bytes))
        self.size_bytes += size_bytes
        while self.size_bytes > self._max_bytes:
            stream, freed_bytes = self._kept.popleft()
            self.size_bytes -= freed_bytes
            oldest = self._awake(stream)
            if oldest is not None:
                oldest.answers = None
