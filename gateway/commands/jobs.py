"""``leadwheel replay`` and ``verify``: fold the log again, to serve it or to compare it with what is served."""

from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from gateway.commands.common import DONE, PARTLY, Json, Where, connect, notes, print_json
from gateway.commands.ingest import progress_bar
from kernel.clock import SystemClock

HERE = Where()
POLL_S = 0.2


async def replay(
    *,
    views: str | None = None,
    policies: Annotated[bool, Parameter(negative="")] = False,
    where: Where = HERE,
    json: Json = False,
) -> int:
    """Build all snapshots anew from the log, beside the live ones, and swap.

    Parameters
    ----------
    policies
        Only the org's policies: learn their models anew and compare them, byte for byte. Exit code 1 when one differs.
    views
        Comma-separated views: do so only if one of them is stale. All leads are then folded whole.
    json
        Print the job as JSON.
    """
    wanted: dict[str, Any] = {} if views is None else {"views": [each.strip() for each in views.split(",")]}
    if policies:
        wanted["policies"] = True
    job = await _run(where, {"kind": "replay"} | wanted)
    code = _report(job, json)
    models = (job["result"] or {}).get("policies", [])
    return code if all(each["same"] for each in models) else PARTLY


async def verify(*, sample: int | None = None, where: Where = HERE, json: Json = False) -> int:
    """Fold leads from the log and compare with what is served. Exit code 1 when one differs.

    Parameters
    ----------
    sample
        How many leads; default all.
    json
        Print the job as JSON.
    """
    job = await _run(where, {"kind": "verify"} | ({} if sample is None else {"sample": sample}))
    code = _report(job, json)
    differing = (job["result"] or {}).get("differing", [])
    for item in differing:
        notes.print(f"differs: {item}", markup=False)
    return PARTLY if differing else code


async def _run(where: Where, request: dict[str, Any]) -> dict[str, Any]:
    clock = SystemClock()
    async with connect(where) as client:
        job: dict[str, Any] = await client.send("POST", "/jobs", body=msgspec.json.encode(request))
        with progress_bar() as progress:
            task = progress.add_task(job["kind"], total=None, events=0)
            while job["state"] == "running":
                await clock.sleep(POLL_S)
                job = await client.get(f"/jobs/{job['id']}")
                done, total = job["progress"]["done"], job["progress"]["total"]
                progress.update(task, completed=done, total=total, events=done)
    return job


def _report(job: dict[str, Any], json: bool) -> int:
    print_json(job if json else job["result"])
    if job["state"] != "done":
        notes.print(f"{job['kind']} {job['state']}: {job['error'] or ''}", markup=False)
        return PARTLY
    return DONE
