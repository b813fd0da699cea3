"""``leadwheel models``: the scoring models, their cards, and which of them are in use."""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from cyclopts import App
from rich.table import Column, Table

from gateway.client import Client
from gateway.commands.common import DONE, PARTLY, Json, Where, connect, notes, print_json, results
from kernel.times import format_time

HERE = Where()
_SHOWN = 15  # features by importance
_NAMES = ("auc", "brier", "calibrationError", "logLoss")
_FIGURES = ("of", "AUC", "Brier", "calibration", "log loss", "rows", "true")

app = App(name="models", help="List, show, promote and roll back scoring models.")


@app.command(name="list")
async def list_(*, where: Where = HERE, json: Json = False) -> int:
    """List all versions, the newest of each family first.

    Parameters
    ----------
    json
        Print the route's body.
    """
    async with connect(where) as client:
        items = await all_models(client)
    if json:
        print_json({"items": items, "cursor": None})
        return DONE
    table = Table(*(Column(name, no_wrap=True) for name in ("model", "for", "state", "trained", "AUC", "drift")))
    for each in items:
        card = each["card"]
        trained, auc = ("", "") if card is None else (_day(card["created_us"]), _auc(card))
        drift = "" if each["drift"] is None else f"{each['drift']['share']:.0%}"
        table.add_row(each["id"], each["config"] or "", each["state"], trained, auc, drift)
    results.print(table)
    for each in items:
        if each["refused"]:
            notes.print(f"{each['id']} cannot be used: {each['refused']}", markup=False)
    return DONE


@app.command
async def show(model: str, /, *, where: Where = HERE, json: Json = False) -> int:
    """Show the card of a version: where it comes from, how good it is, what it lives on.

    Parameters
    ----------
    model
        The version's id, as listed.
    json
        Print its record.
    """
    async with connect(where) as client:
        found = next((each for each in await all_models(client) if each["id"] == model), None)
    if found is None:
        notes.print(f"no model {model}", markup=False)
        return PARTLY
    if json:
        print_json(found)
        return DONE
    results.print(f"{model}: {found['state']}{', refused: ' + found['refused'] if found['refused'] else ''}")
    if found["card"] is not None:
        _print_card(found)
    return DONE


@app.command
async def promote(model: str, /, *, where: Where = HERE, json: Json = False) -> int:
    """Use a version from now on.

    Parameters
    ----------
    model
        The version's id, as listed.
    json
        Print the route's body.
    """
    return await _use(model, "promote", where, json)


@app.command
async def rollback(model: str, /, *, where: Where = HERE, json: Json = False) -> int:
    """Use the version again that was in use before this one.

    Parameters
    ----------
    model
        The version that is in use.
    json
        Print the route's body.
    """
    return await _use(model, "rollback", where, json)


async def all_models(client: Client) -> list[dict[str, Any]]:
    """Records of all versions, as the route answers them."""
    return await client.items("/models", limit=100)


def figures_table(records: Iterable[dict[str, Any]]) -> Table:
    """How good models are on their test rows: one line for each contender and task."""
    table = Table(Column("model", no_wrap=True), *_FIGURES)
    for each in records:
        for name, metrics in _contenders(each["card"]):
            table.add_row(each["id"], name, *(_figure(metrics, key) for key in _NAMES), *_counts(metrics))
    return table


async def _use(model: str, verb: str, where: Where, json: bool) -> int:
    async with connect(where) as client:
        answer = await client.send("POST", f"/models/{quote(model, safe='')}/{verb}", body=b"")
    if json:
        print_json(answer)
    else:
        results.print(f"{answer['id']} is in use since {answer['promoted']}")
    return DONE


def _print_card(record: dict[str, Any]) -> None:
    card = record["card"]
    figures = Table(*_FIGURES)
    for name, metrics in _contenders(card):
        figures.add_row(name, *(_figure(metrics, key, has_interval=True) for key in _NAMES), *_counts(metrics))
    results.print(figures)
    spans = Table("rows", "from", "until", "number")
    for name, span in card["slices"].items():
        spans.add_row(name, _day(span["from_us"]), _day(span["until_us"]), f"{span['rows']:,}")
    results.print(spans)
    important = Table("feature", "importance")
    for each in card["importance"][:_SHOWN]:
        important.add_row(each["feature"], f"{each['importance']:.4f} ± {each['std']:.4f}")
    results.print(important)
    for task, words in card["outcomes"].items():
        results.print(f"{task}: {words}")
    results.print(f"{card['estimator']} of {len(card['features'])} features, fingerprint {card['fingerprint']}")
    for note in card["notes"]:
        results.print(f"- {note}")


def _contenders(card: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Whose figures the card has; the kept one of several under the name that says so."""
    for name, metrics in card["metrics"].items():
        if card["family"] != "conversion" or name != "conversion":
            yield (f"{name} (kept)" if name == card["estimator"] else name), metrics


def _counts(metrics: dict[str, Any]) -> tuple[str, str]:
    """Of test rows: how many, and how many came true."""
    bins = metrics["bins"]
    return str(sum(each["rows"] for each in bins)), str(sum(round(each["observed"] * each["rows"]) for each in bins))


def _figure(metrics: dict[str, Any], name: str, *, has_interval: bool = False) -> str:
    measure = metrics["measures"].get(name)
    if measure is None:
        return "–"
    value = f"{measure['value']:.3f}"
    return f"{value}\n{measure['low']:.3f}–{measure['high']:.3f}" if has_interval else value


def _auc(card: dict[str, Any]) -> str:
    """Of each task."""
    own = (card["metrics"][task]["measures"].get("auc") for task in card["outcomes"] if task in card["metrics"])
    return ", ".join("–" if each is None else f"{each['value']:.3f}" for each in own)


def _day(at_us: int) -> str:
    return format_time(at_us)[:10]
