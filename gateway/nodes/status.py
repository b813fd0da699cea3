"""What a node says of itself: whether it is ready, what nobody answers for, and the metrics of all that it runs."""

from collections.abc import Iterable

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.core import Metric

from gateway.nodes.cluster import Away
from gateway.nodes.front import Front
from gateway.routes.operations import AwayDocument, readiness_of
from gateway.service import Service
from kernel.metrics import CONTENT_TYPE

_LEAST = frozenset(("leadwheel_ready",))
_MOST = frozenset(("leadwheel_timer_lag_seconds",))


def readiness(front: Front) -> web.Response:
    """Ready where requests can be taken; what is away is told, and makes no other node's answers worse."""
    away = []
    for partition in range(front.cluster.partitions):
        place = front.cluster.place(partition)
        if isinstance(place, Away):
            away.append(AwayDocument(partition, place.reason, place.progress))
    return readiness_of(front.shared.not_ready(), away)


def exposition(front: Front) -> web.Response:
    """The metrics of the services on this node, put together; requests are counted where they came in."""
    return web.Response(body=generate_latest(_Collected(front)), headers={"Content-Type": CONTENT_TYPE})


class _Collected:
    """What ``generate_latest`` takes for a registry."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def collect(self) -> Iterable[Metric]:
        services: list[Service] = list(dict.fromkeys((self._front.shared, *self._front.cluster.led().values())))
        return together([list(service.metrics.collect()) for service in services])


def together(parts: Iterable[Iterable[Metric]]) -> list[Metric]:
    """One family of each name: samples of the same labels added, or the least or the greatest where a sum says nothing."""
    whole: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for families in parts:
        for family in families:
            kept = whole.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            found = values.setdefault(kept.name, {})
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                found[key] = _joined(family.name, found.get(key), sample.value)
    for name, family in whole.items():
        for (sample_name, labels), value in values[name].items():
            family.add_sample(sample_name, dict(labels), value)
    return list(whole.values())


def _joined(name: str, before: float | None, value: float) -> float:
    if before is None:
        return value
    if name in _LEAST:
        return min(before, value)
    return max(before, value) if name in _MOST else before + value
