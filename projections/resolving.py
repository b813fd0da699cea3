"""Resolution of references between features, once all packs are known."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kernel.errors import DefinitionError
from projections.expressions import Expr, mapped
from projections.language import FeatureSpec, View
from projections.references import Reference
from projections.wording import did_you_mean, hint_for


def resolved(views: Iterable[View]) -> list[View]:
    """The views with every reference replaced by what it refers to. Raises ``DefinitionError``."""
    views = list(views)
    specs = {spec.reference: spec for view in views for spec in view.specs.values()}
    done: dict[str, Expr] = {}
    result = []
    for view in views:
        copy = View(view.name, view.description, view.where)
        copy.settings = view.settings
        for name, spec in view.specs.items():
            expr = _resolve(spec, specs, done, ())
            copy.specs[name] = replace(spec, documented=replace(spec.documented, expr=expr))
        result.append(copy)
    return result


def _resolve(spec: FeatureSpec, specs: Mapping[str, FeatureSpec], done: dict[str, Expr], path: tuple[str, ...]) -> Expr:
    if spec.reference in done:
        return done[spec.reference]
    path = (*path, spec.reference)

    def change(part: Expr) -> Expr:
        if not isinstance(part, Reference):
            return mapped(part, change)
        if part.name in path:
            circle = " -> ".join((*path[path.index(part.name) :], part.name))
            raise DefinitionError(spec.where, f"circular expression: {circle}", "compute one of them from events")
        target = specs.get(part.name)
        if target is None:
            hint = did_you_mean(part.name, specs, "features") if len(specs) < 20 else _near(part.name, specs)
            raise DefinitionError(spec.where, f"{spec.reference}: unknown feature {part.name!r}", hint)
        found = _resolve(target, specs, done, path)
        if found.dtype != part.returns and {found.dtype, part.returns} != {"int", "float"}:
            raise DefinitionError(
                spec.where,
                f"{spec.reference}: {part.name} is a {found.dtype}, not a {part.returns}",
                f'feature({part.name!r}, returns="{found.dtype}")',
            )
        return found

    try:
        done[spec.reference] = change(spec.documented.expr)
    except (TypeError, ValueError) as error:
        raise DefinitionError(spec.where, f"{spec.reference}: {error}", hint_for(error)) from error
    return done[spec.reference]


def _near(name: str, specs: Mapping[str, FeatureSpec]) -> str:
    hint = did_you_mean(name, specs, "")
    return hint if hint.startswith("did") else "is the pack that declares it switched on?"
