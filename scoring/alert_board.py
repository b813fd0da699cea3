"""The alerts of an organisation's leads, newest first: a fold of what was raised, acknowledged and resolved.

Open alerts are all kept; of those that are over the newest ``KEPT``. The others stand in the log.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from eventstore.event import Event
from kernel.times import format_time
from scoring.events import (
    ALERT_ACKNOWLEDGED,
    ALERT_RAISED,
    ALERT_RESOLVED,
    AlertAcknowledged,
    AlertRaised,
    AlertResolved,
    AlertSeverity,
    Resolver,
)
from scoring.identity import alert_id

KEPT = 10_000

State = Literal["open", "acknowledged", "resolved"]

_RAISED = msgspec.json.Decoder(AlertRaised)
_RESOLVED = msgspec.json.Decoder(AlertResolved)
_ACKNOWLEDGED = msgspec.json.Decoder(AlertAcknowledged)


class Alert(msgspec.Struct):
    """An alert as it is answered. ``values`` are those that the rule read when it was raised."""

    id: str
    lead: str
    rule: str
    episode: int
    severity: AlertSeverity
    when: str
    values: dict[str, int | float | str | list[str] | None]
    sinks: tuple[str, ...]
    state: State
    raised_at: str
    acknowledged_at: str | None = None
    resolved_at: str | None = None
    resolved_by: Resolver | None = None


class AlertBoard:
    """Takes the alert events of one organisation in log order; others are passed over."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._alerts: dict[str, Alert] = {}  # in order of raising
        self._over: dict[str, None] = {}  # in order of resolving

    def get(self, alert: str) -> Alert | None:
        return self._alerts.get(alert)

    def newest_first(self) -> Iterator[Alert]:
        """All that are kept, by when they entered the log."""
        return (alert for alert in reversed(self._alerts.values()))

    def fold(self, event: Event) -> None:
        """Take an event. Raises nothing for what it contains."""
        try:
            if event.type == ALERT_RAISED:
                self._raise(event, event.payload or _RAISED.decode(event.data))
            elif event.type == ALERT_RESOLVED:
                self._resolve(event, event.payload or _RESOLVED.decode(event.data))
            elif event.type == ALERT_ACKNOWLEDGED:
                self._acknowledge(event, event.payload or _ACKNOWLEDGED.decode(event.data))
        except msgspec.MsgspecError:
            return  # written by another version of this program

    @property
    def open(self) -> int:
        """How many are not resolved."""
        return len(self._alerts) - len(self._over)

    def forget(self, lead: str) -> None:
        """The lead is erased."""
        for alert in [each.id for each in self._alerts.values() if each.lead == lead]:
            del self._alerts[alert]
            self._over.pop(alert, None)

    def _raise(self, event: Event, raised: AlertRaised) -> None:
        alert = alert_id(event.stream.id, raised.rule, raised.episode)
        if alert in self._alerts:
            return  # told twice
        self._alerts[alert] = Alert(
            id=alert,
            lead=event.stream.id,
            rule=raised.rule,
            episode=raised.episode,
            severity=raised.severity,
            when=raised.when,
            values=raised.values,
            sinks=raised.sinks,
            state="open",
            raised_at=format_time(event.at_us),
        )

    def _resolve(self, event: Event, resolved: AlertResolved) -> None:
        alert = self._alerts.get(resolved.alert)
        if alert is None or alert.state == "resolved":
            return
        alert.state, alert.resolved_by, alert.resolved_at = "resolved", resolved.by, format_time(event.at_us)
        self._over[alert.id] = None
        while len(self._over) > self._kept:
            oldest = next(iter(self._over))
            del self._over[oldest], self._alerts[oldest]

    def _acknowledge(self, event: Event, acknowledged: AlertAcknowledged) -> None:
        alert = self._alerts.get(acknowledged.alert)
        if alert is None or alert.acknowledged_at is not None:
            return
        alert.acknowledged_at = format_time(event.at_us)
        if alert.state == "open":
            alert.state = "acknowledged"
