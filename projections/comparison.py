"""What differs between two catalogues, feature by feature, as they are printed and served."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from projections.influence import default_of

#: What is told with its old and new text when it differs.
_TOLD = {"dtype": "type", "unit": "unit", "range": "range", "null_means": "null", "description": "description"}


class Change(msgspec.Struct, frozen=True):
    """One feature that differs, and in what."""

    feature: str
    kind: Literal["added", "removed", "changed"]
    what: tuple[str, ...] = ()


def compare(old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]]) -> list[Change]:
    """The features that differ: in the order of the new catalogue, those that are gone last."""
    before, after = ({each["feature"]: each for each in features} for features in (old, new))
    changes = []
    for name, feature in after.items():
        if name not in before:
            changes.append(Change(name, "added"))
        elif what := tuple(_differences(before[name], feature)):
            changes.append(Change(name, "changed", what))
    return [*changes, *(Change(name, "removed") for name in before if name not in after)]


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[str]:
    if old["fingerprint"] != new["fingerprint"]:
        yield from _causes(old, new)
    for key, name in _TOLD.items():
        if old.get(key) != new.get(key):
            yield f"{name} {old.get(key) or 'none'} -> {new.get(key) or 'none'}"


def _causes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[str]:
    """Why the fingerprints differ: the definition, a setting that it reads, or something that it refers to."""
    before, now = _settings(old, new), _settings(new, old)
    names = [name for name in now if before[name] != now[name]]
    is_defined_anew = old.get("definition") != new.get("definition")
    if is_defined_anew or not names:
        yield "definition" if is_defined_anew else "definition of what it refers to"
    for name in names:
        yield f"setting {name} {_short(before[name])} -> {_short(now[name])}"


def _settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide on a feature, those at their default included where they decide on the other."""
    own = one.get("settings") or {}
    return {name: own[name] if name in own else _default(name) for name in {**own, **(other.get("settings") or {})}}


def _default(name: str) -> Any:
    try:
        return default_of(name)
    except AttributeError:  # a setting of another version
        return None


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:56]} ..."
