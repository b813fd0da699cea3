"""Streams whose state was replaced without an event, for whoever keeps states elsewhere."""

from typing import NamedTuple

from eventstore.event import Stream

#: More of them than that are taken for all.
_MOST = 1000


class Restatement(NamedTuple):
    """Which states were replaced."""

    is_whole: bool
    streams: frozenset[Stream]


class Restated:
    """Notes them until they are taken; nobody may ever take them."""

    def __init__(self) -> None:
        self._is_whole = False
        self._streams: set[Stream] = set()

    def note(self, stream: Stream) -> None:
        if not self._is_whole:
            self._streams.add(stream)
            if len(self._streams) > _MOST:
                self.note_all()

    def note_all(self) -> None:
        self._is_whole = True
        self._streams.clear()

    def take(self) -> Restatement:
        """What was noted since the last time."""
        taken = Restatement(self._is_whole, frozenset(self._streams))
        self._is_whole = False
        self._streams.clear()
        return taken
