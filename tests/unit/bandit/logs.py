"""A log in a list, and the policies and events that the bandit's tests are about."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from bandit.checking import CompiledPolicy, compile_policy
from bandit.deciding import Model, Request, decide
from bandit.events import (
    DecisionMade,
    LoggedArm,
    PolicyDefined,
    RewardReceived,
    activation_event,
    columns_fingerprint,
    decision_event,
    pack_vector,
    policy_defined_event,
    policy_stream,
    reward_event,
)
from bandit.guardrails import Known
from bandit.learners.learner import Context, Prediction
from bandit.policy import Policy, PolicyArm, Reward, RewardRule, completed
from eventstore.event import Event, NewEvent, Stream
from kernel.ids import Position
from kernel.settings import OrgSettings
from kernel.times import SECOND_US
from projections.catalogue import Catalogue

CATALOGUE = Catalogue("acme", OrgSettings())
COLUMNS = ("rfm:recency_days", "rfm:monetary_total")
LEAD = Stream("acme", "lead", "42")
POLICY = policy_stream("acme", "offers")
NOON = 1_790_000_000 * SECOND_US
PURCHASE = RewardRule(on="purchase_completed", within_s=3_600, value="amount / 100")
ARMS = [PolicyArm("mail", {"channel": "mail"}), PolicyArm("call", {"channel": "phone"}), PolicyArm("wait")]


def types_of(org: str) -> Any:
    return CATALOGUE.event_types


def a_policy(**fields: Any) -> Policy:
    return completed(Policy(**({"arms": ARMS, "context": "lead"} | fields)))


def compiled(policy: Policy | None = None, version: int = 1, columns: Sequence[str] = COLUMNS) -> CompiledPolicy:
    return compile_policy("offers", version, policy or a_policy(), columns, CATALOGUE)


class Said:
    """A predictor that always says the same probabilities."""

    updates = 0

    def __init__(self, *probabilities: float) -> None:
        self._probabilities = list(probabilities)

    def predict(self, context: Context, arms: Sequence[Any]) -> Prediction:
        said = self._probabilities or [1 / len(arms)] * len(arms)
        return Prediction(said, [float(i) for i in range(len(arms))])

    def predict_many(self, contexts: Sequence[Context], arms: Sequence[Any]) -> list[Prediction]:
        return [self.predict(each, arms) for each in contexts]


def known(values: dict[str, Any] | None = None, **others: Any) -> Known:
    return Known((values or {}).get, np.array([3.0, 120.0]), **others)


def decided(
    policy: CompiledPolicy | None = None,
    *said: float,
    decision_id: str = "d1",
    facts: Known | None = None,
    **request: Any,
) -> DecisionMade:
    asked = Request(**({"lead": "42"} | request))
    return decide(policy or compiled(), Model("1.0", Said(*said)), asked, facts or known(), decision_id)


def a_decision(
    decision_id: str = "d1", *, deferred: bool = False, policy: str = "offers", **reward: Any
) -> DecisionMade:
    """A decision between two arms as it is logged."""
    return DecisionMade(
        decision_id=decision_id,
        policy=policy,
        policy_version=1,
        model_version="1.0",
        context=pack_vector(np.array([3.0, 120.0])),
        columns=columns_fingerprint(COLUMNS),
        named={},
        arms=[LoggedArm("mail", {"channel": "mail"}), LoggedArm("call", {})],
        distribution=[0.75, 0.25],
        scores=[0.0, 0.0],
        ineligible=[],
        arm="mail",
        probability=0.75,
        reason="exploit",
        seed=1,
        deferred=deferred,
        reward=Reward(**({"rules": [PURCHASE], "wait_s": 3_600, "aggregation": "sum"} | reward)),
        channel="mail",
    )


class Log:
    """One stream's events by version, recorded when the test says."""

    def __init__(self, stream: Stream = LEAD) -> None:
        self.stream = stream
        self.events: list[Event] = []

    def append(self, event: NewEvent, recorded_us: int) -> Event:
        version = len(self.events) + 1
        stored = Event(
            self.stream, 1, version, Position(version), event.id, event.type, event.at_us, recorded_us, event.data
        )
        self.events.append(stored)
        return stored

    def outside(self, kind: str, name: str, at_us: int, recorded_us: int | None = None, /, **data: Any) -> Event:
        new = NewEvent(self.stream, name, kind, at_us, msgspec.json.encode(data), None)
        return self.append(new, at_us if recorded_us is None else recorded_us)

    def purchase(self, event_id: str, at_us: int, amount: float, recorded_us: int | None = None) -> Event:
        return self.outside("purchase_completed", event_id, at_us, recorded_us, amount=amount)

    def decision(self, made: DecisionMade, at_us: int) -> Event:
        return self.append(decision_event(self.stream, made, at_us), at_us)

    def reward(self, decision_id: str, reward_id: str, value: float, at_us: int) -> Event:
        return self.append(reward_event(self.stream, RewardReceived(decision_id, reward_id, value), at_us), at_us)

    def activation(self, decision_id: str, at_us: int) -> Event:
        return self.append(activation_event(self.stream, decision_id, at_us), at_us)

    def retraction(self, event_id: str, at_us: int, name: str = "r") -> Event:
        return self.outside("event_retracted", f"{name}-{event_id}", at_us, event_id=event_id)

    def definition(self, version: int, policy: Policy, columns: Sequence[str] = COLUMNS, at_us: int = NOON) -> Event:
        return self.append(
            policy_defined_event(self.stream, PolicyDefined(version, policy, list(columns)), at_us), at_us
        )


def seconds(count: float) -> int:
    return NOON + round(count * SECOND_US)
