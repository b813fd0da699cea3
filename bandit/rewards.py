"""Rewards: what an event is worth by a decision's rules, and what several rewards come to.

Rules stand in each decision as its policy had them then, as texts; ``RuleBook`` compiles each text once. A rule that
can no longer be compiled (its pack is gone) rewards nothing, as does a value that is null or not finite.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from bandit.learners.learner import REWARD_MAX
from bandit.policy import Reward, RewardRule
from eventstore.event import Event
from eventstore.types import EventTypes
from kernel.errors import InvalidDefinition
from kernel.times import SECOND_US
from projections.conditions import Condition, payload_condition, payload_values

_KEPT: Final = 10_000


class _Compiled(NamedTuple):
    value: Condition
    where: Condition | None


class RuleBook:
    """Reward rules of all organisations, compiled when they are first needed.

    Parameters
    ----------
    types_of : the event types of an organisation.
    """

    def __init__(self, types_of: Callable[[str], EventTypes]) -> None:
        self._types_of = types_of
        self._compiled: dict[tuple[str, str, str, str | None], _Compiled | None] = {}

    def payload(self, event: Event) -> Any | None:
        """The event's payload; None where it cannot be read today."""
        types = self._types_of(event.stream.org)
        if event.payload is None and event.type not in types:
            return None
        try:
            return types.payload_of(event)
        except (msgspec.MsgspecError, ValueError, ArithmeticError):
            return None

    def value(self, rule: RewardRule, event: Event) -> float | None:
        """What the event is worth by a rule about its type, whenever it happened; None: nothing."""
        compiled = self._rule(event.stream.org, rule)
        payload = self.payload(event) if compiled is not None else None
        if compiled is None or payload is None:
            return None
        values = payload_values(payload)
        if compiled.where is not None and not compiled.where.holds(values):
            return None
        found = compiled.value.number(values)
        return found if found is not None and abs(found) <= REWARD_MAX else None

    def _rule(self, org: str, rule: RewardRule) -> _Compiled | None:
        key = (org, rule.on, rule.value, rule.where)
        if key not in self._compiled:
            if len(self._compiled) >= _KEPT:
                self._compiled.clear()
            self._compiled[key] = self._compile(org, rule)
        return self._compiled[key]

    def _compile(self, org: str, rule: RewardRule) -> _Compiled | None:
        declared = self._types_of(org).get(rule.on)
        if declared is None:
            return None
        try:
            where = None if rule.where is None else payload_condition(rule.where, declared.payload, path="where")
            return _Compiled(payload_condition(rule.value, declared.payload, path="value", wants="number"), where)
        except InvalidDefinition:
            return None


def in_window(rule: RewardRule, decided_us: int, at_us: int) -> bool:
    """Whether an instant lies in (decision, decision + within]."""
    return decided_us < at_us <= decided_us + round(rule.within_s * SECOND_US)


def aggregated(reward: Reward, values: Sequence[float]) -> float:
    """What a decision's rewards come to, given in the order in which they were recorded; the default without any.

    Sums are exact before they are rounded, so their order does not matter.
    """
    if not values:
        return reward.default
    match reward.aggregation:
        case "earliest":
            return values[0]
        case "latest":
            return values[-1]
        case "max":
            return max(values)
        case "mean":
            return math.fsum(values) / len(values)
        case _:
            return math.fsum(values)
