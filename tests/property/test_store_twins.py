"""The log on SQLite and its twin in memory answer alike, whatever is appended in whatever grouping."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore.event import NewEvent
from eventstore.memory import MemoryEventStore
from eventstore.sqlite import SqliteEventStore, SqliteOptions
from eventstore.store import EventStore, Outcome, Refused
from kernel.clock import VirtualClock
from tests.contract.store_events import T0, TYPES, lead, new_event, purchase, retraction

streams = st.sampled_from([lead("a"), lead("b"), lead("a", "other")])
ids = st.sampled_from(["1", "2", "3", "4", "~5"])
events = st.one_of(
    st.builds(purchase, streams, ids, st.sampled_from([1, "1.0", 2]), at_us=st.sampled_from([T0, T0 + 1])),
    st.builds(new_event, streams, ids, has_time=st.booleans()),
    st.builds(retraction, streams, ids, ids),
)
calls = st.tuples(st.lists(events, max_size=6), st.booleans())
#: Groups of calls that are made at the same time.
groups = st.lists(st.lists(calls, min_size=1, max_size=4), max_size=5)


def told(outcome: Outcome) -> tuple[object, ...]:
    if isinstance(outcome, Refused):
        return outcome.code, outcome.path, outcome.expected, outcome.actual
    event = outcome.event
    return outcome.is_duplicate, event.number, event.version, event.position, event.id, event.type, event.data


async def run(store: EventStore, given_groups: list[list[tuple[list[NewEvent], bool]]]) -> list[object]:
    seen: list[object] = []
    for group in given_groups:
        answers = await asyncio.gather(*(store.append(batch, is_atomic=is_atomic) for batch, is_atomic in group))
        seen.append([[told(outcome) for outcome in outcomes] for outcomes in answers])
    seen.append([(e.stream, e.version, e.position, e.id, e.data, e.recorded_us) for e in await store.read_log()])
    seen.append(await store.list_streams())
    counted = store.statistics()
    await store.close()
    return [*seen, counted.events, counted.duplicates, counted.refused]


@settings(max_examples=60, deadline=None)
@given(groups, st.sampled_from([1, 3, 4000]))
def test_both_stores_give_the_same_outcomes_and_keep_the_same_log(
    given_groups: list[list[tuple[list[NewEvent], bool]]], batch_events: int
) -> None:
    async def both() -> None:
        twin = await run(MemoryEventStore(types=TYPES, clock=VirtualClock(T0)), given_groups)
        options = SqliteOptions(batch_events=batch_events, durability="process", checkpoint_events=10, heads_max=2)
        with tempfile.TemporaryDirectory() as directory:
            store = await SqliteEventStore.open(Path(directory), types=TYPES, clock=VirtualClock(T0), options=options)
            assert await run(store, given_groups) == twin

    asyncio.run(both())
