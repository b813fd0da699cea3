"""The catalogue of an organisation: its packs, compiled; every feature with what it means.

Built once at start from the org's settings. Fingerprints name definitions together with the settings they read,
so that nothing computed under another definition is ever taken for this one.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal

import msgspec

from eventstore.event import Kind
from eventstore.system import BUILT_IN
from eventstore.types import EventTypes
from kernel.errors import DefinitionError, DuplicateFeature, UnknownFeature
from kernel.settings import OrgSettings
from kernel.times import DAY_US, HOUR_US, SECOND_US
from projections.absence import AbsenceFold
from projections.compiler import CompiledFold, affects
from projections.expressions import Dtype, Expr
from projections.language import FeatureSpec, Pack, View
from projections.local_time import LocalTime
from projections.packs import browsing, commerce, sales, service, tutoring
from projections.selection import Selection

BUILT_IN_PACKS: dict[str, Pack] = {each.pack.name: each.pack for each in (commerce, tutoring, service, browsing, sales)}


class Feature(msgspec.Struct, frozen=True):
    """One feature as the catalogue shows it."""

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

    @property
    def reference(self) -> str:
        return self.feature


class Entities:
    """The features of one kind of entity: compiled, named, selectable."""

    def __init__(self, packs: Sequence[Pack], about: Literal["lead", "subject"], settings: OrgSettings) -> None:
        types = [t for pack in packs for t in pack.types if t.about == about]
        views = [(pack, view) for pack in packs for view in pack.views(settings) if pack.about(view.name) == about]
        _check_names([view for _, view in views])
        self.compiled = CompiledFold(types, [view for _, view in views], LocalTime(settings.timezone))
        self.types = tuple(types)
        self.views = self.compiled.view_names
        self.view_descriptions = {view.name: view.description for _, view in views}
        self.features = tuple(
            self._feature(pack, spec, settings) for pack, view in views for spec in view.specs.values()
        )
        self.fingerprint = _digest(*(f.feature + f.fingerprint for f in self.features))
        self.view_fingerprints = {
            view: _digest(*(f.name + f.fingerprint for f in self.features if f.view == view)) for view in self.views
        }
        self._by_reference = {each.feature: each for each in self.features}

    def _feature(self, pack: Pack, spec: FeatureSpec, settings: OrgSettings) -> Feature:
        said, expr = spec.documented, spec.documented.expr
        affected_by = tuple(t.name for t in self.types if affects(t, expr))
        return Feature(
            feature=spec.reference,
            view=spec.view,
            name=spec.name,
            dtype=expr.dtype,
            unit=said.unit,
            range=said.range,
            null_means=said.null,
            description=said.text,
            affected_by=affected_by,
            windows=tuple(_length(us) for us in sorted(_windows(expr))),
            fingerprint=_digest(definition(expr), *affected_by, settings.timezone if _is_local(expr) else ""),
            pack=pack.name,
            vocabulary=said.vocabulary,
        )

    def feature(self, reference: str) -> Feature:
        """Raises ``UnknownFeature``."""
        found = self._by_reference.get(reference)
        if found is None:
            raise UnknownFeature(reference)
        return found

    def select(self, views: Sequence[str] | None = None, features: Sequence[str] | None = None) -> Selection:
        """Features of the views named, in catalogue order, or the features named, in that order; all by default.

        Raises ``UnknownFeature``.
        """
        if features is not None:
            return Selection(self, tuple(self.feature(each) for each in features))
        if views is None:
            return self.everything
        for view in views:
            if view not in self.views:
                raise UnknownFeature(view)
        return Selection(self, tuple(f for f in self.features if f.view in views))

    @cached_property
    def everything(self) -> Selection:
        return Selection(self, self.features)


class Catalogue(Entities):
    """All that one organisation has switched on: the features of its leads, and in ``subjects`` of its market.

    ``types`` registers every event type that is accepted: those of all built-in packs and of the org's own,
    whether or not their pack is on.
    """

    def __init__(self, org: str, settings: OrgSettings) -> None:
        self.org, self.settings = org, settings
        packs = [load_pack(name) for name in settings.packs]
        super().__init__(packs, "lead", settings)
        self.subjects = Entities(packs, "subject", settings)
        own = [pack for pack in packs if pack.name not in BUILT_IN_PACKS]
        self.event_types = registered(own)
        self.trigger_max_age_us = round(settings.trigger_max_age_s * SECOND_US)
        self.absences = tuple(
            AbsenceFold(
                absence,
                self.payload(absence.event_type),
                grace_us=round(settings.absence_grace_s * SECOND_US),
            )
            for pack in packs
            for absence in pack.absences
        )

    def payload(self, event_type: str) -> type[msgspec.Struct]:
        found = self.event_types.get(event_type)
        if found is None:
            raise DefinitionError(event_type, "no such event type")
        return found.payload

    def of_kind(self, kind: Kind) -> Entities:
        """The features of leads or of subjects; other kinds of stream have none."""
        return self.subjects if kind == "subject" else self


def registered(own: Iterable[Pack]) -> EventTypes:
    """The registry of every type of the built-in packs, of further packs, and of the system."""
    packs = [*BUILT_IN_PACKS.values(), *own]
    try:
        return EventTypes([*BUILT_IN, *(t for pack in packs for t in pack.types)])
    except ValueError as error:
        raise DefinitionError(", ".join(p.name for p in packs), str(error)) from error


def load_pack(name: str) -> Pack:
    """A built-in pack by name, or the ``pack`` of a module of the user's. Raises ``DefinitionError``."""
    if name in BUILT_IN_PACKS:
        return BUILT_IN_PACKS[name]
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise DefinitionError(name, f"cannot import the pack: {error}", "is it on PYTHONPATH?") from error
    found = [each for each in vars(module).values() if isinstance(each, Pack)]
    if len(found) != 1:
        raise DefinitionError(name, f"the module has {len(found)} packs, not one", "pack = Pack(name)")
    return found[0]


def _check_names(views: Iterable[View]) -> None:
    seen: set[str] = set()
    for view in views:
        if view.name in seen:
            raise DuplicateFeature(view.name)
        seen.add(view.name)


def _tree(expr: Expr) -> Iterable[Expr]:
    yield expr
    for part in expr.parts():
        yield from _tree(part)


def _windows(expr: Expr) -> set[int]:
    return {us for node in _tree(expr) for us in getattr(node, "windows_us", tuple)()}


def _is_local(expr: Expr) -> bool:
    return "LocalField" in repr(expr) or any(type(node).__name__ == "Streak" for node in _tree(expr))


def _length(us: int) -> str:
    for unit, name in ((DAY_US, "d"), (HOUR_US, "h")):
        if us % unit == 0:
            return f"{us // unit}{name}"
    return f"{us / SECOND_US:g}s"


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def definition(value: Any) -> str:
    """An expression as text that is equal for equal definitions in every process: functions by their source."""
    if is_dataclass(value) and not isinstance(value, type):
        inner = ", ".join(f"{f.name}={definition(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({inner})"
    if isinstance(value, Expr):
        return f"{type(value).__name__}({', '.join(definition(part) for part in value.parts())})"
    if isinstance(value, tuple | list):
        return f"[{', '.join(definition(each) for each in value)}]"
    if isinstance(value, type):
        return value.__name__
    if inspect.isroutine(value):
        return f"{value.__qualname__}:{_digest(_source(value))}"
    return repr(value)


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        return repr(code.co_code) + repr(code.co_consts) if code is not None else repr(function)
