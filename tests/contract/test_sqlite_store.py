from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eventstore.sqlite import SqliteEventStore, SqliteOptions
from eventstore.store import EventStore
from kernel.clock import VirtualClock
from tests.contract.store_events import TYPES
from tests.contract.store_suite import StoreSuite


class TestSqliteStore(StoreSuite):
    @pytest.fixture
    async def store(self, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[EventStore]:
        store = await SqliteEventStore.open(tmp_path, types=TYPES, clock=clock)
        yield store
        await store.close()


class TestSqliteStoreWithTinyLimits(StoreSuite):
    """Batches of a few events, hardly any remembered heads, a checkpoint after each batch."""

    @pytest.fixture
    async def store(self, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[EventStore]:
        options = SqliteOptions(
            durability="process", batch_events=3, pending_events=5, heads_max=2, checkpoint_events=1, cache_kib=256
        )
        store = await SqliteEventStore.open(tmp_path, types=TYPES, clock=clock, options=options)
        yield store
        await store.close()
