"""What holds for every kind of learner: honest distributions, refusals, bytes that go on."""

import math

import numpy as np
import pytest

from bandit.learners.learner import CHECKPOINT_UPDATES, Arm, Context, LearnerSettings
from bandit.learners.making import check_settings
from kernel.errors import (
    CannotCorrect,
    ContextWidthMismatch,
    InvalidProbability,
    InvalidReward,
    LearnerRefused,
    ModelMismatch,
    NoEligibleArm,
)
from tests.unit.bandit.learners.observing import (
    ARMS,
    EVERY,
    WIDTH,
    context,
    loaded,
    made,
    named,
    observation,
    observations,
    taught,
)

every = pytest.mark.parametrize("settings", EVERY, ids=named)


def is_distribution(numbers: list[float], n: int) -> bool:
    return len(numbers) == n and min(numbers) >= 0.0 and abs(math.fsum(numbers) - 1.0) < 1e-6


@every
def test_a_prediction_is_a_distribution_before_and_after_learning(settings: LearnerSettings) -> None:
    learner = made(settings)
    for _ in range(3):
        said = learner.reader().predict(context(0.5, -1.0, 2.0), ARMS)
        assert is_distribution(said.probabilities, 3)
        assert len(said.scores) == 3
        assert all(map(math.isfinite, said.scores))
        taught(learner, 40)


@every
@pytest.mark.parametrize("probability", [0.0, -0.1, 1.0000001, math.nan, math.inf])
def test_what_is_no_probability_is_not_learned(settings: LearnerSettings, probability: float) -> None:
    learner = taught(made(settings), 5)
    before = learner.dump()
    with pytest.raises(InvalidProbability):
        learner.learn(observation(probability=probability))
    assert (learner.updates, learner.dump()) == (5, before)


@every
@pytest.mark.parametrize(
    "wrong", [{"reward": math.nan}, {"reward": math.inf}, {"reward": -1e13}, {"weight": math.nan}, {"weight": -1.0}]
)
def test_a_reward_or_weight_that_sums_cannot_hold_is_not_learned(
    settings: LearnerSettings, wrong: dict[str, float]
) -> None:
    learner = taught(made(settings), 5)
    before = learner.dump()
    with pytest.raises(InvalidReward):
        learner.learn(observation(**wrong))
    assert (learner.updates, learner.dump()) == (5, before)


@every
def test_an_arm_that_was_not_eligible_is_not_learned(settings: LearnerSettings) -> None:
    with pytest.raises(NoEligibleArm, match="not among the eligible arms: stranger"):
        made(settings).learn(observation("stranger"))


@every
def test_without_arms_there_is_no_prediction(settings: LearnerSettings) -> None:
    with pytest.raises(NoEligibleArm):
        made(settings).reader().predict(context(), ())


@every
def test_a_single_arm_gets_everything(settings: LearnerSettings) -> None:
    learner = taught(made(settings), 20)
    assert learner.reader().predict(context(), ARMS[:1]).probabilities == [1.0]
    learner.learn(observation(arms=ARMS[:1], probability=1.0))
    assert learner.updates == 21


@every
def test_without_a_context_it_learns_and_predicts(settings: LearnerSettings) -> None:
    learner = made(settings, width=0)
    nothing = Context(np.empty(0))
    for _ in range(30):
        learner.learn(observation(context=nothing))
    assert is_distribution(learner.reader().predict(nothing, ARMS).probabilities, 3)


@every
def test_a_context_of_another_width_is_refused(settings: LearnerSettings) -> None:
    learner = made(settings)
    before = learner.dump()
    with pytest.raises(ContextWidthMismatch):
        learner.reader().predict(context(1.0, 2.0), ARMS)
    with pytest.raises(ContextWidthMismatch):
        learner.learn(observation(context=context(1.0)))
    assert learner.dump() == before


@every
def test_nulls_infinities_and_enormous_numbers_break_nothing(settings: LearnerSettings) -> None:
    learner = made(settings)
    wild = [context(math.nan, 1e300, -1e300), context(math.inf, -math.inf, 1e-300), context(1e12, 0.0, math.nan)]
    for index in range(60):
        learner.learn(observation(ARMS[index % 3].id, 1e12 * (index % 2), context=wild[index % 3]))
    for each in (*wild, context()):
        said = learner.reader().predict(each, ARMS)
        assert is_distribution(said.probabilities, 3)
        assert all(map(math.isfinite, said.scores))


@every
def test_names_with_the_marks_of_a_text_format_are_only_names(settings: LearnerSettings) -> None:
    names = ["a b", "a|b", "a:b", "a\nb", "shared |U x", "0:-1:0.5", "", "é\u2028"]
    arms = tuple(Arm(name, {name: name, "a b|c": 1.5, "x:y": True}) for name in names)
    plain = tuple(Arm(f"p{index}", {"f": f"w{index}", "g": 1.5, "h": True}) for index in range(len(names)))
    strange, usual = made(settings), made(settings)
    for round_ in range(4):
        for index, (arm, other) in enumerate(zip(arms, plain, strict=True)):
            reward = float(index == 3) * (1 + round_)
            more = context(1.0, 0.0, 0.5, **{"page |x": "a b:c\n"})
            strange.learn(observation(arm.id, reward, arms=arms, context=more))
            usual.learn(observation(other.id, reward, arms=plain, context=context(1.0, 0.0, 0.5, page="home")))
    said = strange.reader().predict(context(1.0, 0.0, 0.5, **{"page |x": "a b:c\n"}), arms)
    assert is_distribution(said.probabilities, len(arms))
    if settings.kind in ("linear", "vw"):
        expected = usual.reader().predict(context(1.0, 0.0, 0.5, page="home"), plain)
        assert said.scores.index(max(said.scores)) == expected.scores.index(max(expected.scores)) == 3


@every
def test_predicting_changes_nothing(settings: LearnerSettings) -> None:
    one, other = made(settings), made(settings)
    for each in observations(40):
        for learner in (one, other):
            learner.learn(each)
        other.reader().predict(each.context, each.arms)
    assert one.dump() == other.dump()


@every
def test_a_read_copy_stays_as_it_is(settings: LearnerSettings) -> None:
    learner = taught(made(settings), 30)
    copy = learner.reader()
    before = copy.predict(context(1.0, 0.0, 0.0), ARMS)
    taught(learner, 30, seed=9)
    assert copy.updates == 30
    assert copy.predict(context(1.0, 0.0, 0.0), ARMS) == before
    assert learner.reader().updates == 60


@every
def test_nothing_learned_means_the_same_read_copy(settings: LearnerSettings) -> None:
    learner = taught(made(settings), 3)
    assert learner.reader() is learner.reader()


@every
def test_equal_observations_give_equal_bytes(settings: LearnerSettings) -> None:
    assert taught(made(settings), 60).dump() == taught(made(settings), 60).dump()


@every
def test_a_weight_of_nothing_counts_and_teaches_nothing(settings: LearnerSettings) -> None:
    learner = taught(made(settings), 20)
    before = learner.reader().predict(context(1.0, 0.0, 0.0), ARMS)
    learner.learn(observation(weight=0.0, reward=100.0))
    assert learner.updates == 21
    assert learner.reader().predict(context(1.0, 0.0, 0.0), ARMS).scores == pytest.approx(before.scores)


@every
@pytest.mark.parametrize("at", [1, 25])
def test_what_is_exact_midway_goes_on_from_its_dump_byte_for_byte(settings: LearnerSettings, at: int) -> None:
    all_of_them = list(observations(60))
    straight, stopped = made(settings), made(settings)
    for each in all_of_them[:at]:
        straight.learn(each)
        stopped.learn(each)
    if not stopped.is_exact_now:
        assert not stopped.is_exact_midway
        return
    stopped = loaded(settings, stopped.dump())
    assert stopped.updates == at
    for each in all_of_them[at:]:
        straight.learn(each)
        stopped.learn(each)
    assert stopped.dump() == straight.dump()


@pytest.mark.parametrize(
    "settings",
    [LearnerSettings("vw", each) for each in ("cover", "bag", "rnd")]
    + [LearnerSettings("vw", "epsilon", "--cb_type dr")],
    ids=named,
)
def test_what_is_not_exact_midway_goes_on_from_a_checkpoint_byte_for_byte(settings: LearnerSettings) -> None:
    all_of_them = list(observations(CHECKPOINT_UPDATES + 60))
    straight = made(settings)
    assert not straight.is_exact_midway
    for each in all_of_them[:CHECKPOINT_UPDATES]:
        straight.learn(each)
    assert straight.is_exact_now
    stopped = loaded(settings, straight.dump())
    for each in all_of_them[CHECKPOINT_UPDATES:]:
        straight.learn(each)
        stopped.learn(each)
        assert not stopped.is_exact_now
    assert stopped.dump() == straight.dump()


@every
def test_a_loaded_model_says_what_the_saved_one_said(settings: LearnerSettings) -> None:
    learner = taught(made(settings), 80)
    said = learner.reader().predict(context(2.0, 0.0, 1.0), ARMS)
    again = loaded(settings, learner.dump()).reader().predict(context(2.0, 0.0, 1.0), ARMS)
    assert again.scores == pytest.approx(said.scores)
    assert again.probabilities == pytest.approx(said.probabilities)


@every
def test_a_model_of_other_settings_or_width_is_refused(settings: LearnerSettings) -> None:
    model = taught(made(settings), 3).dump()
    with pytest.raises(ModelMismatch, match="width"):
        loaded(settings, model, width=WIDTH + 1)
    with pytest.raises(ModelMismatch, match="seed"):
        loaded(settings, model, seed=2)


@every
def test_settings_that_make_a_learner_pass_the_check(settings: LearnerSettings) -> None:
    check_settings(settings)
    assert made(settings).updates == 0


@every
def test_only_the_linear_learner_takes_a_reward_back(settings: LearnerSettings) -> None:
    learner = taught(made(settings), 2)
    assert learner.can_correct == (settings.kind == "linear")
    if not learner.can_correct:
        with pytest.raises(CannotCorrect):
            learner.correct(observation(), 0, 1.0)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (LearnerSettings("forest"), "kind"),
        (LearnerSettings("linear", "epsilon"), "exploration"),
        (LearnerSettings("vw", "thompson"), "exploration"),
        (LearnerSettings("uniform", "squarecb"), "exploration"),
        (LearnerSettings("fixed", "", "--ridge 1"), "args"),
        (LearnerSettings("linear", "", "--ridge"), "args"),
        (LearnerSettings("linear", "", "--ridge nan"), "args"),
        (LearnerSettings("linear", "", "--ridge -1"), "args"),
        (LearnerSettings("linear", "", "--draws 1.5"), "args"),
        (LearnerSettings("linear", "", "--gamma 1"), "args"),
        (LearnerSettings("linear", "squarecb", "--draws 64"), "args"),
        (LearnerSettings("linear", "", "--cb_type mtr"), "args"),
    ],
    ids=repr,
)
def test_settings_that_are_not_known_are_refused_by_key(settings: LearnerSettings, key: str) -> None:
    with pytest.raises(LearnerRefused) as refused:
        check_settings(settings)
    assert refused.value.key == key


def test_the_fixed_learner_chooses_its_baseline_and_shares_evenly_where_it_cannot() -> None:
    reader = made(LearnerSettings("fixed")).reader()
    assert reader.predict(context(), ARMS).probabilities == [0.0, 0.0, 1.0]
    assert reader.predict(context(), ARMS[:2]).probabilities == [0.5, 0.5]
