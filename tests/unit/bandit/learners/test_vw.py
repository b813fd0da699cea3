"""Vowpal Wabbit behind the interface: what it says is made a distribution, what it reads is never a text of others."""

import math
import resource

import numpy as np
import pytest

from bandit.learners import vw, vw_format
from bandit.learners.learner import Arm, Context, LearnerSettings
from bandit.learners.options import LENGTH_MAX
from bandit.learners.scaling import Scaling
from bandit.learners.vw_args import vw_args
from bandit.versions import opened, sealed, stamp_of
from kernel.errors import LearnerRefused, ModelMismatch
from tests.unit.bandit.learners.observing import ARMS, context, loaded, made, observation, observations, shares, taught

SQUARECB = LearnerSettings("vw", "squarecb")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([1.0, 1.0, 1.0], [1 / 3] * 3),
        ([3.0, 5.0, 0.0], [0.375, 0.625, 0.0]),
        ([0.0, 0.0, 0.0], [1 / 3] * 3),
        ([math.nan, 0.5, 0.5], [0.0, 0.5, 0.5]),
        ([math.nan] * 3, [1 / 3] * 3),
        ([math.inf, 0.5, 0.5], [0.0, 0.5, 0.5]),
        ([-0.5, 0.5, 1.0], [0.0, 1 / 3, 2 / 3]),
        ([0.5, 0.5], [1 / 3] * 3),
        ([], [1 / 3] * 3),
        ([5e-324, 0.0, 0.0], [1.0, 0.0, 0.0]),
        ([1e308, 1e308, 0.0], [1 / 3] * 3),
    ],
)
def test_numbers_that_are_no_probabilities_become_a_distribution(said: list[float], expected: list[float]) -> None:
    assert vw.sanitised(said, 3) == pytest.approx(expected)


def test_regcb_that_knows_nothing_says_1_for_every_arm_and_is_brought_to_a_sum_of_1() -> None:
    learner = made(LearnerSettings("vw", "regcbopt"))
    space = vw_format.workspace(("--cb_explore_adf", "--regcbopt", "--quadratic", "UA"))
    shared = vw_format.SharedExample(space)
    shared.fill([(1, 1.0)])
    arms = [vw_format.arm_example(space, [(index, 1.0)]) for index in (2, 3, 4)]
    space.predict_multi([shared.example, *arms])
    assert sum(shared.example.get_action_scores()) > 2.9
    assert learner.reader().predict(context(), ARMS).probabilities == pytest.approx([1 / 3] * 3)


def test_it_learns_which_arm_a_context_calls_for() -> None:
    reader = taught(made(SQUARECB), 400).reader()
    assert shares(reader, context(2.0, 0.0, 0.0))["mail"] > 0.9
    assert shares(reader, context(-2.0, 0.0, 0.0))["call"] > 0.9


def test_its_scores_are_rewards_not_costs() -> None:
    reader = taught(made(SQUARECB), 400).reader()
    mail, call, _ = reader.predict(context(2.0, 0.0, 0.0), ARMS).scores
    assert mail > 0.5
    assert call < -0.5


@pytest.mark.parametrize(
    "args",
    [
        "-f model.out",
        "--final_regressor=model.out",
        "-i /etc/passwd",
        "--initial_regressor model",
        "-d data",
        "--data data",
        "--cache",
        "-c",
        "--cache_file x",
        "-k",
        "--daemon",
        "--port 26542",
        "--foreground",
        "--pid_file x",
        "-p out",
        "--predictions out",
        "-r out",
        "--raw_predictions out",
        "--audit_regressor out",
        "--readable_model out",
        "--invert_hash out",
        "--save_per_pass",
        "--output_feature_regularizer_binary out",
        "--feature_mask mask",
        "--per_feature_regularizer_input x",
        "--dictionary w:dict",
        "--dictionary_path dir",
        "--extra_metrics out",
        "--json",
        "--dsjson",
        "--passes 2",
        "--span_server host",
        "--random_seed 7",
        "--testonly",
        "-t",
        "--ignore U",
        "--noconstan",
        "--",
        "-q",
        "-q U",
        "-q ::",
        "-q UU\u0301",
        "--interactions UUU",
        "--interactions UUUA",
        "-b 30",
        "-b 3",
        "--cover 1000000",
        "--cover -1",
        "--squarecb 1",
        "--squarecb=1",
        "--epsilon 2",
        "--epsilon nan",
        "--epsilon",
        "--squarecb --squarecb",
        "--squarecb --bag 3",
        "--regcb --gamma_scale 3",
        "--squarecb\n--bag",
        "--squarecb\x00",
        "x" * (LENGTH_MAX + 1),
        "--cb_type sm",
        "--cb_explore",
    ],
)
def test_an_option_that_is_not_on_the_list_is_refused(args: str) -> None:
    with pytest.raises(LearnerRefused) as refused:
        made(LearnerSettings("vw", "", args))
    assert refused.value.key == "args"


@pytest.mark.parametrize(
    ("exploration", "args"),
    [
        ("epsilon", "--epsilon 0.2"),
        ("epsilon", "--cb_type dr"),
        ("cover", "--cover 3 --psi 0.1 --nounif --epsilon 0.1"),
        ("bag", "--greedify"),
        ("squarecb", "--gamma_scale 100 --gamma_exponent 0.3 --elim"),
        ("squarecb", "-b 12 -l 0.1 --power_t 0.3 --l2 1e-6 -q UA -q UU --interactions UUA"),
        ("synthcover", "--synthcoverpsi 0.2 --synthcoversize 50"),
        ("regcb", "--mellowness 0.1 --cb_min_cost -10 --cb_max_cost 0"),
        ("softmax", "--lambda=3"),
        ("rnd", "--rnd_alpha 0.2 --rnd_invlambda 0.3"),
        ("", "--bag 5"),
        ("", "--coin --noconstant"),
        ("", "--epsilon 0.1 --sgd"),
        ("", "--ftrl --ftrl_alpha 0.01 --ftrl_beta 0.2"),
    ],
)
def test_an_argument_line_of_the_list_makes_a_learner(exploration: str, args: str) -> None:
    learner = taught(made(LearnerSettings("vw", exploration, args)), 5)
    assert math.fsum(learner.reader().predict(context(), ARMS).probabilities) == pytest.approx(1.0)


def test_options_that_do_not_go_together_are_refused_in_the_librarys_words() -> None:
    with pytest.raises(LearnerRefused, match="dr"):
        made(LearnerSettings("vw", "squarecb", "--cb_type dr"))


def test_the_reduction_that_stands_in_every_line_may_be_given_and_stands_there_once() -> None:
    pasted = vw_args(LearnerSettings("vw", "", "--cb_explore_adf --epsilon 0.3 -q UA"))
    assert pasted == vw_args(LearnerSettings("vw", "", "--epsilon 0.3 -q UA"))
    assert pasted.line.count("--cb_explore_adf") == 1


def test_what_is_not_said_gets_a_default() -> None:
    line = vw_args(SQUARECB).line
    assert line == (
        "--cb_explore_adf",
        "--squarecb",
        "--bit_precision",
        "18",
        "--learning_rate",
        "2",
        "--quadratic",
        "UA",
    )


@pytest.mark.parametrize(
    ("exploration", "args", "is_exact"),
    [("squarecb", "", True), ("", "--bag 2", False), ("epsilon", "--cb_type=dr", False), ("cover", "", False)],
)
def test_an_argument_line_says_whether_it_is_exact_midway(exploration: str, args: str, is_exact: bool) -> None:
    assert vw_args(LearnerSettings("vw", exploration, args)).is_exact_midway == is_exact


def test_a_label_is_a_cost_and_a_probability_that_no_weight_makes_wild() -> None:
    assert vw_format.label(2.5, 0.25, 1.0) == "0:-2.5:0.25"
    assert vw_format.label(-1.0, 0.5, 2.0) == "0:1.0:0.25"
    assert vw_format.label(0.0, 1e-9, 1.0) == f"0:-0.0:{vw_format.PROBABILITY_MIN}"
    assert vw_format.label(1.0, 0.5, 0.1) == "0:-1.0:1.0"


def test_numbers_of_equal_names_in_context_and_arm_are_different_features() -> None:
    asked = Context(np.empty(0), {"a": 1.0, "b": "x", "c": None})
    of_context = {each for each, _ in vw_format.context_features(asked, asked.values, [])}
    of_arm = {each for each, _ in vw_format.arm_features(Arm("a", {"a": 1.0, "b": "x", "c": None}))}
    assert len(of_context) == 3
    assert len(of_arm) == 4
    assert not of_context & of_arm


def test_a_null_is_a_feature_of_its_own() -> None:
    asked = context(math.nan, 0.5, 0.0)
    features = vw_format.context_features(asked, np.array([0.0, 0.5, 0.0]), [0])
    assert len(features) == 4


def test_the_low_level_way_is_the_public_one() -> None:
    vw_format.self_test.cache_clear()
    vw_format.self_test()
    assert vw_format.self_test.cache_info().currsize == 1


def test_a_version_that_was_never_tried_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vw_format.vowpalwabbit, "__version__", "12.0.0")
    vw_format.self_test.cache_clear()
    with pytest.raises(LearnerRefused, match=r"got 12\.0\.0"):
        made(SQUARECB)


def test_a_way_that_gives_other_results_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vw_format, "_lowly", lambda _space, _step: [0.1, 0.2, 0.7])
    vw_format.self_test.cache_clear()
    with pytest.raises(LearnerRefused, match="other results"):
        made(SQUARECB)


def test_a_model_of_another_version_of_the_library_is_refused_by_name() -> None:
    model = taught(made(SQUARECB), 3).dump()
    here = stamp_of(SQUARECB, vw_format.LIBRARY, width=3, seed=1)
    older = sealed(stamp_of(SQUARECB, "vowpalwabbit 9.10.0", width=3, seed=1), *opened(model, here))
    with pytest.raises(ModelMismatch, match=r"library is vowpalwabbit 9\.10\.0"):
        loaded(SQUARECB, older)


@pytest.mark.parametrize("body", [b"", b"\x92\xc4\x00\xc4\x00", b"rubbish"])
def test_a_body_that_the_library_cannot_load_is_refused(body: bytes) -> None:
    model = sealed(stamp_of(SQUARECB, vw_format.LIBRARY, width=3, seed=1), 3, body)
    with pytest.raises(ModelMismatch):
        loaded(SQUARECB, model)


def test_a_model_file_that_is_cut_is_refused() -> None:
    learner = taught(made(SQUARECB), 3)
    model = learner.dump()
    stamp = stamp_of(SQUARECB, vw_format.LIBRARY, width=3, seed=1)
    _, raw = opened(model, stamp)
    with pytest.raises(ModelMismatch):
        loaded(SQUARECB, sealed(stamp, 3, raw[: len(raw) // 2]))


def test_arms_without_end_keep_memory_in_bounds() -> None:
    learner = made(SQUARECB)
    reader = learner.reader()
    for number in range(3 * 1_024):
        reader.predict(context(), (Arm(f"a{number}", {"n": float(number)}), ARMS[0]))
    assert len(learner._arms._kept) <= 1_024  # type: ignore[attr-defined]


def test_decisions_do_not_leak() -> None:
    learner = taught(made(SQUARECB), 200)
    reader = learner.reader()
    seen = list(observations(200))

    def once() -> int:
        for _ in range(10):
            for each in seen:
                reader.predict(each.context, ARMS)
                learner.learn(each)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    once()
    before_kb = once()
    assert once() - before_kb < 20_000


def test_a_weight_of_two_teaches_more_than_one_of_one() -> None:
    one, two = (taught(made(LearnerSettings("vw", "epsilon")), 30) for _ in range(2))
    one.learn(observation(reward=5.0))
    two.learn(observation(reward=5.0, weight=2.0))
    asked = observation().context
    assert two.reader().predict(asked, ARMS).scores[0] > one.reader().predict(asked, ARMS).scores[0]


@pytest.mark.parametrize("exploration", ["epsilon", "squarecb", "synthcover", "regcb", "regcbopt", "softmax", "first"])
def test_a_read_copy_that_was_taught_what_it_missed_says_what_a_loaded_one_says(exploration: str) -> None:
    settings = LearnerSettings("vw", exploration)
    learner, other = made(settings), made(settings)
    for index, each in enumerate(observations(vw.FOLLOWED_MAX + 100)):
        learner.learn(each)
        other.learn(each)
        if index % 20 == 0 or index < 20:
            followed = learner.reader().predict(each.context, ARMS)
            assert followed == loaded(settings, other.dump()).reader().predict(each.context, ARMS)
    for each in observations(vw.FOLLOWED_MAX + 1, seed=4):
        learner.learn(each)
        other.learn(each)
    assert learner.reader().predict(context(), ARMS) == other.reader().predict(context(), ARMS)
    assert learner.dump() == other.dump()


def test_columns_far_from_zero_are_standardised() -> None:
    scaling, rng = Scaling(2), np.random.default_rng(1)
    rows = [np.array([9.5 + 0.5 * rng.normal(), 3.0]) for _ in range(500)]
    for row in rows:
        scaling.take(row)
    scaled = np.array([scaling.of(row) for row in rows])
    assert np.abs(scaled.mean(axis=0)).max() < 0.1
    assert 0.5 < scaled[:, 0].std() < 1.1
    assert np.abs(scaled[:, 1]).max() < 1e-9


def test_a_scaling_goes_on_from_its_dump() -> None:
    one, other = Scaling(2), Scaling(2)
    for step in range(40):
        one.take(np.array([step, -step / 3]))
        other.take(np.array([step, -step / 3]))
        other = Scaling.load(2, other.dump())
    assert one.dump() == other.dump()
    with pytest.raises(ValueError, match="width"):
        Scaling.load(3, one.dump())
