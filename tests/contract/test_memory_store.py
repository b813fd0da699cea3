from collections.abc import AsyncIterator

import pytest

from eventstore.memory import MemoryEventStore
from eventstore.store import EventStore
from kernel.clock import VirtualClock
from kernel.errors import StoreUnavailable
from tests.contract.store_events import TYPES, new_event
from tests.contract.store_suite import ANN, StoreSuite


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    async def store(self, clock: VirtualClock) -> AsyncIterator[EventStore]:
        store = MemoryEventStore(types=TYPES, clock=clock)
        yield store
        await store.close()


async def test_a_fault_laid_in_the_way_hits_the_next_append_only() -> None:
    store = MemoryEventStore(types=TYPES, clock=VirtualClock())
    store.fail_next(StoreUnavailable("full"))
    with pytest.raises(StoreUnavailable):
        await store.append([new_event(ANN, "a1")])
    assert await store.last_position() == 0
    await store.append([new_event(ANN, "a1")])
    assert await store.last_position() == 1


async def test_a_lost_acknowledgement_leaves_the_events_stored() -> None:
    store = MemoryEventStore(types=TYPES, clock=VirtualClock())
    store.fail_next(StoreUnavailable("gone"), is_stored=True)
    with pytest.raises(StoreUnavailable):
        await store.append([new_event(ANN, "a1")])
    assert [event.id for event in await store.read(ANN)] == ["a1"]
