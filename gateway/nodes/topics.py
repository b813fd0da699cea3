"""The topics of others beside many nodes: each reads a share of every topic, and tells of the leads that it leads.

What is read goes to the owners of its streams, like a post at this node. What is told follows the partitions: a node begins where
the one before it had got to, by the place that the brokers keep for each partition.
"""

import asyncio
from collections.abc import Sequence
from typing import cast

from eventstore.admission import RefusalCode
from eventstore.event import NewEvent
from eventstore.kafka_records import SHARED
from eventstore.store import Refused
from gateway.nodes.across.intake import store
from gateway.nodes.forwarding.front import Front
from gateway.orgs import Org
from gateway.service import Service
from gateway.topics.outlets import Outlets
from gateway.topics.source import Fate, Kept, Submit
from gateway.topics.sources import Sources
from gateway.topics.supervision import Endeavour

_LOOK_S = 0.5


class NodeTopics:
    """What this node reads and tells.

    Raises
    ------
    SettingsError
        For what the tables name and nobody has; nothing was started then.
    """

    def __init__(self, front: Front) -> None:
        self._front = front
        shared = front.shared
        self._sources = Sources(
            shared.settings, shared.orgs, submit=submit_to(front), clock=shared.clock, metrics=shared.metrics
        )
        Outlets(shared, is_watched=False)  # for what it raises: partition 0 has no leads to tell of
        self._outlets: dict[int, tuple[Service, Outlets]] = {}
        self._telling: set[int] = set()
        self._following = Endeavour("topics of what is led", self._follow, clock=shared.clock)

    def start(self) -> None:
        """Begin to read, and to tell of what this node leads from now on."""
        self._sources.start()
        self._following.start()

    async def close(self) -> None:
        """End all. Idempotent."""
        await self._following.close()
        telling, self._telling = self._telling, set()
        await asyncio.gather(self._sources.close(), *(self._outlets[each][1].close() for each in telling))

    async def _follow(self, endeavour: Endeavour) -> None:
        while True:
            await self._look()
            endeavour.succeed()
            await self._front.shared.clock.sleep(_LOOK_S)

    async def _look(self) -> None:
        """Tell of what is led here now, and of nothing else."""
        led = {partition: service for partition, service in self._front.cluster.led().items() if partition != SHARED}
        for partition in [each for each in self._telling if led.get(each) is not self._outlets[each][0]]:
            self._telling.discard(partition)
            await self._outlets[partition][1].close()
        for partition, service in led.items():
            if partition not in self._telling:
                known = self._outlets.get(partition)
                if known is None or known[0] is not service:
                    known = self._outlets[partition] = (service, Outlets(service))
                self._telling.add(partition)
                known[1].start()


def submit_to(front: Front) -> Submit:
    """Stores events at the owners of their streams."""

    async def submit(org: Org, events: Sequence[NewEvent]) -> Sequence[Fate]:
        return [
            Refused(cast("RefusalCode", each.code), each.path, each.expected, each.actual)  # type: ignore[arg-type]
            if each.code
            else Kept(each.is_duplicate)
            for each in await store(front, org, events)
        ]

    return submit
