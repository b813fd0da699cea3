"""``leadwheel features``, ``catalogue``, ``settings``: what a service knows."""

from typing import Any
from urllib.parse import quote

import msgspec
from rich.table import Table

from gateway.client import Refused
from gateway.commands.common import DONE, PARTLY, Json, Where, connect, notes, print_json, results, settings_of
from kernel.settings import Settings, source_of
from kernel.settings_sources import public_settings

HERE = Where()


async def features(
    lead: str, /, *, at: str | None = None, views: str | None = None, where: Where = HERE, json: Json = False
) -> int:
    """Show a lead's features.

    Parameters
    ----------
    lead
        The lead's id.
    at
        As of this time (RFC 3339 or seconds); default now.
    views
        Comma-separated views; default all.
    json
        Print the route's body.
    """
    query = {name: value for name, value in (("at", at), ("views", views)) if value is not None}
    async with connect(where) as client:
        try:
            answer = await client.get(f"/leads/{quote(lead, safe='')}/features", query)
        except Refused as error:
            if error.status != 404:
                raise
            notes.print(str(error), markup=False)
            return PARTLY
    if json:
        print_json(answer)
        return DONE
    changes = answer["next_change"]
    table = Table("feature", "value", title=f"{lead} at {answer['as_of']}", caption=f"next change: {changes or 'none'}")
    for name, value in answer["values"].items():
        table.add_row(name, _written(value))
    results.print(table)
    return DONE


async def catalogue(*, where: Where = HERE, json: Json = False) -> int:
    """List all features: what they are, their unit, and which events they read.

    Parameters
    ----------
    json
        Print them as JSON.
    """
    items: list[dict[str, Any]] = []
    async with connect(where) as client:
        query = {"limit": "1000"}
        while True:
            answer = await client.get("/catalogue", query)
            items += answer["items"]
            if answer["cursor"] is None:
                break
            query["cursor"] = answer["cursor"]
    if json:
        print_json({"items": items, "cursor": None})
        return DONE
    table = Table("feature", "type", "unit", "description", "events")
    for item in items:
        table.add_row(
            item["feature"], item["dtype"], item["unit"] or "", item["description"], ", ".join(item["affected_by"])
        )
    results.print(table)
    return DONE


async def settings(*, where: Where = HERE, json: Json = False) -> int:
    """Print the settings as loaded, secrets hidden, each with where it came from.

    Parameters
    ----------
    json
        Print them as JSON.
    """
    if where.url is not None:
        async with connect(where) as client:
            print_json(await client.get("/settings"))
        return DONE
    loaded = settings_of(where.data_dir, where.config)
    if json:
        print_json(public_settings(loaded))
    else:
        results.out("\n".join(_toml(loaded)))
    return DONE


def _toml(settings: Settings) -> list[str]:
    lines: list[str] = []

    def table(path: str, values: dict[str, Any]) -> None:
        plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
        if plain:
            lines.append(f"[{path}]")
        for key, value in plain.items():
            lines.append(f"{key} = {_toml_value(value)}  # {source_of(f'{path}.{key}', settings.sources)}")
        for key, value in values.items():
            if isinstance(value, dict):
                table(f"{path}.{key}", value)

    public = public_settings(settings)
    for section in ("server", "store", "actors"):
        table(section, public[section])
    for name, org in public["org"].items():
        table(f"org.{name}" if "." not in name else f'org."{name}"', org)
    return lines


def _toml_value(value: Any) -> str:
    return msgspec.json.encode(value).decode()  # strings, numbers, booleans and lists are written alike


def _written(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
