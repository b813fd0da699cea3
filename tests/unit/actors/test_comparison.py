"""Two logs are compared stream by stream: what differs in one event, one stream or one value is named."""

from collections.abc import Sequence

import pytest

from actors.comparison import Compared, Comparison, Side
from actors.entity import Entity
from eventstore.event import NewEvent, Stream
from eventstore.memory import MemoryEventStore
from gateway.folds import service_folds
from gateway.orgs import Orgs
from kernel.clock import VirtualClock
from kernel.ids import IdSource
from kernel.settings import Settings
from tests.contract.store_events import T0, TYPES, lead, purchase

CLOCK = VirtualClock(at_us=T0 + 1_000_000)


def a_side(store: MemoryEventStore) -> Side:
    orgs = Orgs(Settings(), clock=CLOCK, ids=IdSource(CLOCK, 1))
    return Side(store, service_folds(Settings(), orgs, CLOCK)[0])


async def log_of(events: Sequence[NewEvent]) -> MemoryEventStore:
    store = MemoryEventStore(types=TYPES, clock=CLOCK)
    for event in events:
        await store.append([event])
    return store


def never(old: Entity, new: Entity) -> bool:
    return False


def purchases() -> list[NewEvent]:
    return [purchase(lead(f"l{n % 3}"), f"e{n}", n) for n in range(30)]


async def compared(old: Sequence[NewEvent], new: Sequence[NewEvent]) -> Compared:
    sides = a_side(await log_of(old)), a_side(await log_of(new))
    return await Comparison(*sides, differs=never).run()


async def test_equal_logs_are_folded_on_both_sides_and_nothing_differs() -> None:
    found = await compared(purchases(), purchases())
    assert found == Compared(streams=3, folded=3, differing=())


async def test_streams_may_stand_in_another_order() -> None:
    events = purchases()
    found = await compared(events, sorted(events, key=lambda event: event.stream))
    assert found.differing == ()


@pytest.mark.parametrize("place", [0, 17, 29])
async def test_one_event_that_differs_names_its_stream(place: int) -> None:
    events = purchases()
    other = [purchase(e.stream, e.id, 777) if n == place else e for n, e in enumerate(events)]
    found = await compared(events, other)
    assert found.differing == (events[place].stream,)
    assert (found.streams, found.folded) == (3, 2)


async def test_a_missing_event_a_missing_stream_and_one_too_many_are_named() -> None:
    events = purchases()
    found = await compared(events, [event for event in events if event.id != "e29"])
    assert found.differing == (lead("l2"),)
    found = await compared(events, [event for event in events if event.stream != lead("l1")])
    assert found.differing == (lead("l1"),)
    found = await compared(events, [*events, purchase(lead("more"), "x", 1)])
    assert found.differing == (lead("more"),)


async def test_equal_events_that_fold_to_something_else_differ() -> None:
    asked: list[Stream] = []

    def differs(old: Entity, new: Entity) -> bool:
        asked.append(old.stream)
        return old.stream == lead("l1")

    log = await log_of(purchases())
    found = await Comparison(a_side(log), a_side(log), differs=differs).run()
    assert found.differing == (lead("l1"),)
    assert sorted(asked) == [lead("l0"), lead("l1"), lead("l2")]
