import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.app import ROUTES
from gateway.keyring import create_key, revoke_key
from kernel.clock import VirtualClock
from tests.integration.service import NOW, Door, purchase, running


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    clock = VirtualClock(NOW)
    create_key(tmp_path, org="acme", scopes=["admin"], clock=clock)
    async with running(directory=tmp_path, clock=clock) as door:
        yield door


def key(tmp_path: Path, *scopes: str, org: str = "acme") -> dict[str, str]:
    token = create_key(tmp_path, org=org, scopes=list(scopes), clock=VirtualClock(NOW))
    return {"Authorization": f"Bearer {token}"}


ACME = "/v1/orgs/acme/"


async def test_no_key_and_a_bad_key_are_401(door: Door) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic eA=="}):
        response = await door.raw("GET", ACME + "catalogue", headers=headers)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await response.json(content_type=None))["code"] == "unauthorized"


async def test_a_missing_scope_is_403(door: Door, tmp_path: Path) -> None:
    reader, writer = key(tmp_path, "read"), key(tmp_path, "ingest")
    door.clock.advance(1)
    assert (await door.post(ACME + "events", [], headers=reader))[0] == 403
    assert (await door.post(ACME + "events", [], headers=writer))[0] == 200
    assert (await door.get(ACME + "catalogue", headers=writer))[0] == 403
    assert (await door.get(ACME + "catalogue", headers=reader))[0] == 200
    for path in ("features", "features/extract"):
        status, _ = await door.post(ACME + path, {"leads": ["a"]} if path == "features" else [], headers=reader)
        assert status == 200
    assert (await door.post(ACME + "jobs", {"kind": "verify"}, headers=reader))[0] == 403
    assert (await door.get(ACME + "jobs", headers=reader))[0] == 200


async def test_a_key_comes_in_three_ways(door: Door, tmp_path: Path) -> None:
    token = create_key(tmp_path, org="acme", scopes=["read"], clock=door.clock)
    door.clock.advance(1)
    basic = base64.b64encode(f"{token}:".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"Ocp-Apim-Subscription-Key": token},
        {"Authorization": f"Basic {basic}"},
    ):
        assert (await door.get(ACME + "catalogue?limit=1", headers=headers))[0] == 200


async def test_what_is_another_orgs_is_404_whether_or_not_it_exists(door: Door, tmp_path: Path) -> None:
    mine, theirs = key(tmp_path, "admin"), key(tmp_path, "admin", org="other")
    door.clock.advance(1)
    await door.post("/v1/orgs/other/events", [purchase("a", "1")], headers=theirs)
    answers = []
    for org in ("other", "default", "nothing"):
        for method, path in (("GET", "leads/a/features"), ("GET", "leads/a/events"), ("GET", "settings")):
            status, problem = await door.send(method, f"/v1/orgs/{org}/{path}", headers=mine)
            answers.append((status, problem["code"]))
        answers.append(((await door.post(f"/v1/orgs/{org}/events", [], headers=mine))[0], "org_not_found"))
    assert set(answers) == {(404, "org_not_found")}
    assert (await door.get(ACME + "leads/a/features", headers=mine))[0] == 404
    assert (await door.get("/v1/orgs/other/leads/a/features", headers=theirs))[0] == 200


async def test_a_job_and_a_dead_letter_of_another_org_do_not_exist(door: Door, tmp_path: Path) -> None:
    mine, theirs = key(tmp_path, "admin"), key(tmp_path, "admin", org="other")
    door.clock.advance(1)
    _, job = await door.post("/v1/orgs/other/jobs", {"kind": "verify"}, headers=theirs)
    assert (await door.get(f"/v1/orgs/other/jobs/{job['id']}", headers=theirs))[0] == 200
    status, problem = await door.get(f"/v1/orgs/acme/jobs/{job['id']}", headers=mine)
    assert (status, problem["code"]) == (404, "job_not_found")
    assert (await door.get("/v1/orgs/acme/jobs", headers=mine))[1]["items"] == []


async def test_a_revoked_key_is_out_within_a_second_and_the_service_stays_closed(door: Door, tmp_path: Path) -> None:
    headers = key(tmp_path, "read")
    door.clock.advance(1)
    assert (await door.get(ACME + "catalogue", headers=headers))[0] == 200
    revoke_key(tmp_path, headers["Authorization"][7:15], door.clock)
    door.clock.advance(1)
    assert (await door.get(ACME + "catalogue", headers=headers))[0] == 401
    assert (await door.get("catalogue"))[0] == 401


async def test_a_first_key_closes_a_running_service(tmp_path: Path) -> None:
    async with running(directory=tmp_path) as door:
        assert (await door.get("catalogue"))[0] == 200
        headers = key(tmp_path, "read", org="default")
        door.clock.advance(1)
        assert (await door.get("catalogue"))[0] == 401
        assert (await door.get("catalogue", headers=headers))[0] == 200


async def test_every_route_is_guarded_by_its_scope(door: Door, tmp_path: Path) -> None:
    powerless = key(tmp_path, "decide")
    door.clock.advance(1)
    for route in ROUTES:
        path = route.path.replace("{org}", "acme").replace("{lead}", "a").replace("{id}", "1-1")
        path = path.replace("{view}:{feature}", "rfm:recency_days")
        status = (await door.raw(route.method, path, headers=powerless)).status
        assert (status == 403) is (route.access in ("read", "ingest", "admin")), route.path


async def test_scopes_of_the_routes_follow_the_rule() -> None:
    for route in ROUTES:
        if route.access in ("open", "local"):
            continue
        if route.method == "GET" or route.path.endswith(("/features", "/features/extract")):
            assert route.access == "read", route.path
        elif route.path.endswith("/events"):
            assert route.access == "ingest", route.path
        else:
            is_of_deciding = route.path.endswith(("}/decide", "}/reward", "}/activate"))
            assert route.access == ("decide" if is_of_deciding else "admin"), route.path


async def test_open_without_a_key_are_only_those_that_say_nothing(door: Door) -> None:
    for path in ("/healthz", "/readyz", "/version", "/metrics", "/openapi.json"):
        assert (await door.raw("GET", path)).status == 200
    for path in ("/metrics", "/openapi.json"):  # behind a proxy on this machine nobody is known to be on it
        assert (await door.raw("GET", path, headers={"X-Forwarded-For": "8.8.8.8"})).status == 401
