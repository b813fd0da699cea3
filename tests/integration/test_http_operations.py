from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.app import ROUTES
from kernel.errors import StoreUnavailable
from kernel.metrics import METRICS
from tests.integration.service import Door, purchase, running


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def test_a_ready_service_says_so_and_a_stopping_one_why_not(door: Door) -> None:
    assert await door.get("/healthz") == (200, {"status": "ok"})
    assert await door.get("/readyz") == (200, {"status": "ready", "reasons": []})
    door.service.is_stopping = True
    response = await door.raw("GET", "/readyz")
    assert response.status == 503
    assert (await response.json())["reasons"] == ["stopping"]
    assert "Retry-After" in response.headers


async def test_the_version_is_the_packages(door: Door) -> None:
    status, body = await door.get("/version")
    assert (status, body["name"]) == (200, "leadwheel")
    assert body["version"]


async def scraped(door: Door) -> dict[str, float]:
    text = await (await door.raw("GET", "/metrics")).text()
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


async def test_kept_answers_folds_and_refusals_are_counted(door: Door) -> None:
    before = await scraped(door)
    await door.events(purchase("a", "1"), purchase("b", "2"))
    for query in ("", "", "", "?views=*"):
        await door.values("a", query)
    market = {"subject": "algebra", "type": "tutor_unavailable", "data": {"tutor_id": "t"}}
    for event_id in "12":
        await door.events({**market, "id": event_id})
        await door.values("b", "?views=*")  # finds the market changed, and "a" finds what "b" was told
        await door.values("a", "?views=*")
    await door.post("events", [purchase("a", "1", 99), purchase("a", "3"), {"lead": "a", "type": "nothing"}])
    await door.post("events", {"lead": "a", "type": "purchase_completed", "data": {"amount": "NaN"}})
    await door.post("events?atomic=true", [purchase("a", "4"), {"lead": "a", "type": "nothing"}])
    await door.post("events", b"{")
    await door.get("leads/a/features?at=yesterday")
    await door.get("leads/nobody/features")
    moved = {name: value - before.get(name, 0) for name, value in (await scraped(door)).items()}
    assert moved['leadwheel_answers_total{outcome="hit"}'] == 2
    assert moved['leadwheel_answers_total{outcome="joined"}'] >= 1
    assert moved['leadwheel_answers_total{outcome="miss"}'] >= 3
    errors = {
        name.split('"')[1]: value
        for name, value in moved.items()
        if name.startswith("leadwheel_validation_errors") and value
    }
    assert errors == {
        "event_conflict": 1,
        "event_unknown_type": 2,
        "event_invalid": 1,
        "malformed_json": 1,
        "invalid_time": 1,
    }
    assert moved["leadwheel_fold_seconds_count"] == 5
    assert moved['leadwheel_fold_seconds_bucket{le="+Inf"}'] == 5


async def test_metrics_are_labelled_by_route_and_all_documented(door: Door) -> None:
    await door.events(purchase("a", "1"))
    await door.values("a")
    text = await (await door.raw("GET", "/metrics")).text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    elsewhere = {spec.name for spec in METRICS if spec.is_of_nodes or spec.name.startswith("leadwheel_topic_")}
    assert set(families) == {spec.name for spec in METRICS} - elsewhere, "but of nodes, and of topics of others"
    routes = {sample.labels["route"] for sample in families["leadwheel_http_requests"].samples}
    assert routes == {"/v1/orgs/{org}/events", "/v1/orgs/{org}/leads/{lead}/features"}
    assert families["leadwheel_events"].samples[0].value == 1
    assert families["leadwheel_actors_awake"].samples[0].value == 1


async def test_an_unknown_path_is_404_and_another_method_405_with_allow(door: Door) -> None:
    status, body = await door.get("nothing")
    assert (status, body["code"]) == (404, "not_found")
    response = await door.raw("PUT", "events")
    assert response.status == 405
    assert response.headers["Allow"] == "OPTIONS,POST"
    assert response.content_type == "application/problem+json"
    assert (await response.json(content_type=None))["code"] == "method_not_allowed"


async def test_head_is_get_without_a_body(door: Door) -> None:
    response = await door.raw("HEAD", "/healthz")
    assert (response.status, await response.read()) == (200, b"")


async def test_an_expectation_that_cannot_be_met_is_a_problem(door: Door) -> None:
    response = await door.raw("POST", "events", data=b"[]", headers={"Expect": "miracles"})
    assert response.status == 417
    assert response.content_type == "application/problem+json"


async def test_a_log_that_cannot_be_written_is_503_with_retry_after_and_nothing_is_stored(door: Door) -> None:
    store: Any = door.service.store
    store.fail_next(StoreUnavailable("disk full"))
    response = await door.raw(
        "POST", "events", data=msgspec.json.encode(purchase("a", "1")), headers={"Content-Type": "application/json"}
    )
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert (await response.json(content_type=None))["code"] == "store_unavailable"
    assert (await door.get("leads/a/features"))[0] == 404
    assert (await door.post("events", purchase("a", "1")))[0] == 200


async def test_an_error_that_nobody_foresaw_is_500_without_its_text(door: Door) -> None:
    store: Any = door.service.store
    store.fail_next(RuntimeError("the password is 1234"), is_stored=True)
    status, body = await door.post("events", purchase("a", "1"))
    assert (status, body["code"]) == (500, "internal_error")
    assert "1234" not in str(body)
    assert door.service.errors == 1


async def test_a_full_intake_is_503(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(door.service.host), "is_congested", property(lambda self: True))
    status, body = await door.post("events", purchase("a", "1"))
    assert (status, body["code"]) == (503, "intake_full")
    assert (await door.get("/readyz"))[0] == 503
    assert await door.service.store.last_position() == 0


async def test_every_route_is_in_the_openapi_document(door: Door) -> None:
    status, document = await door.get("/openapi.json")
    assert status == 200
    assert document["openapi"].startswith("3.1")
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert listed == {(route.method, route.path) for route in ROUTES}
    references = [
        part.split('"')[0] for part in msgspec.json.encode(document).decode().split("#/components/schemas/")[1:]
    ]
    assert set(references) <= set(document["components"]["schemas"])
    assert "ProblemDocument" in references
    operations = [op["operationId"] for methods in document["paths"].values() for op in methods.values()]
    assert len(set(operations)) == len(operations)


# Jobs.


async def finished(door: Door, job: dict[str, Any]) -> dict[str, Any]:
    task = door.service.jobs.get("default", job["id"]).task
    assert task is not None
    await task
    body: dict[str, Any] = (await door.get(f"jobs/{job['id']}"))[1]
    return body


async def test_a_replay_changes_no_answer(door: Door) -> None:
    await door.events(*(purchase(lead, str(n), n) for lead in "abc" for n in range(5)))
    before = [await door.values(lead) for lead in "abc"]
    status, job = await door.post("jobs", {"kind": "replay"})
    assert (status, job["kind"]) == (202, "replay")
    done = await finished(door, job)
    assert (done["state"], done["error"]) == ("done", None)
    assert done["progress"]["done"] == 15
    assert done["log"]
    assert [await door.values(lead) for lead in "abc"] == before
    await door.events(purchase("a", "6"))
    assert (await door.values("a"))["rfm:frequency_purchases_90d"] == 6


async def test_a_verification_finds_nothing_when_all_is_well(door: Door) -> None:
    await door.events(*(purchase(lead, "1") for lead in "abc"))
    done = await finished(door, (await door.post("jobs", {"kind": "verify"}))[1])
    assert (done["result"]["checked"], done["result"]["differing"]) == (3, [])


async def test_a_verification_finds_what_differs(door: Door) -> None:
    from eventstore.event import Stream

    await door.events(purchase("a", "1"), purchase("b", "1"))
    entity: Any = door.service.awake(Stream("default", "lead", "a"))
    entity.has_outside_event = False
    done = await finished(door, (await door.post("jobs", {"kind": "verify"}))[1])
    assert done["result"]["differing"] == [{"lead": "a"}]


async def test_jobs_are_listed_newest_first_and_an_ended_one_stays_as_it_is(door: Door) -> None:
    first = await finished(door, (await door.post("jobs", {"kind": "verify", "sample": 1}))[1])
    door.clock.advance(1)
    second = await finished(door, (await door.post("jobs", {"kind": "replay"}))[1])
    _, listed = await door.get("jobs?limit=1")
    assert [job["id"] for job in listed["items"]] == [second["id"]]
    _, rest = await door.get(f"jobs?limit=1&cursor={listed['cursor']}")
    assert [job["id"] for job in rest["items"]] == [first["id"]]
    assert rest["cursor"] is None
    assert (await door.send("DELETE", f"jobs/{first['id']}"))[1]["state"] == "done"


async def test_a_running_job_can_be_cancelled_and_bars_another_of_its_kind(door: Door) -> None:
    import asyncio

    from gateway.jobs import Job

    async def work(job: Job) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    job = door.service.jobs.start("verify", "default", work)
    status, problem = await door.post("jobs", {"kind": "verify"})
    assert (status, problem["code"]) == (409, "job_conflict")
    status, body = await door.send("DELETE", f"jobs/{job.id}")
    assert (status, body["state"]) == (200, "cancelled")


async def test_a_job_that_breaks_has_failed_and_says_nothing_of_the_inside(door: Door) -> None:
    from gateway.jobs import Job

    async def work(job: Job) -> dict[str, Any]:
        raise RuntimeError("the password is 1234")

    job = door.service.jobs.start("verify", "default", work)
    body = await finished(door, {"id": job.id})
    assert body["state"] == "failed"
    assert "1234" not in str(body)


@pytest.mark.parametrize(
    "body", [{}, {"kind": "dance"}, {"kind": "verify", "sample": 0}, {"kind": "replay", "sample": 1}]
)
async def test_a_job_that_cannot_be_is_refused(door: Door, body: dict[str, Any]) -> None:
    status, problem = await door.post("jobs", body)
    assert (status, problem["code"]) == (422, "invalid_body")


async def test_an_unknown_job_is_404(door: Door) -> None:
    status, problem = await door.get("jobs/nothing")
    assert (status, problem["code"]) == (404, "job_not_found")


# Dead letters.


async def test_an_event_that_breaks_a_fold_is_listed_and_tried_again(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = door.service.orgs["default"].catalogue.steps
    real = steps["purchase_completed"]

    def poisoned(state: Any, at_us: int, payload: Any, is_ordered: bool) -> bool:
        if payload.amount == 13_000_000:
            raise ZeroDivisionError("thirteen")
        return real.fold(state, at_us, payload, is_ordered)

    monkeypatch.setitem(steps, "purchase_completed", real._replace(fold=poisoned))
    answer = await door.events(purchase("a", "1", 10), purchase("a", "2", 13), purchase("a", "3", 5))
    assert (answer["accepted"], answer["dead"]) == (3, 1)
    assert (await door.values("a"))["rfm:monetary_total"] == 15
    _, listed = await door.get("dead-letters")
    (letter,) = listed["items"]
    assert (letter["lead"], letter["event_id"], letter["type"]) == ("a", "2", "purchase_completed")
    assert "thirteen" in letter["error"]
    assert await door.post(f"dead-letters/{letter['id']}/retry", b"") == (200, {"folded": False})
    monkeypatch.setitem(steps, "purchase_completed", real)
    assert await door.post(f"dead-letters/{letter['id']}/retry", b"") == (200, {"folded": True})
    assert (await door.values("a"))["rfm:monetary_total"] == 28
    assert (await door.get("dead-letters"))[1]["items"] == []
    _, timeline = await door.get("leads/a/events")
    assert sorted(item["type"] for item in timeline["items"]).count("dead_letter_retried") == 2
    assert (await door.post(f"dead-letters/{letter['id']}/retry", b""))[0] == 404


@pytest.mark.parametrize("letter", ["1-1", "x", "-", "1-", "9999999999999999999999-1", "0-0", "٣-٣"])
async def test_an_unknown_dead_letter_is_404(door: Door, letter: str) -> None:
    await door.events(purchase("a", "1"))
    from urllib.parse import quote

    status, problem = await door.post(f"dead-letters/{quote(letter)}/retry", b"")
    assert (status, problem["code"]) == (404, "dead_letter_not_found")
