"""What tables of the settings are made of: the closed struct, bounded numbers, and text that never shows itself."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

AtLeastOne = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Weight = Annotated[float, Meta(ge=-1e6, le=1e6)]
Share = Annotated[float, Meta(ge=0, le=1)]
Points = Annotated[float, Meta(ge=0, le=100)]

#: Called with whether a relation holds, the dotted key at fault, and what was expected; raises where it does not hold.
Must = Callable[[bool, str, str], None]


class Secret:
    """A value that never shows itself: ``repr`` and ``str`` are asterisks, ``value`` is the text.

    No struct, so that msgspec asks a hook to make one of a text, and to write one.
    """

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return "********"

    __str__ = __repr__


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every table of the settings: immutable, and closed to unknown keys."""
