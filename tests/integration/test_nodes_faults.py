"""Owners that are away, slow, wrong or lost in the middle: what a caller is told, and that repeating it is exact."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from eventstore.event import NewEvent, Stream
from gateway.nodes.forwarding.cluster import Away
from gateway.nodes.forwarding.front import FrontOptions
from gateway.nodes.forwarding.wire import digest
from kernel.errors import StoreUnavailable
from kernel.settings_sources import load_settings
from tests.integration.deciding import decide, define
from tests.integration.fronts import SECRET, Node, Nodes, running_nodes
from tests.integration.service import purchase
from tests.patience import eventually

HANDING = Away("it is being handed over", None, 3.2)


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    options = FrontOptions(forward_timeout_s=5, fold_timeout_s=0.05, handover_wait_s=0.1, poll_s=0.02)
    async with running_nodes(options=options) as found:
        yield found


async def known(nodes: Nodes, node: int, count: int = 1) -> list[str]:
    """Leads of a node that have an event."""
    leads = nodes.leads_at(node, count)
    await nodes.doors[0].events(*(purchase(lead, "p1", 10) for lead in leads))
    return leads


async def log(nodes: Nodes, lead: str) -> list[str]:
    stream = Stream("default", "lead", lead)
    return [event.id for event in await nodes.map.services[nodes.partition(lead)].store.read(stream)]


def on_append(nodes: Nodes, partition: int, then: Callable[[], Awaitable[None]], *, is_before: bool) -> None:
    """Do something the next time that a partition appends, before or after it does."""
    store: Any = nodes.map.services[partition].store
    append = store.append

    async def once(events: list[NewEvent], *, is_atomic: bool = False) -> Any:
        store.append = append
        if is_before:
            await then()
        outcomes = await append(events, is_atomic=is_atomic)
        if not is_before:
            await then()
        return outcomes

    store.append = once


# Away.


async def test_a_lead_whose_owner_is_away_is_told_with_a_time_to_come_back(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 1)
    nodes.map.away[nodes.partition(lead)] = HANDING
    for door in nodes.doors:
        response = await door.raw("GET", f"leads/{lead}/features")
        body = await response.json(content_type=None)
        assert (response.status, body["code"], response.headers["Retry-After"]) == (503, "owner_away", "4")
        assert body["partition"] == nodes.partition(lead)
        assert "handed over" in body["detail"]


async def test_a_copy_that_is_being_made_says_how_far_it_is(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 1)
    nodes.map.away[nodes.partition(lead)] = Away("its new node makes the copy", 0.25, 5)
    _, body = await nodes.doors[0].get(f"leads/{lead}/features?at=2026-11-01T00:00:00Z")
    assert (body["code"], body["progress"]) == ("owner_away", 0.25)


@pytest.mark.parametrize("follower", [0, 2])
async def test_a_copy_answers_instead_where_that_will_do_and_says_so(nodes: Nodes, follower: int) -> None:
    (lead,) = await known(nodes, 1)
    partition = nodes.partition(lead)
    path = f"leads/{lead}/features?features=rfm:monetary_total"
    status, fresh = await nodes.doors[0].get(f"{path}&stale=ok")
    assert (status, fresh.get("stale")) == (200, None), "the owner is there"
    nodes.map.away[partition] = HANDING
    assert (await nodes.doors[0].get(f"{path}&stale=ok"))[0] == 503, "nobody has a copy"
    nodes.map.followers[partition] = {follower}
    response = await nodes.doors[0].raw("GET", f"{path}&stale=ok", headers={"If-None-Match": "*"})
    body = await response.json()
    assert (response.status, response.headers["Leadwheel-Stale"], body["stale"]) == (200, "true", True)
    assert body["values"] == fresh["values"]
    assert "ETag" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"
    assert (await nodes.doors[0].get(path))[0] == 503, "nobody said that it would do"


@pytest.mark.parametrize("follower", [0, 2])
async def test_batches_and_lists_take_a_copys_part_where_that_will_do(nodes: Nodes, follower: int) -> None:
    leads = [lead for node in (0, 2, 1) for lead in nodes.leads_at(node, 2)]
    await nodes.doors[0].events(*(purchase(lead, "p1", 10 * n) for n, lead in enumerate(leads, 1)))
    door, gone = nodes.doors[0], nodes.partition(leads[-1])
    batch = {"leads": [*leads, "nobody"], "features": ["rfm:monetary_total"]}
    listed = "leads?sort=rfm:monetary_total&limit=4&stale=ok"
    _, fresh = await door.post("features?stale=ok", batch)
    _, first = await door.get(listed)
    assert "stale" not in {**fresh, **first}
    nodes.map.away[gone] = HANDING
    assert (await door.post("features?stale=ok", batch))[0] == 503, "nobody has a copy"
    assert (await door.get(f"{listed}&cursor={first['cursor']}"))[0] == 503
    nodes.map.followers[gone] = {follower}
    assert (await door.post("features", batch))[0] == 503
    assert (await door.get(listed.removesuffix("&stale=ok")))[0] == 503
    response = await door.raw("POST", "features?stale=ok", json=batch)
    body = await response.json()
    assert (response.headers["Leadwheel-Stale"], body["stale"], body["results"]) == ("true", True, fresh["results"])
    status, second = await door.get(f"{listed}&cursor={first['cursor']}")
    assert (status, second["stale"]) == (200, True)
    assert [each["lead"] for each in [*first["items"], *second["items"]]] == leads
    assert (await door.get("alerts?stale=ok"))[0] == 422, "copies do not watch"


async def test_stale_takes_nothing_but_ok_once(nodes: Nodes) -> None:
    for query in ("stale=yes", "stale=", "stale=ok&stale=ok"):
        status, body = await nodes.doors[0].get(f"leads/x/features?{query}")
        assert (status, body["code"]) == (422, "invalid_parameter"), query


async def test_an_unknown_lead_stays_unknown_when_stale_will_do(nodes: Nodes) -> None:
    (lead,) = nodes.leads_at(1, 1)
    status, body = await nodes.doors[0].get(f"leads/{lead}/features?stale=ok")
    assert (status, body["code"]) == (404, "lead_not_found")


async def test_a_node_that_is_gone_is_away_and_not_an_error(nodes: Nodes) -> None:
    here, there = await known(nodes, 0), await known(nodes, 2)
    await nodes.stop(2)
    status, body = await nodes.doors[0].get(f"leads/{there[0]}/features")
    assert (status, body["code"]) == (503, "owner_away")
    assert (await nodes.doors[0].get(f"leads/{here[0]}/features"))[0] == 200
    status, body = await nodes.doors[0].post("features", {"leads": here + there})
    assert (status, body["code"]) == (503, "owner_away")
    assert (await nodes.doors[0].get("leads"))[0] == 503


async def test_ready_says_what_is_away_and_stays_ready(nodes: Nodes) -> None:
    assert await nodes.doors[0].get("/readyz") == (200, {"status": "ready", "reasons": []})
    nodes.map.away[4] = Away("its new node makes the copy", 0.5, 5)
    away = [{"partition": 4, "reason": "its new node makes the copy", "progress": 0.5}]
    assert await nodes.doors[0].get("/readyz") == (200, {"status": "ready", "reasons": [], "away": away})


async def test_an_unknown_decision_is_not_denied_while_an_owner_is_away(nodes: Nodes) -> None:
    assert (await nodes.doors[0].get("decisions/d1"))[0] == 404
    nodes.map.away[3] = HANDING
    status, body = await nodes.doors[0].get("decisions/d1")
    assert (status, body["code"]) == (503, "owner_away")


async def test_a_decision_is_found_by_nodes_that_never_heard_of_it(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 2)
    await define(nodes.doors[0])
    made = await decide(nodes.doors[2], lead)
    for door in nodes.doors:
        assert (await door.get(f"decisions/{made['decision_id']}"))[1]["lead"] == lead
    status, told = await nodes.doors[1].post(f"decisions/{made['decision_id']}/reward", {"value": 1, "id": "r"})
    assert (status, told["duplicate"]) == (200, False)
    nodes.doors[0].front.whereabouts.note("default", made["decision_id"], nodes.partition(lead) % 6 + 1)
    status, told = await nodes.doors[0].post(f"decisions/{made['decision_id']}/reward", {"value": 1, "id": "r"})
    assert (status, told["duplicate"]) == (200, True), "a wrong hint is found out"


async def test_an_id_of_a_decision_that_was_not_made_is_free(nodes: Nodes) -> None:
    here, there = (await known(nodes, 0))[0], (await known(nodes, 1))[0]
    await define(nodes.doors[0])
    nodes.map.away[nodes.partition(there)] = HANDING
    status, body = await nodes.doors[0].post("policies/offers/decide", {"lead": there, "decision_id": "d"})
    assert (status, body["code"]) == (503, "owner_away")

    async def fail() -> None:
        raise StoreUnavailable("no disk")

    on_append(nodes, nodes.partition(here), fail, is_before=True)
    status, body = await nodes.doors[0].post("policies/offers/decide", {"lead": here, "decision_id": "d"})
    assert (status, body["code"]) == (503, "store_unavailable")
    del nodes.map.away[nodes.partition(there)]
    assert (await decide(nodes.doors[0], there, decision_id="d"))["decision_id"] == "d"


# The wrong one.


async def test_what_was_sent_on_is_never_sent_on_again(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 2)
    partition = nodes.partition(lead)
    nodes.map.believed[0] = {partition: 1}
    received = nodes.doors[2].front.tallies.taken
    status, body = await nodes.doors[0].get(f"leads/{lead}/features")
    assert (status, body["code"]) == (503, "not_owner")
    assert nodes.doors[2].front.tallies.taken == received, "it went to node 1 and no further"
    assert nodes.doors[1].front.tallies.refused == 1


async def test_nodes_that_take_each_other_for_the_owner_do_not_go_round(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 2)
    partition = nodes.partition(lead)
    nodes.map.believed = {0: {partition: 1}, 1: {partition: 0}}
    for door in nodes.doors[:2]:
        status, body = await door.post("events", [purchase(lead, "p2")])
        assert (status, body["code"]) == (503, "not_owner")
    assert await log(nodes, lead) == ["p1"]


async def test_a_map_that_changes_meanwhile_is_looked_at_once_more(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 2)
    partition = nodes.partition(lead)
    cluster: Any = nodes.doors[0].front.cluster
    nodes.map.believed[0] = {partition: 1}
    place, asked = cluster.place, []

    def learning(wanted: int) -> Any:
        asked.append(wanted)
        if len(asked) == 3:  # to be here, to be elsewhere, and after the refusal
            del nodes.map.believed[0]
        return place(wanted)

    cluster.place = learning
    status, _ = await nodes.doors[0].get(f"leads/{lead}/features")
    assert status == 200


@pytest.mark.parametrize("secret", ["", "wrong", "wröng"])
async def test_only_nodes_may_say_that_they_are_nodes(nodes: Nodes, secret: str) -> None:
    (lead,) = await known(nodes, 0)
    headers = {"Leadwheel-Node": f"{nodes.partition(lead)} default {secret}"}
    status, body = await nodes.doors[0].get(f"leads/{lead}/features", headers=headers)
    assert (status, body["code"]) == (401, "unauthorized")
    status, body = await nodes.doors[0].send("POST", "/internal/nodes/find", data=b"", headers=headers)
    assert (status, body["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(("partition", "status"), [("x", 400), ("-1", 400), ("99", 503)])
async def test_a_partition_that_there_is_not_is_refused(nodes: Nodes, partition: str, status: int) -> None:
    headers = {"Leadwheel-Node": f"{partition} default {digest(SECRET).decode()}"}
    assert (await nodes.doors[0].get("leads/l1/features", headers=headers))[0] == status


async def test_a_callers_own_headers_of_nodes_are_not_passed_on(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 1)
    response = await nodes.doors[0].raw(
        "GET", f"leads/{lead}/features", headers={"Leadwheel-Stale": "ok", "Leadwheel-Part": "2"}
    )
    assert response.status == 200
    assert "Leadwheel-Stale" not in response.headers


# Slow, and lost.


async def slow_node(nodes: Nodes, node: int, started: asyncio.Event) -> Callable[[], Awaitable[None]]:
    """Put something in a node's place that takes requests and never answers; call what comes back to end it."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        started.set()
        await asyncio.Event().wait()
        return web.Response()

    server = web.Server(handler)
    runner = web.ServerRunner(server, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    nodes.map.urls[node] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner.cleanup


@pytest.fixture
async def hasty() -> AsyncIterator[Nodes]:
    async with running_nodes(options=FrontOptions(forward_timeout_s=0.2)) as found:
        yield found


async def test_an_owner_that_is_slow_past_the_deadline_is_away(hasty: Nodes) -> None:
    started = asyncio.Event()
    end = await slow_node(hasty, 1, started)
    try:
        (lead,) = hasty.leads_at(1, 1)
        status, body = await hasty.doors[0].get(f"leads/{lead}/features")
        assert (status, body["code"]) == (503, "owner_away")
        assert "within 0.2 s" in body["detail"]
        assert started.is_set()
    finally:
        await end()


async def test_what_was_asked_and_not_answered_may_have_been_done(hasty: Nodes) -> None:
    end = await slow_node(hasty, 1, asyncio.Event())
    try:
        (lead,) = hasty.leads_at(1, 1)
        status, body = await hasty.doors[0].post(f"/api/lead-scoring/leads/{lead}/ml/predict", {})
        assert (status, body["code"]) == (503, "answer_lost")
        await define(hasty.doors[0])
        status, body = await hasty.doors[0].post("policies/offers/decide", {"lead": lead})
        assert (status, body["code"]) == (503, "owner_away"), "under the id it can be asked again"
        assert body["decision_id"]
        status, body = await hasty.doors[0].post("events", purchase(lead, None))
        assert status == 503
        assert [(each["code"], bool(each["id"])) for each in body["rejected"]] == [("unavailable", True)]
    finally:
        await end()


async def test_an_answer_that_is_lost_is_asked_for_again_and_stores_nothing_twice(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 1)

    async def cut() -> None:
        for handler in list(nodes.doors[1].client.server.runner.server.connections):
            handler.transport.abort()

    on_append(nodes, nodes.partition(lead), cut, is_before=False)
    status, body = await nodes.doors[0].post("events", purchase(lead, "p2"))
    assert (status, body["accepted"] + body["duplicates"]) == (200, 1)
    assert await log(nodes, lead) == ["p1", "p2"]


async def test_a_node_that_dies_within_a_split_batch_leaves_a_retry_that_is_exact(nodes: Nodes) -> None:
    leads = [nodes.leads_at(node, 2) for node in range(3)]
    events = [purchase(lead, None, 7) for pair in leads for lead in pair]

    async def die() -> None:
        await nodes.stop(1)

    on_append(nodes, nodes.partition(leads[1][0]), die, is_before=False)
    status, body = await nodes.doors[0].post("events", events)
    assert (status, body["code"]) == (503, "owner_away")
    lost = {each["index"]: each["id"] for each in body["rejected"]}
    assert set(lost) == {2, 3}
    assert (body["accepted"], body["duplicates"]) == (4, 0)
    nodes.map.leaders.update({p: 0 for p, leader in nodes.map.leaders.items() if leader == 1})
    again = [event | {"id": lost[index]} for index, event in enumerate(events) if index in lost]
    status, body = await nodes.doors[2].post("events", again)
    assert (status, body["accepted"] + body["duplicates"]) == (200, 2)
    for pair in leads:
        for lead in pair:
            assert len(await log(nodes, lead)) == 1
            assert (await nodes.doors[0].values(lead, "?views=rfm"))["rfm:monetary_total"] == 7


async def test_owners_that_are_away_name_their_events_and_the_others_are_stored(nodes: Nodes) -> None:
    here, there = nodes.leads_at(0, 1)[0], nodes.leads_at(1, 1)[0]
    nodes.map.away[nodes.partition(there)] = HANDING
    bad = purchase(here, "p0", "much")
    response = await nodes.doors[0].raw("POST", "events", json=[purchase(there, "p1"), bad, purchase(here, "p2")])
    body = await response.json(content_type=None)
    assert (response.status, body["code"], response.headers["Retry-After"]) == (503, "owner_away", "4")
    assert [(each["index"], each["code"]) for each in body["rejected"]] == [(0, "unavailable"), (1, "event_invalid")]
    assert body["rejected"][0]["id"] == "p1"
    assert (body["accepted"], await log(nodes, here), await log(nodes, there)) == (1, ["p2"], [])


async def test_what_is_stored_and_not_folded_in_time_is_taken_and_says_so(nodes: Nodes) -> None:
    for node in (0, 1):
        (lead,) = await known(nodes, node)
        service = nodes.map.services[nodes.partition(lead)]
        hand_out, release = service.host.hand_out, asyncio.Event()

        async def later(*events: Any, hand_out: Any = hand_out, release: asyncio.Event = release) -> Any:
            await release.wait()
            return await hand_out(*events)

        service.host.hand_out = later  # type: ignore[method-assign, assignment]
        status, body = await nodes.doors[0].post("events", purchase(lead, "p2", 5))
        assert (status, body["accepted"], body["folded"]) == (202, 1, False)
        assert await log(nodes, lead) == ["p1", "p2"]
        release.set()
        await service.ingest.drain()
        assert (await nodes.doors[0].values(lead, "?views=rfm"))["rfm:monetary_total"] == 15
        status, body = await nodes.doors[0].post("events", purchase(lead, "p2", 5))
        assert (status, body["duplicates"], "folded" in body) == (200, 1, False)


async def test_many_small_events_are_longer_on_their_way_than_they_were_sent() -> None:
    settings = load_settings(None, {}, {"server.max_body_mb": 1, "server.max_events": 30_000})
    async with running_nodes(2, 2, settings=settings) as nodes:
        body = msgspec.json.encode([{"lead": "l", "type": "login"}] * 25_000)
        assert len(body) < 2**20
        status, answer = await nodes.doors[0].post("events", body)
        assert (status, answer["accepted"]) == (200, 25_000)
        assert nodes.doors[1].front.tallies.taken == 1


async def test_atomic_is_whole_at_one_owner_and_only_checked_across_several(nodes: Nodes) -> None:
    here, there = await known(nodes, 0), await known(nodes, 1)
    conflict = purchase(there[0], "p1", 999)
    door: Node = nodes.doors[0]
    status, body = await door.post("events?atomic=true", [purchase(there[0], "a1"), conflict])
    assert (status, body["code"]) == (409, "event_conflict")
    assert await log(nodes, there[0]) == ["p1"], "one owner refuses it whole"
    status, body = await door.post("events?atomic=true", [purchase(here[0], "a1"), purchase(there[0], "a2", "much")])
    assert (status, await log(nodes, here[0])) == (422, ["p1"]), "what the door refuses is refused whole"
    status, body = await door.post("events?atomic=true", [purchase(here[0], "a1"), conflict])
    assert (status, body["accepted"], len(body["rejected"])) == (200, 1, 1)


async def test_an_intake_that_is_full_elsewhere_is_told_as_it_would_be_here(nodes: Nodes) -> None:
    (lead,) = await known(nodes, 1)
    nodes.map.services[nodes.partition(lead)].ingest._max_events = 0
    release = asyncio.Event()
    on_append(nodes, nodes.partition(lead), release.wait, is_before=True)  # type: ignore[arg-type]
    first = asyncio.create_task(nodes.doors[0].post("events", purchase(lead, "p2")))
    await eventually(lambda: nodes.map.services[nodes.partition(lead)].ingest.statistics().events > 0)
    status, body = await nodes.doors[0].post("events", purchase(lead, "p3"))
    assert (status, body["code"]) == (503, "intake_full")
    release.set()
    assert (await first)[0] == 200
