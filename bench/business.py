"""A simulated business: what policies earn, beside the best arm for everybody and the best for each lead.

Leads of two tastes, three ways to talk to them, purchases half a day to a week later, some told late; each decision settles
after its week, so a learner always lags behind by as much (``tests/simulation/business.py``). The virtual clock goes through
120 days. Regret of a decision is what the best arm for that lead would have brought more, on average, than the arm chosen.

``--docs`` writes table and picture into docs/explanation.
"""

import sys
from itertools import accumulate
from pathlib import Path

from bandit.learners.learner import LearnerSettings
from bandit.policy import Policy, PolicyArm, Reward, RewardRule, completed
from bench.harness import ROOT, Claim, report, run_main, say
from tests.simulation.business import LAW, World, lived

PAGE = ROOT / "docs" / "explanation" / "business.md"
PICTURE = PAGE.with_suffix(".svg")
DECISIONS, SEEDS, WEEK_S = 3_000, (11, 12, 13), 7 * 86_400
BEST_FIXED = max(sum(chances) / 2 for chances in LAW.values())
BEST_EACH = sum(max(chances[taste] for chances in LAW.values()) for taste in (0, 1)) / 2
POLICIES = {
    "linear": LearnerSettings("linear"),
    "vw": LearnerSettings("vw"),
    "uniform": LearnerSettings("uniform"),
    "best arm for everybody": LearnerSettings("fixed"),
}


def policy(learner: LearnerSettings) -> Policy:
    best = max(LAW, key=lambda arm: sum(LAW[arm]))
    rule = RewardRule("purchase_completed", WEEK_S, "amount / 100")
    return completed(
        Policy(
            arms=[PolicyArm(arm) for arm in LAW],
            context="taste",
            learner=learner,
            baseline=best,
            floor=0.0 if learner.kind == "fixed" else 0.02,
            reward=Reward(rules=[rule], wait_s=WEEK_S, aggregation="sum"),
        )
    )


def regrets(learner: LearnerSettings) -> list[float]:
    """Regret of each decision, the mean of several businesses."""
    runs = [lived(World(seed), policy(learner), DECISIONS).regrets for seed in SEEDS]
    return [sum(each) / len(SEEDS) for each in zip(*runs, strict=True)]


def run() -> None:
    found = {name: regrets(learner) for name, learner in POLICIES.items()}
    rows = [
        "| policy | reward a decision | of what could be learned | in the last third |",
        "| --- | --- | --- | --- |",
    ]
    shares = {}
    for name, each in found.items():
        earned = BEST_EACH - sum(each) / len(each)
        last = BEST_EACH - sum(each[-len(each) // 3 :]) / len(each[-len(each) // 3 :])
        shares[name] = (last - BEST_FIXED) / (BEST_EACH - BEST_FIXED)
        share = (earned - BEST_FIXED) / (BEST_EACH - BEST_FIXED)
        rows.append(f"| {name} | {earned:.3f} | {share:.0%} | {shares[name]:.0%} |")
    rows.append(f"| best arm for each lead | {BEST_EACH:.3f} | 100% | 100% |")
    for row in rows:
        say(f"  {row}")
    if "--docs" in sys.argv:
        _write(rows)
        _draw(found, PICTURE)
    gain = "of the way from the best arm for everybody to the best for each, in the last third"
    claims = [Claim("what the linear learner has learned", shares["linear"], 0.5, gain)]
    figures = {f"regret of {name}, in all": sum(each) for name, each in found.items()}
    report("business", claims, figures)


def _write(rows: list[str]) -> None:
    text = PAGE.read_text("utf-8")
    head, _, rest = text.partition("<!-- table -->\n")
    _, _, tail = rest.partition("<!-- end of table -->")
    PAGE.write_text(f"{head}<!-- table -->\n" + "\n".join(rows) + f"\n<!-- end of table -->{tail}", "utf-8")


def _draw(found: dict[str, list[float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "leadwheel", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for name, each in found.items():
        axes.plot(list(accumulate(each)), label=name, linewidth=1.6)
    axes.set(xlabel="decisions", ylabel="regret so far (rewards)", xlim=(0, DECISIONS), ylim=(0, None))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    run_main(run)
