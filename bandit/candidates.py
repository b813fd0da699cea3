"""The arms that may be chosen, and what follows from them alone: the same for every decision over the same arms.

Enter: a policy, the arms that a request or the policy names, and those of them that may act. Leaves: the arms as the learner
sees them and as the log has them. Where neither the request nor a guardrail says otherwise, these are the policy's own,
made once with it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bandit.distribution import ANY_SHARE, Share
from bandit.events import LoggedArm
from bandit.learners.learner import Arm
from bandit.policy import Policy


class Candidates(NamedTuple):
    """Eligible arms. Shared between decisions: nobody changes it.

    ``acting`` is the place of the baseline among them, of the first of them where the baseline may not act; ``bounds`` are
    their shares, None where the policy bounds none.
    """

    arms: tuple[Arm, ...]
    ids: tuple[str, ...]
    logged: list[LoggedArm]
    ineligible: list[str]
    acting: int
    bounds: list[Share] | None


def candidates(
    policy: Policy, shares: Mapping[str, Share], considered: Sequence[Arm], eligible: Sequence[Arm]
) -> Candidates:
    """Make them of at least one eligible arm.

    Parameters
    ----------
    considered : all arms of the policy or the request. Without a baseline of the policy's among them, the first is it.
    """
    ids = tuple([arm.id for arm in eligible])
    names = frozenset(ids)
    all_ids = [arm.id for arm in considered]
    baseline = policy.baseline if policy.baseline in all_ids else all_ids[0]
    return Candidates(
        arms=tuple(eligible),
        ids=ids,
        logged=[LoggedArm(each.id, dict(each.features)) for each in eligible],
        ineligible=[each for each in all_ids if each not in names],
        acting=ids.index(baseline) if baseline in names else 0,
        bounds=[shares.get(each, ANY_SHARE) for each in ids] if shares else None,
    )
