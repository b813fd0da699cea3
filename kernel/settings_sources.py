"""The one reader of the settings: ``leadwheel.toml`` < environment (``LEADWHEEL_SERVER__PORT=8780``) < flags.

What is unknown, of the wrong type or impossible beside another value stops the start with a
``SettingsError`` that names the key, where it came from and what was expected. A ``Secret`` never shows
itself. No other module reads the environment.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from kernel.errors import SettingsError
from kernel.sections import Secret, Section
from kernel.settings import ORG_NAME, SECTIONS, OrgSettings, Settings, check_relations, source_of
from kernel.settings_scoring import ScoringSettings
from kernel.settings_topics import TopicInSettings, TopicOutSettings
from kernel.settings_webhooks import WebhookSettings

PREFIX = "LEADWHEEL_"
FILE_NAME = "leadwheel.toml"
KEY_VARIABLE = "LEADWHEEL_KEY"  # of the command line, no setting

_S = TypeVar("_S", bound=Section)
#: Tables of an org's table whose own tables bear names of their owner's choice.
_NAMED: dict[str, type[Section]] = {
    "scoring": ScoringSettings,
    "webhooks": WebhookSettings,
    "topics_in": TopicInSettings,
    "topics_out": TopicOutSettings,
}
_Leaf = tuple[tuple[str, ...], object, str]


def load_settings(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Read all sources, later ones over earlier ones.

    Parameters
    ----------
    file : a TOML file that must exist; None for none.
    environment : usually ``os.environ``; None for none. Names outside ``LEADWHEEL_`` are not looked at.
    flags : dotted key to value; None values are flags that were not given.

    Raises
    ------
    SettingsError
        The first key that is unknown, of the wrong form, or impossible beside another.
    """
    tree: dict[str, Any] = {}
    sources: dict[str, str] = {}
    leaves = list(_from_file(file)) if file is not None else []
    orgs = {path[1] for path, _, _ in leaves if path[0] == "org" and len(path) > 1}
    leaves += _from_environment(environment or {}, orgs)
    leaves += [
        (tuple(k.split(".")), v, f"flag --{k.split('.')[-1].replace('_', '-')}")
        for k, v in (flags or {}).items()
        if v is not None
    ]
    for path, value, source in leaves:
        _graft(tree, path, value, source)
        sources[".".join(path)] = source
    settings = _anchored(_build(tree, sources), file)
    check_relations(settings)
    return settings


def _anchored(settings: Settings, file: Path | None) -> Settings:
    """Paths that a file names are relative to the file, not to wherever the service is started."""
    orgs = dict(settings.org)
    for name, org in settings.org.items():
        if org.prompt_template and source_of(f"org.{name}.prompt_template", settings.sources) == str(file):
            path = str((file or Path()).parent / org.prompt_template)
            orgs[name] = msgspec.structs.replace(org, prompt_template=path)
    return msgspec.structs.replace(settings, org=orgs)


def process_environment() -> Mapping[str, str]:
    """The environment of this process."""
    return os.environ


def public_settings(settings: Settings, org: str | None = None) -> dict[str, Any]:
    """The settings as plain values, secrets as asterisks; with ``org`` only that org's table."""
    names = sorted(settings.org) if org is None else [org]
    return {
        **{name: msgspec.to_builtins(getattr(settings, name), enc_hook=str) for name in SECTIONS},
        "org": {name: msgspec.to_builtins(settings.of_org(name), enc_hook=str) for name in names},
    }


# Sources: each yields leaves of (path, value, where it came from).


def _from_file(file: Path) -> Iterator[_Leaf]:
    try:
        tree = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("(file)", str(file), f"expected TOML in UTF-8: {error}") from error
    except OSError as error:
        raise SettingsError("(file)", str(file), f"expected a readable file: {error.strerror}") from error
    yield from _leaves(tree, (), str(file))


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...], source: str) -> Iterator[_Leaf]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield (*path, key), {}, source
            yield from _leaves(value, (*path, key), source)
        else:
            yield (*path, key), value, source


def _from_environment(environment: Mapping[str, str], orgs: set[str]) -> Iterator[_Leaf]:
    spelled = {org.lower(): org for org in orgs}
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name == KEY_VARIABLE:
            continue
        parts = [part.lower() for part in name.removeprefix(PREFIX).split("__")]
        if parts[0] == "org" and len(parts) > 1:
            parts[1] = spelled.get(parts[1], parts[1])
        source = f"environment {name}"
        kind = _kind_at(parts, source)
        yield tuple(parts), _from_text(environment[name], kind, ".".join(parts), source), source


def _kind_at(parts: list[str], source: str) -> Any:
    """The declared type of a dotted key. Below a table of named tables stands the type of one of them."""
    rest = parts
    kind: Any
    if parts[0] == "org":
        if len(parts) < 3:
            raise SettingsError(".".join(parts), source, "expected LEADWHEEL_ORG__NAME__KEY")
        kind, rest = OrgSettings, parts[2:]
    else:
        if parts[0] not in SECTIONS:
            raise SettingsError(".".join(parts), source, _unknown(parts[0], [*SECTIONS, "org"]))
        kind, rest = SECTIONS[parts[0]], parts[1:]
        if not rest:
            raise SettingsError(parts[0], source, f"expected {PREFIX}{parts[0].upper()}__KEY")
    for part in rest:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
            continue
        fields = _kinds(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else {}
        if part not in fields:
            raise SettingsError(".".join(parts), source, _unknown(part, list(fields)))
        kind = fields[part]
    return kind


def _kinds(section: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(section)}


def _from_text(text: str, kind: Any, key: str, source: str) -> object:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    try:
        if bare in (str, Secret) or Secret in get_args(bare):
            return text
        if get_origin(bare) is tuple:
            parts: Any = msgspec.json.decode(text) if text.lstrip().startswith("[") else _split(text)
            return list(msgspec.convert(parts, bare, strict=False))
        if bare is object or get_origin(bare) is dict or _is_section(bare):
            return msgspec.json.decode(text) if text[:1] in '{["-0123456789tfn' else text
        return msgspec.convert(text, kind, strict=False)
    except msgspec.MsgspecError as error:
        raise SettingsError(key, source, f"{_expectation(str(error), bare)}: {text!r}") from error


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _graft(tree: dict[str, Any], path: tuple[str, ...], value: object, source: str) -> None:
    node = tree
    for part in path[:-1]:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise SettingsError(".".join(path), source, f"expected {part} to be a table")
        node = child
    if value == {} and isinstance(node.get(path[-1]), dict):
        return
    node[path[-1]] = value


# Building and checking.


def _build(tree: dict[str, Any], sources: dict[str, str]) -> Settings:
    for name in tree:
        if name not in SECTIONS and name != "org":
            raise SettingsError(name, source_of(name, sources), _unknown(name, [*SECTIONS, "org"]))
    sections: dict[str, Any] = {n: _convert(tree.get(n, {}), kind, n, sources) for n, kind in SECTIONS.items()}
    tables = tree.get("org", {})
    if not isinstance(tables, dict):
        raise SettingsError("org", source_of("org", sources), "expected tables [org.NAME]")
    orgs = {name: _org(name, table, sources) for name, table in tables.items()}
    return Settings(**sections, org=orgs, sources=sources)


def _org(name: str, table: object, sources: dict[str, str]) -> OrgSettings:
    key = f"org.{name}"
    if not ORG_NAME.fullmatch(name):
        raise SettingsError(key, source_of(key, sources), "expected 1-64 letters, digits, '_', '-', '.' as the name")
    if not isinstance(table, dict):
        raise SettingsError(key, source_of(key, sources), "expected a table")
    plain = {part: value for part, value in table.items() if part not in _NAMED}
    org = _convert(plain, OrgSettings, key, sources)
    named = {part: _named(f"{key}.{part}", table.get(part, {}), kind, sources) for part, kind in _NAMED.items()}
    return msgspec.structs.replace(org, **named)


def _named(key: str, tables: object, kind: type[_S], sources: dict[str, str]) -> dict[str, _S]:
    """Tables by the names that their owner gave, one by one, so that a refusal names the one at fault."""
    if not isinstance(tables, dict):
        part = key.rpartition(".")[2]
        raise SettingsError(key, source_of(key, sources), f"expected tables [org.X.{part}.NAME]")
    for name in tables:
        if not ORG_NAME.fullmatch(name):
            expected = "expected 1-64 letters, digits, '_', '-', '.' as the name"
            raise SettingsError(f"{key}.{name}", source_of(f"{key}.{name}", sources), expected)
    return {name: _convert(table, kind, f"{key}.{name}", sources) for name, table in tables.items()}


def _convert(value: object, kind: type[_S], prefix: str, sources: dict[str, str]) -> _S:
    try:
        return msgspec.convert(value, kind, dec_hook=_secret)
    except msgspec.ValidationError as error:
        key, expected = _explain(str(error), kind, prefix)
        raise SettingsError(key, source_of(key, sources), expected) from error


def _secret(kind: type, value: object) -> Secret:
    """The one type of the settings that msgspec does not know."""
    if kind is not Secret or not isinstance(value, str):
        raise ValueError(f"Expected a string, got {type(value).__name__}")
    return Secret(value)


_PLAIN = {
    "`object`": "a table",
    "`array`": "a list",
    "`str`": "a string",
    "`bool`": "true or false",
    "`int`": "an integer",
}


def _explain(message: str, kind: type[Section], prefix: str) -> tuple[str, str]:
    """The dotted key and the expectation in one of msgspec's messages, ``… - at `$.a.b```."""
    text, _, place = message.partition(" - at `$")
    path = prefix + re.sub(r"\[.*?\]", "", place.rstrip("`"))
    inner: Any = kind
    for part in path.removeprefix(prefix).strip(".").split("."):
        inner = _kinds(inner).get(part, inner) if _is_section(inner) else inner
    unknown = re.search(r"unknown field `(.*)`", text)
    if unknown is not None:
        return f"{path}.{unknown[1]}", _unknown(unknown[1], list(_kinds(inner)))
    return path, _expectation(text, inner)


def _expectation(text: str, kind: Any) -> str:
    """One of msgspec's messages in plain words; of an enumeration it does not say what would be valid."""
    if text.startswith("Invalid enum value"):
        return f"expected one of {', '.join(map(repr, get_args(kind)))}, got {text.split()[-1]}"
    for coded, plain in _PLAIN.items():
        text = text.replace(coded, plain)
    return text[:1].lower() + text[1:]


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"no such key; did you mean {near[0]}?" if near else f"no such key; known: {', '.join(known) or 'none'}"
