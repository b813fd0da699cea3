"""A service of some of the leads, beside the service of what all leads share.

Where a log is divided, subjects, orgs and policies are one service's, ``shared``, and each part of the leads is another's,
which looks there for what it needs of them. Only one thing goes the other way: effects of a lead that belong into a
shared stream, such as a policy's settled rewards. They are recorded there before the lead's own; ids that follow from
causes make a repetition harmless.

A process that only follows a part records nothing. But its leads name what they have brought about for as long as nobody tells
them that it stands in the log, and a policy's stream tells them nothing. So it looks for it there, in their place.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from actors.ticker import Recorder
from eventstore.event import Kind, NewEvent
from eventstore.store import EventStore
from kernel.errors import NotLeading

#: The kinds of streams that all leads share.
SHARED_KINDS: frozenset[Kind] = frozenset({"subject", "org", "policy"})


class Part(NamedTuple):
    """Which part of the leads a service has: ``number`` of 0 to ``parts`` - 1."""

    number: int
    parts: int


#: All of them, and none: what all share, beside services of parts.
WHOLE, NONE = Part(0, 1), Part(0, 0)


def always() -> bool:
    """Nobody else can have them."""
    return True


class FollowingRecorder:
    """Takes as recorded what another process has recorded.

    Parameters
    ----------
    own, shared : the logs, as far as they are followed here.
    """

    def __init__(self, *, own: EventStore, shared: EventStore) -> None:
        self._own, self._shared = own, shared

    async def record(self, events: Sequence[NewEvent]) -> object:
        """Raises ``NotLeading`` while one of them stands nowhere."""
        for event in events:
            store = self._shared if event.stream.kind in SHARED_KINDS else self._own
            if await store.find(event.stream.org, event.id) is None:
                raise NotLeading("it is for another process to write, and that has not")
        return None


class RecorderInTurns:
    """Records while this process writes the log, and else looks for what another one has recorded."""

    def __init__(self, *, leading: Recorder, following: Recorder, is_leading: Callable[[], bool]) -> None:
        self._leading, self._following, self._is_leading = leading, following, is_leading

    async def record(self, events: Sequence[NewEvent]) -> object:
        return await (self._leading if self._is_leading() else self._following).record(events)


class DividedRecorder:
    """Records what a part's timers bring about: shared streams' events by ``shared``, its own by ``own``.

    Parameters
    ----------
    is_current : whether this process is surely still the one that has the part. The part's own log refuses one that
        was replaced; the shared log knows nothing of it, and would take a settlement that misses the latest rewards.
    """

    def __init__(self, *, own: Recorder, shared: Recorder, is_current: Callable[[], bool]) -> None:
        self._own, self._shared, self._is_current = own, shared, is_current

    async def record(self, events: Sequence[NewEvent]) -> object:
        """Raises ``LeadwheelError``: some may have been recorded, and all of them may be again."""
        elsewhere = [event for event in events if event.stream.kind in SHARED_KINDS]
        if elsewhere:
            if not self._is_current():
                raise NotLeading("whether these leads are still this process's is not sure")
            await self._shared.record(elsewhere)
            events = [event for event in events if event.stream.kind not in SHARED_KINDS]
        return await self._own.record(events) if events else None
