"""The linear learner: the posterior of a textbook, exact corrections, memory, arms that come and go."""

import math

import numpy as np
import pytest

from bandit.learners import linear
from bandit.learners.exploring import inverse_gaps, normals, winning_shares
from bandit.learners.learner import Arm, Context, Learner, LearnerSettings, Observation
from bandit.learners.linear_args import LinearArgs, linear_args
from bandit.learners.posterior import SCALE_MIN
from kernel.errors import InvalidReward, ModelMismatch
from tests.unit.bandit.learners.observing import (
    ARMS,
    WIDTH,
    context,
    loaded,
    made,
    observation,
    observations,
    shares,
    taught,
)

LINEAR = LearnerSettings("linear", "", "--half_life 0")


def textbook_scores(seen: list[Observation], asked: Context, arms: tuple[Arm, ...], at: int) -> list[float]:
    """Mean of the joint posterior, solved as one system over all weights; columns standardised by the first ``at`` rows."""
    ridge, ids = LinearArgs().ridge, [arm.id for arm in arms]
    rows = np.array([each.context.values for each in seen])
    centres, spread = rows[:at].mean(axis=0), np.sqrt(rows[:at].var(axis=0) + SCALE_MIN**2)

    def encoded(values: np.ndarray, arm: str) -> np.ndarray:
        x = np.concatenate([[1.0], (values - centres) / spread])
        row = np.zeros(1 + len(ids) * len(x))
        row[0] = 1.0
        row[1 + ids.index(arm) * len(x) :][: len(x)] = x
        return row

    design = np.array([encoded(each.context.values, each.arm) for each in seen])
    own = [1.0, *[ridge] * len(centres)]
    prior = np.diag([1e-6, *own * len(ids)])
    weights = np.linalg.solve(design.T @ design + prior, design.T @ np.array([each.reward for each in seen]))
    return [float(encoded(asked.values, arm) @ weights) for arm in ids]


def test_scores_are_the_textbooks_posterior_means() -> None:
    arms = tuple(Arm(name) for name in ("a", "b", "c"))
    rng = np.random.default_rng(5)
    seen = [
        Observation(Context(rng.uniform(-1, 1, WIDTH)), arms, arms[index % 3].id, 0.5, float(rng.normal()))
        for index in range(60)
    ]
    learner = made(LINEAR)
    rescaled_at = 0
    for count, each in enumerate(seen, 1):
        before = learner._centres  # type: ignore[attr-defined]
        learner.learn(each)
        rescaled_at = count if learner._centres is not before else rescaled_at  # type: ignore[attr-defined]
    asked = Context(np.array([0.3, -0.8, 0.1]))
    said = learner.reader().predict(asked, arms)
    assert said.scores == pytest.approx(textbook_scores(seen, asked, arms, rescaled_at), abs=1e-8)


def test_a_read_copy_made_step_by_step_is_one_made_at_once() -> None:
    stepwise, at_once = made(LINEAR), made(LINEAR)
    for each in observations(70):
        stepwise.learn(each)
        stepwise.reader()
        at_once.learn(each)
    asked = context(0.5, 0.5, -1.0)
    one, other = stepwise.reader().predict(asked, ARMS), at_once.reader().predict(asked, ARMS)
    assert one.scores == pytest.approx(other.scores, abs=1e-12)
    assert one.probabilities == pytest.approx(other.probabilities)


def test_it_learns_which_arm_a_context_calls_for() -> None:
    reader = taught(made(LINEAR), 300).reader()
    assert shares(reader, context(2.0, 0.0, 0.0))["mail"] > 0.95
    assert shares(reader, context(-2.0, 0.0, 0.0))["call"] > 0.95


def test_before_the_first_reward_every_arm_is_about_as_likely() -> None:
    assert min(made(LINEAR).reader().predict(context(1.0, 1.0, 1.0), ARMS).probabilities) > 0.2


def sums_agree(one: Learner, other: Learner) -> None:
    for name in ("_squares", "_products", "_totals", "_centres", "_scales"):
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=1e-12, atol=1e-9), name
    asked = context(0.5, -0.5, 1.0)
    one_said, other_said = one.reader().predict(asked, ARMS), other.reader().predict(asked, ARMS)
    assert one_said.scores == pytest.approx(other_said.scores, abs=1e-7)


@pytest.mark.parametrize("half_life", [0, 7])
def test_a_corrected_reward_is_as_if_only_the_later_one_had_been_learned(half_life: int) -> None:
    settings = LearnerSettings("linear", "", f"--half_life {half_life}")
    corrected, direct = made(settings), made(settings)
    early = list(observations(40))
    marks = [corrected.learn(each) for each in early]
    for each, mark in zip(early, marks, strict=True):
        corrected.correct(each, mark, each.reward * 3 - 1)
    for each in early:
        direct.learn(each._replace(reward=each.reward * 3 - 1))
    assert corrected.updates == direct.updates
    sums_agree(corrected, direct)


def test_a_correction_of_a_correction_counts_once() -> None:
    corrected, direct = made(LINEAR), made(LINEAR)
    first = observation(reward=0.25, weight=2.0)
    mark = corrected.learn(first)
    taught(corrected, 20)
    corrected.correct(first, mark, 8.0)
    corrected.correct(first._replace(reward=8.0), mark, -1.0)
    direct.learn(first._replace(reward=-1.0))
    taught(direct, 20)
    sums_agree(corrected, direct)


def test_a_correction_outlives_a_dump() -> None:
    straight, stopped = made(LINEAR), made(LINEAR)
    first = observation(reward=0.25)
    mark = straight.learn(first)
    stopped.learn(first)
    stopped = loaded(LINEAR, stopped.dump())
    for learner in (straight, stopped):
        taught(learner, 10)
        learner.correct(first, mark, 5.0)
    assert stopped.dump() == straight.dump()


def test_a_correction_with_a_reward_that_sums_cannot_hold_changes_nothing() -> None:
    learner = made(LINEAR)
    mark = learner.learn(observation())
    before = learner.dump()
    with pytest.raises(InvalidReward):
        learner.correct(observation(), mark, math.inf)
    assert learner.dump() == before


def test_a_read_copy_after_a_correction_knows_it() -> None:
    learner = taught(made(LINEAR), 30)
    first = observation(reward=0.0)
    mark = learner.learn(first)
    before = learner.reader().predict(first.context, ARMS).scores
    learner.correct(first, mark, 50.0)
    assert learner.reader().predict(first.context, ARMS).scores[0] > before[0] + 1.0


def test_a_new_arm_starts_from_what_the_others_earned() -> None:
    learner = made(LINEAR, width=0)
    nothing = Context(np.empty(0))
    for index in range(200):
        learner.learn(Observation(nothing, ARMS, ARMS[index % 3].id, 0.5, 10.0 + index % 2))
    assert learner.reader().predict(nothing, (*ARMS, Arm("new"))).scores[3] == pytest.approx(10.5, abs=0.3)


def test_a_new_arm_starts_from_what_arms_of_its_features_earned() -> None:
    arms = tuple(Arm(f"{agent}{index}", {"agent": agent}) for agent in ("ann", "bob") for index in range(4))
    learner = made(LINEAR, width=0)
    nothing = Context(np.empty(0))
    for index in range(400):
        arm = arms[index % 8]
        learner.learn(Observation(nothing, arms, arm.id, 0.5, float(arm.features["agent"] == "ann")))
    new = (Arm("ann9", {"agent": "ann"}), Arm("bob9", {"agent": "bob"}), Arm("eve9", {"agent": "eve"}))
    ann, bob, _ = learner.reader().predict(nothing, new).scores
    assert ann - bob > 0.5


def test_an_arm_that_paused_keeps_what_it_learned() -> None:
    learner = taught(made(LINEAR), 300)
    before = learner.reader().predict(context(2.0, 0.0, 0.0), ARMS).scores[0]
    for each in observations(100, seed=8, arms=ARMS[1:]):
        learner.learn(each)
    after = learner.reader().predict(context(2.0, 0.0, 0.0), ARMS).scores[0]
    assert after == pytest.approx(before, abs=0.1)


def test_the_arm_that_was_not_learned_for_longest_gives_way_and_leaves_what_it_taught_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear, "SUMS_BYTES", 0)
    learner = made(LINEAR, width=0)
    nothing = Context(np.empty(0))
    for index in range(linear.ARMS_MIN + 10):
        arm = Arm(f"a{index}", {"agent": "ann"})
        learner.learn(Observation(nothing, (arm,), arm.id, 1.0, 5.0))
    assert len(learner._arms) == linear.ARMS_MIN  # type: ignore[attr-defined]
    assert "a9" not in learner._arms  # type: ignore[attr-defined]
    assert learner._totals[0] == linear.ARMS_MIN + 10  # type: ignore[attr-defined]
    assert learner._squares[:, 0, 0].sum() == linear.ARMS_MIN + 10  # type: ignore[attr-defined]
    assert loaded(LINEAR, learner.dump(), width=0).dump() == learner.dump()
    assert learner.reader().predict(nothing, (Arm("a0"),)).scores[0] == pytest.approx(5.0, abs=0.1)


def test_a_reward_of_an_arm_that_gave_way_is_corrected_in_what_it_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "SUMS_BYTES", 0)
    corrected, direct = made(LINEAR), made(LINEAR)
    first = observation(reward=1.0)
    mark = corrected.learn(first)
    direct.learn(first._replace(reward=3.0))
    for learner in (corrected, direct):
        for index in range(linear.ARMS_MIN):
            arm = Arm(f"a{index}")
            learner.learn(observation(arm.id, arms=(arm,)))
        learner.learn(observation(reward=0.5))
    corrected.correct(first, mark, 3.0)
    sums_agree(corrected, direct)


def test_what_was_learned_a_half_life_ago_counts_half() -> None:
    learner = made(LearnerSettings("linear", "", "--half_life 10"), width=0)
    for _ in range(20):
        learner.learn(observation(context=Context(np.empty(0))))
    assert learner._totals[0] == 10 / 4 + 10 / 2  # type: ignore[attr-defined]


def recovery(args: str) -> tuple[float, float]:
    """Rewards a decision before the best arm changes, and at the end, with two arms that pay 1 and 0."""
    learner = made(LearnerSettings("linear", "", args), width=0)
    nothing, arms, earned = Context(np.empty(0)), ARMS[:2], []
    for step in range(1200):
        best = 0 if step < 800 else 1
        paid = learner.reader().predict(nothing, arms).probabilities
        chosen = 0 if (step * 0.618) % 1 < 0.98 * paid[0] + 0.01 else 1
        earned.append(float(chosen == best))
        learner.learn(Observation(nothing, arms, arms[chosen].id, 0.5, earned[-1] + 0.1 * ((step * 0.414) % 1)))
    return float(np.mean(earned[700:800])), float(np.mean(earned[-100:]))


def test_a_learner_with_a_memory_notices_that_the_best_arm_changed() -> None:
    before, after = recovery("--half_life 100")
    assert before > 0.9
    assert after > 0.9


def test_equal_probabilities_come_out_for_equal_arms_whatever_stands_beside() -> None:
    learner = taught(made(LINEAR), 50)
    asked = context(0.1, 0.2, 0.3)
    said = shares(learner.reader(), asked)
    turned = shares(learner.reader(), asked, tuple(reversed(ARMS)))
    assert turned == pytest.approx(said)


def test_draws_of_a_name_are_exact_quantiles_and_its_own() -> None:
    one, other = normals(1, "a", 128), normals(1, "b", 128)
    assert sorted(one) == sorted(other)
    assert one.tolist() != other.tolist() != normals(2, "b", 128).tolist()
    assert (one.mean(), one.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    assert abs(float(np.corrcoef(one, other)[0, 1])) < 0.35


def test_shares_count_the_draws_that_an_arm_wins() -> None:
    samples = np.array([[[1.0, 5.0, 0.0, 0.0], [0.0, 4.0, 2.0, 3.0]], [[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.5]]])
    assert winning_shares(samples[0]).tolist() == [0.5, 0.5]
    assert winning_shares(samples).tolist() == [[0.5, 0.5], [0.75, 0.25]]


def test_squarecb_gives_by_the_inverse_of_the_gap() -> None:
    assert inverse_gaps(np.array([1.0, 0.5, 0.0]), 10.0) == pytest.approx([1 - 1 / 8 - 1 / 13, 1 / 8, 1 / 13])


def test_settings_say_the_numbers() -> None:
    read = linear_args(LearnerSettings("linear", "thompson", "--ridge=2.5 --half_life 0 --draws 64 --scale 1"))
    assert read == LinearArgs("thompson", 2.5, 0, 1.0, 64)


def test_a_damaged_body_is_refused() -> None:
    learner = taught(made(LINEAR), 5)
    body = linear.sealed(learner._stamp, 5, b"\x93\x01\x02")  # type: ignore[attr-defined]
    with pytest.raises(ModelMismatch, match="damaged"):
        loaded(LINEAR, body)
