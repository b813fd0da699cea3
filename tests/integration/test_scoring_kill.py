"""``kill -9`` in the middle of a bulk job: what was predicted stays, once; another job does the rest, and no more."""

from pathlib import Path

import msgspec

from tests.integration.predicting import SCORING, cold
from tests.integration.process import call, serving

LEADS = 3000
BULK = f"{SCORING}/default/ml/bulk-predict"
WANTED = msgspec.json.encode({"limit": LEADS})


def test_a_bulk_job_that_was_killed_is_done_by_another(tmp_path: Path) -> None:
    with serving(tmp_path) as (url, process):
        for start in range(0, LEADS, 1000):
            events = [event for n in range(start, start + 1000) for event in cold(f"{n}")]
            assert call(f"{url}/v1/orgs/default/events", msgspec.json.encode(events))[0] == 200
        status, job = call(url + BULK, WANTED)
        assert status == 202
        done = 0
        while done == 0:
            found = call(f"{url}{SCORING}/default/ml/jobs/{job['jobId']}")[1]
            done = found["progress"]["done"]
        assert found["state"] == "running"
        process.kill()
    with serving(tmp_path) as (url, _):
        before = call(f"{url}{SCORING}/default/ml/accuracy")[1]["total"]
        assert done <= before < LEADS
        assert call(f"{url}{SCORING}/default/ml/jobs/{job['jobId']}")[0] == 404
        _, job = call(url + BULK, WANTED)
        while (found := call(f"{url}{SCORING}/default/ml/jobs/{job['jobId']}")[1])["state"] == "running":
            pass
        assert found["result"] == {"predicted": LEADS - before, "current": before, "configuration": "default"}
        assert call(f"{url}{SCORING}/default/ml/accuracy")[1]["total"] == LEADS
        assert call(f"{url}{SCORING}/default/ml/ranked-leads?limit=1000")[1]["cursor"] is not None
