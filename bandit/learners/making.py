"""Makes learners from settings, and loads them from bytes."""

from typing import Final

from bandit.learners.learner import Learner, LearnerSettings
from bandit.learners.linear import LinearLearner
from bandit.learners.linear_args import linear_args
from bandit.learners.simple import Still
from bandit.learners.vw import VwLearner
from bandit.learners.vw_args import vw_args
from bandit.learners.vw_format import LIBRARY as VW_LIBRARY
from bandit.versions import stamp_of
from kernel.errors import LearnerRefused

KINDS: Final = ("linear", "vw", "uniform", "fixed")
#: What reads a linear model's bytes: goes up when their form or their meaning changes.
LINEAR_LIBRARY: Final = "leadwheel-linear 1"
STILL_LIBRARY: Final = "leadwheel-still 1"


def check_settings(settings: LearnerSettings) -> None:
    """Look at a policy's ``learner`` as ``make_learner`` would.

    Raises
    ------
    LearnerRefused
        An unknown kind or exploration, or ``args`` that are not on the list of what is allowed.
    """
    make_learner(settings, width=0, seed=0, baseline="")


def make_learner(settings: LearnerSettings, *, width: int, seed: int, baseline: str) -> Learner:
    """A learner that has learned nothing.

    Parameters
    ----------
    width : columns of the policy's service, 0 without one.
    seed : the policy's: everything the learner draws follows from it.
    baseline : the arm that ``fixed`` always chooses.
    """
    return _made(settings, None, width, seed, baseline)


def load_learner(settings: LearnerSettings, model: bytes, *, width: int, seed: int, baseline: str) -> Learner:
    """The learner that ``dump`` wrote.

    Raises
    ------
    ModelMismatch
        The bytes are damaged, or of other settings, width, seed or library version: rebuild it from the log.
    """
    return _made(settings, model, width, seed, baseline)


def _made(settings: LearnerSettings, model: bytes | None, width: int, seed: int, baseline: str) -> Learner:
    if settings.kind == "linear":
        args = linear_args(settings)
        stamp = stamp_of(settings, LINEAR_LIBRARY, width=width, seed=seed)
        return LinearLearner(stamp, args) if model is None else LinearLearner.load(stamp, args, model)
    if settings.kind == "vw":
        line = vw_args(settings)
        stamp = stamp_of(settings, VW_LIBRARY, width=width, seed=seed)
        return VwLearner(stamp, line) if model is None else VwLearner.load(stamp, line, model)
    if settings.kind in ("uniform", "fixed"):
        return _still(settings, model, width, seed, baseline)
    raise LearnerRefused("kind", f"one of {', '.join(KINDS)}", settings.kind)


def _still(settings: LearnerSettings, model: bytes | None, width: int, seed: int, baseline: str) -> Still:
    for key, value in (("exploration", settings.exploration), ("args", settings.args)):
        if value:
            raise LearnerRefused(key, f"nothing for {settings.kind}", value)
    arm = baseline if settings.kind == "fixed" else None
    stamp = stamp_of(settings, STILL_LIBRARY, width=width, seed=seed)
    return Still(stamp, arm) if model is None else Still.load(stamp, arm, model)
