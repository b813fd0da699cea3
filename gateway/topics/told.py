"""What is told to a topic: the change feed's entries as messages.

The value is the data of an entry as the feed sends it (``features``, ``decision``, ``alert``). The key is the lead's id, so
that one lead's messages are in one partition, in order; that of the decision where it is about no lead. Headers, in UTF-8:
``leadwheel-kind``, ``leadwheel-org``, ``leadwheel-position`` (of the event behind it; none where time alone passed), and
``leadwheel-id``, which is the same when a message is told again. The message's time is when it was so.
"""

from typing import NamedTuple

import msgspec

from eventstore.event import Event
from gateway.feed.entries import FEATURES
from gateway.feed.org_feed import TOLD, change_told
from kernel.ids import Position, format_position
from kernel.times import format_time
from projections.changes import Change

_encode = msgspec.json.Encoder().encode


class Told(NamedTuple):
    """A message to be sent."""

    key: bytes
    value: bytes
    timestamp_ms: int
    headers: list[tuple[str, bytes]]


def event_told(event: Event, kinds: frozenset[str]) -> Told | None:
    """A decision or an alert; None for other events, and kinds that are not told."""
    known = TOLD.get(event.type)
    if known is None or known[0] not in kinds:
        return None
    kind, telling = known
    try:
        lead, data = telling(event)
    except msgspec.MsgspecError:  # written by another version: it is not told
        return None
    key = event.stream.id if lead is None else lead
    return _told(kind, event.stream.org, key, data, event.at_us, event.position)


def changes_told(org: str, lead: str, change: Change, names: frozenset[str] | None) -> Told | None:
    """Changes of features, narrowed to some; None where none of these changed."""
    moves = change.moves if names is None else {name: each for name, each in change.moves.items() if name in names}
    if not moves:
        return None
    position = None if change.cause is None else change.cause.position
    return _told(FEATURES, org, lead, {**change_told(lead, change), "changes": moves}, change.at_us, position)


def _told(kind: str, org: str, key: str, data: dict[str, object], at_us: int, position: Position | None) -> Told:
    headers = {"kind": kind, "org": org, "id": f"{kind}/{key}/{format_time(at_us)}"}
    if position is not None:
        headers["position"] = place = format_position(position)
        headers["id"] = f"{kind}/{key}/{place}"
    named = [(f"leadwheel-{name}", text.encode()) for name, text in headers.items()]
    return Told(key.encode(), _encode(data), at_us // 1000, named)
