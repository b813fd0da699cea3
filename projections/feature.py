"""A feature as everybody knows it, and what features are of: what lists, selections and answers of them speak about."""

from typing import Any, Protocol

import msgspec

from projections.expressions import Dtype


class Feature(msgspec.Struct, frozen=True):
    """One feature as the catalogue shows it.

    ``fingerprint`` names what it is computed from, settings included; ``definition`` the same under default settings, so
    that a changed setting and a changed definition can be told apart. ``settings`` are those that decide on it: the time
    zone, and what is not at its default.
    """

    feature: str
    view: str
    name: str
    dtype: Dtype
    unit: str
    range: str
    null_means: str
    description: str
    affected_by: tuple[str, ...]
    windows: tuple[str, ...]
    fingerprint: str
    pack: str
    vocabulary: tuple[str, ...] = ()
    definition: str = ""
    settings: dict[str, Any] = {}

    @property
    def reference(self) -> str:
        return self.feature


class Features(Protocol):
    """The features of one kind of entity, view by view; ``fingerprint`` names their definitions and settings."""

    @property
    def views(self) -> tuple[str, ...]: ...

    @property
    def features(self) -> tuple[Feature, ...]: ...

    @property
    def fingerprint(self) -> str: ...
