"""Alert rules and alerts over HTTP: raised by events and by time, once, and quiet after old news."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.keyring import create_key
from kernel.times import DAY_US, HOUR_US
from tests.integration.listening import listening
from tests.integration.service import NOW, Door, purchase, running

SPENT = {"when": "rfm.monetary_total > 100.0", "severity": "high", "cooldown_s": 3600}
QUIET = {"when": "rfm.recency_days >= 2", "cooldown_s": 0}


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def put(door: Door, name: str, rule: dict[str, Any]) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"}
    return await door.send("PUT", f"alert-rules/{name}", data=msgspec.json.encode(rule), headers=headers)


async def rule(door: Door, name: str, definition: dict[str, Any]) -> dict[str, Any]:
    status, body = await put(door, name, definition)
    assert status == 200, body
    await door.service.alerts.settle()
    document: dict[str, Any] = body
    return document


async def alerts(door: Door, query: str = "") -> list[dict[str, Any]]:
    await door.service.alerts.settle()
    status, body = await door.get(f"alerts{query}")
    assert status == 200, body
    items: list[dict[str, Any]] = body["items"]
    return items


def told(items: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(each["lead"], each["rule"], each["state"]) for each in items]


# Rules.


async def test_a_rule_is_defined_read_listed_and_deleted(door: Door) -> None:
    defined = await rule(door, "big", {**SPENT, "until": "rfm.monetary_total < 90.0", "sinks": ["log", "stream"]})
    assert defined == {
        "name": "big",
        "version": 1,
        "when": "rfm.monetary_total > 100.0",
        "until": "rfm.monetary_total < 90.0",
        "severity": "high",
        "cooldown_s": 3600,
        "sinks": ["log", "stream"],
        "built_in": False,
        "error": None,
    }
    assert await door.get("alert-rules/big") == (200, defined)
    status, listed = await door.get("alert-rules?limit=2")
    assert status == 200
    assert [each["name"] for each in listed["items"]] == ["big", "churn_risk_high"]
    status, rest = await door.get(f"alert-rules?limit=2&cursor={listed['cursor']}")
    assert [each["name"] for each in rest["items"]] == ["churn_risk_ib_calls", "health_score_critical"]
    assert [each["built_in"] for each in rest["items"]] == [True, True]
    assert rest["cursor"] is None
    assert await door.send("DELETE", "alert-rules/big") == (204, None)
    assert (await door.get("alert-rules/big"))[1]["code"] == "alert_rule_not_found"
    assert (await door.send("DELETE", "alert-rules/big"))[0] == 404


async def test_equal_content_makes_no_new_version(door: Door) -> None:
    assert (await rule(door, "big", SPENT))["version"] == 1
    assert (await rule(door, "big", {**SPENT, "until": None, "sinks": []}))["version"] == 1
    assert (await rule(door, "big", {**SPENT, "cooldown_s": 0}))["version"] == 2
    (last,) = await door.service.store.read_type("default", "alert_rule_defined", limit=1)
    assert last.version == 2


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"when": "rfm.no_such > 1"}, "when"),
        ({"when": "rfm.monetary_total >"}, "when"),
        ({"when": "rfm.monetary_total"}, "when"),
        ({"when": "prediction.no_such > 0.5"}, "when"),
        ({**SPENT, "until": "nope.nope == 1"}, "until"),
        ({**SPENT, "sinks": ["stream", "pager"]}, "sinks[1]"),
        ({**SPENT, "sinks": ["log", "log"]}, "sinks[1]"),
        ({**SPENT, "severity": "grave"}, "severity"),
        ({**SPENT, "cooldown_s": -1}, "cooldown_s"),
        ({**SPENT, "cooldown": 1}, "cooldown"),
        ({"severity": "low"}, "when"),
    ],
)
async def test_a_bad_rule_is_refused_by_path(door: Door, wrong: dict[str, Any], path: str) -> None:
    status, problem = await put(door, "bad", wrong)
    assert status == 422, problem
    (error,) = problem["errors"]
    assert error["path"] == path
    assert error["expected"]
    assert (await door.get("alert-rules/bad"))[0] == 404


async def test_rules_outlive_a_restart(tmp_path: Path) -> None:
    async with running(directory=tmp_path) as door:
        await rule(door, "big", SPENT)
        await door.send("DELETE", "alert-rules/churn_risk_high")
    async with running(directory=tmp_path) as door:
        _, listed = await door.get("alert-rules")
        assert [each["name"] for each in listed["items"]] == ["big", "churn_risk_ib_calls", "health_score_critical"]


# Raising.


async def test_an_event_raises_an_alert_once(door: Door) -> None:
    await rule(door, "big", SPENT)
    await door.events(purchase("a", "p1", 150))
    (alert,) = await alerts(door)
    assert (alert["lead"], alert["rule"], alert["severity"], alert["state"]) == ("a", "big", "high", "open")
    assert alert["values"] == {"rfm:monetary_total": 150}
    await door.events(purchase("a", "p2", 5))
    assert len(await alerts(door)) == 1
    _, timeline = await door.get("leads/a/events")
    assert [item["type"] for item in timeline["items"]].count("alert_raised") == 1


async def test_time_alone_raises_and_an_event_resolves_it(door: Door) -> None:
    await rule(door, "quiet", QUIET)
    await door.events(purchase("a", "p1", 1))
    door.clock.advance(2 * 86_400 - 1)
    assert await alerts(door) == []
    door.clock.advance(2)
    (alert,) = await alerts(door)
    assert alert["values"] == {"rfm:recency_days": 2}
    await door.events(purchase("a", "p2", 1, NOW + 2 * DAY_US))
    (alert,) = await alerts(door)
    assert (alert["state"], alert["resolved_by"]) == ("resolved", "itself")


async def test_the_worker_does_so_without_being_asked(door: Door) -> None:
    await put(door, "big", SPENT)
    await door.events(purchase("a", "p1", 150))

    async with asyncio.timeout(10):
        while not (await door.get("alerts"))[1]["items"]:
            door.clock.advance(0.3)


async def test_a_rule_that_holds_already_raises_for_every_lead(door: Door) -> None:
    await door.events(*(purchase(f"lead-{n:03}", "p1", 101 + n) for n in range(250)), purchase("small", "p1", 1))
    await rule(door, "big", SPENT)
    _, page = await door.get("alerts?limit=1000")
    assert len(page["items"]) == 250
    await door.send("DELETE", "alert-rules/big")
    found = await alerts(door, "?limit=1000&state=resolved")
    assert len(found) == 250
    assert {each["resolved_by"] for each in found} == {"rule"}


async def test_a_changed_rule_resolves_what_no_longer_holds(door: Door) -> None:
    await rule(door, "big", SPENT)
    await door.events(purchase("a", "p1", 150), purchase("b", "p1", 500))
    assert len(await alerts(door, "?state=open")) == 2
    await rule(door, "big", {**SPENT, "when": "rfm.monetary_total > 200.0"})
    assert told(await alerts(door, "?state=open")) == [("b", "big", "open")]


async def test_hysteresis_and_cooldown(door: Door) -> None:
    await rule(door, "quiet", {**QUIET, "until": "rfm.recency_days == 0", "cooldown_s": 5 * 86_400})
    await door.events(purchase("a", "p1", 1))
    door.clock.advance(2 * 86_400)
    assert len(await alerts(door, "?state=open")) == 1
    await door.events(purchase("a", "p2", 1, NOW + DAY_US))
    assert len(await alerts(door, "?state=open")) == 1  # a day old: `when` holds no more, `until` does not yet
    await door.events(purchase("a", "p3", 1, NOW + 2 * DAY_US))
    assert await alerts(door, "?state=open") == []
    door.clock.advance(2 * 86_400)
    assert await alerts(door, "?state=open") == []  # it holds again, but cools down
    door.clock.advance(3 * 86_400)
    assert len(await alerts(door, "?state=open")) == 1
    assert len(await alerts(door)) == 2


async def test_a_lead_that_nobody_knows_has_no_alerts(door: Door) -> None:
    await rule(door, "none", {"when": "rfm.monetary_total == 0.0"})
    assert await alerts(door) == []


async def test_rules_about_predictions_look_at_nobody_without_one(door: Door) -> None:
    await door.events(*(purchase(f"lead-{n}", "p1", 5) for n in range(50)))
    assert await alerts(door) == []
    assert door.service.alerts.looks == 0
    assert door.service.alerts.statistics().timers == 0


async def test_a_prediction_raises_what_its_rule_says(door: Door) -> None:
    await rule(door, "likely", {"when": "prediction.conversion_30d >= 0.0"})
    await door.events(purchase("a", "p1", 5), purchase("b", "p1", 5))
    assert await alerts(door) == []
    status, prediction = await door.post("/api/lead-scoring/leads/a/ml/predict", {})
    assert status == 200
    (alert,) = await alerts(door)
    assert (alert["lead"], alert["rule"]) == ("a", "likely")
    assert alert["values"] == {"prediction:conversion_30d": prediction["probability"]}


async def test_rules_about_the_market_are_looked_at_when_it_moves(door: Door) -> None:
    await door.events(purchase("a", "p1", 5))
    await rule(door, "supply", {"when": "market.tutor_count_algebra >= 1 && rfm.monetary_total > 1.0", "cooldown_s": 0})
    assert await alerts(door) == []
    door.clock.advance(61)
    event = {"subject": "algebra", "type": "tutor_available", "data": {"tutor_id": "t1", "hours": 4}}
    await door.events(event)
    (alert,) = await alerts(door)
    assert alert["values"] == {"market:tutor_count_algebra": 1, "rfm:monetary_total": 5}


# Old news.


async def test_old_news_raises_nothing_until_it_has_not_held_for_once(door: Door) -> None:
    await rule(door, "big", SPENT)
    await door.events(purchase("a", "old", 150, NOW - 2 * DAY_US))
    assert await alerts(door) == []
    await door.events(purchase("a", "new", 1))
    assert await alerts(door) == []
    await door.events({"id": "r", "lead": "a", "type": "event_retracted", "data": {"event_id": "old"}})
    assert await alerts(door) == []
    await door.events(purchase("a", "news", 200))
    assert told(await alerts(door)) == [("a", "big", "open")]


async def test_old_news_and_news_in_one_request_are_told_apart(door: Door) -> None:
    await rule(door, "big", SPENT)
    old, new = purchase("x", "old", 150, NOW - 2 * DAY_US), purchase("x", "new", 150)
    await door.events({**old, "lead": "only-old"}, {**new, "lead": "only-old", "data": {"amount": 1}})
    await door.events({**old, "lead": "both"} | {"data": {"amount": 60}}, {**new, "lead": "both"})
    await door.events({**new, "lead": "new-first"}, {**old, "lead": "new-first"})
    assert sorted(told(await alerts(door))) == [("both", "big", "open"), ("new-first", "big", "open")]


async def test_old_news_stays_quiet_over_a_restart_and_a_missed_event_does_not(tmp_path: Path) -> None:
    async with running(directory=tmp_path) as door:
        await rule(door, "big", SPENT)
        await door.events(purchase("old", "p1", 150, NOW - 2 * DAY_US))
        assert await alerts(door) == []
        await door.events(purchase("late", "p1", 50, NOW - 2 * DAY_US))
        door.clock.advance(0.01)
        await door.events(purchase("late", "p2", 90))  # nobody has looked when the service ends
    async with running(directory=tmp_path) as door:
        assert told(await alerts(door)) == [("late", "big", "open")]
        await door.events(purchase("old", "p2", 1))
        assert len(await alerts(door)) == 1


async def test_time_that_passes_while_the_service_is_down_raises_after_the_start(tmp_path: Path) -> None:
    async with running(directory=tmp_path) as door:
        await rule(door, "quiet", QUIET)
        await door.events(purchase("a", "p1", 1), purchase("b", "p1", 1, NOW + HOUR_US // 60))
        clock = door.clock
    clock.advance(2 * 86_400)
    async with running(directory=tmp_path, clock=clock) as door:
        assert told(await alerts(door)) == [("a", "quiet", "open")]
        door.clock.advance(120)
        assert len(await alerts(door)) == 2


# People.


async def test_an_alert_is_acknowledged_and_resolved_by_a_person(door: Door) -> None:
    await rule(door, "big", SPENT)
    await door.events(purchase("a", "p1", 150))
    (alert,) = await alerts(door)
    status, seen = await door.post(f"alerts/{alert['id']}/acknowledge", {})
    assert (status, seen["state"]) == (200, "acknowledged")
    assert await door.post(f"alerts/{alert['id']}/acknowledge", {}) == (200, seen)
    status, over = await door.post(f"alerts/{alert['id']}/resolve", {})
    assert (status, over["state"], over["resolved_by"]) == (200, "resolved", "person")
    assert over["acknowledged_at"] == seen["acknowledged_at"]
    assert await door.post(f"alerts/{alert['id']}/resolve", {}) == (200, over)
    assert await door.post(f"alerts/{alert['id']}/acknowledge", {}) == (200, over)
    assert await alerts(door, "?state=open") == []
    door.clock.advance(3601)
    assert told(await alerts(door, "?state=open")) == [("a", "big", "open")]


async def test_what_people_said_outlives_a_restart(tmp_path: Path) -> None:
    async with running(directory=tmp_path) as door:
        await rule(door, "big", SPENT)
        await door.events(*(purchase(lead, "p1", 150) for lead in "abc"))
        first, second, _ = await alerts(door)
        await door.post(f"alerts/{first['id']}/acknowledge", {})
        await door.post(f"alerts/{second['id']}/resolve", {})
        before = await alerts(door)
    async with running(directory=tmp_path) as door:
        assert await alerts(door) == before
        assert sorted(each["state"] for each in before) == ["acknowledged", "open", "resolved"]


@pytest.mark.parametrize("alert", ["x", "~al:x", "a" * 64])
@pytest.mark.parametrize("verb", ["acknowledge", "resolve"])
async def test_an_unknown_alert_is_404(door: Door, alert: str, verb: str) -> None:
    status, problem = await door.post(f"alerts/{alert}/{verb}", {})
    assert (status, problem["code"]) == (404, "alert_not_found")


# Lists.


async def test_alerts_are_filtered_and_paged_newest_first(door: Door) -> None:
    await rule(door, "big", SPENT)
    await rule(door, "bigger", {**SPENT, "when": "rfm.monetary_total > 200.0", "severity": "critical"})
    for n in range(5):
        await door.events(purchase(f"lead-{n}", "p1", 150 + 20 * n))
        await alerts(door)
        door.clock.advance(1)
    assert [each["lead"] for each in await alerts(door, "?rule=big")] == [f"lead-{n}" for n in (4, 3, 2, 1, 0)]
    assert len(await alerts(door, "?severity=critical")) == 2
    assert len(await alerts(door, "?lead=lead-4")) == 2
    assert len(await alerts(door, "?lead=lead-4&severity=high&state=open")) == 1
    found, cursor = [], ""
    while True:
        _, page = await door.get(f"alerts?limit=2{cursor}")
        found += page["items"]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
        await door.events(purchase(f"more-{len(found)}", "p1", 150))
        await door.service.alerts.settle()
    assert len({each["id"] for each in found}) == len(found) == 7


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("state=over", "invalid_parameter"),
        ("severity=grave", "invalid_parameter"),
        ("limit=0", "invalid_limit"),
        ("cursor=x", "invalid_cursor"),
        ("since=1", "invalid_parameter"),
    ],
)
async def test_a_wrong_question_is_refused(door: Door, query: str, code: str) -> None:
    status, problem = await door.get(f"alerts?{query}")
    assert (status, problem["code"]) == (422, code)


# The change feed, and who may.


async def test_the_change_feed_tells_of_alerts(door: Door) -> None:
    await rule(door, "big", SPENT)
    async with listening(door, "?lead=a&features=rfm:monetary_total") as ear:
        await ear.opened()
        await door.events(purchase("a", "p1", 150))
        (alert,) = await alerts(door)
        assert (await ear.next()).kind == "features"
        raised = await ear.next()
        assert raised.kind == "alert"
        assert raised.data == {
            "lead": "a",
            "at": alert["raised_at"],
            "id": alert["id"],
            "rule": "big",
            "state": "open",
            "severity": "high",
            "when": SPENT["when"],
            "values": {"rfm:monetary_total": 150},
        }
        await door.post(f"alerts/{alert['id']}/resolve", {})
        over = await ear.next()
        assert (over.kind, over.data["state"], over.data["resolved_by"]) == ("alert", "resolved", "person")


async def test_scopes_and_foreign_orgs(door: Door, tmp_path: Path) -> None:
    async with running(directory=tmp_path) as door:
        await rule(door, "big", SPENT)
        await door.events(purchase("a", "p1", 150))
        (alert,) = await alerts(door)
        keys = {
            scope: create_key(tmp_path, org="default", scopes=[scope], clock=door.clock)
            for scope in ("read", "ingest", "admin")
        }
        foreign = create_key(tmp_path, org="other", scopes=["admin"], clock=door.clock)
        door.clock.advance(2)
        write = (("PUT", "alert-rules/x"), ("DELETE", "alert-rules/x"), ("POST", f"alerts/{alert['id']}/resolve"))
        for method, path in (*write, ("GET", "alerts"), ("GET", "alert-rules"), ("GET", "webhook-dead-letters")):
            for scope, key in keys.items():
                headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
                status, _ = await door.send(method, path, headers=headers, data=msgspec.json.encode(SPENT))
                is_allowed = scope == "admin" or (scope == "read" and method == "GET")
                assert (status == 403) is not is_allowed, (method, path, scope, status)
        headers = {"Authorization": f"Bearer {foreign}"}
        assert (await door.get("alerts", headers=headers))[0] == 404
        path = f"/v1/orgs/other/alerts/{alert['id']}/resolve"
        status, problem = await door.post(path, {}, headers=headers)
        assert (status, problem["code"]) == (404, "alert_not_found")
        status, listed = await door.get("/v1/orgs/other/alerts", headers=headers)
        assert (status, listed["items"]) == (200, [])


async def test_metrics_count_alerts(door: Door) -> None:
    await rule(door, "big", SPENT)
    await door.events(purchase("a", "p1", 150), purchase("b", "p1", 150))
    first, _ = await alerts(door)
    await door.post(f"alerts/{first['id']}/resolve", {})
    text = (await (await door.raw("GET", "/metrics")).read()).decode()
    assert 'leadwheel_alerts_total{transition="raised"} 2.0' in text
    assert 'leadwheel_alerts_total{transition="resolved"} 1.0' in text
    assert "leadwheel_alerts_open 1.0" in text
