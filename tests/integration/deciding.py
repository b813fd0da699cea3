"""What tests of the bandit over HTTP share: policies, decisions, time that settles them, and the log behind."""

from typing import Any
from urllib.parse import quote

import msgspec

from bandit.events import DecisionMade, RewardSettled, decode_decision, decode_settlement, policy_stream
from eventstore.event import Event, Stream
from tests.integration.service import NOW, Door

FEATURES = ["rfm:monetary_total", "rfm:recency_days"]
ARMS: list[dict[str, Any]] = [
    {"id": "mail", "features": {"channel": "mail", "cost": 0.1}},
    {"id": "call", "features": {"channel": "phone", "cost": 2}},
    {"id": "wait"},
]
PURCHASE = {"on": "purchase_completed", "within_s": 3600, "value": "amount / 100"}
POLICY: dict[str, Any] = {"arms": ARMS, "context": "lead", "reward": {"wait_s": 3600, "aggregation": "sum"}}
JSON = {"Content-Type": "application/json"}


async def put(door: Door, path: str, body: object, **options: Any) -> tuple[int, Any]:
    return await door.send("PUT", path, data=msgspec.json.encode(body), headers=JSON, **options)


async def define(door: Door, name: str = "offers", /, **fields: Any) -> dict[str, Any]:
    """A policy that must be taken, on a service of two features."""
    assert (await put(door, "services/lead", {"features": FEATURES}))[0] == 200
    status, policy = await put(door, f"policies/{quote(name, safe='')}", POLICY | fields)
    assert status == 200, policy
    answer: dict[str, Any] = policy
    return answer


async def decide(door: Door, lead: str | None = "42", policy: str = "offers", **request: Any) -> dict[str, Any]:
    """A decision that must be made."""
    status, made = await asked(door, lead, policy, **request)
    assert status == 200, made
    answer: dict[str, Any] = made
    return answer


async def asked(door: Door, lead: str | None = "42", policy: str = "offers", **request: Any) -> tuple[int, Any]:
    return await door.post(f"policies/{policy}/decide", ({} if lead is None else {"lead": lead}) | request)


async def reward(door: Door, decision: str, value: object, reward_id: str | None = None) -> tuple[int, Any]:
    body = {"value": value} | ({} if reward_id is None else {"id": reward_id})
    return await door.post(f"decisions/{quote(decision, safe='')}/reward", body)


async def record(door: Door, decision: str, query: str = "") -> dict[str, Any]:
    status, found = await door.get(f"decisions/{quote(decision, safe='')}{query}")
    assert status == 200, found
    answer: dict[str, Any] = found
    return answer


async def passing(door: Door, seconds: float) -> None:
    """Let time pass, and have everything done that it brings about."""
    door.clock.advance(seconds)
    while await door.service.ticker.tick():
        pass


async def settled(door: Door, policy: str = "offers") -> list[RewardSettled]:
    """What stands in a policy's stream, in order."""
    log = await door.service.store.read(policy_stream("default", policy))
    return [decode_settlement(event.data) for event in log if event.type == "reward_settled"]


async def logged(door: Door, lead: str | None, decision: str | None = None) -> list[DecisionMade]:
    """Decisions in a lead's stream, or in a decision's own."""
    stream = Stream("default", "lead", lead) if lead is not None else Stream("default", "decision", decision or "")
    log: list[Event] = await door.service.store.read(stream)
    return [decode_decision(event.data) for event in log if event.type == "decision_made"]


def bought(lead: str, event_id: str, amount: object = 10, at_us: int = NOW) -> dict[str, Any]:
    return {
        "lead": lead,
        "id": event_id,
        "type": "purchase_completed",
        "time": at_us / 1e6,
        "data": {"amount": amount},
    }
