"""Scoring models in a running service: what predicts, what is refused by name, what is trained anew and when."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import run
from gateway.jobs import Job
from kernel.clock import SystemClock, VirtualClock
from kernel.settings import OrgSettings, Settings
from kernel.settings_scoring import RetrainingSettings, ScoringSettings
from kernel.times import DAY_US
from tests.integration.predicting import SCORING, predict
from tests.integration.service import Door, running

# One worker runs this module, so that its models are trained once.
pytestmark = pytest.mark.xdist_group("models")

FEATURES = (
    "activity:form_submit_count",
    "activity:meeting_count",
    "timing:days_since_created",
    "timing:days_since_last_activity",
    "recency:days_since_last_ib_call",
    "window:ib_call_count_14d",
    "recency:days_since_last_login",
    "demographic:email_domain_type",
)
LEAD = "lead-000007"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with 900 leads and a model of each family, none of them in use."""
    path = tmp_path_factory.mktemp("models")
    log, data = str(path / "log.ndjson"), path / "data"
    assert run(["synth", "--leads", "900", "--seed", "3", "--days", "200", "--end", "2024-06-01", "--out", log]) == 0
    data.mkdir()
    assert run(["ingest", log, "--data-dir", str(data)]) == 0
    chosen = [part for feature in FEATURES for part in ("--features", feature)]
    assert run(["train", "--data-dir", str(data), *chosen]) == 0
    return data


@pytest.fixture
def directory(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "data"))


def later(days: float = 0) -> VirtualClock:
    """A clock that begins after whatever was recorded."""
    return VirtualClock(SystemClock().now_us() + round(days * DAY_US))


def retraining(**given: Any) -> Settings:
    scoring = ScoringSettings(retraining=RetrainingSettings(**given))
    return Settings(org={"default": OrgSettings(scoring={"default": scoring})})


async def models(door: Door) -> dict[str, dict[str, Any]]:
    """Records by id."""
    status, body = await door.get("models")
    assert status == 200, body
    assert body["cursor"] is None
    return {each["id"]: each for each in body["items"]}


async def use(door: Door, model: str, verb: str = "promote") -> dict[str, Any]:
    status, body = await door.post(f"models/{model}/{verb}", b"")
    assert status == 200, body
    record: dict[str, Any] = body
    return record


async def ended(job: Job) -> dict[str, Any]:
    assert job.task is not None
    await asyncio.wait([job.task])
    assert job.state == "done", job.error
    assert job.result is not None
    return job.result


async def test_predictions_are_the_champions_and_a_roll_back_is_one_at_once(directory: Path) -> None:
    async with running(directory=directory, clock=later()) as door:
        before = await models(door)
        assert {each["state"] for each in before.values()} == {"challenger"}
        assert {each["refused"] for each in before.values()} == {None}
        by_rules = await predict(door, LEAD)
        assert (by_rules["source"], by_rules["modelVersion"]) == ("rules", None)
        for model in before:
            assert (await use(door, model))["state"] == "champion"
        made = await predict(door, LEAD)
        assert (made["source"], made["modelVersion"]) == ("model", "conversion-0001")
        assert made["id"] != by_rules["id"]
        for kind, model in (
            ("CHURN", "multitask-0001"),
            ("HEALTH", "multitask-0001"),
            ("TIME_TO_CLOSE", "time_to_close-0001"),
        ):
            status, body = await door.get(f"{SCORING}/leads/{LEAD}/ml/prediction?type={kind}")
            assert (status, body["modelVersion"]) == (200, model)
        _, importance = await door.get(f"{SCORING}/default/ml/feature-importance")
        assert (importance["modelVersion"], importance["method"]) == ("conversion-0001", "permutation")
        wanted = {"features": list(FEATURES[:5]), "families": ["conversion"], "promote": "always"}
        status, job = await door.post("jobs", {"kind": "train", "training": wanted})
        assert status == 202, job
        assert (await ended(door.service.jobs.get("default", job["id"])))["promoted"] == ["conversion-0002"]
        assert (await predict(door, LEAD))["modelVersion"] == "conversion-0002"
        assert [each["state"] for each in (await models(door)).values()][:2] == ["champion", "archived"]
        assert (await use(door, "conversion-0002", "rollback"))["id"] == "conversion-0001"
        again = await predict(door, LEAD)
        assert (again["modelVersion"], again["probability"]) == ("conversion-0001", made["probability"])
    async with running(directory=directory, clock=later(1)) as door:
        assert (await predict(door, LEAD))["modelVersion"] == "conversion-0001"


async def test_what_is_not_there_not_in_use_or_without_a_predecessor_is_refused(directory: Path) -> None:
    async with running(directory=directory, clock=later()) as door:
        for verb in ("promote", "rollback"):
            for model in ("conversion-0009", "weather-0001", "..%2F..%2Fevents"):
                status, body = await door.post(f"models/{model}/{verb}", b"")
                assert (status, body["code"]) == (404, "model_not_found")
        assert (await door.post("models/conversion-0001/rollback", b""))[1]["code"] == "model_not_in_use"
        await use(door, "conversion-0001")
        since = (await use(door, "conversion-0001"))["promoted"]
        assert (await models(door))["conversion-0001"]["promoted"] == since
        assert (await door.post("models/conversion-0001/rollback", b""))[1]["code"] == "model_not_in_use"
        first = await door.get("models?limit=2")
        rest = await door.get(f"models?limit=2&cursor={first[1]['cursor']}")
        assert [each["id"] for each in (*first[1]["items"], *rest[1]["items"])] == list(await models(door))


async def test_a_model_whose_features_are_others_today_is_refused_by_name(directory: Path) -> None:
    async with running(directory=directory, clock=later()) as door:
        await use(door, "conversion-0001")
        fingerprint = (await models(door))["conversion-0001"]["card"]["fingerprint"]
    changed = Settings(org={"default": OrgSettings(free_email_domains=("acme.example",))})
    async with running(changed, directory, later(1)) as door:
        record = (await models(door))["conversion-0001"]
        assert record["state"] == "champion"
        assert record["refused"].startswith(f"model conversion-0001 is of features {fingerprint}, not of ")
        made = await predict(door, LEAD)
        assert (made["source"], made["modelVersion"]) == ("rules", None)
        status, body = await door.post("models/multitask-0001/promote", b"")
        assert (status, body["code"]) == (409, "model_refused")
        assert "multitask-0001" in body["detail"]


async def test_a_damaged_file_is_refused_by_name_and_the_rules_answer(directory: Path) -> None:
    async with running(directory=directory, clock=later()) as door:
        await use(door, "conversion-0001")
    file = directory / "models" / "default" / "conversion-0001" / "model.skops"
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)
    (directory / "models" / "default" / "multitask-0001" / "card.json").write_text("{")
    async with running(directory=directory, clock=later(1)) as door:
        found = await models(door)
        assert "conversion-0001: its file is not the one" in found["conversion-0001"]["refused"]
        assert "multitask-0001: its card cannot be read" in found["multitask-0001"]["refused"]
        assert found["multitask-0001"]["card"] is None
        assert (await predict(door, LEAD))["source"] == "rules"


async def test_models_in_use_are_trained_anew_by_the_calendar_and_wait_beside_them(directory: Path) -> None:
    async with running(retraining(every_days=30), directory, later()) as door:
        await door.service.retraining.close()  # ticks are the test's
        await use(door, "conversion-0001")
        assert await door.service.retraining.tick() == []
        door.clock.advance(31 * 86_400)
        (job,) = await door.service.retraining.tick()
        assert await door.service.retraining.tick() == []  # one is running
        assert (await ended(job))["models"] == ["conversion-0002"]
        assert "31 days old" in job.log[0].text
        found = await models(door)
        assert found["conversion-0001"]["state"] == "champion"
        new = found["conversion-0002"]
        assert new["state"] == "challenger"
        assert new["card"]["features"] == list(FEATURES)  # as was asked for
        assert new["card"]["beats_champion"] is False  # the log has not grown, so it is the same model again
        assert "champion:conversion" in new["card"]["metrics"]
        assert await door.service.retraining.tick() == []


async def test_leads_that_no_longer_look_like_those_of_the_training_are_a_reason(directory: Path) -> None:
    async with running(retraining(on_drift=True, promote="always"), directory, later()) as door:
        await door.service.retraining.close()  # ticks are the test's
        await use(door, "conversion-0001")
        assert (await models(door))["conversion-0001"]["drift"] is None
        door.clock.advance(8 * 86_400)
        (job,) = await door.service.retraining.tick()
        drift = (await models(door))["conversion-0001"]["drift"]
        assert drift["leads"] == 900
        assert drift["share"] > 0.25
        assert drift["columns"]["timing:days_since_last_activity"] > 0.25  # years have passed since the log
        assert (await ended(job))["promoted"] == ["conversion-0002"]
        assert "have drifted" in job.log[0].text
        assert (await predict(door, LEAD))["modelVersion"] == "conversion-0002"


async def test_drift_is_measured_where_nothing_is_trained_for_it(directory: Path) -> None:
    async with running(retraining(drift_leads=100), directory, later()) as door:
        await door.service.retraining.close()  # ticks are the test's
        await use(door, "conversion-0001")
        assert await door.service.retraining.tick() == []
        first = (await models(door))["conversion-0001"]["drift"]
        assert 100 <= first["leads"] <= 200
        door.clock.advance(23 * 3600)
        assert await door.service.retraining.tick() == []
        assert (await models(door))["conversion-0001"]["drift"] == first
        door.clock.advance(3600)
        assert await door.service.retraining.tick() == []
        assert (await models(door))["conversion-0001"]["drift"]["measured"] > first["measured"]


async def test_a_training_that_is_cancelled_leaves_no_model(directory: Path) -> None:
    async with running(directory=directory, clock=later()) as door:
        status, job = await door.post("jobs", {"kind": "train"})
        assert status == 202, job
        assert (await door.post("jobs", {"kind": "train"}))[1]["code"] == "job_conflict"
        status, cancelled = await door.send("DELETE", f"jobs/{job['id']}")
        assert (status, cancelled["state"]) == (200, "cancelled")
        assert len(await models(door)) == 3
        for wrong in ({"config": "none"}, {"outcome": ["rained"]}, {"step_days": 0}, {"promote": "maybe"}):
            status, body = await door.post("jobs", {"kind": "train", "training": wrong})
            assert status in (404, 422), body


def test_a_promotion_stands_in_the_log(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "promote", "conversion-0001", "--data-dir", str(directory), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    shutil.rmtree(directory / "snapshots")
    assert run(["models", "list", "--data-dir", str(directory), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["items"]
    assert next(each for each in listed if each["state"] == "champion") == record
