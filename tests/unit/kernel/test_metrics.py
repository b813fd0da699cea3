import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from kernel.metrics import METRICS, Metrics


def exposed(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        s.name + "".join(f" {v}" for _, v in sorted(s.labels.items())): s.value for f in families for s in f.samples
    }


def test_requests_are_counted_by_method_route_and_status() -> None:
    metrics = Metrics(CollectorRegistry())
    tally = metrics.route("GET", "/leads/{lead}")
    tally.add(200, 0.0002)
    tally.add(200, 3.0)
    tally.add(404, 99.0)
    seen = exposed(metrics)
    assert seen["leadwheel_http_requests_total GET /leads/{lead} 200"] == 2
    assert seen["leadwheel_http_requests_total GET /leads/{lead} 404"] == 1
    assert seen["leadwheel_http_request_seconds_count GET /leads/{lead}"] == 3
    assert seen["leadwheel_http_request_seconds_sum GET /leads/{lead}"] == pytest.approx(102.0002)
    assert seen["leadwheel_http_request_seconds_bucket 0.00025 GET /leads/{lead}"] == 1
    assert seen["leadwheel_http_request_seconds_bucket 5.0 GET /leads/{lead}"] == 2
    assert seen["leadwheel_http_request_seconds_bucket +Inf GET /leads/{lead}"] == 3


def test_a_route_asked_for_twice_is_one_tally() -> None:
    metrics = Metrics(CollectorRegistry())
    assert metrics.route("GET", "/") is metrics.route("GET", "/")


def test_watched_values_are_read_at_scrape() -> None:
    metrics = Metrics(CollectorRegistry())
    value = 1
    metrics.watch("leadwheel_actors_awake", lambda: value)
    metrics.watch("leadwheel_events", lambda: value * 2, "accepted")
    value = 5
    seen = exposed(metrics)
    assert seen["leadwheel_actors_awake"] == 5
    assert seen["leadwheel_events_total accepted"] == 10


def test_what_is_not_in_the_table_cannot_be_exposed() -> None:
    metrics = Metrics(CollectorRegistry())
    with pytest.raises(KeyError):
        metrics.watch("leadwheel_unheard_of", lambda: 0)
    with pytest.raises(ValueError, match="outcome"):
        metrics.watch("leadwheel_events", lambda: 0)


def test_every_metric_of_the_table_has_a_name_of_ours_and_a_meaning() -> None:
    assert all(spec.name.startswith("leadwheel_") and spec.meaning for spec in METRICS)
    assert len({spec.name for spec in METRICS}) == len(METRICS)
