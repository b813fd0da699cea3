"""Predictions that nobody waits for: bulk jobs, triggers, age, and verdicts that the wheel writes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventstore.event import Event
from gateway.jobs import Job
from gateway.keyring import create_key
from gateway.scoring import bulk as bulk_module
from kernel.clock import VirtualClock
from kernel.errors import StoreUnavailable
from kernel.settings import OrgSettings, Settings
from kernel.settings_scoring import ScoringSettings
from kernel.times import DAY_US, parse_rfc3339
from scoring.events import PredictionValidated
from scoring.prediction import payload_of
from tests.integration.deciding import passing
from tests.integration.predicting import SCORING, bulk, cold, ended, hot, log, made, populated, predict, told
from tests.integration.service import NOW, Door, running

DAY_S = 86_400


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


def scoring(**settings: Any) -> Settings:
    return Settings(org={"default": OrgSettings(scoring={"default": ScoringSettings(**settings)})})


async def settling(door: Door) -> None:
    """Let what is due be predicted, whoever does it."""
    for _ in range(20):
        await door.service.triggered.tick()
        await asyncio.sleep(0)


async def reaching(job: Job, done: int) -> None:
    """Wait until a job has got so far."""
    for _ in range(100_000):
        if job.progress.done >= done:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{job.progress}")


def reasons(events: list[Event]) -> list[str]:
    return [payload_of(event).because for event in events]


# Bulk.


async def test_a_bulk_job_predicts_and_tells_how_far_it_is(door: Door) -> None:
    await populated(door, 3, 4)
    job = await bulk(door)
    document = await ended(door, job)
    assert (document["kind"], document["state"], document["error"]) == ("bulk_predict", "done", None)
    assert (document["progress"]["done"], document["progress"]["total"], document["progress"]["unit"]) == (
        7,
        7,
        "leads",
    )
    assert document["result"] == {"predicted": 7, "current": 0, "configuration": "default"}
    assert document["log"]
    for lead in ("hot-0", "cold-3"):
        assert reasons(await made(door, lead)) == ["bulk"]
    _, ranked = await door.get(f"{SCORING}/default/ml/ranked-leads")
    assert len(ranked["items"]) == 7


async def test_a_limit_takes_the_best_first_and_then_who_has_no_prediction(door: Door) -> None:
    await populated(door, 2, 3)
    await predict(door, "hot-1")
    await predict(door, "cold-2")
    assert (await ended(door, await bulk(door, limit=1, forceRefresh=True)))["result"]["predicted"] == 0 + 1
    assert [len(await made(door, lead)) for lead in ("hot-1", "cold-2", "hot-0")] == [1, 1, 0], "of one instant: one"
    door.clock.advance(1)
    await ended(door, await bulk(door, limit=1, forceRefresh=True))
    assert [len(await made(door, lead)) for lead in ("hot-1", "cold-2", "hot-0")] == [2, 1, 0]
    await ended(door, await bulk(door, limit=3))
    assert [len(await made(door, lead)) for lead in ("hot-1", "cold-2", "hot-0")] == [2, 1, 1]


async def test_a_least_score_leaves_out_who_is_below_it_or_has_no_prediction(door: Door) -> None:
    await populated(door, 2, 2)
    for lead in ("hot-0", "cold-0"):
        least = (await predict(door, lead))["priority"]
    door.clock.advance(1)
    document = await ended(door, await bulk(door, minScore=least + 0.5, forceRefresh=True))
    assert document["result"]["predicted"] == 1
    assert [len(await made(door, lead)) for lead in ("hot-0", "cold-0", "hot-1")] == [2, 1, 0]


async def test_while_one_runs_a_second_one_is_refused_and_a_cancelled_one_is_resumed(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_module, "BATCH", 2)
    await populated(door, 4, 4)
    job = await bulk(door)
    status, problem = await door.post(f"{SCORING}/default/ml/bulk-predict", {})
    assert (status, problem["code"]) == (409, "job_conflict")
    await reaching(job, 4)
    status, document = await door.send("DELETE", f"{SCORING}/default/ml/jobs/{job.id}")
    assert (status, document["state"]) == (200, "cancelled")
    done = document["progress"]["done"]
    assert 4 <= done < 8
    await door.service.ingest.drain()
    so_far = sum([len(await made(door, f"{kind}-{n}")) for kind in ("hot", "cold") for n in range(4)])
    assert done <= so_far <= done + 2
    result = (await ended(door, await bulk(door)))["result"]
    assert result == {"predicted": 8 - so_far, "current": so_far, "configuration": "default"}
    assert (await ended(door, job))["state"] == "cancelled", "an ended job stays as it is"
    assert (await door.get(f"jobs/{job.id}"))[1]["state"] == "cancelled"
    assert all([len(await made(door, f"{kind}-{n}")) == 1 for kind in ("hot", "cold") for n in range(4)])


async def test_a_bulk_job_cut_off_by_the_end_of_its_service_is_resumed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_module, "BATCH", 2)
    clock = VirtualClock(NOW)
    async with running(directory=tmp_path, clock=clock) as door:
        await populated(door, 4, 4)
        job = await bulk(door)
        await reaching(job, 4)
    async with running(directory=tmp_path, clock=clock) as door:
        assert (await door.get(f"{SCORING}/default/ml/jobs/{job.id}"))[0] == 404, "jobs live as long as the service"
        result = (await ended(door, await bulk(door)))["result"]
        assert result["predicted"] + result["current"] == 8
        assert result["current"] >= 4
        assert all([len(await made(door, f"{kind}-{n}")) == 1 for kind in ("hot", "cold") for n in range(4)])
        _, ranked = await door.get(f"{SCORING}/default/ml/ranked-leads")
        assert len(ranked["items"]) == 8


async def test_a_job_of_another_org_bars_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_module, "BATCH", 1)
    clock = VirtualClock(NOW)
    keys = [create_key(tmp_path, org=org, scopes=["admin"], clock=clock) for org in ("acme", "other")]
    async with running(directory=tmp_path, clock=clock) as door:
        for org, key in zip(("acme", "other"), keys, strict=True):
            door.headers = {"Authorization": f"Bearer {key}"}
            await door.post(f"/v1/orgs/{org}/events", [event for n in range(5) for event in cold(f"{n}")])
            assert (await door.post(f"{SCORING}/default/ml/bulk-predict", {}))[0] == 202
        assert door.service.jobs.running == 2


async def test_a_job_of_another_kind_is_no_bulk_job(door: Door) -> None:
    _, job = await door.post("jobs", {"kind": "verify"})
    assert (await door.get(f"{SCORING}/default/ml/jobs/{job['id']}"))[1]["code"] == "job_not_found"


async def test_a_bulk_job_that_cannot_be_written_says_so(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_module, "BATCH", 2)
    await populated(door, 3, 3)

    async def refusing(events: object) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(door.service.ingest, "submit", refusing)
        document = await ended(door, await bulk(door))
    assert (document["state"], document["progress"]["done"]) == ("failed", 0)
    assert "the disk is full" in document["error"]
    assert (await ended(door, await bulk(door)))["result"]["predicted"] == 6


# Triggers.


async def test_an_event_that_matters_is_followed_by_a_prediction_after_the_debounce(door: Door) -> None:
    await door.events(*cold("a"), told("a", "call", "inbound_call", duration_seconds=60))
    await settling(door)
    assert await made(door, "a") == []
    door.clock.advance(9)
    await settling(door)
    assert await made(door, "a") == []
    door.clock.advance(1)
    await settling(door)
    (event,) = await made(door, "a")
    assert payload_of(event).because == "call"
    assert (await door.get(f"{SCORING}/leads/a/ml/prediction"))[0] == 200


async def test_events_within_the_debounce_make_one_prediction(door: Door) -> None:
    await door.events(*cold("a"))
    for number in range(5):
        await door.events(told("a", f"call{number}", "inbound_call", door.clock.now_us(), duration_seconds=60))
        door.clock.advance(3)
        await settling(door)
    door.clock.advance(60)
    await settling(door)
    assert reasons(await made(door, "a")) == ["call0", "call4"]


async def test_what_is_no_trigger_and_old_news_make_no_prediction(door: Door) -> None:
    await door.events(*hot("a"), told("a", "old", "inbound_call", NOW - 2 * DAY_US, duration_seconds=60))
    door.clock.advance(3600)
    await settling(door)
    assert await made(door, "a") == []


async def test_triggers_are_a_setting_of_each_configuration() -> None:
    settings = Settings(
        org={
            "default": OrgSettings(
                scoring={
                    "default": ScoringSettings(triggers=()),
                    "other": ScoringSettings(triggers=("page_viewed",), debounce_s=0),
                }
            )
        }
    )
    async with running(settings) as door:
        await door.events(
            *cold("a"),
            told("a", "page", "page_viewed", url="/"),
            told("a", "call", "inbound_call", duration_seconds=60),
        )
        await settling(door)
        (event,) = await made(door, "a")
        assert (payload_of(event).configuration, payload_of(event).because) == ("other", "page")


async def test_what_is_due_at_once_is_predicted_together_each_for_its_own_reason(door: Door) -> None:
    for number in range(3):
        await door.events(*cold(f"{number}"), told(f"{number}", f"call-{number}", "inbound_call", duration_seconds=60))
    door.clock.advance(10)
    await settling(door)
    assert [reasons(await made(door, f"{number}")) for number in range(3)] == [["call-0"], ["call-1"], ["call-2"]]


async def test_one_failure_does_not_end_what_makes_predictions(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await door.events(*cold("a"), told("a", "call", "inbound_call", duration_seconds=60))
    before = door.service.triggered.failures
    with monkeypatch.context() as patch:
        patch.setattr(door.service.triggered, "tick", lambda: 1 / 0)
        async with asyncio.timeout(10):
            while door.service.triggered.failures == before:
                door.clock.advance(1)
                await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while not await made(door, "a"):
            door.clock.advance(1)
            await asyncio.sleep(0)


async def test_a_trigger_that_changed_nothing_makes_no_further_prediction() -> None:
    async with running(scoring(debounce_s=5)) as door:
        await door.events(*cold("a"), told("a", "call", "inbound_call", duration_seconds=60))
        await predict(door, "a")
        door.clock.advance(5)
        await settling(door)
        assert reasons(await made(door, "a")) == ["request"]


# Age.


async def test_an_old_prediction_is_made_anew_if_its_inputs_have_changed(door: Door) -> None:
    await door.events(*hot("a"))
    await predict(door, "a")
    door.clock.advance(DAY_S - 1)
    await settling(door)
    assert reasons(await made(door, "a")) == ["request"]
    door.clock.advance(1)
    await settling(door)
    assert reasons(await made(door, "a")) == ["request", "age"]
    door.clock.advance(DAY_S)
    await settling(door)
    assert reasons(await made(door, "a")) == ["request", "age", "age"]


async def test_age_is_looked_at_within_a_budget_per_minute() -> None:
    async with running(scoring(refresh_per_minute=2)) as door:
        await populated(door, 5, 0)
        for number in range(5):
            await predict(door, f"hot-{number}")
        door.clock.advance(DAY_S)
        counts = []
        for _ in range(4):
            await settling(door)
            counts.append(sum([len(await made(door, f"hot-{number}")) - 1 for number in range(5)]))
            door.clock.advance(60)
        assert counts == [2, 4, 5, 5]


async def test_a_budget_that_is_spent_keeps_no_other_configuration_waiting() -> None:
    configurations = {"default": ScoringSettings(refresh_per_minute=1), "other": ScoringSettings(refresh_per_minute=60)}
    async with running(Settings(org={"default": OrgSettings(scoring=configurations)})) as door:
        await populated(door, 3, 0)
        for configuration in ("default", "other"):
            for number in range(3):
                await predict(door, f"hot-{number}", configId=configuration)
                door.clock.advance(0.001)
        door.clock.advance(DAY_S)
        await settling(door)
        again = [payload_of(event) for number in range(3) for event in await made(door, f"hot-{number}")]
        old = [each.configuration for each in again if each.because == "age"]
        assert (old.count("default"), old.count("other")) == (1, 3)


async def test_age_goes_on_after_a_restart(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    async with running(directory=tmp_path, clock=clock) as door:
        await door.events(*hot("a"))
        await predict(door, "a")
    clock.advance(2 * DAY_S)
    async with running(directory=tmp_path, clock=clock) as door:
        assert (await door.get(f"{SCORING}/default/ml/accuracy"))[0] == 200
        async with asyncio.timeout(10):
            while len(await made(door, "a")) < 2:
                await settling(door)
        assert reasons(await made(door, "a")) == ["request", "age"]


# Outcomes.


async def test_the_wheel_says_what_came_of_a_prediction_after_its_horizon(door: Door) -> None:
    await door.events(*hot("won"), *hot("lost"))
    predictions = {lead: await predict(door, lead) for lead in ("won", "lost")}
    door.clock.advance(10 * DAY_S)
    await door.events(told("won", "deal", "deal_won", door.clock.now_us(), amount=100))
    await passing(door, 20 * DAY_S)
    assert not await verdicts(door, "won")
    await passing(door, 3601)
    for lead, outcome in (("won", True), ("lost", False)):
        first = next(each for each in await verdicts(door, lead) if each.prediction == predictions[lead]["id"])
        says_yes = predictions[lead]["probability"] >= 0.5
        assert (first.verdict.by, first.verdict.outcome) == ("outcome", outcome)
        assert first.verdict.was_accurate == (says_yes == outcome)
    _, report = await door.get(f"{SCORING}/default/ml/accuracy")
    assert report["validated"] == 2
    assert (report["auc"], report["bySource"]["rules"]["validated"]) == (0.5, 2)


async def test_the_latest_verdict_counts_whoever_gave_it() -> None:
    async with running(scoring(refresh_age_s=31_536_000)) as door:
        await door.events(*hot("a"))
        prediction = await predict(door, "a")
        path = f"{SCORING}/predictions/{prediction['id']}/validate"
        assert (await door.post(path, {"wasAccurate": True}))[1]["wasAccurate"] is True
        await passing(door, 31 * DAY_S)
        came = await verdicts(door, "a")
        assert [each.verdict.by for each in came] == ["person", "outcome"]
        _, found = await door.get(f"{SCORING}/leads/a/ml/prediction")
        assert (found["validated"], found["wasAccurate"]) == (True, came[1].verdict.was_accurate)
        again = not found["wasAccurate"]
        assert (await door.post(path, {"wasAccurate": again}))[1]["wasAccurate"] is again
        _, report = await door.get(f"{SCORING}/default/ml/accuracy")
        assert (report["total"], report["validated"], report["accurate"]) == (1, 1, int(again))


async def verdicts(door: Door, lead: str) -> list[PredictionValidated]:
    events = [event for event in await log(door, lead) if event.type == "prediction_validated"]
    return [msgspec.json.decode(event.data, type=PredictionValidated) for event in events]


async def test_the_time_of_a_prediction_is_when_its_inputs_were_read(door: Door) -> None:
    await door.events(*hot("a"))
    door.clock.advance(7)
    assert parse_rfc3339((await predict(door, "a"))["createdAt"]) == NOW + 7_000_000
