"""Events on which the fold raises: told by trying them on a copy, and kept as a letter in place of their effect."""

from typing import Any

import msgspec

from eventstore.event import Event
from projections.catalogue import Entities


class DeadLetter(msgspec.Struct, frozen=True):
    """An event that a fold raised on, and what it raised; the stream it stands in is known where it is kept."""

    version: int
    event_id: str
    type: str
    error: str
    recorded_us: int


def tried(entities: Entities, state: Any, event: Event) -> DeadLetter | None:
    """What the fold raises on an event, tried on a copy of the state; None when it does not."""
    compiled = entities.compiled
    try:
        step = entities.steps.get(event.type)
        if step is not None:
            step.fold(compiled.load(compiled.dump(state)), event.at_us, step.decode(event.data), True)
    except Exception as error:  # noqa: BLE001 - this is where poison is recognised, and counted by its letter
        return letter(event, error)
    return None


def letter(event: Event, error: Exception) -> DeadLetter:
    """Of an event that raised."""
    return DeadLetter(event.version, event.id, event.type, f"{type(error).__name__}: {error}", event.recorded_us)
