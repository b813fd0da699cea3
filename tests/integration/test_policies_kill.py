"""``kill -9`` under decisions, rewards and events: nothing acknowledged is lost or doubled, and the model is the log's."""

import asyncio
import random
import threading
import urllib.error
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bandit.events import (
    RewardSettled,
    decision_event_id,
    decode_settlement,
    payload_of,
    policy_stream,
    settlement_event_id,
)
from eventstore.event import Event
from eventstore.store import START
from gateway.app import Paths, build_app, open_service
from gateway.client import attached
from gateway.service import Service
from kernel.clock import SystemClock
from kernel.settings_sources import load_settings
from kernel.times import SECOND_US
from tests.integration.deciding import ARMS, FEATURES
from tests.integration.process import call, serving
from tests.patience import eventually

THREADS = 3
LEADS = [f"lead {n}/ü" for n in range(6)]
POLICIES = {"linear": {"kind": "linear"}, "vw": {"kind": "vw", "exploration": "epsilon"}}
REWARD = {
    "rules": [{"on": "purchase_completed", "within_s": 3600, "value": "amount / 100"}],
    "wait_s": 3600,
    "aggregation": "earliest",
}
RESULTS = ("arm", "probability", "model_version", "policy_version", "reason")


class Load:
    """Decides, rewards and posts until the service dies, and remembers what was answered."""

    def __init__(self, url: str, seed: int, known: list[dict[str, Any]]) -> None:
        self.base = f"{url}/v1/orgs/default"
        self.seed, self.chance = seed, random.Random(seed)
        self.known = known  # decisions of earlier rounds
        self.made: list[dict[str, Any]] = []
        self.sent: set[str] = set()
        self.rewarded: dict[tuple[str, str], float] = {}

    def run(self, answered: threading.Semaphore) -> None:
        steps: list[Callable[[int], None]] = [
            self._decide,
            self._decide,
            self._reward,
            self._reward,
            self._post,
            self._ask,
        ]
        try:
            for number in range(10**9):
                self.chance.choice(steps)(number)
                answered.release()
        except (OSError, urllib.error.URLError, ValueError):
            answered.release()  # the service was killed in the middle of a request

    def _decide(self, number: int) -> None:
        policy = self.chance.choice(list(POLICIES))
        leads = [self.chance.choice([*LEADS, None]) for _ in range(self.chance.choice([1, 1, 8]))]
        members = [{"lead": lead, "decision_id": f"{self.seed}-{number}-{n}"} for n, lead in enumerate(leads)]
        self.sent |= {str(each["decision_id"]) for each in members}
        status, answers = call(f"{self.base}/policies/{policy}/decide", msgspec.json.encode(members))
        assert status == 200, answers
        self.made += [
            {"policy": policy, "lead": member["lead"], **answer}
            for member, answer in zip(members, answers, strict=True)
        ]

    def _reward(self, number: int) -> None:
        if not (self.made or self.known):
            return
        made = self.chance.choice(self.made[-5:] or self.known)
        reward_id, value = f"r{self.seed}-{number}", self.chance.choice([0.0, 0.5, 1.0, -2.0])
        body = msgspec.json.encode({"id": reward_id, "value": value})
        status, answer = call(f"{self.base}/decisions/{made['decision_id']}/reward", body)
        assert (status, answer["duplicate"]) == (200, False), answer
        self.rewarded[made["decision_id"], reward_id] = value

    def _post(self, number: int) -> None:
        event = {"lead": self.chance.choice(LEADS), "id": f"e{self.seed}-{number}", "type": "purchase_completed"}
        status, answer = call(f"{self.base}/events", msgspec.json.encode([event | {"data": {"amount": number}}]))
        assert (status, answer["accepted"]) == (200, 1), answer

    def _ask(self, number: int) -> None:
        """What was decided before a crash is answered again."""
        if self.known:
            made = self.chance.choice(self.known)
            body = msgspec.json.encode({name: made[name] for name in ("lead", "decision_id")})
            status, answer = call(f"{self.base}/policies/{made['policy']}/decide", body)
            assert status == 200, answer
            assert [answer[name] for name in RESULTS] == [made[name] for name in RESULTS]


def _one_round(directory: Path, seed: int, known: list[dict[str, Any]]) -> list[Load]:
    with serving(directory) as (url, process):
        loads = [Load(url, seed * THREADS + n, known) for n in range(THREADS)]
        answered = threading.Semaphore(0)
        threads = [threading.Thread(target=load.run, args=(answered,)) for load in loads]
        for thread in threads:
            thread.start()
        for _ in range(random.Random(seed).randint(10, 120)):
            answered.acquire()
        process.kill()
        for thread in threads:
            thread.join()
    return loads


async def _define(directory: Path) -> None:
    service = await _opened(directory)
    try:
        async with attached(service, "default") as client:
            await client.send("PUT", "/services/lead", body=msgspec.json.encode({"features": FEATURES}))
            for name, learner in POLICIES.items():
                policy = {"arms": ARMS, "context": "lead", "learner": learner, "reward": REWARD}
                await client.send("PUT", f"/policies/{name}", body=msgspec.json.encode(policy))
    finally:
        await service.close()


async def _opened(directory: Path) -> Service:
    service = await open_service(
        load_settings(), paths=Paths(directory), clock=SystemClock(), is_trusting=True, is_ticking=False
    )
    build_app(service)
    return service


class Log:
    """What stands in the log in the end."""

    def __init__(self, events: list[Event]) -> None:
        of = {name: [event for event in events if event.type == name] for name in {event.type for event in events}}
        self.made = [(event, payload_of(event)) for event in of["decision_made"]]
        self.rewards = [payload_of(event) for event in of["reward_received"]]
        self.settled = [decode_settlement(event.data) for event in of["reward_settled"]]


async def _read(service: Service) -> Log:
    events: list[Event] = []
    while page := await service.store.read_log(after=events[-1].position if events else START, limit=5000):
        events += page
    return Log(events)


async def _check(directory: Path, loads: list[Load]) -> None:
    service = await _opened(directory)
    try:
        await eventually(lambda: not service.host.is_recovering)
        soon_us = service.clock.now_us() + SECOND_US  # a timer fires up to a tick late, and a kill may be as recent
        while await service.ticker.tick(soon_us):
            pass
        log = await _read(service)
        _check_decisions(log, loads)
        _check_rewards(log, loads)
        await _check_models(service, log)
    finally:
        await service.close()


def _check_decisions(log: Log, loads: list[Load]) -> None:
    logged = {made.decision_id: made for _, made in log.made}
    assert len(logged) == len(log.made), "a decision is made once"
    assert {event.id for event, _ in log.made} == {decision_event_id(each) for each in logged}
    for load in loads:
        for answer in load.made:
            made = logged[answer["decision_id"]]
            assert [getattr(made, name) for name in RESULTS] == [answer[name] for name in RESULTS]
    assert set(logged) <= {each for load in loads for each in load.sent}, "and nothing that nobody asked for"


def _check_rewards(log: Log, loads: list[Load]) -> None:
    stored = Counter((each.decision_id, each.id) for each in log.rewards)
    assert set(stored.values()) <= {1}, "a reward is stored once"
    values = {(each.decision_id, each.id): each.value for each in log.rewards}
    for load in loads:
        assert load.rewarded.items() <= values.items()
    settled: dict[str, RewardSettled] = {}
    for each in log.settled:
        assert each.decision_id not in settled, "a decision settles once"
        settled[each.decision_id] = each
    assert {each.decision_id for each in log.rewards} <= set(settled), "the first reward settles"
    first = {each.decision_id: each.value for each in reversed(log.rewards)}
    posted_only = [made.decision_id for event, made in log.made if event.stream.kind == "decision"]
    for decision_id in set(posted_only) & set(settled):
        assert settled[decision_id].reward == first[decision_id]


async def _check_models(service: Service, log: Log) -> None:
    async with attached(service, "default") as client:
        job = await client.send("POST", "/jobs", body=b'{"kind": "replay", "policies": true}')

        async def has_ended() -> bool:
            nonlocal job
            job = await client.get(f"/jobs/{job['id']}")
            return bool(job["state"] != "running")

        await eventually(has_ended)
    models = {each["policy"]: each for each in job["result"]["policies"]}
    assert set(models) == set(POLICIES)
    for name, model in models.items():
        stream = await service.store.read(policy_stream("default", name))
        finals = {event.id for event in stream if event.type == "reward_settled"}
        made = {settlement_event_id(each.decision_id, "final") for _, each in log.made if each.policy == name}
        assert finals <= made
        assert (model["same"], model["updates"]) == (True, len(finals)), model


@pytest.mark.parametrize("rounds", [3, pytest.param(40, marks=pytest.mark.deep)])
def test_kills_under_load_lose_and_double_nothing(tmp_path: Path, rounds: int) -> None:
    asyncio.run(_define(tmp_path))
    loads: list[Load] = []
    for seed in range(rounds):
        known = [made for load in loads for made in load.made]
        loads += _one_round(tmp_path, seed, known)
    assert sum(len(load.made) for load in loads) > 10 * rounds
    assert sum(len(load.rewarded) for load in loads) > rounds
    asyncio.run(_check(tmp_path, loads))
