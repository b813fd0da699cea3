"""``leadwheel features``, ``settings``: what a service knows."""

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from cyclopts import Parameter
from rich.table import Table

from gateway.client import Refused
from gateway.commands.common import DONE, PARTLY, USAGE, Json, Where, connect, notes, print_json, results, settings_of
from kernel.settings import Settings, source_of
from kernel.settings_sources import public_settings

HERE = Where()


async def features(
    lead: str,
    /,
    *,
    at: str | None = None,
    views: str | None = None,
    features: str | None = None,
    history: Annotated[bool, Parameter(negative="")] = False,
    since: str | None = None,
    step: float | None = None,
    where: Where = HERE,
    json: Json = False,
) -> int:
    """Show a lead's features, at one time or through time.

    Parameters
    ----------
    lead
        The lead's id.
    at
        As of this time (RFC 3339 or seconds); default now.
    views
        Comma-separated views; default all.
    features
        Comma-separated references view:name, instead of views.
    history
        Show how the values changed up to that time.
    since
        Where the history begins; default 30 days before its end.
    step
        Seconds between the instants of the history that are looked at; default a day.
    json
        Print the route's body.
    """
    if not history and (since is not None or step is not None):
        notes.print("leadwheel: --since and --step need --history", markup=False)
        return USAGE
    route = "features/history" if history else "features"
    given = {"to" if history else "at": at, "views": views, "features": features, "from": since, "step": step}
    query = {name: str(value) for name, value in given.items() if value is not None}
    async with connect(where) as client:
        try:
            answer = await client.get(f"/leads/{quote(lead, safe='')}/{route}", query)
        except Refused as error:
            if error.status != 404:
                raise
            notes.print(str(error), markup=False)
            return PARTLY
    if json:
        print_json(answer)
    else:
        results.print(_history_table(lead, answer) if history else _values_table(lead, answer))
    return DONE


def _values_table(lead: str, answer: dict[str, Any]) -> Table:
    changes = answer["next_change"]
    table = Table("feature", "value", title=f"{lead} at {answer['as_of']}", caption=f"next change: {changes or 'none'}")
    for name, value in answer["values"].items():
        table.add_row(name, _written(value))
    return table


def _history_table(lead: str, answer: dict[str, Any]) -> Table:
    """Each feature's first value, and every other one with the first instant at which it was seen."""
    items = answer["items"]
    table = Table("feature", "at", "value", title=f"{lead} from {items[0]['at']} to {items[-1]['at']}")
    for place, name in enumerate(answer["names"]):
        before: Any = object()
        for item in items:
            value = item["values"][place]
            if value != before:
                table.add_row(name, item["at"], _written(value))
                name, before = "", value
    return table


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
