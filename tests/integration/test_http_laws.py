"""The laws over HTTP: whatever the batches, the order and the restarts, answers are the oracle's."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.clock import VirtualClock
from kernel.settings import Settings as ServiceSettings
from kernel.times import DAY_US, format_time, parse_rfc3339
from tests.integration.service import Door, running
from tests.oracle.facts import Settings
from tests.oracle.features import lead_features
from tests.property.folding import differences, org_settings_of
from tests.property.strategies import History, histories, org_settings

LEAD = "ann"


def _batches(events: list[dict[str, Any]], sizes: list[int]) -> Iterator[list[dict[str, Any]]]:
    start = 0
    for size in sizes:
        yield events[start : start + size]
        start += size
    yield events[start:]


async def _post(door: Door, batch: list[dict[str, Any]]) -> None:
    status, answer = await door.post("events", [{**each, "lead": LEAD} for each in batch])
    refused = answer.get("rejected") or answer.get("errors") or []
    assert status == 200 or (status == 422 and batch), answer
    assert all(item["path"] == "data.event_id" for item in refused), "only a retraction of a retraction is refused"
    if status == 200:
        assert answer["accepted"] + answer["duplicates"] + len(refused) == len(batch)


async def _answers_are_the_oracles(door: Door, history: History, org: Settings) -> None:
    if not history.events:
        assert (await door.get(f"leads/{LEAD}/features"))[0] == 404
        return
    for at_us in {history.tau_us, history.tau_us - 3 * DAY_US, history.newest_us + 40 * DAY_US}:
        read = await door.values(LEAD, f"?at={format_time(at_us)}")
        assert differences(read, lead_features(history.facts, at_us, org)) == {}
    for _ in range(2):
        _, live = await door.get(f"leads/{LEAD}/features")
        assert differences(live["values"], lead_features(history.facts, door.clock.now_us(), org)) == {}
        if live["next_change"] is None:
            return
        _, ahead = await door.get(f"leads/{LEAD}/features?at={live['next_change']}")
        door.clock.set(parse_rfc3339(live["next_change"]) - 1)
        assert await door.values(LEAD) == live["values"], "values hold until the stated instant"
        door.clock.advance(1e-6)
        assert await door.values(LEAD) == ahead["values"], "and become what was foretold"


@given(
    histories(20),
    org_settings(),
    st.lists(st.integers(1, 8), max_size=4),
    st.randoms(use_true_random=False),
    st.integers(0, 2),
)
@settings(max_examples=25, deadline=None)
def test_answers_are_the_oracles_after_shuffles_duplicates_retractions_and_restarts(
    history: History, org: Settings, sizes: list[int], chance: Any, restarts: int
) -> None:
    events = history.events[:]
    if not any(each["type"] == "event_retracted" for each in events):
        chance.shuffle(events)
    events += chance.sample(events, len(events) // 3)

    async def run(directory: Path) -> None:
        clock = VirtualClock(history.newest_us)
        own = ServiceSettings(org={"default": org_settings_of(org)})
        batches = list(_batches(events, sizes))
        for turn in range(restarts + 1):
            async with running(own, directory, clock) as door:
                for batch in batches[turn :: restarts + 1]:
                    await _post(door, batch)
        async with running(own, directory, clock) as door:
            await _answers_are_the_oracles(door, history, org)

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))
