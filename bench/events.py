"""Synthetic events of the commerce and the browsing pack: the same from the same seed, shaped like real ones."""

import json
import random
from collections.abc import Iterator
from typing import Any

from kernel.times import DAY_US, HOUR_US, SECOND_US, format_time

#: 1 January 2026, UTC. Events lie in the half year before.
END_US = 1_767_225_600 * SECOND_US
SPAN_US = 180 * DAY_US

_ACTIONS = ("view", "view", "view", "view", "click", "click", "inquiry", "message", "schedule")
_CHANNELS = ("web", "whatsapp", "email", "store")


def lead_events(number: int, count: int = 50, *, seed: int = 1, end_us: int = END_US) -> Iterator[dict[str, Any]]:
    """Events of one lead in order of time: about half of them of each pack."""
    chance = random.Random(seed * 1_000_003 + number)
    lead = f"lead-{number:06d}"
    for index, at_us in enumerate(sorted(end_us - chance.randrange(HOUR_US, SPAN_US) for _ in range(count))):
        type_, data = _payload(chance, index)
        yield {"id": f"e{index}", "lead": lead, "type": type_, "time": format_time(at_us), "data": data}


def _payload(chance: random.Random, index: int) -> tuple[str, dict[str, Any]]:
    if chance.random() < 0.5:
        return "interaction", {"action": chance.choice(_ACTIONS), "item": f"item-{chance.randrange(500)}"}
    conversation = f"c{index // 8}"
    channel = chance.choice(_CHANNELS)
    kind = chance.choices(
        ("conversation_started", "message_received", "message_sent", "purchase_completed", "campaign_received",
         "campaign_opened", "support_ticket_opened", "discount_requested"),
        (2, 7, 6, 2, 3, 2, 1, 1),
    )[0]  # fmt: skip
    match kind:
        case "message_received":
            sentiment = round(chance.random(), 3)
            return kind, {"conversation_id": conversation, "channel": channel, "sentiment": sentiment}
        case "conversation_started" | "message_sent":
            return kind, {"conversation_id": conversation, "channel": channel}
        case "purchase_completed":
            return kind, {"amount": round(chance.uniform(5, 300), 2), "order_id": f"o{index}", "channel": channel}
        case "campaign_received" | "campaign_opened":
            return kind, {"campaign_id": f"k{chance.randrange(6)}", "channel": channel}
        case "support_ticket_opened":
            return kind, {"ticket_id": f"t{index}", "channel": channel}
        case _:
            return kind, {"conversation_id": conversation}


def ndjson(events: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> bytes:
    """Events as the lines of an NDJSON body."""
    return b"".join(json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events)


def batches(leads: range, per_lead: int = 50, size: int = 1000) -> Iterator[bytes]:
    """NDJSON bodies of ``size`` events, lead after lead within groups of ``size`` leads, mixed in time."""
    for first in range(leads.start, leads.stop, size):
        group = range(first, min(first + size, leads.stop))
        columns = [list(lead_events(number, per_lead)) for number in group]
        mixed = [column[index] for index in range(per_lead) for column in columns]
        for start in range(0, len(mixed), size):
            yield ndjson(mixed[start : start + size])
