"""Whose an id of a decision is, where the log is divided: claims, in the stream of the id itself.

The part in which that stream stands is the id's *home*. A lead of another part decides under the id only when the home has recorded
its claim. A claim says that a decision may be made, not that it was: only the part of its lead knows that.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, NamedTuple, Protocol

from bandit.events import DECISION_CLAIMED, DecisionClaimed, decision_stream, payload_of
from eventstore.event import Stream
from eventstore.store import EventStore
from gateway.orgs import Org

State = Literal["granted", "made", "claimed"]

#: The claim of an id that holds now, if this is its home; no other one is granted there meanwhile.
Granting = Callable[[Org, str], AbstractAsyncContextManager[DecisionClaimed | None]]


class Held(NamedTuple):
    """What the home of an id says to who claims it.

    ``granted``; or the id has a decision there (``made``), or another lead's claim, which is given.
    """

    state: State
    lead: str = ""
    turn: str = ""


class Claims(Protocol):
    """Whose ids are, among all parts of the log."""

    async def claim(self, granting: Granting, org: Org, stream: Stream, decision_id: str) -> None:
        """Returns when a decision of this stream may be written under the id, and nobody else's.

        Parameters
        ----------
        granting : where the stream is, whose turn for the id is held meanwhile.

        Raises
        ------
        Problem
            ``decision_conflict``; ``owner_away`` and others where somebody cannot be asked.
        """


async def claim_of(store: EventStore, org: str, decision_id: str) -> DecisionClaimed | None:
    """The claim that holds now, at the id's home: the last one."""
    log = await store.read(decision_stream(org, None, decision_id))
    claims = [event for event in log if event.type == DECISION_CLAIMED]
    if not claims:
        return None
    claimed: DecisionClaimed = payload_of(claims[-1])
    return claimed
