"""One random workload, through any of three nodes and through one process: the same answers."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kernel.times import HOUR_US, format_time
from tests.integration.deciding import define, put
from tests.integration.fronts import running_nodes
from tests.integration.predicting import SCORING, hot
from tests.integration.service import NOW, Door, purchase, running
from tests.integration.test_http_market import available

SUBJECT_NAMES = ["algebra", "physics"]
LEADS = [f"l{n}" for n in range(12)]
#: What a log says of itself: each partition counts for itself, and each node looks at the market when it is asked.
OWN = frozenset(("position", "last_position"))

Ask = Callable[[Door], Any]


def plain(answer: tuple[int, Any]) -> tuple[int, Any]:
    return answer[0], _without(answer[1])


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        own = OWN | {"as_of"} if _has_market(value) else OWN
        return {name: _without(each) for name, each in value.items() if name not in own}
    return [_without(each) for each in value] if isinstance(value, list) else value


def _has_market(answer: dict[str, Any]) -> bool:
    """``as_of`` is when values were computed last; of the market, that is when somebody on this node asked last."""
    names = answer.get("names") or answer.get("values") or ()
    return "subject" in answer or any(isinstance(each, str) and each.startswith("market:") for each in names)


class Workload:
    """Steps of a seed: each asks one door, and leaves what is to be equal."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.events = 0
        self.decisions: list[str] = []

    def step(self) -> Ask:
        chosen = self.chance.choice(
            [self.post] * 5
            + [self.read] * 4
            + [self.batch, self.decide, self.decide, self.reward, self.reward, self.record, self.timeline, self.several]
            + [self.market, self.predict, self.history]
        )
        ask: Ask = chosen()
        return ask

    def lead(self) -> str:
        return self.chance.choice(LEADS)

    def event(self) -> dict[str, Any]:
        chance, lead = self.chance, self.lead()
        at_us = NOW - chance.randrange(40 * 24) * HOUR_US
        event_id = f"e{self.events}" if chance.random() < 0.9 else f"e{chance.randrange(self.events + 1)}"
        self.events += 1
        kind = chance.random()
        if kind < 0.6:
            return purchase(lead, event_id, chance.randrange(1, 500), at_us)
        if kind < 0.7:
            return purchase(lead, event_id, "much", at_us)
        if kind < 0.8:
            event_type = chance.choice(["login", "nonsense"])
            return {"lead": lead, "id": event_id, "type": event_type, "time": format_time(at_us), "data": {}}
        if kind < 0.9:
            return available(chance.choice(SUBJECT_NAMES), event_id, f"t{chance.randrange(5)}", 2, at_us)
        return {"lead": lead, "id": f"r{self.events}", "type": "event_retracted", "data": {"event_id": event_id}}

    def post(self) -> Ask:
        body = [self.event() for _ in range(self.chance.randrange(1, 12))]
        return lambda door: door.post("events", body)

    def read(self) -> Ask:
        form = self.chance.choice(["", "&format=vector"])
        views = self.chance.choice(["views=rfm", "views=*", "features=rfm:monetary_total,rfm:recency_days"])
        at = self.chance.choice(
            ["", "", "&at=2026-11-10T00:00:00Z", "&on_missing=default", "&known_at=2026-11-01T00:00:00Z"]
        )
        path = f"leads/{self.lead()}/features?{views}{form}{at}"
        return lambda door: door.get(path)

    def batch(self) -> Ask:
        leads = [self.lead() for _ in range(20)] + ["nobody"]
        body = {"leads": leads, "views": ["rfm"], "format": self.chance.choice(["map", "vector"])}
        if self.chance.random() < 0.3:
            body["at"] = "2026-11-15T00:00:00Z"
        return lambda door: door.post("features", body)

    def decide(self) -> Ask:
        lead = self.lead() if self.chance.random() < 0.8 else None
        is_again = bool(self.decisions) and self.chance.random() < 0.2
        name = self.chance.choice(self.decisions) if is_again else f"d{len(self.decisions)}"
        if not is_again:
            self.decisions.append(name)
        body = {"decision_id": name} | ({} if lead is None else {"lead": lead})
        return lambda door: door.post("policies/offers/decide", body)

    def several(self) -> Ask:
        named = [f"d{len(self.decisions) + n}" for n in range(3)]
        self.decisions += named
        members: list[Any] = [{"decision_id": name, "lead": self.lead()} for name in named]
        members += [{"lead": 7}, {"decision_id": named[0], "lead": "another"}, {"exclude": ["mail", "call", "wait"]}]
        chosen = members[:4] if self.chance.random() < 0.5 else members
        return lambda door: door.post("policies/offers/decide", chosen)

    def reward(self) -> Ask:
        name = self.chance.choice([*self.decisions, "d-nobody-made"])
        body: dict[str, Any] = {"value": self.chance.choice([0, 1, 2.5]), "id": f"r{self.chance.randrange(4)}"}
        if self.chance.random() < 0.1:
            body["value"] = "much"
        return lambda door: door.post(f"decisions/{name}/reward", body)

    def record(self) -> Ask:
        name = self.chance.choice([*self.decisions, "d-nobody-made"])
        return lambda door: door.get(f"decisions/{name}?replay=true")

    def timeline(self) -> Ask:
        lead, limit = self.lead(), self.chance.randrange(1, 9)

        async def pages(door: Door) -> tuple[int, Any]:
            items, cursor = [], ""
            while True:
                status, body = await door.get(f"leads/{lead}/events?limit={limit}{cursor}")
                if status != 200:
                    return status, body
                items += body["items"]
                if body["cursor"] is None:
                    return status, items
                cursor = f"&cursor={body['cursor']}"

        return pages

    def market(self) -> Ask:
        path = f"market/{self.chance.choice(SUBJECT_NAMES)}/features"
        return lambda door: door.get(path)

    def predict(self) -> Ask:
        path = f"{SCORING}/leads/{self.lead()}/ml/{self.chance.choice(['predict', 'features'])}"
        if path.endswith("predict"):
            return lambda door: door.post(path, {"ruleBasedOnly": True})
        return lambda door: door.get(path)

    def history(self) -> Ask:
        lead = self.lead()
        explained = f"leads/{lead}/explain/rfm:monetary_total"
        path = f"leads/{lead}/features/history?features=rfm:monetary_total&step=864000"
        return (lambda door: door.get(path)) if self.chance.random() < 0.5 else (lambda door: door.get(explained))


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_any_node_answers_as_one_process_does(seed: int) -> None:
    await compare(seed, 120)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(100, 120))
async def test_any_node_answers_as_one_process_does_for_long(seed: int) -> None:
    await compare(seed, 500)


async def compare(seed: int, steps: int) -> None:
    """One workload on both."""
    workload = Workload(seed)
    async with running() as alone, running_nodes(has_copies=True) as nodes:
        for door in (alone, nodes.doors[seed % 3]):
            await define(door, reward={"wait_s": 86400, "aggregation": "earliest"})
            await put(door, "services/two", {"features": ["rfm:monetary_total", "rfm:recency_days"]})
            await door.events(*(event for lead in LEADS[:4] for event in hot(lead)))
        for number in range(steps):
            ask = workload.step()
            expected = plain(await ask(alone))
            found = plain(await ask(nodes.doors[workload.chance.randrange(3)]))
            assert found == expected, number
            if number % 10 == 0:
                alone.clock.advance(60)
                await nodes.passing(60)
                await alone.service.ticker.tick()
        await _same_lists(alone, nodes.doors)


async def _same_lists(alone: Door, doors: Sequence[Door]) -> None:
    for path, is_ordered in (
        ("leads?sort=-rfm:monetary_total&limit=3", False),
        ("leads?sort=rfm:recency_days&filter=rfm:monetary_total>100&limit=2", False),
        ("leads?q=l1&limit=1", False),
        ("leads?limit=5", False),
        ("decisions?limit=4", False),
        ("decisions?policy=offers&lead=l1&limit=2", True),
        ("policies?limit=1", True),
        ("services?limit=1", True),
        (f"{SCORING}/default/ml/ranked-leads?limit=2", True),
        (f"{SCORING}/default/ml/leads-by-tier?tier=low&limit=2", True),
        ("alerts?limit=1", False),
        ("dead-letters?limit=1", True),
        ("webhook-dead-letters?limit=1", True),
        ("jobs?limit=1", True),
        ("alert-rules?limit=2", True),
    ):
        expected = await _all(alone, [alone], path)
        found = await _all(alone, doors, path)
        if is_ordered:
            assert found == expected, path
        assert _sorted(found) == _sorted(expected), path
        _check_order(path, found)
    for path in ("policies/offers/arms", "policies/offers/health", f"{SCORING}/default/ml/accuracy"):
        answers = [plain(await door.get(path)) for door in (alone, *doors)]
        assert answers == [answers[0]] * 4, path
    models = [await (await door.raw("GET", "policies/offers/model")).read() for door in (alone, *doors)]
    assert models == [models[0]] * 4


async def _all(alone: Door, doors: Sequence[Door], path: str) -> list[Any]:
    """A list, each page from another node."""
    items: list[Any] = []
    cursor, turn = "", 0
    while True:
        status, body = await doors[turn % len(doors)].get(path + cursor)
        assert status == 200, (path, body)
        assert len(body["items"]) <= int(path.partition("limit=")[2] or 100)
        items += [_without(each) for each in body["items"]]
        if body["cursor"] is None:
            return items
        cursor, turn = f"&cursor={body['cursor']}", turn + 1
        assert turn < 500


def _sorted(items: list[Any]) -> list[str]:
    return sorted(repr(sorted(each.items())) for each in items)


def _check_order(path: str, items: list[Any]) -> None:
    if path.startswith("leads?sort="):
        name = path.removeprefix("leads?sort=").partition("&")[0]
        values = [each["values"][name.lstrip("-")] for each in items]
        known = [each for each in values if each is not None]
        assert values[: len(known)] == known, "null stands last"
        assert known == sorted(known, reverse=name.startswith("-"))
    if path.startswith("decisions"):
        times = [each["decided"] for each in items]
        assert times == sorted(times, reverse=True)
