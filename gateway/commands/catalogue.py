"""``leadwheel catalogue``: all features, the code that folds them, and what changes between two catalogues."""

from pathlib import Path
from typing import Any

import msgspec
from cyclopts import App
from rich.table import Table

from gateway.commands.common import DONE, PARTLY, Json, Where, connect, notes, print_json, results, settings_of
from gateway.routes.catalogue import document
from kernel.errors import SettingsError
from kernel.settings import DEFAULT_ORG
from kernel.settings_sources import load_settings, process_environment
from projections.catalogue import Catalogue
from projections.comparison import Change, compare
from projections.signals import python_name
from projections.wording import did_you_mean

HERE = Where()

app = App(name="catalogue", help="List the features, print what folds them, compare catalogues.")


@app.default
async def catalogue(*, source: str | None = None, where: Where = HERE, json: Json = False) -> int:
    """List all features: what they are, their unit, and which events they read.

    Parameters
    ----------
    source
        Print the function that folds events of this type, or that computes this view, instead; a directory's
        settings decide on it, and it needs none of its data.
    json
        Print the features as JSON.
    """
    if source is not None:
        return _print_source(source, where)
    items = await _items(where)
    if json:
        print_json({"items": items, "cursor": None})
        return DONE
    table = Table("feature", "type", "unit", "description", "windows", "events")
    for item in items:
        events = ", ".join(item["affected_by"])
        windows = " ".join(item["windows"])
        table.add_row(item["feature"], item["dtype"], item["unit"] or "", item["description"], windows, events)
    results.print(table)
    return DONE


@app.command
def diff(old: Path, new: Path, /, *, org: str = DEFAULT_ORG, json: Json = False) -> int:
    """Say which features NEW adds, removes or changes. Exit code 1 when there is any.

    Parameters
    ----------
    old
        What `leadwheel catalogue --json` printed, or a settings file.
    new
        Likewise.
    org
        Organisation, for settings files.
    json
        Print the changes as JSON.
    """
    changes = compare(_read(old, org), _read(new, org))
    if json:
        print_json({"items": changes})
    else:
        for change in changes:
            results.print(_line(change), markup=False, soft_wrap=True)
        notes.print(f"{len(changes)} features differ" if changes else "no feature differs")
    return PARTLY if changes else DONE


async def _items(where: Where) -> list[dict[str, Any]]:
    async with connect(where) as client:
        return await client.items("/catalogue", limit=1000)


def _print_source(name: str, where: Where) -> int:
    if where.url is not None:
        raise SettingsError("--source", where.url, "expected without --url: the code follows from the settings")
    catalogue = Catalogue(where.org, settings_of(where.data_dir, where.config).of_org(where.org))
    kinds = (catalogue, catalogue.subjects)
    for entities in kinds:
        for function in (f"fold_{name}", f"view_{python_name(name)}"):
            try:
                source = entities.compiled.function_source(function)
            except KeyError:
                continue
            results.out(source, end="", highlight=False)
            return DONE
    known = [name for entities in kinds for name in (*entities.compiled.fold, *entities.views)]
    notes.print(f"no event type or view {name} ({did_you_mean(name, known, 'there are')})", markup=False)
    return PARTLY


def _read(path: Path, org: str) -> list[dict[str, Any]]:
    """The features in a file. Raises ``SettingsError``, or ``DefinitionError`` for a pack that a settings file names."""
    if not path.is_file():
        raise SettingsError(str(path), "command line", "expected a file")
    if path.suffix != ".toml":
        try:
            body = msgspec.json.decode(path.read_bytes(), type=dict[str, list[dict[str, Any]] | None])
            return body["items"] or []
        except (msgspec.MsgspecError, KeyError) as error:
            expected = "expected what `leadwheel catalogue --json` prints, or settings in a .toml file"
            raise SettingsError(str(path), "command line", f"{expected}: {error}") from error
    settings = load_settings(path, process_environment(), None)
    features = Catalogue(org, settings.of_org(org)).all_features
    return [msgspec.to_builtins(document(each)) for each in features]


def _line(change: Change) -> str:
    sign = {"added": "+", "removed": "-", "changed": "~"}[change.kind]
    return f"{sign} {change.feature}" + (f": {'; '.join(change.what)}" if change.what else "")
