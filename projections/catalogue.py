"""The catalogue of an organisation: its packs, compiled; every feature with what it means.

Built once at start from the org's settings. Fingerprints name definitions together with the settings they read,
so that nothing computed under another definition is ever taken for this one.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import msgspec

from eventstore.event import Kind
from kernel.errors import DefinitionError
from kernel.settings import OrgSettings
from kernel.times import SECOND_US
from projections.absence import AbsenceFold
from projections.aggregators.ordered import Carried
from projections.aggregators.rhythm import Streak
from projections.aggregators.values import Mode
from projections.compiler import CompiledFold, FoldFunction, affects
from projections.definitions import definition, digest, payload_definitions
from projections.expressions import Expr
from projections.feature import Feature
from projections.fields import field_info
from projections.influence import Definitions, influences, plain_definitions
from projections.language import FeatureSpec, Pack, View
from projections.listing import Listing
from projections.loading import BUILT_IN_PACKS as BUILT_IN_PACKS
from projections.loading import check_absences, check_signals, load_packs, registered, views_of
from projections.local_time import LocalTime
from projections.market import MarketFeatures, Span, select_span
from projections.ranges import range_of
from projections.resolving import resolved
from projections.signals import Signal
from projections.windows import length_name

Made = Sequence[tuple[Pack, View]]


class Step(NamedTuple):
    """What an event of one type takes: looked up once per event.

    ``touched`` is the bit mask of the views that it may change; ``absences`` those that it may cause or answer, with
    their places in the catalogue.
    """

    fold: FoldFunction
    decode: Callable[[bytes], Any]
    touched: int
    absences: tuple[tuple[int, AbsenceFold], ...]


class Entities(Listing):
    """The features of one kind of entity: compiled, named, selectable. ``steps`` are the catalogue's to fill."""

    steps: dict[str, Step]

    def __init__(
        self, packs: Sequence[Pack], made: Made, about: Literal["lead", "subject"], settings: OrgSettings
    ) -> None:
        types = [t for pack in packs for t in pack.types if t.about == about]
        own = [(pack, view) for pack, view in made if pack.about(view.name) == about]
        views = list(zip([pack for pack, _ in own], resolved([view for _, view in own]), strict=True))
        identity = (
            next((pack.identity for pack in packs if pack.identity is not None), None) if about == "lead" else None
        )
        self.compiled = CompiledFold(types, [view for _, view in views], LocalTime(settings.timezone), identity)
        self.types = tuple(types)
        self.view_descriptions = {view.name: view.description for _, view in views}
        self.specs = {spec.reference: spec for _, view in views for spec in view.specs.values()}
        feature = partial(
            self._feature, settings=settings, plain=plain_definitions(own), read=influences(own, settings)
        )
        features = tuple(feature(pack, view, spec) for pack, view in views for spec in view.specs.values())
        super().__init__(self.compiled.view_names, features, digest(*(f.feature + f.fingerprint for f in features)))
        self.view_fingerprints = {
            view: digest(*(f.name + f.fingerprint for f in self.features if f.view == view)) for view in self.views
        }

    def _feature(
        self,
        pack: Pack,
        view: View,
        spec: FeatureSpec,
        *,
        settings: OrgSettings,
        plain: Definitions,
        read: dict[str, dict[str, Any]],
    ) -> Feature:
        said, expr = spec.documented, spec.documented.expr
        moving = [t for t in self.types if affects(t, expr)]
        affected_by = tuple(t.name for t in moving)
        text = definition(expr)
        deciding = read.get(spec.reference, {}) | ({"timezone": settings.timezone} if _is_local(expr, text) else {})
        payloads = payload_definitions(text, moving)
        return Feature(
            feature=spec.reference,
            view=spec.view,
            name=spec.name,
            dtype=expr.dtype,
            unit=said.unit,
            range=said.range or range_of(expr, self.types),
            null_means=said.null,
            description=said.text,
            affected_by=affected_by,
            windows=tuple(length_name(us) for us in sorted(_windows(expr))),
            fingerprint=digest(text, *affected_by, *payloads, str(deciding.get("timezone", ""))),
            pack=pack.name,
            vocabulary=said.vocabulary or _words(expr),
            definition=digest(plain.get(spec.reference, text), *affected_by, *payloads),
            settings=deciding,
        )


class Catalogue(Entities):
    """All that one organisation has switched on: the features of its leads, in ``subjects`` those of one subject,
    and in ``market`` those of all subjects as a lead's answer names them.

    ``types`` registers every event type that is accepted: those of all built-in packs and of the org's own,
    whether or not their pack is on.
    """

    def __init__(self, org: str, settings: OrgSettings) -> None:
        self.org, self.settings = org, settings
        packs = load_packs(settings.packs)
        made = views_of(packs, settings)
        self.event_types = registered(pack for pack in packs if pack.name not in BUILT_IN_PACKS)
        check_absences(packs, self.event_types)
        super().__init__(packs, made, "lead", settings)
        self.subjects = Entities(packs, made, "subject", settings)
        check_signals([*self.specs.values(), *self.subjects.specs.values()], self.event_types)
        self.market = MarketFeatures(self.subjects, settings.subjects)
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
        self.steps = self._steps(self)
        self.subjects.steps = self._steps(self.subjects)

    def _steps(self, entities: Entities) -> dict[str, Step]:
        compiled, decoders = entities.compiled, self.event_types.decoders
        return {
            name: Step(
                fold,
                decoders[name].decode,
                compiled.touched[name],
                tuple((i, absence) for i, absence in enumerate(self.absences) if name in absence.types),
            )
            for name, fold in compiled.fold.items()
        }

    @property
    def state_fingerprint(self) -> str:
        """Names all that decides what a folded state is: states of another one are folded again."""
        absences = (definition(each.absence) for each in self.absences)
        ages = f"{self.trigger_max_age_us}"
        return digest(self.compiled.fingerprint, self.subjects.compiled.fingerprint, *absences, ages)

    def payload(self, event_type: str) -> type[msgspec.Struct]:
        found = self.event_types.get(event_type)
        if found is None:
            raise DefinitionError(event_type, "no such event type")
        return found.payload

    @property
    def all_features(self) -> tuple[Feature, ...]:
        """The features of a lead, then those of every subject."""
        return (*self.features, *self.market.features)

    def span(self, views: Sequence[str] | None = None, features: Sequence[str] | None = None) -> Span:
        """Features of a lead and of the market together; by default the lead's own. Raises ``UnknownFeature``."""
        return select_span(self, self.market, views, features)

    def of_kind(self, kind: Kind) -> Entities:
        """The features of leads or of subjects; other kinds of stream have none."""
        return self.subjects if kind == "subject" else self


def _windows(expr: Expr) -> set[int]:
    return {us for node in expr.nodes() for us in getattr(node, "windows_us", tuple)()}


def _is_local(expr: Expr, text: str) -> bool:
    """Whether the time zone decides on a value."""
    if any(isinstance(node, Streak) for node in expr.nodes()):
        return True
    return any(f"LocalField(name='{name}')" in text for name in ("hour", "weekday", "date"))


def _words(expr: Expr) -> tuple[str, ...]:
    """The vocabulary of a category that is a field's value as declared; none for an open text."""
    if isinstance(expr, Mode):
        return _declared_words(expr.signal, expr.field)
    if isinstance(expr, Carried):
        found = [_declared_words(each.signal, each.field) for each in expr.sources]
        return tuple(dict.fromkeys(word for words in found for word in words)) if all(found) else ()
    return ()


def _declared_words(signal: Signal, name: Any) -> tuple[str, ...]:
    found = [field_info(each, name) for each in signal.types] if isinstance(name, str) else []
    words = tuple(dict.fromkeys(word for info in found if info is not None for word in info.words))
    return words if found and all(info is not None and info.words for info in found) else ()
