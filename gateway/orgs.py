"""The organisations of a service: settings, catalogue and door of each, built when it is first needed.

An org exists by its table in the settings or by a key; its events may stand in the log even when both are
gone, and are still folded, under the default settings.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import bandit.events
from eventstore.admission import Admission
from eventstore.bodies import Limits
from eventstore.types import EventType, EventTypes
from gateway.feature_services import FeatureServices
from gateway.prompts import prompt_template
from kernel.clock import Clock
from kernel.ids import IdSource
from kernel.settings import DEFAULT_ORG, OrgSettings, ServerSettings, Settings
from kernel.times import SECOND_US
from projections.catalogue import Catalogue
from projections.companion import CompanionKind
from projections.hindsight.explain import Explainer
from projections.hindsight.prompt import Prompter
from scoring.alerts import AlertBookKind
from scoring.book import BookKind
from scoring.events import SCORING_TYPES


class Org:
    """One organisation, ready to serve."""

    def __init__(
        self, name: str, settings: OrgSettings, catalogue: Catalogue, *, limits: Limits, clock: Clock, ids: IdSource
    ) -> None:
        self.name = name
        self.settings = settings
        self.catalogue = catalogue
        self.limits = limits
        self.asks: dict[str, Any] = {}  #: parsed queries by their text, kept by ``gateway.asks``
        self.services = FeatureServices(name, catalogue)
        self.explainer = Explainer(catalogue, catalogue.event_types, settings.currency)
        self.market_explainer = Explainer(catalogue.subjects, catalogue.event_types, settings.currency)
        template = prompt_template(settings.prompt_template, f"org.{name}.prompt_template")
        self.prompter = Prompter(catalogue, self.explainer.sieves, template, settings.currency)
        self.companions: tuple[CompanionKind, ...] = (_book_kind(catalogue, settings), AlertBookKind())
        self._clock = clock
        self.admission = self._door(ids)
        self.extraction = self._door(Ordinals(clock))

    def _door(self, ids: IdSource) -> Admission:
        return Admission(
            org=self.name,
            types=self.catalogue.event_types,
            subjects=self.settings.subjects,
            currency=self.settings.currency,
            max_clock_skew_s=self.settings.max_clock_skew_s,
            clock=self._clock,
            ids=ids,
            limits=self.limits,
        )


def _book_kind(catalogue: Catalogue, settings: OrgSettings) -> BookKind:
    """Keeps the predictions of an org's leads."""
    return BookKind(
        interactions=frozenset(each.name for each in catalogue.event_types if each.by == "lead"),
        grace_us=round(settings.absence_grace_s * SECOND_US),
        trigger_max_age_us=catalogue.trigger_max_age_us,
    )


class Ordinals(IdSource):
    """Ids in order of asking, for events that are folded and forgotten: equal requests get equal answers."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._count = 0

    def uuid7(self) -> str:
        self._count += 1
        return f"extract-{self._count:012d}"


class Orgs(Mapping[str, Org]):
    """All orgs by name. Looking one up builds it; iterating names those of the settings and those built."""

    def __init__(self, settings: Settings, *, clock: Clock, ids: IdSource) -> None:
        self._settings = settings
        self._clock = clock
        self._ids = ids
        self._limits = limits_of(settings.server)
        self._orgs: dict[str, Org] = {}
        for name in {DEFAULT_ORG, *settings.org}:
            self._orgs[name] = self._build(name)

    def __getitem__(self, name: str) -> Org:
        org = self._orgs.get(name)
        if org is None:
            org = self._orgs[name] = self._build(name)
        return org

    def __iter__(self) -> Iterator[str]:
        return iter(self._orgs)

    def __len__(self) -> int:
        return len(self._orgs)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def catalogue_of(self, name: str) -> Catalogue:
        """The catalogue of an org, for whoever folds."""
        return self[name].catalogue

    def types(self) -> EventTypes:
        """Every type that a configured org's packs declare, each name once, for the log."""
        declared: dict[str, EventType] = {}
        for org in self._orgs.values():
            for each in org.catalogue.event_types:
                declared.setdefault(each.name, each)
        return EventTypes([*declared.values(), *bandit.events.TYPES, *SCORING_TYPES])

    def fingerprint(self) -> str:
        """Over the catalogues of the configured orgs: what was folded under other ones is of no use."""
        names = sorted(self._orgs)
        return sha256(
            "\n".join(f"{name} {self._orgs[name].catalogue.state_fingerprint}" for name in names).encode()
        ).hexdigest()

    def _build(self, name: str) -> Org:
        settings = self._settings.of_org(name)
        catalogue = Catalogue(name, settings)
        return Org(name, settings, catalogue, limits=self._limits, clock=self._clock, ids=self._ids)


def limits_of(server: ServerSettings) -> Limits:
    """What a request may carry, in bytes."""
    return Limits(
        event_bytes=server.max_event_kb * 1024, events=server.max_events, body_bytes=server.max_body_mb * 1024 * 1024
    )
