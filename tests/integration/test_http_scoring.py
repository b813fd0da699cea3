"""Lead scoring over HTTP: predictions kept while they hold, verdicts, lists, figures; what is refused, and to whom."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.keyring import create_key
from kernel.clock import VirtualClock
from kernel.settings import OrgSettings, Settings
from kernel.settings_scoring import ScoringSettings, ThresholdSettings
from kernel.times import DAY_US, parse_rfc3339
from tests.integration.predicting import SCORING, bulk, ended, hot, log, made, populated, predict, told
from tests.integration.service import NOW, Door, running

SETTINGS = Settings(
    org={
        "default": OrgSettings(scoring={"eager": ScoringSettings(thresholds=ThresholdSettings(hot=3, warm=2, cold=1))})
    }
)
KEYS = [
    "id",
    "leadId",
    "configId",
    "type",
    "probability",
    "confidence",
    "score",
    "priority",
    "tier",
    "daysToClose",
    "breakdown",
    "explanation",
    "riskFactors",
    "recommendations",
    "source",
    "modelVersion",
    "createdAt",
    "validated",
    "wasAccurate",
]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running(SETTINGS) as door:
        await populated(door, 2, 2)
        yield door


async def listed(door: Door, path: str) -> list[dict[str, Any]]:
    status, body = await door.get(f"{SCORING}/{path}")
    assert status == 200, body
    assert list(body) == ["items", "cursor"]
    items: list[dict[str, Any]] = body["items"]
    return items


# One lead.


async def test_a_prediction_is_answered_complete(door: Door) -> None:
    found = await predict(door, "hot-0")
    assert list(found) == KEYS
    assert (found["leadId"], found["configId"], found["type"]) == ("hot-0", "default", "CONVERSION")
    assert (found["source"], found["modelVersion"]) == ("rules", None)
    assert (found["validated"], found["wasAccurate"]) == (False, None)
    assert parse_rfc3339(found["createdAt"]) == NOW
    assert list(found["daysToClose"]) == ["expected", "optimistic", "pessimistic", "factors", "accelerators"]
    assert list(found["breakdown"]) == ["demographic", "behavioral", "temporal", "engagement"]
    silent = await predict(door, "cold-0")
    assert set(silent["riskFactors"][0]) == {"code", "severity", "text"}
    assert silent["priority"] < found["priority"]
    assert set(found["recommendations"][0]) == {"kind", "priority", "text", "reason", "dueAt"}
    explained = found["explanation"]["base"] + sum(each["contribution"] for each in found["explanation"]["items"])
    assert explained == pytest.approx(found["score"], abs=1e-6)
    assert found["score"] == pytest.approx(sum(found["breakdown"].values()))
    assert found["score"] == pytest.approx(100 * found["probability"])


async def test_a_prediction_is_kept_while_nothing_has_changed(door: Door) -> None:
    first = await predict(door, "hot-0")
    assert await predict(door, "hot-0") == first
    door.clock.advance(0.5)
    assert await predict(door, "hot-0") == first
    assert await door.get(f"{SCORING}/leads/hot-0/ml/prediction") == (200, first)
    assert len(await made(door, "hot-0")) == 1


async def test_an_event_makes_another_prediction(door: Door) -> None:
    first = await predict(door, "cold-0")
    await door.events(told("cold-0", "form", "form_submitted", form_id="quote"))
    second = await predict(door, "cold-0")
    assert second["id"] != first["id"]
    assert second["score"] > first["score"]
    assert await door.get(f"{SCORING}/leads/cold-0/ml/prediction") == (200, second)


async def test_a_verdict_is_no_change_of_what_a_prediction_follows_from(door: Door) -> None:
    first = await predict(door, "hot-0")
    await door.post(f"{SCORING}/predictions/{first['id']}/validate", {"wasAccurate": True})
    again = await predict(door, "hot-0")
    assert again == first | {"validated": True, "wasAccurate": True}


async def test_time_alone_makes_another_prediction(door: Door) -> None:
    first = await predict(door, "hot-0")
    door.clock.advance(5 * 86_400)
    second = await predict(door, "hot-0")
    assert second["id"] != first["id"]
    assert second["score"] < first["score"]
    assert parse_rfc3339(second["createdAt"]) == NOW + 5 * DAY_US


async def test_a_refresh_that_is_forced_makes_another_prediction(door: Door) -> None:
    first = await predict(door, "hot-0")
    door.clock.advance(0.001)
    second = await predict(door, "hot-0", forceRefresh=True)
    assert second["id"] != first["id"]
    assert len(await made(door, "hot-0")) == 2
    assert await predict(door, "hot-0", forceRefresh=True) == second, "of one instant there is one"


async def test_rules_alone_are_kept_apart_from_what_models_say(door: Door) -> None:
    first = await predict(door, "hot-0")
    by_rules = await predict(door, "hot-0", ruleBasedOnly=True)
    assert by_rules["source"] == "rules"
    assert by_rules["id"] != first["id"], "models were not asked for it: it follows from something else"
    assert await predict(door, "hot-0", ruleBasedOnly=True) == by_rules


async def test_a_configuration_has_predictions_and_tiers_of_its_own(door: Door) -> None:
    first = await predict(door, "hot-0")
    eager = await predict(door, "hot-0", configId="eager")
    assert (eager["configId"], eager["tier"], eager["score"]) == ("eager", "top", first["score"])
    assert await door.get(f"{SCORING}/leads/hot-0/ml/prediction?configId=eager") == (200, eager)
    assert await door.get(f"{SCORING}/leads/hot-0/ml/prediction") == (200, first)
    assert [each["configId"] for each in await listed(door, "eager/ml/ranked-leads")] == ["eager"]


async def test_no_body_is_an_empty_one(door: Door) -> None:
    for headers in ({}, {"Content-Type": "application/json"}):
        status, _ = await door.send("POST", f"{SCORING}/leads/hot-0/ml/predict", headers=headers)
        assert status == 200
    assert len(await made(door, "hot-0")) == 1


async def test_requests_at_the_same_time_make_one_prediction(door: Door) -> None:
    answers = await asyncio.gather(*(predict(door, "hot-0") for _ in range(20)))
    assert len({each["id"] for each in answers}) == 1
    assert len(await made(door, "hot-0")) == 1


async def test_a_lead_without_a_prediction_has_none(door: Door) -> None:
    status, problem = await door.get(f"{SCORING}/leads/hot-0/ml/prediction")
    assert (status, problem["code"]) == (404, "prediction_not_found")
    await predict(door, "hot-0")
    for kind in ("TIME_TO_CLOSE", "CHURN", "CALL_RISK", "HEALTH"):
        status, problem = await door.get(f"{SCORING}/leads/hot-0/ml/prediction?type={kind}")
        assert (status, problem["code"]) == (404, "prediction_not_found"), "rules predict conversion only"
    assert (await door.get(f"{SCORING}/leads/hot-0/ml/prediction?type=CONVERSION"))[0] == 200


async def test_the_features_behind_the_rules_are_answered_by_category(door: Door) -> None:
    status, found = await door.get(f"{SCORING}/leads/hot-0/ml/features")
    assert status == 200
    assert list(found) == ["leadId", "asOf", "demographic", "behavioral", "temporal", "engagement"]
    assert found["demographic"] == {
        "hasCompany": True,
        "hasTitle": True,
        "hasPhone": True,
        "emailDomainType": "corporate",
        "titleSeniority": "c_level",
        "companySizeEstimate": "enterprise",
    }
    values = await door.values("hot-0")
    assert found["behavioral"]["pageViewCount"] == values["activity:page_view_count"] == 6
    assert found["behavioral"]["highValueActionCount"] == values["activity:high_value_action_count"]
    assert (found["temporal"]["daysSinceCreated"], found["temporal"]["activityBurst"]) == (2, True)
    assert found["engagement"]["isInActiveSequence"] is False
    named = [name for group in list(found.values())[2:] for name in group]
    assert not [name for name in named if not re.fullmatch("[a-z][A-Za-z]+", name)]


async def test_a_lead_of_any_name_can_be_predicted(door: Door) -> None:
    await door.events(*hot("a/b ü"))
    found = await predict(door, "a/b ü")
    assert found["leadId"] == "a/b ü"
    assert await door.get(f"{SCORING}/leads/a%2Fb%20%C3%BC/ml/prediction") == (200, found)


# Verdicts.


async def test_a_verdict_is_kept_and_the_opposite_replaces_it(door: Door) -> None:
    first = await predict(door, "hot-0")
    path = f"{SCORING}/predictions/{first['id']}/validate"
    for was_accurate, verdicts in ((True, 1), (True, 1), (False, 2), (False, 2), (True, 3)):
        status, found = await door.post(path, {"wasAccurate": was_accurate})
        assert (status, found) == (200, first | {"validated": True, "wasAccurate": was_accurate})
        assert await door.get(f"{SCORING}/leads/hot-0/ml/prediction") == (200, found)
        events = await log(door, "hot-0")
        assert sum(event.type == "prediction_validated" for event in events) == verdicts
        report = (await door.get(f"{SCORING}/default/ml/accuracy"))[1]
        assert (report["validated"], report["accurate"]) == (1, int(was_accurate))
        door.clock.advance(1)


async def test_verdicts_at_the_same_time_are_one_after_the_other(door: Door) -> None:
    path = f"{SCORING}/predictions/{(await predict(door, 'hot-0'))['id']}/validate"
    answers = await asyncio.gather(*(door.post(path, {"wasAccurate": n % 2 == 0}) for n in range(8)))
    assert [status for status, _ in answers] == [200] * 8
    report = (await door.get(f"{SCORING}/default/ml/accuracy"))[1]
    last = (await door.get(f"{SCORING}/leads/hot-0/ml/prediction"))[1]["wasAccurate"]
    assert (report["validated"], report["accurate"]) == (1, int(last))
    assert sum(event.type == "prediction_validated" for event in await log(door, "hot-0")) > 1


async def test_an_old_prediction_can_still_be_validated(door: Door) -> None:
    first = await predict(door, "hot-0")
    door.clock.advance(60)
    await predict(door, "hot-0", forceRefresh=True)
    status, found = await door.post(f"{SCORING}/predictions/{first['id']}/validate", {"wasAccurate": False})
    assert (status, found["id"], found["wasAccurate"]) == (200, first["id"], False)
    assert (await door.get(f"{SCORING}/leads/hot-0/ml/prediction"))[1]["validated"] is False


# Lists and figures.


async def test_lists_are_by_priority_and_of_the_latest_predictions(door: Door) -> None:
    leads = ("cold-0", "hot-0", "hot-1", "cold-1")
    predictions = {lead: await predict(door, lead) for lead in leads}
    ranked = await listed(door, "default/ml/ranked-leads")
    assert [each["leadId"] for each in ranked] == ["hot-0", "hot-1", "cold-0", "cold-1"]
    assert ranked == [predictions[each["leadId"]] for each in ranked]
    assert await listed(door, "default/ml/top-leads") == ranked
    assert await listed(door, "default/ml/top-leads?n=3") == ranked[:3]
    for tier in ("top", "high", "medium", "low"):
        found = await listed(door, f"default/ml/leads-by-tier?tier={tier}")
        assert found == [each for each in ranked if each["tier"] == tier]
    least = ranked[1]["priority"]
    assert await listed(door, f"default/ml/ranked-leads?minScore={least}") == ranked[:2]
    assert await listed(door, f"default/ml/ranked-leads?minScore={least}.5") == []
    assert await listed(door, "default/ml/ranked-leads?minScore=100") == []


async def test_a_new_prediction_moves_a_lead_in_the_list(door: Door) -> None:
    for lead in ("hot-0", "cold-0"):
        await predict(door, lead)
    await door.events(*(event for event in hot("cold-0") if event["id"] != "created"))
    await predict(door, "cold-0")
    ranked = await listed(door, "default/ml/ranked-leads")
    assert sorted(each["leadId"] for each in ranked) == ["cold-0", "hot-0"], "each lead once"
    assert [each["priority"] for each in ranked] == sorted((each["priority"] for each in ranked), reverse=True)


async def test_pages_of_a_list_hold_each_lead_once(door: Door) -> None:
    await populated(door, 7, 4)
    for lead in [*(f"hot-{n}" for n in range(7)), *(f"cold-{n}" for n in range(4))]:
        await predict(door, lead)
    whole = await listed(door, "default/ml/ranked-leads?limit=20")
    assert len(whole) == 11
    for path in ("ranked-leads?minScore=0", "leads-by-tier?tier=low"):
        found, cursor = [], ""
        while cursor is not None:
            _, page = await door.get(f"{SCORING}/default/ml/{path}&limit=3" + (f"&cursor={cursor}" if cursor else ""))
            found += page["items"]
            cursor = page["cursor"]
        assert found == [each for each in whole if path.startswith("ranked") or each["tier"] == "low"]
    _, page = await door.get(f"{SCORING}/default/ml/ranked-leads?limit=3")
    for foreign in (
        "eager/ml/ranked-leads?limit=3",
        "default/ml/leads-by-tier?limit=3",
        "default/ml/ranked-leads?minScore=1",
    ):
        status, problem = await door.get(f"{SCORING}/{foreign}&cursor={page['cursor']}")
        assert (status, problem["code"]) == (422, "invalid_cursor")


async def test_the_first_leads_go_on_where_their_cursor_says(door: Door) -> None:
    await ended(door, await bulk(door))
    whole = [each["leadId"] for each in await listed(door, "default/ml/ranked-leads")]
    found: list[str] = []
    cursor = ""
    while len(found) < 10:
        status, body = await door.get(f"{SCORING}/default/ml/top-leads?n=1{cursor}")
        assert (status, len(body["items"])) == (200, 1)
        found.append(body["items"][0]["leadId"])
        if body["cursor"] is None:
            break
        cursor = f"&cursor={body['cursor']}"
    assert found == whole


async def test_lists_and_figures_of_nothing_are_empty(door: Door) -> None:
    for path in ("ranked-leads", "top-leads", "leads-by-tier"):
        assert await door.get(f"{SCORING}/default/ml/{path}") == (200, {"items": [], "cursor": None})
    status, report = await door.get(f"{SCORING}/default/ml/accuracy")
    assert status == 200
    assert list(report) == [
        "total",
        "validated",
        "accurate",
        "accuracy",
        "auc",
        "brier",
        "calibrationError",
        "byTier",
        "bySource",
        "since",
    ]
    assert (report["total"], report["validated"], report["accuracy"], report["since"]) == (0, 0, None, None)


async def test_accuracy_counts_by_tier_and_source(door: Door) -> None:
    predictions = [await predict(door, lead) for lead in ("hot-0", "hot-1", "cold-0", "cold-1")]
    for prediction, was_accurate in zip(predictions, (True, False, True, True), strict=True):
        await door.post(f"{SCORING}/predictions/{prediction['id']}/validate", {"wasAccurate": was_accurate})
    _, report = await door.get(f"{SCORING}/default/ml/accuracy")
    assert (report["total"], report["validated"], report["accurate"], report["accuracy"]) == (4, 4, 3, 0.75)
    assert report["bySource"]["rules"]["total"] == 4
    assert sum(each["total"] for each in report["byTier"].values()) == 4
    assert parse_rfc3339(report["since"]) <= NOW
    assert (await door.get(f"{SCORING}/default/ml/accuracy?type=CHURN"))[1]["total"] == 0


async def test_accuracy_is_answered_month_by_month_if_asked_for(door: Door) -> None:
    found = await predict(door, "hot-0")
    await door.post(f"{SCORING}/predictions/{found['id']}/validate", {"wasAccurate": True})
    door.clock.advance(30 * 86_400)
    await predict(door, "hot-0")
    _, report = await door.get(f"{SCORING}/default/ml/accuracy?byMonth=true")
    assert {month: (each["total"], each["validated"]) for month, each in report["byMonth"].items()} == {
        "2026-11": (1, 1),
        "2026-12": (1, 0),
    }
    assert "byMonth" not in (await door.get(f"{SCORING}/default/ml/accuracy"))[1]


async def test_lists_figures_and_verdicts_survive_a_restart(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    async with running(SETTINGS, tmp_path, clock) as door:
        await populated(door, 2, 2)
        for lead in ("hot-0", "cold-0", "hot-1"):
            found = await predict(door, lead)
        await door.post(f"{SCORING}/predictions/{found['id']}/validate", {"wasAccurate": True})
        clock.advance(3)
        await predict(door, "hot-0", forceRefresh=True)
        before = [await door.get(f"{SCORING}/default/ml/{path}") for path in ("ranked-leads", "accuracy")]
    async with running(SETTINGS, tmp_path, clock) as door:
        assert [await door.get(f"{SCORING}/default/ml/{path}") for path in ("ranked-leads", "accuracy")] == before
        assert (await predict(door, "cold-0"))["createdAt"] == before[0][1]["items"][-1]["createdAt"], "still current"


async def test_importance_of_the_rules_is_the_points_that_they_give(door: Door) -> None:
    status, found = await door.get(f"{SCORING}/default/ml/feature-importance")
    assert (status, found["modelVersion"], found["method"]) == (200, None, "points")
    assert set(found["items"][0]) == {"feature", "category", "importance", "std"}
    assert sum(each["importance"] for each in found["items"]) == pytest.approx(100)
    assert {each["category"] for each in found["items"]} == {"demographic", "behavioral", "temporal", "engagement"}
    importances = [each["importance"] for each in found["items"]]
    assert importances == sorted(importances, reverse=True)


# What is refused.

MAKING = "a" * 64


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "leads/nobody/ml/predict", {}, (404, "lead_not_found")),
        ("GET", "leads/nobody/ml/prediction", None, (404, "lead_not_found")),
        ("GET", "leads/nobody/ml/features", None, (404, "lead_not_found")),
        ("POST", "leads/hot-0/ml/predict", {"configId": "other"}, (404, "configuration_not_found")),
        ("GET", "leads/hot-0/ml/prediction?configId=other", None, (404, "configuration_not_found")),
        ("GET", "leads/hot-0/ml/prediction?type=conversion", None, (422, "invalid_parameter")),
        ("GET", "leads/hot-0/ml/prediction?kind=CHURN", None, (422, "invalid_parameter")),
        ("GET", "leads/hot-0/ml/features?type=CHURN", None, (422, "invalid_parameter")),
        ("POST", "leads/hot-0/ml/predict", {"forceRefresh": 1}, (422, "invalid_body")),
        ("POST", "leads/hot-0/ml/predict", {"force_refresh": True}, (422, "invalid_body")),
        ("POST", "leads/hot-0/ml/predict", [], (422, "invalid_body")),
        ("POST", "leads/hot-0/ml/predict", b"{", (400, "malformed_json")),
        ("PUT", "leads/hot-0/ml/predict", {}, (405, "method_not_allowed")),
        ("GET", "leads/hot-0/ml/nothing", None, (404, "not_found")),
        ("POST", "predictions/nothing/validate", {"wasAccurate": True}, (404, "prediction_not_found")),
        ("POST", f"predictions/{MAKING}/validate", {"wasAccurate": True}, (404, "prediction_not_found")),
        ("POST", f"predictions/{MAKING}.conversion/validate", {"wasAccurate": True}, (404, "prediction_not_found")),
        ("POST", f"predictions/{MAKING}.conversion/validate", {}, (422, "invalid_body")),
        ("POST", f"predictions/{MAKING}.conversion/validate", {"wasAccurate": None}, (422, "invalid_body")),
        ("GET", "other/ml/ranked-leads", None, (404, "configuration_not_found")),
        ("GET", "other/ml/top-leads", None, (404, "configuration_not_found")),
        ("GET", "other/ml/leads-by-tier", None, (404, "configuration_not_found")),
        ("GET", "other/ml/accuracy", None, (404, "configuration_not_found")),
        ("GET", "other/ml/feature-importance", None, (404, "configuration_not_found")),
        ("GET", "other/ml/jobs/1", None, (404, "configuration_not_found")),
        ("POST", "other/ml/bulk-predict", {}, (404, "configuration_not_found")),
        ("GET", "default/ml/ranked-leads?limit=0", None, (422, "invalid_limit")),
        ("GET", "default/ml/ranked-leads?limit=1001", None, (422, "invalid_limit")),
        ("GET", "default/ml/ranked-leads?limit=x", None, (422, "invalid_limit")),
        ("GET", "default/ml/ranked-leads?minScore=-1", None, (422, "invalid_parameter")),
        ("GET", "default/ml/ranked-leads?minScore=101", None, (422, "invalid_parameter")),
        ("GET", "default/ml/ranked-leads?minScore=nan", None, (422, "invalid_parameter")),
        ("GET", "default/ml/ranked-leads?minScore=", None, (422, "invalid_parameter")),
        ("GET", "default/ml/ranked-leads?cursor=x", None, (422, "invalid_cursor")),
        ("GET", "default/ml/ranked-leads?n=3", None, (422, "invalid_parameter")),
        ("GET", "default/ml/top-leads?n=0", None, (422, "invalid_limit")),
        ("GET", "default/ml/top-leads?n=-1", None, (422, "invalid_limit")),
        ("GET", "default/ml/top-leads?n=1e3", None, (422, "invalid_limit")),
        ("GET", "default/ml/leads-by-tier?tier=TOP", None, (422, "invalid_parameter")),
        ("GET", "default/ml/leads-by-tier?tier=", None, (422, "invalid_parameter")),
        ("GET", "default/ml/accuracy?type=X", None, (422, "invalid_parameter")),
        ("GET", "default/ml/accuracy?byMonth=1", None, (422, "invalid_parameter")),
        ("GET", "default/ml/jobs/nothing", None, (404, "job_not_found")),
        ("DELETE", "default/ml/jobs/nothing", None, (404, "job_not_found")),
        ("POST", "default/ml/bulk-predict", {"limit": 0}, (422, "invalid_body")),
        ("POST", "default/ml/bulk-predict", {"limit": 1.5}, (422, "invalid_body")),
        ("POST", "default/ml/bulk-predict", {"minScore": 101}, (422, "invalid_body")),
        ("POST", "default/ml/bulk-predict", {"min_score": 1}, (422, "invalid_body")),
    ],
)
async def test_what_cannot_be_answered_is_refused_with_a_code(
    door: Door, method: str, path: str, body: Any, expected: tuple[int, str]
) -> None:
    if method == "POST":
        status, problem = await door.post(f"{SCORING}/{path}", body)
    else:
        status, problem = await door.send(method, f"{SCORING}/{path}")
    assert (status, problem["code"]) == expected
    assert problem["message"] == problem["detail"]


async def test_the_type_of_an_unmade_prediction_is_unknown(door: Door) -> None:
    found = await predict(door, "hot-0")
    other = found["id"].replace(".conversion", ".churn")
    status, problem = await door.post(f"{SCORING}/predictions/{other}/validate", {"wasAccurate": True})
    assert (status, problem["code"]) == (404, "prediction_not_found")


# Who may ask.


def key(directory: Path, *scopes: str, org: str = "acme") -> dict[str, str]:
    token = create_key(directory, org=org, scopes=list(scopes), clock=VirtualClock(NOW))
    return {"Authorization": f"Bearer {token}"}


async def test_scopes_are_kept_and_other_orgs_see_nothing(tmp_path: Path) -> None:
    mine, reader, writer = (key(tmp_path, scope) for scope in ("admin", "read", "ingest"))
    theirs = key(tmp_path, "admin", org="other")
    async with running(directory=tmp_path, clock=VirtualClock(NOW)) as door:
        for org, headers in (("acme", mine), ("other", theirs)):
            assert (await door.post(f"/v1/orgs/{org}/events", hot("42"), headers=headers))[0] == 200
        door.headers = mine
        found = await predict(door, "42")
        _, job = await door.post(f"{SCORING}/default/ml/bulk-predict", {})
        gets = [f"leads/42/ml/{path}" for path in ("prediction", "features")]
        lists = [f"default/ml/{path}" for path in ("ranked-leads", "top-leads", "leads-by-tier?tier=low", "accuracy")]
        posts = ["leads/42/ml/predict", "default/ml/bulk-predict"]
        for path in (*gets, *lists, f"default/ml/jobs/{job['jobId']}", "default/ml/feature-importance"):
            assert (await door.get(f"{SCORING}/{path}", headers=reader))[0] == 200
            assert (await door.get(f"{SCORING}/{path}", headers=writer))[0] == 403
        for path in posts:
            assert (await door.post(f"{SCORING}/{path}", {}, headers=reader))[0] == 403
        verdict = f"{SCORING}/predictions/{found['id']}/validate"
        assert (await door.post(verdict, {"wasAccurate": True}, headers=reader))[0] == 403
        door.headers = theirs
        assert (await door.get(f"{SCORING}/leads/42/ml/prediction"))[1]["code"] == "prediction_not_found"
        assert (await door.post(verdict, {"wasAccurate": True}))[1]["code"] == "prediction_not_found"
        assert (await door.get(f"{SCORING}/default/ml/jobs/{job['jobId']}"))[1]["code"] == "job_not_found"
        assert (await door.send("DELETE", f"{SCORING}/default/ml/jobs/{job['jobId']}"))[1]["code"] == "job_not_found"
        assert await listed(door, "default/ml/ranked-leads") == []
        assert (await door.get(f"{SCORING}/default/ml/accuracy"))[1]["total"] == 0
        door.headers = {}
        assert (await door.get(f"{SCORING}/default/ml/ranked-leads"))[0] == 401
