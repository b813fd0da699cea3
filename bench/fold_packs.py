"""What five packs cost: an event that one pack reads, any event, and the whole answer of a lead.

The fold of an event touches only the features that read its type, so ``tutor_responded``, which the tutoring pack alone
counts, must cost with five packs on what it costs with one. No peer beside it: both sides are ours. Processor time.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence

import msgspec

from bench.events import lead_events
from bench.harness import Claim, pin_self, report, run_main, say
from eventstore.event import Event, Stream
from kernel.ids import Position
from kernel.settings import OrgSettings
from kernel.times import DAY_US, MINUTE_US, parse_rfc3339
from projections.answer import encode_answer
from projections.catalogue import Catalogue
from projections.entity import FoldedEntity

LEADS, PER_LEAD, ROUNDS = 200, 500, 9
START_US = parse_rfc3339("2026-01-01T00:00:00Z")
MOST = 1.25  # with five packs on, of the cost with one

ONE = Catalogue("default", OrgSettings(packs=("tutoring",)))
ALL = Catalogue("default", OrgSettings())


def main() -> None:
    pin_self(0)
    responses = [_response(n) for n in range(PER_LEAD)]
    mixed = _mixed()
    say(f"{LEADS} leads of {PER_LEAD} events, {ROUNDS} rounds, the sides in turn")
    sides: dict[str, Callable[[], float]] = {
        "one": lambda: _fold_us(ONE, responses),
        "five": lambda: _fold_us(ALL, responses),
        "mixed": lambda: _fold_us(ALL, mixed),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            taken[name].append(side())
    # The least of the rounds: neighbours on the machine only ever add to it.
    least = {name: min(figures) for name, figures in taken.items()}
    answer_us, size_bytes = _answer_us(mixed)
    claims = [Claim("tutor_responded, five packs on", least["five"] / least["one"], MOST, "of one pack", True)]
    report(
        "fold_packs",
        claims,
        {
            "tutor_responded_one_pack_us": least["one"],
            "tutor_responded_five_packs_us": least["five"],
            "mixed_five_packs_us": least["mixed"],
            "full_answer_us": answer_us,
            "full_answer_bytes": size_bytes,
            "features": len(ALL.features),
            "rounds_spread_ratio": statistics.median(taken["five"]) / least["five"],
        },
    )


def _response(n: int) -> Event:
    data = msgspec.json.encode({"tutor_id": f"t{n % 5}", "response_seconds": n % 90})
    return _event(n, "tutor_responded", START_US + n * 10 * MINUTE_US, data)


def _event(n: int, event_type: str, at_us: int, data: bytes) -> Event:
    event = Event(Stream("default", "lead", "ann"), 1, n + 1, Position(n + 1), f"e{n}", event_type, at_us, at_us, data)
    ALL.event_types.payload_of(event)  # decoded at the door, once
    return event


def _mixed() -> list[Event]:
    """Events of three packs in turn, shaped like real ones."""
    chance = random.Random(5)
    more: Sequence[tuple[str, Callable[[], dict[str, object]]]] = (
        ("login", dict),
        ("session_completed", lambda: {"session_id": "s", "tutor_id": f"t{chance.randrange(4)}", "duration_minutes": 45, "student_rating": 4.5}),
        ("inbound_call", lambda: {"duration_seconds": chance.randrange(600), "sentiment_score": -0.5}),
        ("email_opened", lambda: {"email_id": f"e{chance.randrange(9)}"}),
        ("page_viewed", dict),
        ("service_completed", lambda: {"satisfaction_score": 4.5}),
    )  # fmt: skip
    payloads = [(each["type"], each["data"]) for each in lead_events(1, PER_LEAD // 2)]
    while len(payloads) < PER_LEAD:
        name, make = more[len(payloads) % len(more)]
        payloads.append((name, make()))
    chance.shuffle(payloads)
    return [
        _event(n, name, START_US + n * 90 * MINUTE_US, msgspec.json.encode(data))
        for n, (name, data) in enumerate(payloads)
    ]


def _fold_us(catalogue: Catalogue, events: Sequence[Event]) -> float:
    """Microseconds an event, of leads that each fold all of them."""
    entities = [FoldedEntity(event.stream, n, catalogue) for n in range(LEADS) for event in events[:1]]
    gc.collect()
    gc.disable()
    began_s = time.process_time()
    for entity in entities:
        for event in events:
            entity.fold(event)
    took_s = time.process_time() - began_s
    gc.enable()
    return took_s / (LEADS * len(events)) * 1e6


def _answer_us(events: Sequence[Event]) -> tuple[float, int]:
    """Microseconds to compute and encode every feature of a lead anew, and the size of the answer."""
    entity = FoldedEntity(events[0].stream, 1, ALL)
    for event in events:
        entity.fold(event)
    everything, times, size_bytes = ALL.everything, [], 0
    for n in range(400):
        now_us = events[-1].at_us + (n + 1) * DAY_US // 24
        copy = entity.copy()
        began_s = time.process_time()
        copy.read(now_us)
        values = copy.values(everything)
        answer = encode_answer("ann", now_us, copy.next_change_us(everything), everything, values)
        times.append(time.process_time() - began_s)
        size_bytes = len(answer.body)
    return min(times) * 1e6, size_bytes


if __name__ == "__main__":
    run_main(main)
