"""What several owners answer together, or one does for all: lists, jobs, figures; and what each node says of itself."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bandit.events import PolicyDeleted, policy_deleted_event
from eventstore.event import NewEvent, Stream
from gateway.keyring import create_key
from gateway.nodes.across.intake import ForwardingRecorder
from gateway.nodes.forwarding.cluster import Away
from gateway.nodes.forwarding.front import FrontOptions
from gateway.routes import batch
from kernel.clock import VirtualClock
from kernel.errors import StoreUnavailable
from kernel.metrics import METRICS
from kernel.settings_sources import load_settings
from kernel.times import format_time
from tests.integration.deciding import decide, define, put, reward
from tests.integration.fronts import Node, Nodes, running_nodes
from tests.integration.predicting import SCORING, cold, hot, predict
from tests.integration.service import NOW, PATIENT, purchase, running
from tests.integration.test_http_alerts import SPENT
from tests.patience import eventually

OPTIONS = FrontOptions(poll_s=0.02)


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with running_nodes(options=OPTIONS) as found:
        yield found


@pytest.fixture
async def copies() -> AsyncIterator[Nodes]:
    """Nodes that have a copy each of what leads share."""
    async with running_nodes(options=OPTIONS, has_copies=True) as found:
        yield found


async def spread(nodes: Nodes, count: int = 1, amount: int = 10) -> list[str]:
    """Leads of all three nodes that have an event."""
    leads = [lead for node in range(3) for lead in nodes.leads_at(node, count)]
    await nodes.doors[0].events(*(purchase(lead, "p1", amount) for lead in leads))
    return leads


# Reads that are passed on.


async def test_a_forwarded_answer_is_the_owners_byte_for_byte(nodes: Nodes) -> None:
    leads = await spread(nodes)
    for lead in leads:
        path = f"leads/{lead}/features?views=rfm"
        found = [await door.raw("GET", path) for door in nodes.doors]
        assert len({await each.read() for each in found}) == 1
        heads = [{k.lower(): v for k, v in each.headers.items() if k not in ("Date", "Server")} for each in found]
        assert heads == [heads[0]] * 3
        etag = heads[0]["etag"]
        for door in nodes.doors:
            again = await door.raw("GET", path, headers={"If-None-Match": etag})
            assert (again.status, again.headers["ETag"], await again.read()) == (304, etag, b"")
            head = await door.raw("HEAD", path)
            assert (head.status, head.headers["Content-Length"]) == (200, heads[0]["content-length"])


@pytest.mark.parametrize("lead", ["a b", "ä/ö?", "%", "x" * 256, "é+&="])
async def test_names_of_leads_arrive_as_they_were_sent(nodes: Nodes, lead: str) -> None:
    await nodes.doors[0].events(purchase(lead, "p1", 3))
    for door in nodes.doors:
        status, body = await door.get(f"leads/{quote(lead, safe='')}/features?features=rfm:monetary_total")
        assert (status, body["lead"], body["values"]) == (200, lead, {"rfm:monetary_total": 3.0})


async def test_a_body_in_gzip_is_passed_on_as_it_is(nodes: Nodes) -> None:
    (lead,) = nodes.leads_at(2, 1)
    body = gzip.compress(msgspec.json.encode({"ruleBasedOnly": True}))
    await nodes.doors[0].events(*hot(lead))
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    path = f"{SCORING}/leads/{lead}/ml/predict"
    status, made = await nodes.doors[0].send("POST", path, data=body, headers=headers)
    assert (status, made["leadId"]) == (200, lead)


async def test_a_batch_is_as_of_the_latest_of_its_owners(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    leads = await spread(nodes)
    real, asked = batch.values, list[int]()

    async def ever_later(*arguments: Any) -> batch.BatchValues:
        found = await real(*arguments)
        asked.append(NOW + len(asked) * 1_000_000)
        return msgspec.structs.replace(found, as_of_us=asked[-1])

    monkeypatch.setattr(batch, "values", ever_later)
    _, body = await nodes.doors[0].post("features", {"leads": leads, "views": ["rfm"]})
    assert (len(asked), body["as_of"]) == (3, format_time(NOW + 2_000_000))
    monkeypatch.undo()
    _, body = await nodes.doors[0].post("features", {"leads": leads, "views": ["rfm"]})
    assert body["as_of"] == format_time(NOW)


async def test_keys_are_checked_where_a_request_comes_in(tmp_path: Path) -> None:
    settings = load_settings(None, {}, PATIENT | {"org.other.timezone": "UTC"})
    async with running_nodes(settings=settings, directory=tmp_path, options=OPTIONS, has_copies=True) as nodes:
        reader = create_key(tmp_path, org="other", scopes=["read"], clock=VirtualClock(NOW))
        writer = create_key(tmp_path, org="other", scopes=["ingest"], clock=VirtualClock(NOW))
        nodes.clock.advance(2)
        leads = [lead for node in range(3) for lead in nodes.leads_at(node, 1, org="other")]
        for door in nodes.doors:
            door.headers = {"Authorization": f"Bearer {writer}"}
            status, body = await door.post("/v1/orgs/other/events", [purchase(lead, "p1") for lead in leads])
            assert status == 200, body
            for lead in leads:
                path = f"/v1/orgs/other/leads/{lead}/features"
                assert (await door.get(path))[0] == 403
                assert (await door.get(path, headers={"Authorization": f"Bearer {reader}"}))[0] == 200
                assert (await door.get(path, headers={"Authorization": "Bearer nobody"}))[0] == 401
                path = f"/v1/orgs/default/leads/{lead}/features"
                assert (await door.get(path, headers={"Authorization": f"Bearer {reader}"}))[0] == 404
        headers = {"Authorization": f"Bearer {reader}"}
        scored = await nodes.doors[0].get(f"{SCORING}/leads/{leads[1]}/ml/features", headers=headers)
        assert scored[0] == 200, "the org comes with the key, and goes with the request"


# What is shared.


async def test_what_is_shared_is_written_by_its_owner_and_read_everywhere(copies: Nodes) -> None:
    await spread(copies)
    assert (await put(copies.doors[2], "services/two", {"features": ["rfm:monetary_total"]}))[0] == 200
    for door in copies.doors:
        assert (await door.get("services/two"))[1]["features"] == ["rfm:monetary_total"]
        assert (await door.post("features", {"leads": copies.leads_at(1, 1), "service": "two"}))[1]["names"] == [
            "rfm:monetary_total"
        ]
    assert (await copies.doors[1].send("DELETE", "services/two"))[0] == 204
    assert (await copies.doors[2].get("services/two"))[0] == 404
    copies.map.away[0] = Away("it is being handed over", None, 1)
    status, body = await put(copies.doors[2], "services/two", {"features": ["rfm:monetary_total"]})
    assert (status, body["code"]) == (503, "owner_away")
    assert (await copies.doors[2].get("services"))[0] == 200, "reading needs no owner"


async def test_a_service_that_other_nodes_have_not_heard_of_yet_is_asked_by_its_features(copies: Nodes) -> None:
    leads = await spread(copies)
    assert (await put(copies.doors[0], "services/new", {"features": ["rfm:monetary_total"]}))[0] == 200
    for node in (1, 2):
        copies.map.shared[node].orgs["default"].services._current.clear()
    status, body = await copies.doors[0].post("features", {"leads": leads, "service": "new"})
    assert (status, [each["values"] for each in body["results"]]) == (200, [[10.0]] * 3)


async def test_effects_of_leads_reach_the_shared_log_through_its_owner(copies: Nodes) -> None:
    recorder = ForwardingRecorder(copies.doors[2].front)
    (lead,) = copies.leads_at(2, 1)
    await define(copies.doors[0], reward={"wait_s": 3600, "aggregation": "earliest"})
    for service in copies.map.services[1:]:
        service.shared.recorder = recorder
    made = await decide(copies.doors[0], lead)
    copies.map.away[0] = Away("it is being handed over", None, 1)
    status, told = await reward(copies.doors[0], made["decision_id"], 1)
    assert (status, told["learned"]) == (200, True), "the reward is taken, what it settles is due"
    policy = Stream("default", "policy", "offers")
    before = [event.type for event in await copies.map.services[0].store.read(policy)]
    assert "reward_settled" not in before
    with pytest.raises(StoreUnavailable):
        await recorder.record([_shared_event()])
    del copies.map.away[0]
    await copies.passing(120)
    await copies.passing(3600)
    after = [event.type for event in await copies.map.services[0].store.read(policy)]
    assert after.count("reward_settled") == 1


def _shared_event() -> NewEvent:
    return policy_deleted_event(Stream("default", "policy", "x"), PolicyDeleted(1), NOW)


# Lists.


async def test_a_list_goes_on_at_another_node_and_after_partitions_have_moved(nodes: Nodes) -> None:
    leads = [lead for node in range(3) for lead in nodes.leads_at(node, 6)]
    await nodes.doors[0].events(*(purchase(lead, "p1", 5 * n) for n, lead in enumerate(leads)))
    seen: list[str] = []
    cursor, turn = "", 0
    while True:
        door = nodes.doors[turn % 3]
        status, body = await door.get(f"leads?sort=-rfm:monetary_total&limit=4{cursor}")
        assert status == 200, body
        seen += [each["lead"] for each in body["items"]]
        if turn == 1:
            nodes.map.leaders = {p: (leader + 1) % 3 for p, leader in nodes.map.leaders.items()}
            await nodes.doors[0].events(*(purchase(lead, "p2", 1000) for lead in leads[:3]))
        if body["cursor"] is None:
            break
        cursor, turn = f"&cursor={body['cursor']}", turn + 1
    assert seen == leads[::-1], "in the order of the first page, each once"


async def test_a_cursor_of_another_list_is_refused(nodes: Nodes) -> None:
    await spread(nodes, 3)
    _, body = await nodes.doors[0].get("leads?limit=1")
    for path in ("leads?limit=1&sort=rfm:monetary_total", "decisions?limit=1", "jobs?limit=1"):
        status, refused = await nodes.doors[0].get(f"{path}&cursor={body['cursor']}")
        assert (status, refused["code"]) == (422, "invalid_cursor"), path
    assert (await nodes.doors[0].get("leads?limit=0"))[1]["code"] == "invalid_limit"
    assert (await nodes.doors[0].get("leads?sort=nonsense:x"))[1]["code"] == "unknown_feature"


async def test_alerts_of_all_nodes_are_listed_and_answered_from_any(nodes: Nodes) -> None:
    assert (await put(nodes.doors[1], "alert-rules/big", SPENT))[0] == 200
    leads = await spread(nodes, 2, amount=500)
    for service in nodes.map.services[1:]:
        await service.alerts.settle()
    items: list[dict[str, Any]] = []
    cursor = ""
    for turn in range(10):
        _, body = await nodes.doors[turn % 3].get(f"alerts?rule=big&limit=2{cursor}")
        items += body["items"]
        if body["cursor"] is None:
            break
        cursor = f"&cursor={body['cursor']}"
    assert sorted(each["lead"] for each in items) == sorted(leads)
    places = [(each["raisedAt"] if "raisedAt" in each else each["raised_at"], each["id"]) for each in items]
    assert places == sorted(places, reverse=True)
    for number, each in enumerate(items):
        door = nodes.doors[number % 3]
        status, told = await door.post(f"alerts/{each['id']}/acknowledge", b"")
        assert (status, told["state"]) == (200, "acknowledged")
    assert (await nodes.doors[0].post("alerts/nothing/resolve", b""))[1]["code"] == "alert_not_found"
    assert (await nodes.doors[0].post("webhook-dead-letters/x/retry", b""))[1]["code"] == "dead_letter_not_found"


async def test_dead_letters_are_told_apart_by_their_partitions(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(state: Any, at_us: int, payload: Any, is_ordered: bool) -> bool:
        raise RuntimeError("no")

    steps = nodes.doors[0].service.orgs["default"].catalogue.steps
    real = steps["purchase_completed"]
    monkeypatch.setitem(steps, "purchase_completed", real._replace(fold=poisoned))
    leads = [lead for node in range(3) for lead in nodes.leads_at(node, 2)]
    answer = await nodes.doors[1].events(*(purchase(lead, "p1") for lead in leads))
    assert (answer["accepted"], answer["dead"]) == (6, 6)
    letters: list[dict[str, Any]] = []
    cursor = ""
    for turn in range(10):
        _, body = await nodes.doors[turn % 3].get(f"dead-letters?limit=2{cursor}")
        letters += body["items"]
        if body["cursor"] is None:
            break
        cursor = f"&cursor={body['cursor']}"
    assert sorted(each["lead"] for each in letters) == sorted(leads)
    assert len({each["id"] for each in letters}) == 6
    for each in letters:
        assert each["id"].startswith(f"{nodes.partition(each['lead'])}.")
    monkeypatch.undo()
    for number, each in enumerate(letters):
        path = f"dead-letters/{each['id']}/retry"
        assert await nodes.doors[number % 3].post(path, b"") == (200, {"folded": True})
        assert (await nodes.doors[number % 3].post(path, b""))[0] == 404
    for wrong in ("1-1", "99.1-1", "x.1-1", ".1-1", "1.", "1.x"):
        assert (await nodes.doors[0].post(f"dead-letters/{wrong}/retry", b""))[1]["code"] == "dead_letter_not_found"


# Scoring.


async def test_predictions_of_all_nodes_make_one_ranking_and_one_report(nodes: Nodes) -> None:
    leads = [lead for node in range(3) for lead in nodes.leads_at(node, 2)]
    async with running() as alone:
        for number, lead in enumerate(leads):
            for door in (alone, nodes.doors[number % 3]):
                await door.events(*(hot(lead) if number % 2 else cold(lead)))
                made = await predict(door, lead)
                status, _ = await door.post(f"{SCORING}/predictions/{made['id']}/validate", {"wasAccurate": True})
                assert status == 200
        for door in nodes.doors:
            for path in ("accuracy?byMonth=true", "top-leads?n=3", "feature-importance", "leads-by-tier?tier=low"):
                expected = await alone.get(f"{SCORING}/default/ml/{path}")
                found = await door.get(f"{SCORING}/default/ml/{path}")
                if "items" in expected[1]:
                    assert found[1]["items"] == expected[1]["items"], path
                else:
                    assert found == expected, path
    for path in ("nowhere/ml/accuracy", "nowhere/ml/top-leads"):
        assert (await nodes.doors[0].get(f"{SCORING}/{path}"))[1]["code"] == "configuration_not_found"
    status, body = await nodes.doors[0].post(f"{SCORING}/predictions/nothing/validate", {"wasAccurate": True})
    assert (status, body["code"]) == (404, "prediction_not_found")


async def ended(door: Node, path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def has_ended() -> bool:
        status, job = await door.get(path)
        assert status == 200, job
        found.update(job)
        return bool(job["state"] != "running")

    await eventually(has_ended)
    return found


async def test_a_bulk_job_predicts_the_best_of_all_nodes_and_no_more_than_asked(copies: Nodes) -> None:
    leads = [lead for node in range(3) for lead in copies.leads_at(node, 3)]
    await copies.doors[0].events(*(event for lead in leads for event in cold(lead)))
    best = leads[::4]
    for lead in best:
        await copies.doors[0].events(*hot(lead)[1:])
        await predict(copies.doors[0], lead)
    status, answer = await copies.doors[1].post(
        f"{SCORING}/default/ml/bulk-predict", {"limit": 5, "forceRefresh": True}
    )
    assert status == 202
    job = await ended(copies.doors[2], f"{SCORING}/default/ml/jobs/{answer['jobId']}")
    assert (job["state"], job["result"]["predicted"], job["progress"]["done"]) == ("done", 5, 5)
    predicted = {
        lead for lead in leads if (await copies.doors[0].get(f"{SCORING}/leads/{lead}/ml/prediction"))[0] == 200
    }
    assert len(predicted) == 5
    assert set(best) <= predicted
    status, answer = await copies.doors[0].post(f"{SCORING}/default/ml/bulk-predict", {"limit": 2, "minScore": 101})
    assert status == 422


# Jobs.


async def test_a_job_is_done_by_all_owners_and_seen_from_any_node(copies: Nodes) -> None:
    await spread(copies, 4)
    status, started = await copies.doors[1].post("jobs", {"kind": "verify"})
    assert (status, started["kind"]) == (202, "verify")
    for door in copies.doors:
        job = await ended(door, f"jobs/{started['id']}")
        assert (job["state"], job["result"]["checked"], job["result"]["differing_count"]) == ("done", 12, 0)
    status, started = await copies.doors[2].post("jobs", {"kind": "verify", "sample": 5})
    assert (await ended(copies.doors[0], f"jobs/{started['id']}"))["result"]["checked"] <= 5
    status, started = await copies.doors[0].post("jobs", {"kind": "replay"})
    assert (await ended(copies.doors[1], f"jobs/{started['id']}"))["result"]["events"] == 12
    found: list[str] = []
    cursor = ""
    for turn in range(9):
        _, body = await copies.doors[turn % 3].get(f"jobs?limit=1{cursor}")
        found += [each["kind"] for each in body["items"]]
        if body["cursor"] is None:
            break
        cursor = f"&cursor={body['cursor']}"
    assert sorted(found) == ["replay", "verify", "verify"]
    assert (await copies.doors[0].get("jobs/nothing"))[1]["code"] == "job_not_found"


async def test_a_job_ends_everywhere_when_it_is_cancelled_or_a_part_of_it_is_lost(copies: Nodes) -> None:
    await spread(copies, 2)
    service = copies.map.services[1]
    block = asyncio.Event()

    async def blocked(**_: Any) -> Any:
        await block.wait()

    service.store.list_streams = blocked  # type: ignore[method-assign]
    _, started = await copies.doors[0].post("jobs", {"kind": "verify"})
    assert (await copies.doors[1].post("jobs", {"kind": "verify"}))[1]["code"] == "job_conflict"
    assert service.part_jobs.running == 1, "what the refused one had begun elsewhere is over, the first one goes on"
    status, job = await copies.doors[2].send("DELETE", f"jobs/{started['id']}")
    assert (status, job["state"]) == (200, "cancelled")
    assert [each.part_jobs.running for each in copies.map.services] == [0] * 7
    _, started = await copies.doors[0].post("jobs", {"kind": "verify"})
    copies.map.away[1] = Away("it is being handed over", None, 1)
    job = await ended(copies.doors[0], f"jobs/{started['id']}")
    assert (job["state"], "partition 1" in job["error"]) == ("failed", True)


async def test_a_training_is_refused_with_what_to_do_instead(nodes: Nodes) -> None:
    status, body = await nodes.doors[0].post("jobs", {"kind": "train"})
    assert (status, body["code"]) == (409, "needs_whole_log")
    assert "leadwheel migrate" in body["detail"]


# What a node says of itself.


async def test_metrics_are_those_of_all_services_on_the_node(copies: Nodes) -> None:
    leads = await spread(copies, 2)
    for lead in leads:
        await copies.doors[0].values(lead)
    families = await metrics(copies.doors[0])
    fronts = {"leadwheel_node_sent", "leadwheel_node_received", "leadwheel_node_stale"}
    fronts |= {"leadwheel_partitions_led", "leadwheel_partitions_away", "leadwheel_node_waiting"}
    plain = {spec.name for spec in METRICS if not spec.is_of_nodes and "_topic_" not in spec.name}
    assert set(families) == plain | fronts
    here = [service for partition, service in enumerate(copies.map.services) if partition % 3 == 0]
    events = sum(service.store.statistics().events for service in here)
    assert families["leadwheel_log_events"].samples[0].value == events
    requests = {
        s.labels["route"]: s.value for s in families["leadwheel_http_requests"].samples if s.name.endswith("_total")
    }
    assert requests["/v1/orgs/{org}/leads/{lead}/features"] >= len(leads)
    assert families["leadwheel_ready"].samples[0].value == 1
    assert families["leadwheel_partitions_led"].samples[0].value == 3
    sent = {s.labels["outcome"]: s.value for s in families["leadwheel_node_sent"].samples}
    assert sent["answered"] >= 4
    assert sent["lost"] == 0


async def metrics(door: Node) -> dict[str, Any]:
    text = await (await door.raw("GET", "/metrics")).text()
    return {family.name: family for family in text_string_to_metric_families(text)}


async def test_the_document_of_the_interface_knows_stale(nodes: Nodes) -> None:
    _, document = await nodes.doors[0].get("/openapi.json")
    read = document["paths"]["/v1/orgs/{org}/leads/{lead}/features"]["get"]
    assert "stale" in [each["name"] for each in read["parameters"]]
    assert not [path for path in document["paths"] if path.startswith("/internal")]


async def test_names_a_caller_gives_to_decisions_are_unique_across_nodes(nodes: Nodes) -> None:
    leads: Sequence[str] = await spread(nodes)
    await define(nodes.doors[0])
    first = await decide(nodes.doors[0], leads[0], decision_id="mine")
    assert await decide(nodes.doors[1], leads[0], decision_id="mine") == first
    for door in nodes.doors:
        status, body = await door.post("policies/offers/decide", {"lead": leads[1], "decision_id": "mine"})
        assert (status, body["code"]) == (409, "decision_conflict")
    at_once = [{"lead": lead, "decision_id": "twice"} for lead in leads]
    _, answers = await nodes.doors[2].post("policies/offers/decide", at_once)
    assert sorted("error" in each for each in answers) == [False, True, True]
