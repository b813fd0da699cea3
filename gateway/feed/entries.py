"""Entries of the feed, and their form as server-sent events.

An entry has a kind, which is the name of its event. ``features`` entries can be narrowed to some features; entries of
other kinds are sent whole. Each is about a lead, or, where none is concerned, for those only who listen to all.
"""

from typing import Any

import msgspec

from projections.changes import Moves

FEATURES = "features"
DECISION = "decision"
RESET = "reset"

_encode = msgspec.json.Encoder().encode


class Cause(msgspec.Struct, frozen=True):
    """The event behind a change."""

    id: str
    type: str


class FeatureChanges(msgspec.Struct, frozen=True):
    """The data of a ``features`` event: ``cause`` is ``time`` where time alone passed; values are [from, to]."""

    lead: str
    at: str
    cause: Cause | str
    changes: dict[str, tuple[float | str | list[str] | None, float | str | list[str] | None]]


class DecisionTold(msgspec.Struct, frozen=True):
    """The data of a ``decision`` event: what was chosen, when, by which policy. ``lead`` is null where there was none."""

    lead: str | None
    at: str
    decision_id: str
    policy: str
    policy_version: int
    model_version: str
    arm: str
    probability: float
    reason: str
    deferred: bool


class Entry(msgspec.Struct, gc=False):
    """One entry: ``data`` without the moves, which are None for kinds that cannot be narrowed."""

    sequence: int
    kind: str
    lead: str | None
    data: dict[str, Any]
    moves: Moves | None
    emitted_us: int  #: on the monotonic clock
    body: bytes | None = None

    @property
    def size(self) -> int:
        """How many single changes it holds."""
        return 1 if self.moves is None else len(self.moves)


def frame(entry: Entry, entry_id: str, names: frozenset[str] | None) -> bytes:
    """The entry as it is sent, narrowed to some features; empty where none of them changed."""
    if entry.moves is None or names is None:
        if entry.body is None:
            entry.body = _encode(entry.data if entry.moves is None else {**entry.data, "changes": entry.moves})
        return event(entry.kind, entry_id, entry.body)
    moves = {name: move for name, move in entry.moves.items() if name in names}
    return event(entry.kind, entry_id, _encode({**entry.data, "changes": moves})) if moves else b""


def event(kind: str, entry_id: str, body: bytes) -> bytes:
    """A server-sent event. JSON is one line, so its data is, too."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (entry_id.encode(), kind.encode(), body)


def reset(entry_id: str, reason: str) -> bytes:
    """Tells a listener that it missed something, and from which id on it does not."""
    return event(RESET, entry_id, _encode({"reason": reason}))
