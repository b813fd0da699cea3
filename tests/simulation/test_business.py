"""A business that learns: nothing is lost or doubled whatever crashes, and what is learned is worth having."""

import pytest

from bandit.events import RewardSettled, payload_of
from bandit.learners.learner import LearnerSettings
from bandit.policy import Policy, PolicyArm, Reward, RewardRule, completed
from kernel.steps import finish
from tests.property.settlements import fates
from tests.simulation.business import LAW, Service, World, lived
from tests.unit.bandit.logs import POLICY

WEEK_S = 7 * 86_400
RULE = RewardRule("purchase_completed", WEEK_S, "amount / 100")
#: What the best arm for everybody brings, the best arm for each, and arms drawn evenly.
BEST_FIXED = max(sum(chances) / 2 for chances in LAW.values())
BEST_EACH = sum(max(chances[taste] for chances in LAW.values()) for taste in (0, 1)) / 2
EVEN = sum(sum(chances) / 2 for chances in LAW.values()) / len(LAW)


def a_policy(**fields: object) -> Policy:
    reward = Reward(rules=[RULE], wait_s=WEEK_S, aggregation="sum")
    arms = [PolicyArm(arm) for arm in LAW]
    return completed(Policy(**{"arms": arms, "context": "taste", "reward": reward, **fields}))  # type: ignore[arg-type]


def settlements(service: Service) -> list[RewardSettled]:
    return [payload_of(event) for event in service.log[POLICY] if event.type == "reward_settled"]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("learner", ["linear", "vw"])
def test_crashes_lose_and_double_no_reward_and_change_no_byte_of_the_model(learner: str, seed: int) -> None:
    exploration = "epsilon" if learner == "vw" else ""
    policy = a_policy(learner=LearnerSettings(kind=learner, exploration=exploration))
    service = lived(World(seed, leads=30), policy, 250, crash_rate=0.1, days=40)
    found = {each.decision_id: each for each in settlements(service)}
    assert len(found) == len(settlements(service)) == 250
    for stream, events in service.log.items():
        if stream == POLICY:
            continue
        for event in events:
            if event.type == "decision_made":
                payload_of(event)
        for decision_id, fate in fates(events).items():
            settled = found[decision_id]
            assert (settled.reward, settled.settled_us) == (fate.values[0], fate.at_us)
    again = finish(service.folds.refold(POLICY, 1, service.log[POLICY]))
    assert service.entity.model_bytes() == again.model_bytes()
    assert service.woken().model_bytes() == again.model_bytes()
    assert again.updates == 250


def test_what_is_learned_beats_the_best_arm_for_everybody() -> None:
    service = lived(World(11), a_policy(), 1_500)
    mean = service.expected / 1_500
    assert EVEN < BEST_FIXED < mean < BEST_EACH
    assert mean > BEST_FIXED + 0.4 * (BEST_EACH - BEST_FIXED)
