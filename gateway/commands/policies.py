"""``leadwheel policy``, ``decide``, ``decision``: the bandit from a terminal."""

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from cyclopts import App, Parameter
from rich.table import Table

from gateway.client import Refused
from gateway.commands.common import DONE, PARTLY, Json, Where, connect, notes, print_json, results
from kernel.errors import SettingsError

HERE = Where()

app = App(name="policy", help="Define and show policies.")


@app.command
async def put(
    name: str,
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],  # - is standard input, and no option
    /,
    *,
    where: Where = HERE,
    json: Json = False,
) -> int:
    """Define a policy. What it is already makes no new version; of one that cannot be, every fault is named.

    Parameters
    ----------
    name
        The policy's name.
    file
        Its document as JSON; - for standard input.
    json
        Print the route's body.
    """
    async with connect(where) as client:
        try:
            answer = await client.send("PUT", f"/policies/{quote(name, safe='')}", body=_read(file))
        except Refused as error:
            return _faulty(error)
    _print(answer, json, f"policy {answer['name']}, version {answer['version']}")
    return DONE


@app.command
async def get(name: str, /, *, where: Where = HERE, json: Json = False) -> int:
    """Show a policy, and how its arms are doing.

    Parameters
    ----------
    name
        The policy's name.
    json
        Print the route's body.
    """
    path = f"/policies/{quote(name, safe='')}"
    async with connect(where) as client:
        try:
            answer = await client.get(path)
            figures = await client.get(f"{path}/arms")
        except Refused as error:
            return _missing(error)
    if json:
        print_json(answer)
    else:
        results.print(_policy_table(answer, figures["items"]))
    return DONE


@app.command(name="list")
async def list_(*, where: Where = HERE, json: Json = False) -> int:
    """List all policies.

    Parameters
    ----------
    json
        Print the route's body.
    """
    async with connect(where) as client:
        items = await client.items("/policies", limit=1000)
    if json:
        print_json({"items": items, "cursor": None})
        return DONE
    table = Table("policy", "version", "learner", "arms", "context")
    for each in items:
        names = ", ".join(arm["id"] for arm in each["arms"])
        table.add_row(each["name"], str(each["version"]), each["learner"]["kind"], names, each["context"] or "")
    results.print(table)
    return DONE


async def decide(
    policy: str,
    lead: str | None = None,
    /,
    *,
    decision_id: str | None = None,
    context: str | None = None,
    exclude: str | None = None,
    defer: Annotated[bool, Parameter(negative="")] = False,
    where: Where = HERE,
    json: Json = False,
) -> int:
    """Choose an arm for a lead, and log the decision.

    Parameters
    ----------
    policy
        The policy's name.
    lead
        The lead's id; a decision may be made without one.
    decision_id
        Used again, it gives the first answer again; default: a new one.
    context
        What the request adds to the lead's features, as a JSON object.
    exclude
        Comma-separated arms that may not be chosen.
    defer
        Rewards count only once the decision is activated.
    json
        Print the route's body.
    """
    request: dict[str, Any] = {"lead": lead, "decision_id": decision_id, "defer": defer}
    if context is not None:
        request["context"] = msgspec.Raw(context.encode())
    if exclude is not None:
        request["exclude"] = exclude.split(",")
    body = msgspec.json.encode({name: value for name, value in request.items() if value is not None})
    async with connect(where) as client:
        answer = await client.send("POST", f"/policies/{quote(policy, safe='')}/decide", body=body)
    if json:
        print_json(answer)
        return DONE
    table = Table("arm", "probability", "score", title=f"{answer['decision_id']}: {answer['arm']} ({answer['reason']})")
    for each in answer["ranking"]:
        table.add_row(each["arm"], f"{each['probability']:.4f}", _number(each["score"]))
    results.print(table)
    return DONE


async def decision(
    decision_id: str,
    /,
    *,
    replay: Annotated[bool, Parameter(negative="")] = False,
    where: Where = HERE,
    json: Json = False,
) -> int:
    """Show a decision and what it earned.

    Parameters
    ----------
    decision_id
        The decision's id.
    replay
        Draw it again from the log; exit code 1 if anything came out differently.
    json
        Print the route's body.
    """
    query = {"replay": "true"} if replay else {}
    async with connect(where) as client:
        try:
            answer = await client.get(f"/decisions/{quote(decision_id, safe='')}", query)
        except Refused as error:
            return _missing(error)
    if json:
        print_json(answer)
    else:
        results.print(_decision_table(answer))
    if not replay:
        return DONE
    again = answer["replay"]
    verdict = "the same" if again["same"] else "not the same"
    notes.print(f"drawn again: {again['arm']} at {again['probability']!r}: {verdict}", markup=False)
    return DONE if again["same"] else PARTLY


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError("file", str(file), f"expected a readable file: {error.strerror}") from error


def _print(answer: Any, json: bool, text: str) -> None:
    if json:
        print_json(answer)
    else:
        results.print(text, markup=False)


def _faulty(error: Refused) -> int:
    faults = error.problem.get("errors", [])
    if len(faults) < 2:
        raise error  # its message says it all
    for each in faults:
        notes.print(f"{each['path']}: expected {each['expected']}, got {each['actual']}", markup=False)
    return PARTLY


def _missing(error: Refused) -> int:
    if error.status != 404:
        raise error
    notes.print(str(error), markup=False)
    return PARTLY


def _policy_table(policy: dict[str, Any], figures: list[dict[str, Any]]) -> Table:
    learner = policy["learner"]
    title = f"{policy['name']}, version {policy['version']}: {learner['kind']} {learner['exploration']}".rstrip()
    table = Table("arm", "share", "decisions", "matured", "pending", "mean reward", "95 %", title=title)
    for each in figures:
        low, high = each["interval"] or (None, None)
        interval = "" if low is None else f"{low:.4g} to {high:.4g}"
        counts = [str(each[name]) for name in ("decisions", "matured", "pending")]
        table.add_row(each["arm"], _number(each["share"]), *counts, _number(each["mean"]), interval)
    return table


def _decision_table(answer: dict[str, Any]) -> Table:
    table = Table("", "", title=f"decision {answer['decision_id']}", show_header=False)
    for name in ("policy", "lead", "arm", "probability", "reason", "state", "reward", "model_version", "decided"):
        table.add_row(name, "" if answer[name] is None else str(answer[name]))
    for each in answer["rewards"]:
        table.add_row(f"reward {each['id']}", f"{each['value']} at {each['at']}")
    for name, value in answer["context"].items():
        table.add_row(name, "null" if value is None else str(value))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
