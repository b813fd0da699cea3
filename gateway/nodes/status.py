"""What a node says of itself: whether it is ready, what nobody answers for, and the metrics of all that it runs."""

from collections.abc import Iterable

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.core import Metric

from gateway.nodes.forwarding.cluster import Away
from gateway.nodes.forwarding.front import Front
from gateway.routes.operations import AwayDocument, readiness_of
from gateway.service import Service
from kernel.metrics import CONTENT_TYPE

_LEAST = frozenset(("leadwheel_ready",))
_MOST = frozenset(("leadwheel_timer_lag_seconds",))


def readiness(front: Front) -> web.Response:
    """Ready where requests can be taken; what is away is told, and makes no other node's answers worse."""
    away = [AwayDocument(partition, place.reason, place.progress) for partition, place in away_now(front).items()]
    reasons = dict.fromkeys((*front.cluster.not_ready(), *front.shared.not_ready()))
    return readiness_of(list(reasons), away)


def watch(front: Front) -> None:
    """Let the metrics read what the front counts."""
    metrics, tallies, cluster = front.shared.metrics, front.tallies, front.cluster
    for outcome in ("answered", "lost"):
        metrics.watch("leadwheel_node_sent", lambda outcome=outcome: getattr(tallies, outcome), outcome)  # type: ignore[misc]
    for outcome in ("taken", "refused"):
        metrics.watch("leadwheel_node_received", lambda outcome=outcome: getattr(tallies, outcome), outcome)  # type: ignore[misc]
    metrics.watch("leadwheel_node_waiting", lambda: front.room.waiting)
    metrics.watch("leadwheel_node_stale", lambda: tallies.stale)
    metrics.watch("leadwheel_partitions_led", lambda: len(cluster.led()))
    metrics.watch("leadwheel_partitions_away", lambda: len(away_now(front)))


def away_now(front: Front) -> dict[int, Away]:
    """The partitions that nobody answers for, as far as this node knows."""
    places = {partition: front.cluster.place(partition) for partition in range(front.cluster.partitions)}
    return {partition: place for partition, place in places.items() if isinstance(place, Away)}


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
