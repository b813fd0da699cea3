"""Policies that are refused over HTTP: each fault by its path, all of them together, and nothing is stored."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.deciding import POLICY, put
from tests.integration.service import Door, running


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with running() as door:
        yield door


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"arms": "mail"}, "arms"),
    ({"arms": [{"id": ""}]}, "arms[0].id"),
    ({"arms": [{"id": "x" * 257}]}, "arms[0].id"),
    ({"arms": [{"id": "a\n"}]}, "arms[0].id"),
    ({"arms": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}, "arms[2].id"),
    ({"arms": [{"id": "a", "features": {"x": [1]}}]}, "arms[0].features"),
    ({"arms": [{"id": "a", "features": {"x": 1e13}}]}, "arms[0].features.x"),
    ({"arms": [{"id": "a", "enabled": 1}]}, "arms[0].enabled"),
    ({"arms": [{"id": "a", "cost": 1}]}, "arms[0]"),
    ({"context": "nothing"}, "context"),
    ({"learner": {"kind": "magic"}}, "learner.kind"),
    ({"learner": {"kind": "linear", "exploration": "magic"}}, "learner.exploration"),
    ({"learner": {"kind": "vw", "args": "--final_regressor /tmp/x"}}, "learner.args"),
    ({"learner": {"kind": "uniform", "args": "x"}}, "learner.args"),
    ({"learner": {"colour": "blue"}}, "learner"),
    ({"baseline": "nobody"}, "baseline"),
    ({"floor": -0.1}, "floor"),
    ({"floor": 1.1}, "floor"),
    ({"floor": "a lot"}, "floor"),
    ({"seed": -1}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"reward": {"wait_s": 59}}, "reward.wait_s"),
    ({"reward": {"wait_s": 90 * 86_400 + 1}}, "reward.wait_s"),
    ({"reward": {"default": 1e13}}, "reward.default"),
    ({"reward": {"aggregation": "median"}}, "reward.aggregation"),
    ({"reward": {"attribution": "luck"}}, "reward.attribution"),
    ({"reward": {"wait_s": 60, "rules": [{"on": "login", "within_s": 61, "value": "1"}]}}, "reward.rules[0].within_s"),
    ({"reward": {"rules": [{"on": "login", "within_s": 0, "value": "1"}]}}, "reward.rules[0].within_s"),
    ({"reward": {"rules": [{"on": "nothing", "within_s": 9, "value": "1"}]}}, "reward.rules[0].on"),
    ({"reward": {"rules": [{"on": "decision_made", "within_s": 9, "value": "1"}]}}, "reward.rules[0].on"),
    ({"reward": {"rules": [{"on": "event_retracted", "within_s": 9, "value": "1"}]}}, "reward.rules[0].on"),
    ({"reward": {"rules": [{"on": "tutor_available", "within_s": 9, "value": "hours"}]}}, "reward.rules[0].on"),
    ({"reward": {"rules": [{"on": "login", "within_s": 9, "value": "amount"}]}}, "reward.rules[0].value"),
    ({"reward": {"rules": [{"on": "login", "within_s": 9, "value": "1 +"}]}}, "reward.rules[0].value"),
    ({"reward": {"rules": [{"on": "login", "within_s": 9, "value": "true"}]}}, "reward.rules[0].value"),
    ({"reward": {"rules": [{"on": "login", "within_s": 9, "value": "1", "where": "1"}]}}, "reward.rules[0].where"),
    ({"reward": {"rules": [{"on": "login", "within_s": 9}]}}, "reward.rules[0]"),
    ({"guardrails": {"share": {"nobody": {"min": 0.1}}}}, "guardrails.share.nobody"),
    ({"guardrails": {"share": {"mail": {"min": 0.5, "max": 0.4}}}}, "guardrails.share.mail"),
    ({"guardrails": {"share": {"mail": {"min": 1.5}}}}, "guardrails.share"),
    ({"guardrails": {"share": {"mail": {"min": 0.6}, "call": {"min": 0.6}}}}, "guardrails.share"),
    ({"guardrails": {"share": {each: {"max": 0.3} for each in ("mail", "call", "wait")}}}, "guardrails.share"),
    ({"floor": 0.9, "guardrails": {"share": {"mail": {"max": 0.2}}}}, "guardrails.share"),
    ({"guardrails": {"per_day": {"nobody": 1}}}, "guardrails.per_day.nobody"),
    ({"guardrails": {"per_day": {"mail": -1}}}, "guardrails.per_day"),
    ({"guardrails": {"per_day": {"mail": 1.5}}}, "guardrails.per_day"),
    ({"guardrails": {"eligible": {"nobody": "true"}}}, "guardrails.eligible.nobody"),
    ({"guardrails": {"eligible": {"mail": "rfm.nothing > 1"}}}, "guardrails.eligible.mail"),
    ({"guardrails": {"eligible": {"mail": "rfm.monetary_total"}}}, "guardrails.eligible.mail"),
    ({"guardrails": {"eligible": {"mail": "prediction.luck > 1"}}}, "guardrails.eligible.mail"),
    ({"guardrails": {"eligible": {"mail": "__import__('os')"}}}, "guardrails.eligible.mail"),
    ({"guardrails": {"opt_out": "rfm.recency_days >"}}, "guardrails.opt_out"),
    ({"guardrails": {"per_lead_week": {"total": -1}}}, "guardrails.per_lead_week.total"),
    ({"guardrails": {"per_lead_week": {"arms": {"nobody": 1}}}}, "guardrails.per_lead_week.arms.nobody"),
    ({"guardrails": {"per_lead_week": {"channels": {"fax": 1}}}}, "guardrails.per_lead_week.channels.fax"),
    ({"guardrails": {"holdout": 2}}, "guardrails.holdout"),
    ({"guardrails": {"kill": "yes"}}, "guardrails.kill"),
    ({"guardrails": {"luck": 1}}, "guardrails"),
    ({"name": "x"}, ""),
]


async def test_each_bad_policy_is_refused_by_path_and_stores_nothing(door: Door) -> None:
    await put(door, "services/lead", {"features": ["rfm:recency_days"]})
    before = await door.service.store.last_position()
    for fields, path in WRONG:
        status, problem = await put(door, "policies/bad", POLICY | fields)
        assert (status, problem["code"] in ("invalid_body", "invalid_definition")) == (422, True), (fields, problem)
        first = problem["errors"][0]
        assert first["path"].startswith(path), (fields, first)
        assert first["expected"], fields
        assert "actual" in first, fields
    assert (await door.get("policies/bad"))[0] == 404
    assert await door.service.store.last_position() == before


async def test_all_faults_of_a_policy_are_told_together(door: Door) -> None:
    wrong = {
        "arms": [{"id": "a"}, {"id": "a"}],
        "context": "nothing",
        "learner": {"kind": "magic"},
        "baseline": "b",
        "reward": {"rules": [{"on": "nothing", "within_s": 9, "value": "1"}]},
        "guardrails": {"opt_out": "x >", "per_day": {"c": 1}},
    }
    status, problem = await put(door, "policies/bad", wrong)
    assert (status, problem["code"]) == (422, "invalid_definition")
    assert {each["path"] for each in problem["errors"]} == {
        "arms[1].id",
        "context",
        "learner.kind",
        "baseline",
        "reward.rules[0].on",
        "guardrails.opt_out",
        "guardrails.per_day.c",
    }


async def test_a_name_that_is_none_and_a_body_that_is_none_are_refused(door: Door) -> None:
    assert (await put(door, f"policies/{'x' * 257}", POLICY))[0] == 422
    assert (await put(door, "policies/a%0Ab", POLICY))[0] == 422
    headers = {"Content-Type": "application/json"}
    for body, expected in ((b"{", 400), (b"", 400), (b"[]", 422), (b"5", 422)):
        status, _ = await door.send("PUT", "policies/x", data=body, headers=headers)
        assert status == expected, body
    status, _ = await door.send("PUT", "policies/x", data=b"{}", headers={"Content-Type": "text/plain"})
    assert status == 415
    assert (await put(door, "policies/x?y=1", {}))[0] == 422


async def test_what_is_not_there_is_404_on_every_route(door: Door) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/arms"),
        ("GET", "/health"),
        ("GET", "/versions"),
        ("GET", "/model"),
        ("POST", "/rollback"),
        ("POST", "/decide"),
    ):
        body = {"data": b"{}", "headers": {"Content-Type": "application/json"}} if path == "/decide" else {}
        status, problem = await door.send(method, f"policies/nothing{path}", **body)
        assert (status, problem["code"]) == (404, "policy_not_found"), path
