"""Identifiers: distinct types for what is easily confused, and UUIDv7 (RFC 9562) from a given clock and chance."""

import random
from typing import NewType

from kernel.clock import Clock

OrgId = NewType("OrgId", str)
LeadId = NewType("LeadId", str)
EventId = NewType("EventId", str)

#: A place in the log. Only the store that made it knows more than its order within a partition.
Position = NewType("Position", int)


def format_position(position: Position) -> str:
    """The written form of a position, opaque to callers: sixteen digits, so that text order is its order."""
    return f"{position:016d}"


class IdSource:
    """UUIDv7 strings: 48 bits of milliseconds, then chance. Equal seeds and clocks give equal ids."""

    def __init__(self, clock: Clock, seed: int | None = None) -> None:
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 - ids need uniqueness, not secrecy

    def uuid7(self) -> str:
        millis = self._clock.now_us() // 1000
        bits = self._random.getrandbits(74)
        value = (millis & (2**48 - 1)) << 80 | 0x7 << 76 | (bits >> 62) << 64 | 0b10 << 62 | (bits & (2**62 - 1))
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
