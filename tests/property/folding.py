"""Folds a history as the service would, without the service: store's rules, live folds, refolds, snapshots."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from eventstore.event import Event, Stream
from eventstore.leniency import without_nulls
from eventstore.system import EVENT_RETRACTED
from kernel.ids import Position
from kernel.settings import BrowsingSettings, EngagementWeights, OrgSettings
from kernel.times import parse_time
from projections.catalogue import Catalogue, registered
from projections.entity import FoldedEntity
from projections.refolding import refolded
from tests.oracle.facts import Settings

TYPES = registered([])
LEAD = Stream("default", "lead", "ann")


def org_settings_of(settings: Settings) -> OrgSettings:
    """The product's settings that mean the same as the oracle's."""
    return OrgSettings(
        timezone=settings.timezone,
        packs=tuple(settings.packs),
        browsing=BrowsingSettings(
            min_interactions=settings.min_interactions,
            max_interaction_gap_hours=settings.max_interaction_gap_hours,
            engagement_weights=EngagementWeights(**settings.engagement_weights),
            business_hours=settings.business_hours,
        ),
        free_email_domains=tuple(sorted(settings.free_email_domains)),
    )


_CATALOGUES: dict[bytes, Catalogue] = {}


def catalogue_of(settings: Settings) -> Catalogue:
    """The compiled catalogue of these settings, compiled once."""
    own = org_settings_of(settings)
    key = msgspec.json.encode(own)
    if key not in _CATALOGUES:
        _CATALOGUES[key] = Catalogue("default", own)
    return _CATALOGUES[key]


def stored(envelopes: Iterable[dict[str, Any]], recorded_us: Sequence[int] | int, stream: Stream = LEAD) -> list[Event]:
    """The events as the log keeps them: the first of an id, no retraction of a known retraction."""
    kept: dict[str, Event] = {}
    for index, each in enumerate(envelopes):
        data = each.get("data") or {}
        named = kept.get(str(data.get("event_id"))) if each["type"] == EVENT_RETRACTED else None
        if each["id"] in kept or (named is not None and named.type == EVENT_RETRACTED):
            continue
        version = len(kept) + 1
        recorded = recorded_us if isinstance(recorded_us, int) else recorded_us[index]
        at_us = parse_time(each["time"])
        kept[each["id"]] = Event(
            stream,
            7,
            version,
            Position(version),
            each["id"],
            each["type"],
            at_us,
            recorded,
            admitted(each["type"], data),
        )
    return list(kept.values())


def admitted(event_type: str, data: dict[str, Any]) -> bytes:
    """The payload as the door lets it into the log."""
    payload = TYPES.get(event_type)
    assert payload is not None
    encoded = msgspec.json.encode(data)
    return without_nulls(payload.payload, encoded) or encoded


def fold_live(
    catalogue: Catalogue, events: Sequence[Event], *, sleeps: frozenset[int] = frozenset(), stream: Stream = LEAD
) -> FoldedEntity:
    """Fold event by event in order of arrival, refolding where asked, with a snapshot and a reload after some."""
    entity = FoldedEntity(stream, 7, catalogue)
    for event in events:
        if not entity.fold(event):
            entity = refolded(stream, 7, catalogue, events[: event.version])
        if event.version in sleeps:
            entity = FoldedEntity.load(stream, entity.dump(), catalogue)
    return entity


def values_at(entity: FoldedEntity, at_us: int) -> dict[str, Any]:
    """Every feature of a lead, by name, as of a time not before what it has folded."""
    entity.read(at_us)
    everything = entity.entities.everything
    return dict(zip(everything.names, entity.values(everything), strict=True))


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Features that differ by more than 1e-9, or in type of value."""
    assert list(ours) == list(theirs)
    return {name: (ours[name], theirs[name]) for name in ours if not _same(ours[name], theirs[name])}


def _same(ours: Any, theirs: Any) -> bool:
    if ours is None or theirs is None or isinstance(ours, str | list):
        return bool(ours == theirs)
    return abs(ours - theirs) <= 1e-9 * max(1.0, abs(theirs))
