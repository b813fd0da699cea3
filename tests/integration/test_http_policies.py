"""Policies over HTTP: documents, what they keep when they change, and who may touch them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from bandit.events import policy_stream, unpack_vector
from gateway.keyring import create_key
from kernel.clock import VirtualClock
from kernel.errors import StoreUnavailable
from kernel.settings import OrgSettings, Settings
from kernel.times import format_time
from tests.integration.deciding import (
    ARMS,
    POLICY,
    asked,
    bought,
    decide,
    define,
    logged,
    passing,
    put,
    reward,
    settled,
)
from tests.integration.service import NOW, Door, running


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


async def test_a_policy_is_answered_complete(door: Door) -> None:
    policy = await define(door)
    assert list(policy) == [
        "name",
        "version",
        "defined",
        "arms",
        "context",
        "learner",
        "baseline",
        "floor",
        "seed",
        "reward",
        "guardrails",
    ]
    assert (policy["name"], policy["version"], policy["defined"]) == ("offers", 1, format_time(NOW))
    assert (policy["baseline"], policy["floor"], policy["seed"]) == ("mail", 0.02, 1)
    assert policy["learner"] == {"kind": "linear", "exploration": "", "args": ""}
    assert policy["arms"][2] == {"id": "wait", "features": {}, "enabled": True}
    assert policy["reward"] == {
        "rules": [],
        "wait_s": 3600,
        "default": 0,
        "aggregation": "sum",
        "attribution": "last",
    }
    assert policy["guardrails"] == {
        "share": {},
        "per_day": {},
        "eligible": {},
        "per_lead_week": {"total": None, "arms": {}, "channels": {}},
        "opt_out": None,
        "holdout": 0,
        "apprentice": False,
        "kill": False,
    }
    assert await door.get("policies/offers") == (200, policy)
    sent_back = {name: value for name, value in policy.items() if name not in ("name", "version", "defined")}
    assert await put(door, "policies/offers", sent_back) == (200, policy), "what is answered can be sent"


async def test_equal_content_makes_no_new_version_and_other_content_does(door: Door) -> None:
    documents: list[dict[str, Any]] = [{}, {}, {"floor": 0.1}, {"floor": 0.1}, {}, {"baseline": "mail"}, {"seed": 2}]
    versions = [(await define(door, **fields))["version"] for fields in documents]
    assert versions == [1, 1, 2, 2, 3, 3, 4]
    assert len(await door.service.store.read(policy_stream("default", "offers"))) == 4


async def test_definitions_at_the_same_time_get_versions_one_after_the_other(door: Door) -> None:
    await define(door)
    answers = await asyncio.gather(*(put(door, "policies/offers", POLICY | {"floor": n % 3 / 10}) for n in range(12)))
    assert all(status == 200 for status, _ in answers)
    log = await door.service.store.read(policy_stream("default", "offers"))
    assert [msgspec.json.decode(each.data)["version"] for each in log] == list(range(1, len(log) + 1))


async def test_a_definition_whose_answer_was_lost_is_no_second_one(door: Door) -> None:
    await put(door, "services/lead", {"features": ["rfm:recency_days"]})
    door.service.store.fail_next(StoreUnavailable("the disk is full"))  # type: ignore[attr-defined]
    assert (await put(door, "policies/offers", POLICY))[0] == 503
    assert (await door.get("policies/offers"))[0] == 404
    assert (await put(door, "policies/offers", POLICY))[1]["version"] == 1


async def test_policies_are_listed_by_name_page_by_page(door: Door) -> None:
    names = ["a/b", "offers", "ü ñ", "z", "~x"]
    for name in reversed(names):
        await define(door, name)
    await define(door, "gone")
    assert (await door.send("DELETE", "policies/gone"))[0] == 204
    seen: list[str] = []
    cursor = ""
    while True:
        _, page = await door.get(f"policies?limit=2{cursor}")
        seen += [each["name"] for each in page["items"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert seen == sorted(names)
    for name in names:
        path = f"policies/{quote(name, safe='')}"
        assert (await door.get(path))[1]["name"] == name
        assert (await door.post(f"{path}/decide", {"lead": "a"}))[0] == 200
    for query in ("?cursor=x", "?limit=0", "?limit=1001", "?x=1"):
        assert (await door.get(f"policies{query}"))[0] == 422


# Changes.


async def test_a_deleted_policy_is_gone_and_begins_anew_under_its_name(door: Door) -> None:
    await define(door)
    made = await decide(door, decision_id="d1")
    assert await door.send("DELETE", "policies/offers") == (204, None)
    assert (await door.send("DELETE", "policies/offers"))[0] == 404
    assert (await door.get("policies/offers"))[0] == 404
    assert (await asked(door))[1]["code"] == "policy_not_found"
    assert (await reward(door, "d1", 1))[1] == {"late": False, "learned": True, "duplicate": False}
    await passing(door, 3700)
    assert [each.reward for each in await settled(door)] == [1], "its open decisions still settle"
    again = await define(door)
    assert again["version"] == 3
    assert (await door.get("policies/offers/versions"))[1]["items"] == []
    assert (await decide(door, decision_id="d2"))["model_version"] == "3.0"
    assert (await decide(door, decision_id="d1")) == made


async def test_a_decision_keeps_the_version_that_it_was_made_under(door: Door) -> None:
    await define(door, reward={"wait_s": 60, "default": 1})
    await decide(door, decision_id="d1")
    await define(door, reward={"wait_s": 60, "default": 2})
    await decide(door, decision_id="d2")
    await passing(door, 70)
    assert {each.decision_id: (each.policy_version, each.reward) for each in await settled(door)} == {
        "d1": (1, 1),
        "d2": (2, 2),
    }


async def test_arms_are_added_and_paused_without_losing_what_was_learned(door: Door) -> None:
    await define(door)
    for number in range(5):
        made = await decide(door, f"lead {number}")
        await reward(door, made["decision_id"], 1)
    await passing(door, 3700)
    assert (await decide(door))["model_version"] == "1.5"
    await define(door, arms=[*ARMS[1:], {"id": "new"}, ARMS[0] | {"enabled": False}], baseline="mail")
    made = await decide(door)
    assert (made["model_version"], made["policy_version"]) == ("1.5", 2)
    assert {each["arm"] for each in made["ranking"]} == {"mail", "call", "wait", "new"}
    await define(door, learner={"kind": "linear", "exploration": "squarecb"})
    assert (await decide(door))["model_version"] == "3.5", "another learner learns what was settled anew"


async def test_a_service_that_is_redefined_takes_its_policies_along(door: Door) -> None:
    await define(door)
    await door.events(bought("42", "e1", 50))
    first = await decide(door)
    await reward(door, first["decision_id"], 1)
    await passing(door, 3700)
    await put(door, "services/lead", {"features": ["lifetime:referral_count", "rfm:monetary_total"]})
    assert (await door.get("policies/offers"))[1]["version"] == 2
    made = await decide(door)
    assert (made["policy_version"], made["model_version"]) == (2, "2.1")
    old, new = await logged(door, "42")
    assert list(unpack_vector(old.context)) == [50, 0]
    assert list(unpack_vector(new.context)) == [0, 50]
    for each, columns in ((old, ["rfm:monetary_total", "rfm:recency_days"]), (new, ["lifetime:referral_count"])):
        found = (await door.get(f"decisions/{each.decision_id}"))[1]
        assert set(columns) <= set(found["context"]), "the columns' names are those of the decision"


async def test_a_service_that_is_deleted_leaves_nulls(door: Door) -> None:
    await define(door)
    assert (await door.send("DELETE", "services/lead"))[0] == 204
    await decide(door)
    (event,) = await logged(door, "42")
    assert [number == number for number in unpack_vector(event.context)] == [False, False]
    status, problem = await put(door, "policies/offers", POLICY | {"floor": 0.5})
    assert (status, problem["errors"][0]["path"]) == (422, "context")


async def test_categories_and_the_market_are_columns_of_the_context(door: Door) -> None:
    features = ["market:tutor_count_algebra", "segment:acquisition_channel", "rfm:monetary_total"]
    await put(door, "services/wide", {"features": features})
    await define(door, context="wide")
    await door.events(
        bought("42", "e1", 7),
        {"lead": "42", "type": "signed_up", "id": "e2", "data": {"channel": "paid"}},
        {"subject": "algebra", "type": "tutor_available", "id": "1", "data": {"tutor_id": "t", "hours": 1}},
    )
    made = await decide(door)
    _, vector = await door.get("leads/42/features?service=wide&format=vector")
    found = (await door.get(f"decisions/{made['decision_id']}"))[1]
    assert found["context"] == dict(zip(vector["names"], vector["values"], strict=True))
    assert found["context"]["market:tutor_count_algebra"] == 1


# What was learned.


async def test_arms_and_health_tell_what_was_chosen_and_what_it_brought(door: Door) -> None:
    await define(door)
    chosen = []
    for number in range(12):
        made = await decide(door, f"lead {number}")
        chosen.append(made["arm"])
        if number < 8:
            await reward(door, made["decision_id"], number)
    _, arms = await door.get("policies/offers/arms")
    assert [each["arm"] for each in arms["items"]] == ["mail", "call", "wait"]
    assert {each["arm"]: each["pending"] for each in arms["items"]} == {
        a: chosen.count(a) for a in ("mail", "call", "wait")
    }
    assert all(each["mean"] is None and each["matured"] == 0 for each in arms["items"])
    await passing(door, 3700)
    _, arms = await door.get("policies/offers/arms")
    items = {each["arm"]: each for each in arms["items"]}
    assert sum(each["share"] for each in arms["items"]) == pytest.approx(1)
    for arm, each in items.items():
        assert (each["decisions"], each["matured"], each["pending"]) == (chosen.count(arm), chosen.count(arm), 0)
        brought = [number if number < 8 else 0 for number, name in enumerate(chosen) if name == arm]
        assert each["mean"] == (pytest.approx(sum(brought) / len(brought)) if brought else None)
        assert each["enabled"] is True
    assert [each["day"] for each in arms["days"]] == [format_time(NOW)[:10]]
    _, health = await door.get("policies/offers/health")
    assert (health["decisions"], health["matured"], health["pending"]) == (12, 12, 0)
    assert health["join_rate"] == pytest.approx(8 / 12)
    assert 0 < health["entropy"] <= 1
    assert health["sample_ratio"]["is_alarm"] is False


async def test_versions_are_listed_downloaded_promoted_and_rolled_back(door: Door) -> None:
    await define(door)
    assert (await door.get("policies/offers/versions"))[1] == {"items": [], "cursor": None, "deciding": None}
    status, problem = await door.send("POST", "policies/offers/rollback")
    assert (status, problem["code"]) == (404, "model_version_not_found")
    for _ in range(4):
        made = await decide(door)
        await reward(door, made["decision_id"], 1)
        await passing(door, 3700)
    _, listed = await door.get("policies/offers/versions")
    names = [each["version"] for each in listed["items"]]
    assert names == ["1.3", "1.2", "1.1"], "one an hour, before the first update that comes after it"
    newest = listed["items"][0]
    assert (newest["updates"], newest["kept"], newest["decides"]) == (3, True, False)
    assert newest["settings"] == {"kind": "linear", "exploration": "", "args": ""}
    _, page = await door.get("policies/offers/versions?limit=2")
    _, rest = await door.get(f"policies/offers/versions?limit=2&cursor={page['cursor']}")
    assert [each["version"] for each in (*page["items"], *rest["items"])] == names
    response = await door.raw("GET", "policies/offers/model?version=1.3")
    body = await response.read()
    assert (response.headers["X-Model-Version"], len(body)) == ("1.3", newest["size_bytes"])
    live = await door.raw("GET", "policies/offers/model")
    assert live.headers["X-Model-Version"] == "1.4"
    assert await live.read() != body
    assert await door.send("POST", "policies/offers/rollback") == (200, {"deciding": "1.3"})
    assert (await decide(door))["model_version"] == "1.3"
    assert await door.post("policies/offers/rollback", {}) == (200, {"deciding": "1.2"})
    assert await door.post("policies/offers/rollback", {"version": "1.1"}) == (200, {"deciding": "1.1"})
    assert (await door.send("POST", "policies/offers/rollback"))[0] == 404
    _, listed = await door.get("policies/offers/versions")
    assert listed["deciding"] == "1.1"
    assert [each["decides"] for each in listed["items"]] == [False, False, True]
    assert (await door.raw("GET", "policies/offers/model")).headers["X-Model-Version"] == "1.1"
    assert await door.post("policies/offers/rollback", {"version": None}) == (200, {"deciding": None})
    assert (await decide(door))["model_version"] == "1.4"
    status, problem = await door.post("policies/offers/rollback", {"version": "9.9"})
    assert (status, problem["code"]) == (404, "model_version_not_found")
    assert (await door.raw("GET", "policies/offers/model?version=9.9")).status == 404
    assert (await door.post("policies/offers/rollback", {"x": 1}))[0] == 422


async def test_definitions_models_and_promotions_survive_a_restart_and_a_replay(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    async with running(directory=tmp_path, clock=clock) as door:
        await define(door)
        await define(door, "gone")
        await door.send("DELETE", "policies/gone")
        for _ in range(3):
            made = await decide(door)
            await reward(door, made["decision_id"], 1)
            await passing(door, 3700)
        await define(door, floor=0.1)
        await door.send("POST", "policies/offers/rollback")
        policies = (await door.get("policies"))[1]
        versions = (await door.get("policies/offers/versions"))[1]
        arms = (await door.get("policies/offers/arms"))[1]
        model = await (await door.raw("GET", "policies/offers/model")).read()
    async with running(directory=tmp_path, clock=clock) as door:
        for _ in range(2):
            assert (await door.get("policies"))[1] == policies
            assert (await door.get("policies/offers/versions"))[1] == versions
            assert (await door.get("policies/offers/arms"))[1] == arms
            assert await (await door.raw("GET", "policies/offers/model")).read() == model
            for kind in ({"kind": "replay"}, {"kind": "replay", "policies": True}, {"kind": "verify"}):
                result = await job(door, kind)
                assert result.get("differing_count", 0) == 0
                assert all(each["same"] for each in result.get("policies", []))
        assert (await door.get("policies/gone"))[0] == 404


async def job(door: Door, request: dict[str, Any]) -> dict[str, Any]:
    """A job's result, when it is done."""
    status, started = await door.post("jobs", request)
    assert status == 202, started
    while (found := (await door.get(f"jobs/{started['id']}"))[1])["state"] == "running":  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)
    assert found["state"] == "done", found
    result: dict[str, Any] = found["result"]
    return result


# Who may.


async def test_each_route_asks_for_its_scope(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    async with running(directory=tmp_path, clock=clock) as door:
        await define(door)
        await decide(door, decision_id="d1")
    keys = {
        scope: create_key(tmp_path, org="default", scopes=[scope], clock=VirtualClock(NOW))
        for scope in ("ingest", "read", "decide", "admin")
    }
    routes = [
        ("PUT", "policies/offers", POLICY, "admin"),
        ("GET", "policies/offers", None, "read"),
        ("GET", "policies", None, "read"),
        ("POST", "policies/offers/decide", {"lead": "a"}, "decide"),
        ("POST", "decisions/d1/reward", {"value": 1, "id": "r"}, "decide"),
        ("POST", "decisions/d1/activate", None, "decide"),
        ("GET", "decisions/d1", None, "read"),
        ("GET", "decisions", None, "read"),
        ("GET", "policies/offers/arms", None, "read"),
        ("GET", "policies/offers/health", None, "read"),
        ("GET", "policies/offers/versions", None, "read"),
        ("GET", "policies/offers/model", None, "read"),
        ("POST", "policies/offers/rollback", {"version": None}, "admin"),
        ("DELETE", "policies/offers", None, "admin"),
    ]
    async with running(directory=tmp_path, clock=clock) as door:
        for method, path, body, needed in routes:
            data = b"" if body is None else msgspec.json.encode(body)
            for scope in ("ingest", "read", "decide", "admin"):
                headers = {"Authorization": f"Bearer {keys[scope]}", "Content-Type": "application/json"}
                response = await door.raw(method, path, data=data, headers=headers)
                allowed = scope in (needed, "admin")
                assert (response.status < 300) == allowed, (method, path, scope, await response.read())
                assert allowed or response.status == 403


async def test_another_orgs_policies_and_decisions_are_not_there(tmp_path: Path) -> None:
    settings = Settings(org={"default": OrgSettings(), "other": OrgSettings()})
    clock = VirtualClock(NOW)
    async with running(settings, directory=tmp_path, clock=clock) as door:
        await define(door)
        await decide(door, decision_id="d1")
    mine = create_key(tmp_path, org="default", scopes=["admin"], clock=VirtualClock(NOW))
    foreign = create_key(tmp_path, org="other", scopes=["admin"], clock=VirtualClock(NOW))
    async with running(settings, directory=tmp_path, clock=clock) as door:
        for path in ("policies/offers", "decisions/d1", "decisions", "policies"):
            status, problem = await door.get(path, headers={"Authorization": f"Bearer {foreign}"})
            assert (status, problem["code"]) == (404, "org_not_found"), "not its own path"
        door.headers = {"Authorization": f"Bearer {foreign}"}
        other = "/v1/orgs/other/"
        for path in ("policies/offers", "policies/offers/arms", "decisions/d1"):
            assert (await door.get(other + path))[0] == 404
        assert (await door.post(f"{other}decisions/d1/reward", {"value": 1}))[1]["code"] == "decision_not_found"
        assert (await door.get(f"{other}decisions"))[1]["items"] == []
        assert (await door.get(f"{other}policies"))[1]["items"] == []
        await put(door, f"{other}services/lead", {"features": ["rfm:recency_days"]})
        assert (await put(door, f"{other}policies/offers", POLICY))[1]["version"] == 1
        status, _ = await door.post(f"{other}policies/offers/decide", {"lead": "42", "decision_id": "d1"})
        assert status == 200, "ids are an org's own"
        door.headers = {"Authorization": f"Bearer {mine}"}
        assert (await door.get("decisions/d1"))[1]["decided"] == format_time(NOW)
        assert (await door.get("policies"))[1]["items"][0]["context"] == "lead"
        assert len((await door.get("decisions"))[1]["items"]) == 1


async def test_openapi_has_every_route_of_the_bandit(door: Door) -> None:
    _, document = await door.get("/openapi.json")
    base = "/v1/orgs/{org}"
    expected = {
        f"{base}/policies": {"get"},
        f"{base}/policies/{{policy}}": {"get", "put", "delete"},
        f"{base}/policies/{{policy}}/decide": {"post"},
        f"{base}/policies/{{policy}}/arms": {"get"},
        f"{base}/policies/{{policy}}/health": {"get"},
        f"{base}/policies/{{policy}}/versions": {"get"},
        f"{base}/policies/{{policy}}/rollback": {"post"},
        f"{base}/policies/{{policy}}/model": {"get"},
        f"{base}/decisions": {"get"},
        f"{base}/decisions/{{decision}}": {"get"},
        f"{base}/decisions/{{decision}}/reward": {"post"},
        f"{base}/decisions/{{decision}}/activate": {"post"},
    }
    for path, methods in expected.items():
        assert set(document["paths"][path]) & {"get", "put", "post", "delete"} == methods, path
    schemas = document["components"]["schemas"]
    assert set(POLICY) <= set(schemas["Policy"]["properties"])
