"""``leadwheel train``: scoring models from the log, with a table of how good they are.

A job of the service, which is a running one, or one that lives here as long as the training.
"""

from math import isfinite
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.progress import Progress, TaskID

from gateway.client import Client
from gateway.commands.common import DONE, PARTLY, Json, Where, connect, notes, print_json, results
from gateway.commands.ingest import progress_bar
from gateway.commands.models import all_models, figures_table
from gateway.scoring.training import Promote
from kernel.clock import SystemClock
from kernel.errors import SettingsError
from kernel.settings_scoring import DEFAULT_CONFIGURATION
from scoring.model import Family

HERE = Where()
POLL_S = 0.2

Repeated = Annotated[list[str] | None, Parameter(negative="")]
Families = Annotated[list[Family] | None, Parameter(negative="")]


async def train(
    *,
    configuration: str = DEFAULT_CONFIGURATION,
    outcome: Repeated = None,
    horizon: float | None = None,
    at: Repeated = None,
    features: Repeated = None,
    family: Families = None,
    step: int = 15,
    seed: int = 1,
    promote: Promote = "never",
    where: Where = HERE,
    json: Json = False,
) -> int:
    """Train scoring models on the log, keep them in the data directory, print how good they are.

    Rows are split by time: the oldest teach, later ones calibrate, the latest judge. Exit code 1 when a family
    could not be trained.

    Parameters
    ----------
    configuration
        Scoring configuration; it names the outcome and the horizon.
    outcome
        Event type that is a conversion, instead of the configuration's; may be repeated.
    horizon
        Days within which it must come, instead of the configuration's.
    at
        Event type at whose events rows are taken, instead of regular midnights; may be repeated.
    features
        Reference view:name; may be repeated. Default: all of a lead's own features.
    family
        conversion, time_to_close or multitask; may be repeated. Default: all three.
    step
        Days between two rows of a lead.
    seed
        Of the chance in training.
    promote
        Use what was trained at once: never, always, or if it is better than the model in use on the same later rows.
    json
        Print the job as JSON.
    """
    if horizon is not None and not isfinite(horizon):
        raise SettingsError("--horizon", "command line", f"expected a number of days, got {horizon}")
    wanted = {
        "config": configuration,
        "outcome": outcome,
        "horizon_days": horizon,
        "at": at or [],
        "features": features,
        "families": family,
        "step_days": step,
        "seed": seed,
        "promote": promote,
    }
    async with connect(where) as client:
        job = await _run(client, {"kind": "train", "training": wanted})
        cards = [each for each in await all_models(client) if each["id"] in (job["result"] or {}).get("models", ())]
    if json:
        print_json(job)
    elif cards:
        results.print(figures_table(cards))
    return _tell(job, cards)


async def _run(client: Client, request: dict[str, Any]) -> dict[str, Any]:
    """Start a job and watch it to its end."""
    clock = SystemClock()
    job: dict[str, Any] = await client.send("POST", "/jobs", body=msgspec.json.encode(request))
    with progress_bar() as progress:
        tasks: dict[str, TaskID] = {}
        while job["state"] == "running":
            await clock.sleep(POLL_S)
            job = await client.get(f"/jobs/{job['id']}")
            _show(progress, tasks, job["progress"])
    return job


def _show(progress: Progress, tasks: dict[str, TaskID], said: dict[str, Any]) -> None:
    """One bar for each phase."""
    unit, done, total = said["unit"], said["done"], said["total"]
    if unit not in tasks:
        tasks[unit] = progress.add_task(unit, total=total, events=0)
    progress.update(tasks[unit], completed=done, total=total, events=done)


def _tell(job: dict[str, Any], records: list[dict[str, Any]]) -> int:
    """What is to be known beside the figures; the exit code."""
    if job["state"] != "done":
        notes.print(f"train {job['state']}: {job['error'] or ''}", markup=False)
        return PARTLY
    for family, reason in job["result"]["refused"].items():
        notes.print(f"{family}: not trained: {reason}", markup=False)
    for each in records:
        for note in each["card"]["notes"]:
            notes.print(f"{each['id']}: {note}", markup=False)
    for model_id in job["result"]["promoted"]:
        notes.print(f"{model_id}: in use from now on", markup=False)
    return PARTLY if job["result"]["refused"] else DONE
