"""Alerts in the feed: an entry when one is raised, when somebody has seen it, and when it is over."""

from typing import Any, Literal

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

ALERT = "alert"

_RAISED = msgspec.json.Decoder(AlertRaised)
_RESOLVED = msgspec.json.Decoder(AlertResolved)
_ACKNOWLEDGED = msgspec.json.Decoder(AlertAcknowledged)


class AlertTold(msgspec.Struct, frozen=True, omit_defaults=True):
    """The data of an ``alert`` event. One that was raised says why, one that was resolved by whom."""

    lead: str
    at: str
    id: str
    rule: str
    state: Literal["open", "acknowledged", "resolved"]
    severity: AlertSeverity | None = None
    when: str | None = None
    values: dict[str, int | float | str | list[str] | None] | None = None
    resolved_by: Resolver | None = None


def alert_told(event: Event) -> tuple[str | None, dict[str, object]]:
    """An alert's lead, and what is told of it. Raises ``msgspec.MsgspecError``."""
    lead, at = event.stream.id, format_time(event.at_us)
    if event.type == ALERT_RAISED:
        raised: AlertRaised = event.payload or _RAISED.decode(event.data)
        alert = alert_id(lead, raised.rule, raised.episode)
        told = AlertTold(lead, at, alert, raised.rule, "open", raised.severity, raised.when, raised.values)
    elif event.type == ALERT_RESOLVED:
        resolved: AlertResolved = event.payload or _RESOLVED.decode(event.data)
        told = AlertTold(lead, at, resolved.alert, resolved.rule, "resolved", resolved_by=resolved.by)
    else:
        seen: AlertAcknowledged = event.payload or _ACKNOWLEDGED.decode(event.data)
        told = AlertTold(lead, at, seen.alert, seen.rule, "acknowledged")
    plain: dict[str, Any] = msgspec.to_builtins(told)
    return lead, plain


#: The types that are told.
ALERT_TYPES = (ALERT_RAISED, ALERT_ACKNOWLEDGED, ALERT_RESOLVED)
