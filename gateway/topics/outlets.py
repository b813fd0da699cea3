"""All topics that a service tells: checked, started with the service that writes the log, watched, ended."""

import asyncio
from collections.abc import Sequence

from eventstore.kafka_client import Connections
from gateway.kafka import topic_options
from gateway.orgs import Org
from gateway.service import Service
from gateway.topics.outlet import Outlet
from gateway.topics.supervision import Endeavour
from kernel.errors import SettingsError, UnknownFeature
from kernel.metrics import Metrics
from kernel.settings import source_of


class Outlets:
    """The topics of ``[org.X.topics_out.NAME]``, told of one service's leads.

    Parameters
    ----------
    is_watched : its figures stand in the service's metrics.

    Raises
    ------
    SettingsError
        Of a feature that no pack has.
    """

    def __init__(self, service: Service, *, is_watched: bool = True) -> None:
        self._endeavours: list[Endeavour] = []
        settings = service.settings
        for org, table in settings.org.items():
            for name, each in table.topics_out.items():
                key = f"org.{org}.topics_out.{name}"
                connections = Connections(topic_options(settings, each.topic, each.brokers))
                names = _names(service.orgs[org], f"{key}.features", each.features, settings.sources)
                outlet = Outlet(service, org, name, each, connections=connections, names=names)
                tasks = [Endeavour(f"{key} {task.name}", task.work, clock=service.clock) for task in outlet.tasks()]
                self._endeavours += tasks
                if is_watched:
                    _watch(service.metrics, org, name, outlet, tasks)

    def start(self) -> None:
        for each in self._endeavours:
            each.start()

    async def close(self) -> None:
        """End all; what was not noted as told is told again by whoever goes on. Idempotent."""
        await asyncio.gather(*[each.close() for each in self._endeavours])


def _watch(metrics: Metrics, org: str, name: str, outlet: Outlet, tasks: Sequence[Endeavour]) -> None:
    metrics.watch("leadwheel_topic_messages", lambda: outlet.sent, org, name, "sent")
    metrics.watch("leadwheel_topic_waits", lambda: any(each.waits for each in tasks), org, name, "out")


def _names(org: Org, key: str, features: tuple[str, ...], sources: dict[str, str]) -> frozenset[str] | None:
    """The features that are told: those named, and those of the views named."""
    names: list[str] = []
    for each in features:
        is_view = each in org.catalogue.views
        try:
            chosen = org.catalogue.select(views=[each]) if is_view else org.catalogue.select(features=[each])
        except UnknownFeature as error:
            raise SettingsError(
                key, source_of(key, sources), f"expected features and views of the org: {error}"
            ) from error
        names += chosen.names
    return frozenset(names) if features else None
