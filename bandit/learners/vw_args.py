"""Vowpal Wabbit's argument line: built from a policy's settings, and only of options that are on this list.

Its command line can read and write files, open ports and load data. So what a policy may say is a list of what is
allowed, each with the form of its value; everything else, known or not, is refused by name.
"""

from typing import Final

import msgspec

from bandit.learners.learner import LearnerSettings
from bandit.learners.options import Flag, Number, Option, Word, parsed
from kernel.errors import LearnerRefused

#: Namespaces: the context (U, for user) and the arm.
CONTEXT_SPACE: Final = "U"
ARM_SPACE: Final = "A"

_FLAG: Final = Flag()
_POSITIVE: Final = Number(0, 1e9)
_SHARE: Final = Number(0, 1)
_SEVERAL: Final = Number(1, 16, is_whole=True)
#: Exploration → its options, the first of which names it. What has no entry is no exploration.
_EXPLORING: Final[dict[str, dict[str, Option]]] = {
    "epsilon": {"--epsilon": _SHARE},
    "squarecb": {"--squarecb": _FLAG, "--gamma_scale": _POSITIVE, "--gamma_exponent": _SHARE, "--elim": _FLAG},
    "cover": {"--cover": _SEVERAL, "--psi": _POSITIVE, "--nounif": _FLAG, "--epsilon": _SHARE},
    "bag": {"--bag": _SEVERAL, "--greedify": _FLAG, "--epsilon": _SHARE},
    "synthcover": {
        "--synthcover": _FLAG,
        "--synthcoverpsi": _POSITIVE,
        "--synthcoversize": Number(1, 1000, is_whole=True),
    },
    "regcb": {"--regcb": _FLAG, "--mellowness": _POSITIVE},
    "regcbopt": {"--regcbopt": _FLAG, "--mellowness": _POSITIVE},
    "softmax": {"--softmax": _FLAG, "--lambda": _POSITIVE},
    "rnd": {"--rnd": _SEVERAL, "--rnd_alpha": _POSITIVE, "--rnd_invlambda": _POSITIVE, "--epsilon": _SHARE},
    "first": {"--first": Number(0, 10**9, is_whole=True), "--epsilon": _SHARE},
}
#: What an exploration is given where the settings say nothing else. RegCB must know where costs lie: rewards of 0 to 1.
_DEFAULTS: Final[dict[str, dict[str, str]]] = {
    "epsilon": {"--epsilon": "0.05"},
    "cover": {"--cover": "4"},
    "bag": {"--bag": "4"},
    "regcb": {"--mellowness": "0.01", "--cb_min_cost": "-1", "--cb_max_cost": "0"},
    "regcbopt": {"--mellowness": "0.001", "--cb_min_cost": "-1", "--cb_max_cost": "0"},
    "rnd": {"--rnd": "3"},
    "first": {"--first": "100"},
}
#: For all of them. The rate is the library's times four: few decisions, and numbers that are standardised before.
_DEFAULTS_OF_ALL: Final = {"--bit_precision": "18", "--learning_rate": "2"}
DEFAULT_EXPLORATION: Final = "synthcover"
#: A crossing of namespaces; three times the context would be a hundred thousand features of sixty.
_CROSSING: Final = Word(
    "[UA]{2}|U?U?A|U?AU?|AU?U?|AA?U?|U?AA?|AUA|AAA", "two or three of U (context) and A (arm), at most two U"
)
_LEARNING: Final[dict[str, Option]] = {
    "--cb_type": Word("mtr|ips|dr", "one of mtr, ips, dr"),
    "--bit_precision": Number(10, 20, is_whole=True),
    "--quadratic": Word("[UA]{2}", "two of U (context) and A (arm)"),
    "--interactions": _CROSSING,
    "--noconstant": _FLAG,
    "--learning_rate": Number(0, 1e6),
    "--power_t": Number(0, 10),
    "--initial_t": _POSITIVE,
    "--l1": _POSITIVE,
    "--l2": _POSITIVE,
    "--cb_min_cost": Word(r"-?\d{1,9}(\.\d{1,9})?", "a number"),
    "--cb_max_cost": Word(r"-?\d{1,9}(\.\d{1,9})?", "a number"),
    "--sgd": _FLAG,
    "--adaptive": _FLAG,
    "--normalized": _FLAG,
    "--invariant": _FLAG,
    "--coin": _FLAG,
    "--ftrl": _FLAG,
    "--ftrl_alpha": _POSITIVE,
    "--ftrl_beta": _POSITIVE,
}
_SHORT: Final = {"-b": "--bit_precision", "-q": "--quadratic", "-l": "--learning_rate"}
#: What every line begins with; who gives it as well says nothing new.
_REDUCTION: Final = "--cb_explore_adf"
_ALLOWED: Final = (
    {_REDUCTION: _FLAG}
    | _LEARNING
    | {name: option for options in _EXPLORING.values() for name, option in options.items()}
)
#: Saved and loaded in mid-run, these do not go on to the same bytes: they keep state that the file does not have.
_INEXACT: Final = frozenset(("cover", "bag", "rnd"))


class VwArgs(msgspec.Struct, frozen=True):
    """The argument line without files and seed, and whether a model of it may be saved at any update."""

    line: tuple[str, ...]
    exploration: str
    is_exact_midway: bool


def vw_args(settings: LearnerSettings) -> VwArgs:
    """Read ``exploration`` and ``args``: the explorations' own options may stand in ``args`` alone, too.

    Raises
    ------
    LearnerRefused
        An exploration that is not known; an option that is not on the list, given twice, or of another exploration.
    """
    given = [pair for pair in parsed(settings, _ALLOWED, _SHORT) if pair[0] != _REDUCTION]
    names = [name for name, _ in given]
    twice = [name for name in names if names.count(name) > 1 and name not in ("--quadratic", "--interactions")]
    if twice:
        raise LearnerRefused("args", "each option once", twice[0])
    exploration = settings.exploration or _named_in(names)
    if exploration not in _EXPLORING:
        raise LearnerRefused("exploration", f"one of {', '.join(_EXPLORING)}", exploration)
    foreign = [name for name in names if name not in _LEARNING and name not in _EXPLORING[exploration]]
    if foreign:
        raise LearnerRefused("args", f"options of {exploration} only", foreign[0])
    line = [_REDUCTION, *(word for pair in given for word in pair if word)]
    main = next(iter(_EXPLORING[exploration]))
    for name, value in ({main: ""} | _DEFAULTS_OF_ALL | _DEFAULTS.get(exploration, {})).items():
        if name not in names:
            line += [name, value] if value else [name]
    if not {"--quadratic", "--interactions"} & set(names):
        line += ["--quadratic", CONTEXT_SPACE + ARM_SPACE]
    is_exact = exploration not in _INEXACT and ("--cb_type", "dr") not in given
    return VwArgs(tuple(line), exploration, is_exact)


def _named_in(names: list[str]) -> str:
    """The exploration that an argument line names by its main option; epsilon counts where nothing else is named."""
    mains = {next(iter(options)): exploration for exploration, options in _EXPLORING.items()}
    found = [mains[name] for name in names if name in mains and name != "--epsilon"]
    if len(found) > 1:
        raise LearnerRefused("args", "one exploration", ", ".join(found))
    return found[0] if found else "epsilon" if "--epsilon" in names else DEFAULT_EXPLORATION
