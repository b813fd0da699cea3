"""Absences: events that the system writes because nothing happened.

``Absence`` declares one; ``AbsenceFold`` follows a lead's causes and answers and names the instant at which each
absence may be written: once it is due, and a grace period has passed since both its cause and the lead's newest
*old news* (an event recorded long after its time) were recorded. So loading history in batches invents nothing.

The fold is separate from the features: those are computed from the raw events and correct themselves, while a
written absence stays.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from eventstore.event import Event, NewEvent, Stream
from kernel.keys import key64
from projections.aggregators.runtime import NEVER


@dataclass(frozen=True)
class Absence:
    """No event of ``answers`` with the same ``key`` in [r, r + within) of the first ``cause`` r."""

    event_type: str
    id_prefix: str
    cause: str
    answers: tuple[str, ...]
    key: str
    within_us: int

    def event_id(self, lead: str, key: str) -> str:
        """The id that follows from what caused it: a hash of the lead and the key."""
        return self.id_prefix + sha256(msgspec.json.encode([lead, key])).hexdigest()


class Waiting(msgspec.Struct, array_like=True, gc=False):
    """A cause without an answer so far: its key, its time, and when it was recorded."""

    key: str
    at_us: int
    recorded_us: int


class AbsenceState(msgspec.Struct, array_like=True, gc=False):
    """What is waited for, what is not any more, and the time of the newest cause or answer folded.

    ``answered`` holds None for a key that was answered in time or whose absence is written, and the time of the answer
    for one whose cause has not come yet (one of the same instant counts).
    """

    waiting: dict[str, Waiting] = {}
    answered: dict[int, int | None] = {}
    last_us: int = -(2**62)


class AbsenceFold:
    """Folds one kind of absence of one organisation.

    Parameters
    ----------
    grace_us : how long after a cause, and after old news, was recorded an absence waits for what comes late.
    """

    def __init__(self, absence: Absence, payload: type[msgspec.Struct], *, grace_us: int) -> None:
        self.absence = absence
        self._payload = payload
        self.grace_us = grace_us
        self.types = frozenset((absence.cause, *absence.answers))

    def fold(self, state: AbsenceState, event: Event, *, is_ordered: bool) -> bool:
        """Take a cause or an answer. False: it came out of order, refold."""
        if event.at_us <= state.last_us and not is_ordered:
            return False
        state.last_us = event.at_us
        name = getattr(event.payload, self.absence.key)
        hashed = key64(name)
        if state.answered.get(hashed, 0) is None:
            return True
        if event.type == self.absence.cause:
            self._cause(state, event, name, hashed)
        else:
            self._answer(state, event, name, hashed)
        return True

    def _cause(self, state: AbsenceState, event: Event, name: str, hashed: int) -> None:
        if state.answered.pop(hashed, None) == event.at_us:
            state.answered[hashed] = None
        elif name not in state.waiting:
            state.waiting[name] = Waiting(name, event.at_us, event.recorded_us)

    def _answer(self, state: AbsenceState, event: Event, name: str, hashed: int) -> None:
        waiting = state.waiting.get(name)
        if waiting is None:
            state.answered[hashed] = event.at_us
        elif event.at_us < waiting.at_us + self.absence.within_us:
            del state.waiting[name]
            state.answered[hashed] = None

    def written(self, state: AbsenceState, event: Event) -> None:
        """The system's own event came back from the log: that absence is over."""
        name = getattr(event.payload, self.absence.key)
        state.waiting.pop(name, None)
        state.answered[key64(name)] = None

    def first_us(self, state: AbsenceState) -> int:
        """When the next absence may be written if old news does not put it off; ``NEVER`` when nothing is awaited."""
        if not state.waiting:
            return NEVER
        within_us, grace_us = self.absence.within_us, self.grace_us
        return min([max(each.at_us + within_us, each.recorded_us + grace_us) for each in state.waiting.values()])

    def due(self, state: AbsenceState, old_news_us: int, stream: Stream, now_us: int) -> Iterator[NewEvent]:
        """The absences to write now, in order of their time."""
        ready = [each for each in state.waiting.values() if self._due_us(each, old_news_us) <= now_us]
        for each in sorted(ready, key=lambda w: (w.at_us, w.key)):
            data: dict[str, Any] = {self.absence.key: each.key}
            yield NewEvent(
                stream=stream,
                id=self.absence.event_id(stream.id, each.key),
                type=self.absence.event_type,
                at_us=each.at_us + self.absence.within_us,
                data=msgspec.json.encode(data),
                payload=self._payload(**data),
            )

    def _due_us(self, waiting: Waiting, old_news_us: int) -> int:
        return max(
            waiting.at_us + self.absence.within_us,
            waiting.recorded_us + self.grace_us,
            old_news_us + self.grace_us,
        )
