"""Which number of which component stands behind which metric."""

from gateway.problems import VALIDATION_CODES
from gateway.service import Service


def watch(service: Service) -> None:
    """Let the metrics read the components' own counters at each scrape."""
    metrics, host, store, outcomes = service.metrics, service.host, service.store, service.outcomes
    for outcome in outcomes:
        metrics.watch("leadwheel_events", lambda outcome=outcome: outcomes[outcome], outcome)  # type: ignore[misc]
    for reason in service.decider.counts:
        metrics.watch("leadwheel_decisions", lambda reason=reason: service.decider.counts[reason], reason)  # type: ignore[misc]
    for outcome in service.rewarded:
        metrics.watch("leadwheel_rewards", lambda outcome=outcome: service.rewarded[outcome], outcome)  # type: ignore[misc]
    metrics.watch("leadwheel_http_errors", lambda: service.errors)
    metrics.watch("leadwheel_prompt_failures", lambda: service.prompt_failures)
    metrics.watch("leadwheel_ready", lambda: not service.not_ready())
    metrics.watch("leadwheel_answers_bytes", lambda: service.answers.size_bytes)
    metrics.watch("leadwheel_answers", lambda: service.answers.hits, "hit")
    metrics.watch("leadwheel_answers", lambda: service.answers.joins, "joined")
    metrics.watch("leadwheel_answers", lambda: service.answers.misses, "miss")
    for code in VALIDATION_CODES:
        metrics.watch("leadwheel_validation_errors", lambda code=code: service.refusals.get(code, 0), code)  # type: ignore[misc]
    metrics.watch_times("leadwheel_fold_seconds", host.fold_times)
    metrics.watch("leadwheel_jobs_running", lambda: service.jobs.running)
    metrics.watch("leadwheel_log_events", lambda: store.statistics().events)
    metrics.watch("leadwheel_log_commits", lambda: store.statistics().commits)
    metrics.watch("leadwheel_log_duplicates", lambda: store.statistics().duplicates)
    metrics.watch("leadwheel_log_refused", lambda: store.statistics().refused)
    metrics.watch("leadwheel_streams_cached", lambda: store.statistics().streams_cached)
    metrics.watch("leadwheel_actors_awake", lambda: host.statistics().awake)
    metrics.watch("leadwheel_actors_busy", lambda: host.statistics().busy)
    metrics.watch("leadwheel_actors_passivations", lambda: host.statistics().counts.passivated)
    metrics.watch("leadwheel_activations", lambda: host.statistics().activations.from_snapshot, "snapshot")
    metrics.watch("leadwheel_activations", lambda: host.statistics().activations.from_log, "log")
    metrics.watch("leadwheel_snapshots_unusable", lambda: host.statistics().activations.snapshot_errors)
    metrics.watch("leadwheel_events_folded", lambda: host.statistics().counts.folded)
    metrics.watch("leadwheel_refolds", lambda: host.statistics().counts.refolded)
    metrics.watch("leadwheel_snapshots_behind", lambda: host.statistics().behind)
    metrics.watch("leadwheel_snapshot_backlog", lambda: host.snapshots.backlog)
    metrics.watch("leadwheel_intake_events", lambda: service.ingest.statistics().events)
    metrics.watch("leadwheel_intake_full", lambda: service.ingest.statistics().full)
    metrics.watch("leadwheel_market_fragments", lambda: service.markets.encoded)
    metrics.watch("leadwheel_market_checkpoint_bytes", lambda: service.markets.past_bytes)
    metrics.watch("leadwheel_timers", lambda: host.statistics().timers)
    metrics.watch("leadwheel_timers_fired", lambda: service.ticker.statistics().fired)
    metrics.watch("leadwheel_timer_effects", lambda: service.ticker.statistics().effects)
    metrics.watch("leadwheel_timer_lag_seconds", lambda: service.ticker.statistics().lag_us / 1e6)
    metrics.watch("leadwheel_lists_leads", lambda: service.lists.statistics().leads)
    metrics.watch("leadwheel_lists_columns", lambda: service.lists.statistics().columns)
    metrics.watch("leadwheel_lists_behind", lambda: service.lists.statistics().behind)
    metrics.watch("leadwheel_lists_refreshed", lambda: service.lists.statistics().refreshed)
    metrics.watch("leadwheel_stream_listeners", lambda: service.feed.statistics().listeners)
    metrics.watch("leadwheel_stream_leads", lambda: service.feed.statistics().followed)
    metrics.watch("leadwheel_stream_entries", lambda: service.feed.statistics().published)
    metrics.watch("leadwheel_stream_resets", lambda: service.feed.statistics().resets)
    _watch_alerts(service)


def _watch_alerts(service: Service) -> None:
    metrics = service.metrics
    metrics.watch("leadwheel_alerts_open", lambda: service.alerts.statistics().open)
    metrics.watch("leadwheel_alerts", lambda: service.alerts.statistics().raised, "raised")
    metrics.watch("leadwheel_alerts", lambda: service.alerts.statistics().resolved, "resolved")
    metrics.watch("leadwheel_alert_looks", lambda: service.alerts.looks)
    metrics.watch("leadwheel_alert_marks", lambda: service.alerts.statistics().marked)
    metrics.watch("leadwheel_alert_timers", lambda: service.alerts.statistics().timers)
    metrics.watch("leadwheel_alert_failures", lambda: service.alerts.failures)
    metrics.watch("leadwheel_webhooks", lambda: service.alerts.posted.delivered, "delivered")
    metrics.watch("leadwheel_webhooks", lambda: service.alerts.posted.failed, "failed")
    metrics.watch("leadwheel_webhooks", lambda: service.alerts.posted.dead, "dead")
    metrics.watch("leadwheel_webhooks_waiting", lambda: service.alerts.statistics().waiting)
    metrics.watch("leadwheel_webhook_dead_letters", lambda: service.alerts.statistics().dead)
