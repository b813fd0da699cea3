"""The registry of event types: which names exist, whom they are about, who initiates them, what they carry.

Packs declare types (``EventType``); the registry is handed in to whoever decodes.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Literal

import msgspec

from eventstore.event import Event
from kernel.fixed import Amount


class Payload(msgspec.Struct, frozen=True, gc=False):
    """Base of every payload: immutable, its fields declared with the types of ``eventstore.fields``."""


def _decode_custom(kind: type, value: object) -> object:
    if kind is Amount:
        return Amount.parse(value)
    raise NotImplementedError(kind)


def payload_decoder(payload: type[msgspec.Struct]) -> msgspec.json.Decoder[Any]:
    """A JSON decoder that takes amounts as exact decimals: no float64 stands between the text and the integer."""
    return msgspec.json.Decoder(payload, dec_hook=_decode_custom, float_hook=Decimal)


class EventType(msgspec.Struct, frozen=True):
    """One event type.

    Attributes
    ----------
    name : as in the envelope's ``type``.
    payload : frozen ``msgspec.Struct`` subclass; declared fields, bounds by ``Annotated[…, msgspec.Meta]``.
        An optional field is ``X | None = None`` (or has the given default), or ``X | None | UnsetType = UNSET``
        where null means something else than absence (profile_updated).
    pack : name of the pack that declares it; ``"any"`` and ``"system"`` for what belongs to none.
    by : ``"lead"`` makes it an interaction.
    about : the kind of entity the event is about.
    is_activity : counts as an activity of the sales pack.
    """

    name: str
    payload: type[msgspec.Struct]
    pack: str
    by: Literal["lead", "org", "system"] = "org"
    about: Literal["lead", "subject"] = "lead"
    is_activity: bool = False


class EventTypes:
    """Event types by name, with a compiled JSON decoder each.

    Raises
    ------
    ValueError
        Two types of one name.
    """

    def __init__(self, types: Iterable[EventType]) -> None:
        self._types: dict[str, EventType] = {}
        for each in types:
            if each.name in self._types:
                raise ValueError(f"event type declared twice: {each.name}")
            self._types[each.name] = each
        self.decoders: dict[str, msgspec.json.Decoder[Any]] = {
            name: payload_decoder(each.payload) for name, each in self._types.items()
        }

    def __iter__(self) -> Iterator[EventType]:
        return iter(self._types.values())

    def __contains__(self, name: str) -> bool:
        return name in self._types

    def get(self, name: str) -> EventType | None:
        return self._types.get(name)

    def payload_of(self, event: Event) -> Any:
        """The decoded payload, decoded at most once per event. Raises ``msgspec.MsgspecError`` when it no longer fits."""
        payload = event.payload
        if payload is None:
            payload = event.payload = self.decoders[event.type].decode(event.data)
        return payload
