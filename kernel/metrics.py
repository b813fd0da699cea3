"""Metrics: one table of names, a registry that is handed in, and what is counted on the hot path.

Components do not import this module to count: they keep plain integers and a ``statistics()``, and the
composition root lets ``watch`` read those at scrape time. Requests are the exception, tallied here by the
route's canonical pattern (never by path: a path holds a lead's id, and there are millions). The tally
is plain integers without a lock, because only the event loop's thread touches it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from kernel.tally import Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Upper bounds of the latency buckets, in seconds: an awake lead answers in 0.1 ms, a replayed one in tens of ms.
BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class MetricSpec(msgspec.Struct, frozen=True):
    """One metric: what is not in the table cannot be exposed. ``is_of_nodes``: only by one of several nodes."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    is_of_nodes: bool = False


METRICS: tuple[MetricSpec, ...] = (
    MetricSpec("leadwheel_http_requests", "counter", "Requests answered", ("method", "route", "status")),
    MetricSpec(
        "leadwheel_http_request_seconds", "histogram", "From the request's head to its answer", ("method", "route")
    ),
    MetricSpec("leadwheel_http_errors", "counter", "Requests that ended in an unforeseen error (500)"),
    MetricSpec("leadwheel_prompt_failures", "counter", "Prompt blocks that were answered empty after an error"),
    MetricSpec("leadwheel_events", "counter", "Events posted, by what became of them", ("outcome",)),
    MetricSpec("leadwheel_decisions", "counter", "Decisions made since the start, by reason", ("reason",)),
    MetricSpec("leadwheel_rewards", "counter", "Rewards posted since the start, by what became of them", ("outcome",)),
    MetricSpec(
        "leadwheel_validation_errors", "counter", "Events and other requests that were refused, by code", ("code",)
    ),
    MetricSpec("leadwheel_log_events", "counter", "Events appended since the start"),
    MetricSpec("leadwheel_log_commits", "counter", "Commits since the start; events / commits is the group's size"),
    MetricSpec("leadwheel_log_duplicates", "counter", "Events found in the log already, since the start"),
    MetricSpec("leadwheel_log_refused", "counter", "Events that the log refused, since the start"),
    MetricSpec("leadwheel_streams_cached", "gauge", "Streams whose number and version are in memory"),
    MetricSpec("leadwheel_actors_awake", "gauge", "Leads in memory"),
    MetricSpec("leadwheel_actors_busy", "gauge", "Leads that are reading the log"),
    MetricSpec("leadwheel_actors_passivations", "counter", "Leads put to sleep since the start"),
    MetricSpec("leadwheel_activations", "counter", "Leads woken since the start, by what from", ("source",)),
    MetricSpec("leadwheel_snapshots_unusable", "counter", "Snapshots with a wrong checksum or fingerprint, refolded"),
    MetricSpec("leadwheel_events_folded", "counter", "Events folded since the start"),
    MetricSpec(
        "leadwheel_fold_seconds", "histogram", "Folding an event into its lead in memory, by mean of a delivery"
    ),
    MetricSpec("leadwheel_refolds", "counter", "Leads folded anew from their log (late events, retractions)"),
    MetricSpec("leadwheel_snapshots_behind", "gauge", "Leads with events that no snapshot contains"),
    MetricSpec("leadwheel_snapshot_backlog", "gauge", "Snapshots waiting to be written"),
    MetricSpec("leadwheel_intake_events", "gauge", "Events taken and not folded yet"),
    MetricSpec("leadwheel_intake_full", "counter", "Requests refused since too much was under way"),
    MetricSpec("leadwheel_market_fragments", "counter", "Values of subjects encoded for answers, since the start"),
    MetricSpec("leadwheel_market_checkpoint_bytes", "gauge", "States of subjects kept for reads of the past"),
    MetricSpec("leadwheel_timers", "gauge", "Deadlines in the timer wheel"),
    MetricSpec("leadwheel_timers_fired", "counter", "Deadlines worked off since the start"),
    MetricSpec("leadwheel_timer_effects", "counter", "Events that time alone caused, since the start"),
    MetricSpec("leadwheel_timer_lag_seconds", "gauge", "How long the first due timer had waited at the last tick"),
    MetricSpec("leadwheel_answers_bytes", "gauge", "Encoded answers kept, at most"),
    MetricSpec(
        "leadwheel_answers",
        "counter",
        "Live answers about one lead: kept and sent again (hit), with the market's new part (joined), or encoded (miss)",
        ("outcome",),
    ),
    MetricSpec("leadwheel_jobs_running", "gauge", "Jobs that have not ended"),
    MetricSpec("leadwheel_lists_leads", "gauge", "Leads in the ranked lists"),
    MetricSpec("leadwheel_lists_columns", "gauge", "Features kept of every lead for ranked lists"),
    MetricSpec("leadwheel_lists_behind", "gauge", "Leads that changed and are not in the ranked lists yet"),
    MetricSpec("leadwheel_lists_refreshed", "counter", "Times that a lead was put into the ranked lists"),
    MetricSpec("leadwheel_stream_listeners", "gauge", "Open streams of the change feed"),
    MetricSpec("leadwheel_stream_leads", "gauge", "Leads held in memory a second time for the change feed"),
    MetricSpec("leadwheel_stream_entries", "counter", "Entries published in the change feed"),
    MetricSpec("leadwheel_stream_resets", "counter", "Listeners told that they missed something"),
    MetricSpec("leadwheel_alerts_open", "gauge", "Alerts that are not resolved"),
    MetricSpec("leadwheel_alerts", "counter", "Alerts that began (raised) or ended (resolved)", ("transition",)),
    MetricSpec("leadwheel_alert_looks", "counter", "Times that a lead was looked at for what alert rules hold of it"),
    MetricSpec("leadwheel_alert_marks", "gauge", "Leads that wait to be looked at"),
    MetricSpec("leadwheel_alert_timers", "gauge", "Leads that alert rules look at when time changes them"),
    MetricSpec("leadwheel_alert_failures", "counter", "Looks at leads that failed and are repeated"),
    MetricSpec(
        "leadwheel_webhooks",
        "counter",
        "Messages that were taken (delivered) or given up (dead), and attempts that failed (failed)",
        ("outcome",),
    ),
    MetricSpec("leadwheel_webhooks_waiting", "gauge", "Messages of webhooks that are under way"),
    MetricSpec(
        "leadwheel_webhook_dead_letters", "gauge", "Messages of webhooks that were given up and not retried yet"
    ),
    MetricSpec(
        "leadwheel_node_sent",
        "counter",
        "Requests, and parts of them, sent to other nodes: answered, or lost, which is unreachable or too late",
        ("outcome",),
        is_of_nodes=True,
    ),
    MetricSpec(
        "leadwheel_node_received",
        "counter",
        "Requests, and parts of them, from other nodes: taken, and of these refused, since this node does not lead what they are about",
        ("outcome",),
        is_of_nodes=True,
    ),
    MetricSpec(
        "leadwheel_node_waiting", "gauge", "Requests that wait for a partition to be handed over", is_of_nodes=True
    ),
    MetricSpec("leadwheel_node_stale", "counter", "Answers that may be old, and were asked for so", is_of_nodes=True),
    MetricSpec("leadwheel_partitions_led", "gauge", "Partitions that this node leads", is_of_nodes=True),
    MetricSpec("leadwheel_copies", "gauge", "Partitions of which this node keeps a complete copy", is_of_nodes=True),
    MetricSpec(
        "leadwheel_copies_lag",
        "gauge",
        "Records of the partitions that this node follows and has not read yet, all together",
        is_of_nodes=True,
    ),
    MetricSpec(
        "leadwheel_changelog_lag",
        "gauge",
        "Events of the partitions that this node leads and no mark of their changelog covers yet",
        is_of_nodes=True,
    ),
    MetricSpec(
        "leadwheel_changelog_records", "counter", "Snapshots written to the changelog since the start", is_of_nodes=True
    ),
    MetricSpec(
        "leadwheel_changelog_failures",
        "counter",
        "Times that writing the changelog failed and was begun again, since the start",
        is_of_nodes=True,
    ),
    MetricSpec(
        "leadwheel_node_generation", "gauge", "Grows whenever who holds what was settled anew", is_of_nodes=True
    ),
    MetricSpec(
        "leadwheel_node_current",
        "gauge",
        "1 while this node is surely still a member of the group, and so answers fresh",
        is_of_nodes=True,
    ),
    MetricSpec(
        "leadwheel_partitions_away",
        "gauge",
        "Partitions that nobody answers for, as far as this node knows",
        is_of_nodes=True,
    ),
    MetricSpec(
        "leadwheel_topic_messages",
        "counter",
        "Messages of topics: events that were taken (accepted), there already (duplicate), or none (refused); and told (sent)",
        ("org", "name", "outcome"),
    ),
    MetricSpec("leadwheel_topic_behind", "gauge", "Messages of a topic that were not taken yet", ("org", "name")),
    MetricSpec(
        "leadwheel_topic_waits",
        "gauge",
        "1 while a topic cannot be read (in) or told (out); the service's log says why",
        ("org", "name", "direction"),
    ),
    MetricSpec("leadwheel_ready", "gauge", "1 when /readyz answers 200"),
)
_SPECS = {spec.name: spec for spec in METRICS}


class RouteTally:
    """Requests and latencies of one method of one route."""

    __slots__ = ("method", "route", "statuses", "times")

    def __init__(self, method: str, route: str) -> None:
        self.method = method
        self.route = route
        self.statuses: dict[int, int] = {}
        self.times = Tally(BUCKETS_S)

    def add(self, status: int, seconds: float) -> None:
        """Count one answer. About half a microsecond."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.times.add(seconds)


class Metrics:
    """The exposed metrics of one service, read at scrape.

    Parameters
    ----------
    registry : of prometheus_client; one per service, so that two services in one process do not meet.

    Examples
    --------
    >>> metrics = Metrics(CollectorRegistry())
    >>> metrics.watch("leadwheel_actors_awake", lambda: 3)
    >>> b"leadwheel_actors_awake 3.0" in metrics.render()
    True
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._routes: dict[tuple[str, str], RouteTally] = {}
        self._watched: dict[str, list[tuple[tuple[str, ...], Callable[[], float]]]] = {}
        self._timed: dict[str, Tally] = {}
        registry.register(self)

    def route(self, method: str, route: str) -> RouteTally:
        """The tally of a route's canonical pattern, made once."""
        return self._routes.setdefault((method, route), RouteTally(method, route))

    def watch(self, name: str, read: Callable[[], float], *labels: str) -> None:
        """Expose what ``read`` answers at each scrape, under a name and labels of the table."""
        spec = _SPECS[name]
        if spec.kind == "histogram" or len(labels) != len(spec.labels):
            raise ValueError(f"{name}: expected labels {spec.labels}")
        self._watched.setdefault(name, []).append((labels, read))

    def watch_times(self, name: str, tally: Tally) -> None:
        """Expose times under the name of a histogram without labels."""
        if _SPECS[name].kind != "histogram" or _SPECS[name].labels:
            raise ValueError(f"{name}: not a histogram without labels")
        self._timed[name] = tally

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Called by the registry at each scrape."""
        yield from self._collect_watched()
        for name, tally in self._timed.items():
            times = HistogramMetricFamily(name, _SPECS[name].meaning)
            times.add_metric((), tally.cumulative(), tally.sum_s)
            yield times
        yield from self._collect_requests()

    def _collect_watched(self) -> Iterator[Metric]:
        for name, readings in self._watched.items():
            spec = _SPECS[name]
            family_of = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
            family = family_of(name, spec.meaning, labels=spec.labels)
            for labels, read in readings:
                family.add_metric(labels, float(read()))
            yield family

    def _collect_requests(self) -> Iterator[Metric]:
        counts, seconds = _SPECS["leadwheel_http_requests"], _SPECS["leadwheel_http_request_seconds"]
        requests = CounterMetricFamily(counts.name, counts.meaning, labels=counts.labels)
        latency = HistogramMetricFamily(seconds.name, seconds.meaning, labels=seconds.labels)
        for tally in self._routes.values():
            for status, count in tally.statuses.items():
                requests.add_metric((tally.method, tally.route, str(status)), count)
            if tally.statuses:
                latency.add_metric((tally.method, tally.route), tally.times.cumulative(), tally.times.sum_s)
        yield requests
        yield latency
