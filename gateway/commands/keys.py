"""``leadwheel keys``: make, list and revoke API keys while the service runs."""

from pathlib import Path

from cyclopts import App
from rich.table import Table

from gateway.commands.common import DEFAULT_DIRECTORY, DONE, PARTLY, Json, notes, print_json, results
from gateway.keyring import create_key, list_keys, parse_scopes, revoke_key
from kernel.clock import SystemClock
from kernel.settings import DEFAULT_ORG

app = App(name="keys", help="Make, list and revoke API keys.")


@app.command
def create(*, data_dir: Path = DEFAULT_DIRECTORY, org: str = DEFAULT_ORG, scopes: str) -> int:
    """Make a key and print it, alone, on standard output. It is shown this once.

    Parameters
    ----------
    data_dir
        Directory of the data.
    org
        Organisation the key belongs to.
    scopes
        Some of ingest,read,decide,admin; admin includes the others.
    """
    key = create_key(data_dir, org=org, scopes=parse_scopes(scopes), clock=SystemClock())
    print(key)  # noqa: T201 - the result
    return DONE


@app.command(name="list")
def list_(*, data_dir: Path = DEFAULT_DIRECTORY, json: Json = False) -> int:
    """Show all keys: id, organisation, scopes, when they were made and revoked.

    Parameters
    ----------
    data_dir
        Directory of the data.
    json
        As JSON.
    """
    records = list_keys(data_dir)
    if json:
        rows = [{k: getattr(r, k) for k in ("id", "org", "scopes", "created", "revoked")} for r in records]
        print_json({"items": rows, "cursor": None})
        return DONE
    table = Table("id", "org", "scopes", "created", "revoked")
    for record in records:
        table.add_row(record.id, record.org, ",".join(record.scopes), record.created, record.revoked or "")
    results.print(table)
    return DONE


@app.command
def revoke(key_id: str, /, *, data_dir: Path = DEFAULT_DIRECTORY) -> int:
    """Revoke a key by its id, the first 8 characters.

    Parameters
    ----------
    key_id
        As listed.
    data_dir
        Directory of the data.
    """
    if revoke_key(data_dir, key_id, SystemClock()):
        return DONE
    notes.print(f"no key {key_id} is in force in {data_dir}", markup=False)
    return PARTLY
