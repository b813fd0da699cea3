"""The topics of others beside one service that has all leads: what it reads, and what it tells."""

import asyncio
from collections.abc import Sequence

from eventstore.event import NewEvent
from eventstore.store import Stored
from gateway.orgs import Org
from gateway.service import Service
from gateway.topics.outlets import Outlets
from gateway.topics.source import Fate, Kept, Submit
from gateway.topics.sources import Sources


class Topics:
    """Raises ``SettingsError`` for what the tables name and nobody has; nothing was started then."""

    def __init__(self, service: Service, *, submit: Submit) -> None:
        self._sources = Sources(
            service.settings, service.orgs, submit=submit, clock=service.clock, metrics=service.metrics
        )
        self._outlets = Outlets(service)

    def start(self) -> None:
        self._sources.start()
        self._outlets.start()

    async def close(self) -> None:
        """End all, side by side: each may have to wait for its brokers for a moment. Idempotent."""
        await asyncio.gather(self._sources.close(), self._outlets.close())


def own_submit(service: Service) -> Submit:
    """Stores events in the service's own log."""

    async def submit(org: Org, events: Sequence[NewEvent]) -> Sequence[Fate]:
        outcomes = (await service.ingest.submit(events)).outcomes
        return [Kept(each.is_duplicate) if isinstance(each, Stored) else each for each in outcomes]

    return submit
