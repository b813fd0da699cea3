"""Labelled data as a bandit: each row a decision, its class the one arm that pays 1. One pass, errors counted as they are made.

Exploration is included: what counts is the arm drawn from the served distribution, with the floor of 0.02 in total. One
default of each learner for all sets. Beside them stand uniform choice, and two learners that are told the right class after
each row and never explore: what could be had at best. A second problem changes its best arms halfway.

``--docs`` writes the tables into docs/explanation/learners.md.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: two processes share two cores

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import vowpalwabbit
from numpy.typing import NDArray
from sklearn import datasets

from bandit.distribution import checked, drawn, with_floor
from bandit.learners.learner import Arm, Context, LearnerSettings, Observation
from bandit.learners.making import make_learner
from bench.harness import ROOT, Claim, report, run_main, say

PAGE = ROOT / "docs" / "explanation" / "learners.md"
SEEDS = range(10)
FLOOR = 0.02
#: A new read copy is taken after so many decisions.
READ_EVERY, DRIFT_READ_EVERY = 1, 4
#: The set of diabetes patients has a measure of progress for a label: here its thirds are the classes.
SETS = ("digits", "breast_cancer", "wine", "iris", "diabetes")
LEARNERS = {
    "linear (Thompson sampling)": LearnerSettings("linear"),
    "linear, SquareCB": LearnerSettings("linear", "squarecb"),
    "vw (synthcover)": LearnerSettings("vw"),
    "vw, RegCB, optimistic": LearnerSettings("vw", "regcbopt"),
    "vw, SquareCB": LearnerSettings("vw", "squarecb"),
    "vw, epsilon": LearnerSettings("vw", "epsilon"),
    "uniform": LearnerSettings("uniform"),
}
DRIFTING = {
    "linear": LearnerSettings("linear"),
    "linear `--half_life 1000`": LearnerSettings("linear", "", "--half_life 1000"),
    "linear `--half_life 0`": LearnerSettings("linear", "", "--half_life 0"),
    "vw (synthcover)": LearnerSettings("vw"),
    "vw, SquareCB": LearnerSettings("vw", "squarecb"),
    "uniform": LearnerSettings("uniform"),
}
ROUNDS, ARMS_N, NUMBERS, PARTS = 12_000, 4, 10, 12

Floats = NDArray[np.float64]


def labelled(name: str, seed: int) -> tuple[Floats, list[int]]:
    """Rows in an order of the seed's, and their classes."""
    rows, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "diabetes":
        labels = np.digitize(labels, np.quantile(labels, [1 / 3, 2 / 3]))
    order = np.random.default_rng(seed).permutation(len(labels))
    return rows[order].astype(float), labels[order].astype(int).tolist()


def bandit_error(settings: LearnerSettings, name: str, seed: int) -> float:
    rows, labels = labelled(name, seed)
    arms = tuple(Arm(f"class {index}") for index in range(max(labels) + 1))
    learner = make_learner(settings, width=rows.shape[1], seed=seed, baseline=arms[0].id)
    wrong = 0
    for step, (row, label) in enumerate(zip(rows, labels, strict=True)):
        if step % READ_EVERY == 0:
            reader = learner.reader()
        context = Context(row)
        shares = with_floor(checked(reader.predict(context, arms).probabilities), FLOOR)
        chosen = drawn(shares, seed, str(step))
        wrong += chosen != label
        learner.learn(Observation(context, arms, arms[chosen].id, shares[chosen], float(chosen == label)))
    return wrong / len(labels)


def told_linear_error(name: str, seed: int) -> float:
    """One against all: the linear learner, told every class's reward, chooses the highest score."""
    rows, labels = labelled(name, seed)
    arms = tuple(Arm(f"class {index}") for index in range(max(labels) + 1))
    learner = make_learner(LearnerSettings("linear"), width=rows.shape[1], seed=seed, baseline=arms[0].id)
    wrong = 0
    for step, (row, label) in enumerate(zip(rows, labels, strict=True)):
        if step % READ_EVERY == 0:
            reader = learner.reader()
        context = Context(row)
        wrong += int(np.argmax(reader.predict(context, arms).scores)) != label
        for index, arm in enumerate(arms):
            learner.learn(Observation(context, arms, arm.id, 1.0, float(index == label)))
    return wrong / len(labels)


def told_vw_error(name: str, seed: int) -> float:
    """One against all: Vowpal Wabbit's own, told the class."""
    rows, labels = labelled(name, seed)
    space = vowpalwabbit.Workspace(f"--oaa {max(labels) + 1} --quiet --random_seed {seed}")
    wrong = 0
    for row, label in zip(rows, labels, strict=True):
        text = "| " + " ".join(f"c{index}:{value!r}" for index, value in enumerate(row.tolist()) if value)
        wrong += space.predict(text) != label + 1
        space.learn(f"{label + 1} {text}")
    return wrong / len(labels)


def drift_regret(settings: LearnerSettings, seed: int) -> list[float]:
    """Mean regret of each of the parts: arms' rewards are linear in the context, and change places halfway."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(ARMS_N, NUMBERS)) / NUMBERS**0.5
    arms = tuple(Arm(f"arm {index}") for index in range(ARMS_N))
    learner = make_learner(settings, width=NUMBERS, seed=seed, baseline=arms[0].id)
    regret = np.zeros(ROUNDS)
    for step in range(ROUNDS):
        if step == ROUNDS // 2:
            weights = np.roll(weights, 1, axis=0)
        if step % DRIFT_READ_EVERY == 0:
            reader = learner.reader()
        row = rng.normal(size=NUMBERS)
        means, context = weights @ row, Context(row)
        shares = with_floor(checked(reader.predict(context, arms).probabilities), FLOOR)
        chosen = drawn(shares, seed, str(step))
        regret[step] = means.max() - means[chosen]
        reward = float(means[chosen] + 0.5 * rng.normal())
        learner.learn(Observation(context, arms, arms[chosen].id, shares[chosen], reward))
    parts: list[float] = regret.reshape(PARTS, -1).mean(axis=1).tolist()
    return parts


def error_table(pool: ProcessPoolExecutor) -> dict[str, dict[str, tuple[float, float]]]:
    """Learner → set → mean over the seeds, and its standard error."""
    ways: dict[str, Callable[[str, int], float]] = {
        name: partial(bandit_error, settings) for name, settings in LEARNERS.items()
    }
    ways |= {"told the class: linear, one against all": told_linear_error, "told the class: vw `--oaa`": told_vw_error}
    table: dict[str, dict[str, tuple[float, float]]] = {}
    for name, way in ways.items():
        table[name] = {}
        for data in SETS:
            errors = list(pool.map(partial(way, data), SEEDS))
            table[name][data] = float(np.mean(errors)), float(np.std(errors, ddof=1) / len(errors) ** 0.5)
        say(f"  {name}: " + ", ".join(f"{data} {mean:.3f}" for data, (mean, _) in table[name].items()))
    return table


def drift_table(pool: ProcessPoolExecutor) -> dict[str, list[float]]:
    """Learner → mean regret of each part, over half of the seeds."""
    table = {}
    for name, settings in DRIFTING.items():
        parts = list(pool.map(partial(drift_regret, settings), SEEDS[::2]))
        table[name] = np.mean(parts, axis=0).tolist()
        say(f"  {name}: " + " ".join(f"{each:.2f}" for each in table[name]))
    return table


def pages(errors: dict[str, dict[str, tuple[float, float]]], drift: dict[str, list[float]]) -> dict[str, str]:
    """Both tables in Markdown, by the name of their place in the page."""
    head = ["learner", *(each.replace("_", " ") for each in SETS)]
    rows = [[name, *(f"{mean:.3f} ± {error:.3f}" for mean, error in row.values())] for name, row in errors.items()]
    part = ROUNDS // PARTS
    shown = [0, PARTS // 2 - 1, *range(PARTS // 2, PARTS)]
    drift_head = ["learner", *(f"{index * part // 1000}–{(index + 1) * part // 1000} k" for index in shown)]
    drift_rows = [[name, *(f"{row[index]:.2f}" for index in shown)] for name, row in drift.items()]
    return {"errors": markdown(head, rows), "drift": markdown(drift_head, drift_rows)}


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_page(tables: dict[str, str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition(f"<!-- end of {name} -->")
        text = f"{before}<!-- {name} -->\n{table}\n<!-- end of {name} -->{after}"
    PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    say(f"supervised to bandit: {len(SEEDS)} seeds, one pass, floor {FLOOR} in total")
    with ProcessPoolExecutor(2) as pool:
        errors = error_table(pool)
        say(f"best arms change at {ROUNDS // 2:,} of {ROUNDS:,} decisions: mean regret by thousands")
        drift = drift_table(pool)
    tables = pages(errors, drift)
    if "--docs" in sys.argv:
        write_page(tables)
    linear = errors["linear (Thompson sampling)"]
    best_vw = min(row["digits"][0] for name, row in errors.items() if name.startswith("vw"))
    recovered = drift["linear"]
    report(
        "supervised_to_bandit",
        [
            Claim("linear: error on digits", linear["digits"][0], 0.25, "", is_upper_bound=True),
            Claim("linear: error on breast cancer", linear["breast_cancer"][0], 0.10, "", is_upper_bound=True),
            Claim("best of vw: error on digits", best_vw, 0.31, "", is_upper_bound=True),
            Claim(
                "linear: regret at the end, after the change",
                recovered[-1] / recovered[PARTS // 2],
                0.25,
                "of that after it",
                is_upper_bound=True,
            ),
        ],
        {f"{name}: {data}": mean for name, row in errors.items() for data, (mean, _) in row.items()},
    )


if __name__ == "__main__":
    run_main(main)
