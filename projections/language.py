"""The words a pack is written with: events in, signals, aggregates, features out.

One line is one feature. A pack is a module that makes a ``Pack``, declares payload structs with ``@pack.event``,
and assigns expressions to names of views::

    pack = Pack("mycompany")

    @pack.event(by="lead")
    class DemoBooked(Payload):
        seats: Count

    demos = events(DemoBooked)
    demo = pack.view("demo", "Demonstrations")
    demo["demos_30d"] = demos.count().over(days(30)).doc("demonstrations booked in 30 days")
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from eventstore.types import EventType, Payload
from kernel.errors import DefinitionError, DuplicateFeature
from kernel.settings import OrgSettings
from projections.absence import Absence
from projections.expressions import (
    Documented,
    Expr,
    Halving,
    Spread,
    apply,
    both,
    either,
    greatest,
    if_null,
    least,
    ratio,
    when,
)
from projections.instants import TimeText, days_between, since
from projections.reading import noting
from projections.references import feature
from projections.signals import DATE, HOUR, INTERACTIONS, TYPE, WEEKDAY, Computed, declaring, snake_case
from projections.verbs import Events, events
from projections.windows import Window, days, hours, minutes
from projections.wording import calling_line, did_you_mean

#: What packs are written with, beside the field types of ``eventstore.fields``.
__all__ = [
    "DATE",
    "HOUR",
    "INTERACTIONS",
    "TYPE",
    "WEEKDAY",
    "Computed",
    "Events",
    "Expr",
    "FeatureSpec",
    "Halving",
    "Pack",
    "Payload",
    "TimeText",
    "View",
    "Window",
    "apply",
    "both",
    "days",
    "days_between",
    "declaring",
    "either",
    "events",
    "feature",
    "greatest",
    "hours",
    "if_null",
    "least",
    "minutes",
    "ratio",
    "since",
    "when",
]

P = TypeVar("P", bound=type[Payload])
_NAME = re.compile(r"[a-z][a-z0-9_]{0,127}", re.ASCII)


@dataclass(frozen=True)
class FeatureSpec:
    """One declared feature, and where it was declared (``file:line``)."""

    view: str
    name: str
    documented: Documented
    where: str

    @property
    def reference(self) -> str:
        return f"{self.view}:{self.name}"


class View:
    """A named vector under construction: assign expressions to names, or ``add`` them under names of their own."""

    def __init__(self, name: str, description: str, where: str = "") -> None:
        self.name, self.description, self.where = name, description, where
        self.specs: dict[str, FeatureSpec] = {}
        self.settings: dict[str, Any] = {}  #: those that its declaration reads, by dotted name

    def __setitem__(self, name: str, value: Documented | Expr | Spread) -> None:
        if not isinstance(value, Spread):
            self._put(name, value)
        elif "{w}" not in name:
            raise TypeError(f'{self.name}:{name} has several windows: its name needs {{w}}, as in "{name}_{{w}}"')
        else:
            for window, documented in value.over:
                self._put(name.replace("{w}", window.name), documented)

    def __getitem__(self, name: str) -> Expr:
        if name not in self.specs:
            raise DefinitionError(
                calling_line(),
                f"{self.name}:{name} is not declared before this line",
                did_you_mean(name, self.specs, f"features of {self.name} so far"),
            )
        return self.specs[name].documented.expr

    def add(self, *values: Documented | Expr | Spread) -> None:
        """Declare features under the names ``<signal>_<aggregate>_<window>`` that follow from their definitions."""
        for value in values:
            for each in [one for _, one in value.over] if isinstance(value, Spread) else [value]:
                expr = each.expr if isinstance(each, Documented) else each
                label = expr.label() if isinstance(expr, Expr) else None
                if label is None:
                    raise TypeError(f"a {type(expr).__name__} has no name of its own: {self.name}[name] = …")
                self._put(label, each)

    def _put(self, name: str, value: Documented | Expr) -> None:
        where = calling_line()
        if not _NAME.fullmatch(name):
            raise DefinitionError(
                where, f"not a feature's name: {name!r}", "small letters, digits and _, a letter first"
            )
        if name in self.specs:
            raise DuplicateFeature(f"{self.name}:{name}", where, self.specs[name].where)
        if isinstance(value, Expr):
            value = Documented(value)
        if not isinstance(value, Documented):
            raise TypeError(f"{self.name}:{name} must be an expression, not {value!r}")
        if not value.text:
            value = replace(value, text=name.replace("_", " "))
        self.specs[name] = FeatureSpec(self.name, name, value, where)


About = Literal["lead", "subject"]
Configure = Callable[[View, OrgSettings], None]


class Pack:
    """A named set of event types and views, switched on per organisation."""

    def __init__(self, name: str, description: str = "") -> None:
        if not _NAME.fullmatch(name):
            raise DefinitionError(calling_line(), f"not a pack's name: {name!r}", "small letters, digits and _")
        self.name, self.description, self.where = name, description, calling_line()
        self.types: list[EventType] = []
        self._views: list[View] = []
        self._configured: list[tuple[str, str, str, Configure]] = []
        self._about: dict[str, About] = {}
        self.absences: list[Absence] = []
        self.identity: View | None = None

    def event(
        self,
        *,
        by: Literal["lead", "org"] = "org",
        about: About = "lead",
        is_activity: bool = False,
        name: str | None = None,
    ) -> Callable[[P], P]:
        """Declare a payload struct as an event type named after it (``DemoBooked`` is ``demo_booked``)."""

        def declare(payload: P) -> P:
            own_name = name or snake_case(payload.__name__)
            if not _NAME.fullmatch(own_name):
                hint = "small letters, digits and _, a letter first"
                raise DefinitionError(calling_line(), f"not an event type's name: {own_name!r}", hint)
            if not (isinstance(payload, type) and issubclass(payload, Payload)):
                raise TypeError(
                    f"{own_name} must be a class of Payload: class {payload.__name__}(Payload, frozen=True)"
                )
            for said, given, known in (("by", by, ("lead", "org")), ("about", about, ("lead", "subject"))):
                if given not in known:
                    raise DefinitionError(
                        calling_line(), f"{own_name}: {said}={given!r}", f"expected {' or '.join(known)}"
                    )
            self.types.append(EventType(own_name, payload, self.name, by, about, is_activity))
            return payload

        return declare

    def view(self, name: str, description: str, *, about: About = "lead") -> View:
        """A view whose features read no settings."""
        view = View(name, description, self._new_view(name, about))
        self._views.append(view)
        return view

    def configured(self, name: str, description: str, *, about: About = "lead") -> Callable[[Configure], Configure]:
        """A view whose features read the org's settings: the function fills it."""
        where = self._new_view(name, about)

        def declare(configure: Configure) -> Configure:
            self._configured.append((name, description, where, configure))
            return configure

        return declare

    def _new_view(self, name: str, about: About) -> str:
        where = calling_line()
        if not _NAME.fullmatch(name):
            raise DefinitionError(where, f"not a view's name: {name!r}", "small letters, digits and _, a letter first")
        if name in self._about:
            raise DuplicateFeature(name, where, self.where)
        self._about[name] = about
        return where

    def absence(self, absence: Absence) -> None:
        """Have the timer wheel write an event where an answer stays out."""
        self.absences.append(absence)

    def identify(self, *, name: Expr, email: Expr, company: Expr) -> None:
        """Say who a lead is: shown and searched in lists, and no feature."""
        self.identity = View("identity", "Who the lead is")
        self.identity["name"], self.identity["email"], self.identity["company"] = name, email, company

    def views(self, settings: OrgSettings) -> list[View]:
        """All views in order of declaration, under an org's settings."""
        made = {view.name: view for view in self._views}
        for name, description, where, configure in self._configured:
            view = made[name] = View(name, description, where)
            configure(view, noting(settings, view.settings))
        return [made[name] for name in self._about]

    def about(self, view: str) -> About:
        """Whether a view describes leads or subjects."""
        return self._about[view]
