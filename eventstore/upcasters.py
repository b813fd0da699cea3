"""Payloads of old versions, brought to today's form as they are read. What is stored is never rewritten.

A type starts at version 1; each function added to its list makes the next one. The version under which an
event was written stands beside its type's name in the log.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

#: From the payload as one version wrote it, a JSON object, to the next version's.
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Upcasters:
    """Upcasters by event type, in the order of the versions that they start from.

    Examples
    --------
    >>> upcasters = Upcasters({"login": [lambda data: {"device": data.get("client"), **data}]})
    >>> upcasters.version_of("login"), upcasters.upcast("login", 1, b'{"client":"web"}')
    (2, b'{"device":"web","client":"web"}')
    """

    def __init__(self, by_type: Mapping[str, Sequence[Upcaster]] | None = None) -> None:
        self._by_type = {name: tuple(steps) for name, steps in (by_type or {}).items()}

    def version_of(self, name: str) -> int:
        """The version under which events of a type are written today."""
        return 1 + len(self._by_type.get(name, ()))

    def upcast(self, name: str, version: int, data: bytes) -> bytes:
        """The payload in today's form. Numbers keep their text's exact value."""
        steps = self._by_type.get(name, ())[version - 1 :]
        if not steps:
            return data
        value = _DECODER.decode(data)
        for step in steps:
            value = step(value)
        return _ENCODER.encode(value)
