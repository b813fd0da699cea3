"""The numbers of a linear learner, and how a policy's settings say them."""

from typing import Final

import msgspec

from bandit.learners.learner import LearnerSettings
from bandit.learners.options import Number, Option, parsed
from kernel.errors import LearnerRefused

EXPLORATIONS: Final = ("thompson", "squarecb")
_ALLOWED: Final[dict[str, Option]] = {
    "--ridge": Number(1e-6, 1e6),
    "--half_life": Number(0, 10**9, is_whole=True),
    "--scale": Number(0, 100),
    "--draws": Number(16, 4096, is_whole=True),
    "--gamma": Number(0, 1e9),
}
#: Which exploration reads what; the others are refused beside it, since they would do nothing.
_OF_EXPLORATION: Final = {"--scale": "thompson", "--draws": "thompson", "--gamma": "squarecb"}


class LinearArgs(msgspec.Struct, frozen=True):
    """Defaults were chosen on five data sets at once (``bench/supervised_to_bandit.py``), not for each.

    ``ridge`` is the prior precision of a weight on standardised numbers, in units of the noise; ``half_life`` the updates
    after which an observation counts half, 0 for never; ``scale`` multiplies the posterior's deviation in Thompson sampling
    and ``draws`` is how many samples give its probabilities; ``gamma`` is SquareCB's, times √updates.
    """

    exploration: str = "thompson"
    ridge: float = 10.0
    half_life: int = 5_000
    scale: float = 0.5
    draws: int = 128
    gamma: float = 10.0


def linear_args(settings: LearnerSettings) -> LinearArgs:
    """Read ``exploration`` and ``args``, e.g. ``--half_life 2000 --ridge 1``.

    Raises
    ------
    LearnerRefused
        An exploration, an option or a value that is not known.
    """
    exploration = settings.exploration or EXPLORATIONS[0]
    if exploration not in EXPLORATIONS:
        raise LearnerRefused("exploration", f"one of {', '.join(EXPLORATIONS)}", exploration)
    given = dict(parsed(settings, _ALLOWED, {}))
    for name in given:
        if _OF_EXPLORATION.get(name, exploration) != exploration:
            raise LearnerRefused("args", f"{name} with {_OF_EXPLORATION[name]} only", exploration)
    numbers = {name.removeprefix("--"): float(value) for name, value in given.items()}
    return msgspec.convert({"exploration": exploration, **numbers}, LinearArgs, strict=False)
