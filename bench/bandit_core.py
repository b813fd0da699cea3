"""What a decision costs in the core: the learners' predict and learn beside a bare loop on Vowpal Wabbit's prebuilt examples.

60 context numbers, 8 arms of three features each, one core, processor time. Ours starts from a list of numbers, as a
lead's vector is; makes the context, the distribution with its floor, and the draw; then reads the context from the bytes of
the log, as a settled reward has them, and learns. A read copy is taken once in as many decisions as a core makes in about a
second. The peer fills one shared example with hashed ids and the numbers, predicts, fills it again and learns.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: a second thread gains nothing on 60 numbers

import time
from typing import Any

import numpy as np
import pylibvw
import vowpalwabbit

from bandit.distribution import checked, drawn, with_floor
from bandit.learners.learner import Arm, Context, LearnerSettings, Observation
from bandit.learners.making import make_learner
from bench.harness import LOAD_CORE, Claim, in_turns, pin_self, report, run_main, say

NUMBERS, ARMS_N, DECISIONS, READ_EVERY = 60, 8, 10_000, 10_000
RATIO_MAX = 2.5
ARMS = tuple(Arm(f"arm {index}", {"agent": f"agent {index % 3}", "cost": 2.0 * index}) for index in range(ARMS_N))
LEARNERS = {
    "linear": LearnerSettings("linear"),
    "vw": LearnerSettings("vw", "squarecb"),
    "vw_synthcover": LearnerSettings("vw"),
}


def numbers() -> list[list[float]]:
    rows: list[list[float]] = np.random.default_rng(1).normal(size=(DECISIONS, NUMBERS)).tolist()
    return rows


class Ours:
    """A learner that has learned a while."""

    def __init__(self, settings: LearnerSettings, rows: list[list[float]]) -> None:
        self._rows, self._names = rows, [f"decision {index}" for index in range(DECISIONS)]
        self._packed = [np.array(row).tobytes() for row in rows]
        self._learner = make_learner(settings, width=NUMBERS, seed=1, baseline=ARMS[0].id)

    def run(self) -> float:
        """Microseconds a decision, with what it learns."""
        learner, began_s = self._learner, time.process_time()
        for index, (row, packed, name) in enumerate(zip(self._rows, self._packed, self._names, strict=True)):
            if index % READ_EVERY == 0:
                reader = learner.reader()
            said = reader.predict(Context(np.array(row)), ARMS)
            shares = with_floor(checked(said.probabilities), 0.02)
            chosen = drawn(shares, 1, name)
            context = Context(np.frombuffer(packed, "<f8"))
            learner.learn(Observation(context, ARMS, ARMS[chosen].id, shares[chosen], float(index % 8 == chosen)))
        return (time.process_time() - began_s) / DECISIONS * 1e6


class Peer:
    """The shortest way through the library: arms prepared once, one shared example filled again and again."""

    def __init__(self, rows: list[list[float]]) -> None:
        self._rows = rows
        self._space = vowpalwabbit.Workspace(
            "--cb_explore_adf --squarecb -q UA -b 18 --preserve_performance_counters --quiet"
        )
        self._label = pylibvw.vw.lContextualBandit
        self._ids = [self._space.hash_feature(f"c{index}", self._space.hash_space("U")) for index in range(NUMBERS)]
        self._features = [[(1000 * arm + index, 1.0) for index in range(3)] for arm in range(ARMS_N)]
        self._arms = [self._arm(features) for features in self._features]
        self._shared = pylibvw.example(self._space, self._label)
        self._shared.set_label_string(self._space, "shared", self._label)
        self._shared.push_namespace(ord("U"))

    def _arm(self, features: list[tuple[int, float]], label: str = "") -> Any:
        example = pylibvw.example(self._space, self._label)
        if label:
            example.set_label_string(self._space, label, self._label)
        example.push_namespace(ord("A"))
        example.push_feature_list(self._space, ord("A"), 0, features)
        self._space.setup_example(example)
        return example

    def run(self) -> float:
        """Microseconds a decision, with what it learns."""
        space, shared, ids, space_id = self._space, self._shared, self._ids, ord("U")
        began_s = time.process_time()
        for index, row in enumerate(self._rows):
            shared.push_feature_list(space, space_id, 0, list(zip(ids, row, strict=True)))
            space.setup_example(shared)
            space.predict_multi([shared, *self._arms])
            shares = shared.get_action_scores()
            space.unsetup_example(shared)
            shared.erase_namespace(space_id)

            chosen = index % ARMS_N
            examples = [shared, *self._arms]
            examples[1 + chosen] = self._arm(self._features[chosen], f"0:{-float(index % 3 == 0)}:{shares[chosen]}")
            shared.push_feature_list(space, space_id, 0, list(zip(ids, row, strict=True)))
            space.setup_example(shared)
            space.learn_multi(examples)
            space.unsetup_example(shared)
            shared.erase_namespace(space_id)
        return (time.process_time() - began_s) / DECISIONS * 1e6


def main() -> None:
    pin_self(LOAD_CORE)
    say(f"bandit core: {NUMBERS} numbers, {ARMS_N} arms, decide and learn, µs of processor time")
    rows = numbers()
    sides = {name: Ours(settings, rows).run for name, settings in LEARNERS.items()}
    medians = in_turns(5, **sides, bare_vw=Peer(rows).run)
    report(
        "bandit_core",
        [
            Claim(f"{name}: decide and learn", medians[name] / medians["bare_vw"], RATIO_MAX, is_upper_bound=True)
            for name in ("linear", "vw")
        ],
        {f"{name}_us": taken for name, taken in medians.items()},
    )


if __name__ == "__main__":
    run_main(main)
