"""Which arms may be chosen: what a request leaves, and what the guardrails leave of that.

Enters: a policy, a request, what is known of the lead and the day. Leaves: the eligible arms, in the order of the policy
or the request. Shares, holdout, apprentice and kill switch are not looked at here: they move probabilities, not
arms.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from bandit.chance import unit
from bandit.checking import CompiledPolicy
from bandit.learners.learner import Arm, FloatVector
from bandit.ledger import NO_DECISIONS, WeekCounts
from bandit.policy import channel_of
from kernel.errors import NobodyEligible
from projections.conditions import Values


class Known(NamedTuple):
    """What is known when deciding.

    ``values`` gives features and predictions by reference (``CompiledPolicy.reads`` are asked for), ``context`` the columns
    of the policy's service, ``today`` how often each arm was chosen on this day.
    """

    values: Values
    context: FloatVector
    week: WeekCounts = NO_DECISIONS
    today: Mapping[str, int] = {}


def eligible_arms(
    policy: CompiledPolicy, arms: Sequence[Arm], *, is_given: bool, exclude: Collection[str], known: Known
) -> list[Arm]:
    """The arms that may be chosen.

    Parameters
    ----------
    arms : those considered; ``is_given`` by the request, so that none is paused.

    Raises
    ------
    NobodyEligible
        ``by`` the request, which left none of the arms that are not paused; or by the guardrails, which left none of
        the rest.
    """
    running = [arm for arm in arms if is_given or arm.id in policy.enabled]
    asked = [arm for arm in running if arm.id not in exclude]
    if not asked:
        raise NobodyEligible("request" if running or not arms else "guardrails")
    if not policy.is_limited:
        return asked
    allowed = [] if _is_over(policy, known) else [arm for arm in asked if _may_act(policy, arm, known)]
    if not allowed:
        raise NobodyEligible("guardrails")
    return allowed


def is_held_out(policy: CompiledPolicy, lead: str | None) -> bool:
    """Whether a lead belongs to the permanent holdout; what is decided without a lead never does."""
    share = policy.policy.guardrails.holdout
    return lead is not None and share > 0 and unit(policy.policy.seed, "holdout", lead) < share


def _is_over(policy: CompiledPolicy, known: Known) -> bool:
    """Whether nothing at all may be chosen for this lead: it opted out, or has had its decisions of the week."""
    total = policy.policy.guardrails.per_lead_week.total
    if total is not None and known.week.total >= total:
        return True
    return policy.opt_out is not None and policy.opt_out.holds(known.values)


def _may_act(policy: CompiledPolicy, arm: Arm, known: Known) -> bool:
    rails, week = policy.policy.guardrails, known.week
    if known.today.get(arm.id, 0) >= rails.per_day.get(arm.id, _ENDLESS):
        return False
    if week.arms[arm.id] >= rails.per_lead_week.arms.get(arm.id, _ENDLESS):
        return False
    channel = channel_of(arm.features)
    if channel is not None and week.channels[channel] >= rails.per_lead_week.channels.get(channel, _ENDLESS):
        return False
    if arm.id not in policy.eligible:
        return True
    condition = policy.eligible[arm.id]
    return condition is not None and condition.holds(known.values)


def with_others(today: Mapping[str, int], per_day: Mapping[str, int], index: int, parts: int) -> dict[str, int]:
    """Today's counts of one of several deciders that do not know of each other's, so that all keep to the budgets.

    Each has its share of every budget, and is told as if the others had used theirs up.

    Examples
    --------
    >>> [with_others({"a": 1}, {"a": 5}, index, 3)["a"] for index in range(3)]
    [4, 4, 5]
    """
    counts = dict(today)
    for arm, budget in per_day.items():
        share = budget // parts + (index < budget % parts)
        counts[arm] = counts.get(arm, 0) + budget - share
    return counts


_ENDLESS = float("inf")
