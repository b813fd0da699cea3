"""The benchmarks' events: the same from the same seed, in order, of the two packs."""

import json
from collections import Counter

from bench.events import END_US, batches, lead_events
from kernel.times import parse_rfc3339


def test_equal_seeds_give_equal_events_and_other_seeds_others() -> None:
    assert list(lead_events(7)) == list(lead_events(7))
    assert list(lead_events(7)) != list(lead_events(7, seed=2))
    assert list(lead_events(7)) != list(lead_events(8))


def test_a_leads_events_are_in_order_and_before_the_end() -> None:
    times = [parse_rfc3339(event["time"]) for event in lead_events(3)]
    assert times == sorted(times)
    assert times[-1] < END_US


def test_about_half_of_the_events_are_of_each_pack() -> None:
    types = Counter(event["type"] == "interaction" for number in range(40) for event in lead_events(number))
    assert 0.4 < types[True] / types.total() < 0.6


def test_batches_hold_every_event_once_in_order_within_a_lead() -> None:
    lines = [json.loads(line) for body in batches(range(30), 5, size=7) for line in body.splitlines()]
    for number in range(30):
        own = [line for line in lines if line["lead"] == f"lead-{number:06d}"]
        assert own == list(lead_events(number, 5))
    assert len(lines) == 150
