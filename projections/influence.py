"""Which settings decide on which features: found by asking each view again with one setting at its default."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import msgspec

from kernel.settings import OrgSettings
from projections.definitions import definition
from projections.language import Pack, View
from projections.loading import declaring
from projections.reading import plain

Definitions = dict[str, str]

_DEFAULTS = OrgSettings()


def default_of(name: str) -> Any:
    """The default of a setting of an org, by its dotted name. Raises ``AttributeError``."""
    return plain(reduce(getattr, name.split("."), _DEFAULTS))


def plain_definitions(made: Sequence[tuple[Pack, View]]) -> Definitions:
    """The definitions that features would have under default settings, where their view reads any."""
    return {
        reference: text
        for pack, view in made
        if view.settings
        for reference, text in _definitions(pack, view.name, _DEFAULTS).items()
    }


def influences(made: Sequence[tuple[Pack, View]], settings: OrgSettings) -> dict[str, dict[str, Any]]:
    """Per feature the settings that are not at their default and change its definition, with their values."""
    found: dict[str, dict[str, Any]] = {}
    for pack, view in made:
        now = {spec.reference: definition(spec.documented.expr) for spec in view.specs.values()}
        for name, value in view.settings.items():
            if value == default_of(name):
                continue
            without = _definitions(pack, view.name, _with_default(settings, name))
            for reference, text in now.items():
                if without.get(reference) != text:
                    found.setdefault(reference, {})[name] = value
    return found


def _definitions(pack: Pack, view: str, settings: OrgSettings) -> Definitions:
    with declaring(pack.name):
        made = next(each for each in pack.views(settings) if each.name == view)
    return {spec.reference: definition(spec.documented.expr) for spec in made.specs.values()}


def _with_default(settings: OrgSettings, name: str) -> OrgSettings:
    *path, last = name.split(".")
    tables: list[Any] = [settings]
    defaults: Any = _DEFAULTS
    for each in path:
        tables.append(getattr(tables[-1], each))
        defaults = getattr(defaults, each)
    changed = msgspec.structs.replace(tables.pop(), **{last: getattr(defaults, last)})
    for each, table in zip(reversed(path), reversed(tables), strict=True):
        changed = msgspec.structs.replace(table, **{each: changed})
    return changed  # type: ignore[no-any-return]
