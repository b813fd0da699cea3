"""Laws of learners: whatever the contexts, arms and rewards, an honest distribution, equal bytes, exact corrections."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandit.distribution import ANY_SHARE, checked, clipped, drawn, with_floor
from bandit.learners.learner import Arm, Context, Learner, LearnerSettings, Observation, Scalar
from bandit.learners.making import load_learner, make_learner

WIDTH = 2
BASELINE = "a"
LEARNERS = [
    LearnerSettings("linear", "thompson", "--half_life 5"),
    LearnerSettings("linear", "squarecb"),
    *(LearnerSettings("vw", each, "-b 10") for each in ("epsilon", "squarecb", "cover", "bag", "synthcover", "regcb")),
    LearnerSettings("uniform"),
    LearnerSettings("fixed"),
]
EXACT = [each for each in LEARNERS if each.exploration not in ("cover", "bag")]

names = st.one_of(st.sampled_from(["a", "b", "a b", "a|b", "a:1", "a\nb", "shared", ""]), st.text(max_size=5))
numbers = st.one_of(st.floats(), st.floats(-3, 3), st.sampled_from([math.nan, 0.0, 1.0, 1e12]))
scalars: st.SearchStrategy[Scalar] = st.one_of(names, numbers, st.booleans(), st.none())
arms = st.lists(
    st.builds(Arm, names, st.dictionaries(names, scalars, max_size=3)),
    min_size=1,
    max_size=5,
    unique_by=lambda arm: arm.id,
).map(tuple)
contexts = st.builds(
    Context,
    st.lists(numbers, min_size=WIDTH, max_size=WIDTH).map(np.array),
    st.dictionaries(names, scalars, max_size=2),
)
rewards = st.one_of(st.floats(-1e12, 1e12), st.floats(-2, 2), st.sampled_from([0.0, 1.0]))


@st.composite
def observations(draw: st.DrawFn, *, reward: st.SearchStrategy[float] = rewards) -> Observation:
    eligible = draw(arms)
    return Observation(
        draw(contexts),
        eligible,
        draw(st.sampled_from(eligible)).id,
        draw(st.floats(0, 1, exclude_min=True)),
        draw(reward),
        draw(st.sampled_from([1.0, 1.0, 0.0, 0.5, 3.0])),
    )


def made(of: LearnerSettings) -> Learner:
    return make_learner(of, width=WIDTH, seed=4, baseline=BASELINE)


def taught(learner: Learner, all_of_them: list[Observation]) -> Learner:
    for each in all_of_them:
        learner.learn(each)
    return learner


@pytest.mark.parametrize("of", LEARNERS, ids=lambda each: f"{each.kind} {each.exploration}")
@settings(max_examples=25, deadline=None)
@given(st.lists(observations(), max_size=12), contexts, arms, st.floats(0, 1), st.text())
def test_what_is_drawn_from_is_a_distribution_that_keeps_the_floor(
    of: LearnerSettings, seen: list[Observation], context: Context, eligible: tuple[Arm, ...], floor: float, name: str
) -> None:
    said = taught(made(of), seen).reader().predict(context, eligible)
    assert len(said.probabilities) == len(said.scores) == len(eligible)
    assert all(map(math.isfinite, said.scores))
    mixed = with_floor(checked(said.probabilities), floor)
    assert abs(math.fsum(mixed) - 1.0) < 1e-6
    assert min(mixed) >= floor / len(eligible) - 1e-12
    assert mixed[drawn(mixed, 1, name)] > 0.0
    assert clipped(mixed, [ANY_SHARE] * len(eligible), floor) == pytest.approx(mixed)


@pytest.mark.parametrize("of", LEARNERS, ids=lambda each: f"{each.kind} {each.exploration}")
@settings(max_examples=15, deadline=None)
@given(st.lists(observations(), max_size=12), st.lists(contexts, min_size=1, max_size=40), arms)
def test_what_is_said_of_a_context_does_not_depend_on_those_asked_about_with_it(
    of: LearnerSettings, seen: list[Observation], all_contexts: list[Context], eligible: tuple[Arm, ...]
) -> None:
    reader = taught(made(of), seen).reader()
    alone = [reader.predict(each, eligible) for each in all_contexts]
    assert reader.predict_many(all_contexts, eligible) == alone


@pytest.mark.parametrize("of", EXACT, ids=lambda each: f"{each.kind} {each.exploration}")
@settings(max_examples=15, deadline=None)
@given(st.lists(observations(), max_size=12), st.integers(0, 12), st.booleans())
def test_dumped_and_loaded_midway_is_straight_through_byte_for_byte(
    of: LearnerSettings, seen: list[Observation], at: int, reads: bool
) -> None:
    straight, stopped = taught(made(of), seen), taught(made(of), seen[:at])
    assert stopped.is_exact_now
    stopped = load_learner(of, stopped.dump(), width=WIDTH, seed=4, baseline=BASELINE)
    for each in seen[at:]:
        if reads:
            stopped.reader().predict(each.context, each.arms)
        stopped.learn(each)
    assert stopped.dump() == straight.dump()


@pytest.mark.parametrize("of", LEARNERS, ids=lambda each: f"{each.kind} {each.exploration}")
@settings(max_examples=10, deadline=None)
@given(st.lists(observations(), max_size=12))
def test_the_same_observations_twice_give_equal_bytes(of: LearnerSettings, seen: list[Observation]) -> None:
    assert taught(made(of), seen).dump() == taught(made(of), seen).dump()


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(observations(reward=st.floats(-5, 5)), min_size=1, max_size=15), st.sampled_from([0, 3]))
def test_a_corrected_reward_is_as_if_only_the_later_had_been_learned(
    data: st.DataObject, seen: list[Observation], half_life: int
) -> None:
    of = LearnerSettings("linear", "", f"--half_life {half_life}")
    corrected, direct = made(of), made(of)
    later = [data.draw(st.floats(-5, 5)) for _ in seen]
    due = [data.draw(st.integers(index, len(seen) - 1)) for index in range(len(seen))]
    marks: list[int] = []
    for step, each in enumerate(seen):
        marks.append(corrected.learn(each))
        for index in [index for index in range(step + 1) if due[index] == step]:
            corrected.correct(seen[index], marks[index], later[index])
    taught(direct, [each._replace(reward=reward) for each, reward in zip(seen, later, strict=True)])
    assert corrected.updates == direct.updates
    for context, eligible in ((each.context, each.arms) for each in seen):
        one = corrected.reader().predict(context, eligible).scores
        other = direct.reader().predict(context, eligible).scores
        assert one == pytest.approx(other, rel=1e-6, abs=1e-6)
