"""The laws of the synthetic leads: two small chains a lead, one step a day, whose futures are computed exactly.

*Sales*: a lead is in one of four stages of a deal and so many days (0 to 14, 14 standing for more) from its last
activity. Each day it is won, lost, moves on, does something, or lets the day pass; chances depend on stage, silence and
an appeal that follows from title, company and domain. *Learning*: the days since the last visit and since the last
call, and whether that call was a bad one, decide whether the student visits, calls, or cancels.

Both states are visible in the features (counts, days since), so a model that had learnt everything would say what
the law says. Probabilities over a horizon are recursions over the states, not simulations.
"""

from typing import NamedTuple

import numpy as np

from scoring.model import Matrix, Vector

STAGES, SILENCE = 4, 15
#: Days within which the wait for a deal is judged.
REACH_DAYS = 90

SENIORITY = {"Chief Officer": 0.75, "VP Operations": 0.5, "Director": 0.2, "Manager": -0.1, "Assistant": -0.6}
SIZE = {8: -0.5, 40: -0.2, 200: 0.1, 800: 0.3, 5000: 0.5}
DOMAIN = {"gmail.com": -0.45, "state.edu": -0.1, "acme.example": 0.3}
TIER = {"budget": -0.25, "standard": 0.0, "premium": 0.35}
CHANNEL = {"paid": -0.2, "organic": 0.0, "referral": 0.3}

_WIN = np.array([0.0017, 0.0027, 0.0042, 0.0066])
_LOSE = np.array([0.0004, 0.0003, 0.0002, 0.0002])
_ADVANCE = np.array([0.010, 0.016, 0.020, 0.0])
_SILENCE = np.arange(SILENCE)


class Sales(NamedTuple):
    """A day's chances, each of shape (appeals, stages, silence)."""

    win: Matrix
    lose: Matrix
    advance: Matrix
    act: Matrix

    @property
    def none(self) -> Matrix:
        return 1.0 - self.win - self.lose - self.advance - self.act


class Learning(NamedTuple):
    """A day's chances of a student, each of shape (kinds, days since visit, days since call, last call was bad)."""

    cancel: Matrix
    call: Matrix
    visit: Matrix
    bad: Matrix


def sales(appeal: Vector) -> Sales:
    """The sales chain of each appeal (a logarithm, 0 for the average lead)."""
    pull = np.exp(appeal)[:, None, None]
    warmth = np.exp(-_SILENCE / 7.0)[None, None, :]
    shape = (len(appeal), STAGES, SILENCE)
    win = _WIN[None, :, None] * pull**0.65 * (0.55 + 1.1 * warmth)
    lose = np.broadcast_to(_LOSE[None, :, None] * (1.6 - warmth), shape)
    advance = _ADVANCE[None, :, None] * pull**0.4 * (0.4 + 1.2 * warmth)
    act = np.broadcast_to(np.array([0.05, 0.07, 0.09, 0.11])[None, :, None] * (0.35 + 1.6 * warmth), shape)
    return Sales(win, lose, advance, act)


def learning(loyalty: Vector) -> Learning:
    """The learning chain of each loyalty (a logarithm, 0 for the average student)."""
    shape = (len(loyalty), SILENCE, SILENCE, 2)
    hold = np.exp(loyalty)[:, None, None, None]
    away, since_call = _SILENCE[None, :, None, None], _SILENCE[None, None, :, None]
    is_bad = np.array([0.0, 1.0])[None, None, None, :]
    trouble = np.where(since_call < SILENCE - 1, np.exp(-since_call / 6.0), 0.0)
    visit = 0.30 * hold**0.4 * np.exp(-away / 5.0) + 0.020 * hold
    cancel = 0.00045 / hold * (1.0 + 9.0 * trouble * is_bad + 2.0 * trouble + away / 4.0)
    call = 0.007 / hold**0.5 + 0.10 * trouble + 0.18 * trouble * is_bad
    bad = 0.3 + 0.35 * is_bad
    return Learning(
        np.broadcast_to(cancel, shape),
        np.broadcast_to(call, shape),
        np.broadcast_to(np.minimum(visit, 0.9), shape),
        np.broadcast_to(bad, shape),
    )


def won_by(chances: Sales, days: int) -> Matrix:
    """Probability that the deal is won within 0 … ``days`` days: shape (days + 1, appeals, stages, silence)."""
    found = np.zeros((days + 1, *chances.win.shape))
    later = np.minimum(_SILENCE + 1, SILENCE - 1)
    for day in range(days):
        before = found[day]
        advanced = np.concatenate([before[:, 1:, :1], before[:, -1:, :1]], axis=1)
        found[day + 1] = (
            chances.win
            + chances.advance * advanced
            + chances.act * before[:, :, :1]
            + chances.none * before[:, :, later]
        )
    return found


def quiet_sales(chances: Sales, days: int) -> Matrix:
    """Probability that nothing happens for so many days."""
    quiet = np.ones_like(chances.win)
    later = np.minimum(_SILENCE + 1, SILENCE - 1)
    for _ in range(days):
        quiet = chances.none * quiet[:, :, later]
    return quiet


def quiet_learning(chances: Learning, days: int) -> Matrix:
    """Probability of neither visit nor call nor cancellation for so many days."""
    quiet = np.ones_like(chances.cancel)
    for _ in range(days):
        quiet = (1 - chances.cancel) * (1 - chances.call) * (1 - chances.visit) * _later(_later(quiet, 1), 2)
    return quiet


def cancelled_by(chances: Learning, days: int) -> Matrix:
    """Probability of a cancellation within so many days."""
    found = np.zeros_like(chances.cancel)
    for _ in range(days):
        found = chances.cancel + (1 - chances.cancel) * _stay(chances, found, found)
    return found


def calls_by(chances: Learning, days: int, at_least: int) -> Matrix:
    """Probability of at least so many days with a call within so many days."""
    still = [np.ones_like(chances.cancel), *(np.zeros_like(chances.cancel) for _ in range(at_least))]
    for _ in range(days):
        still = [still[0]] + [
            (1 - chances.cancel) * _stay(chances, still[need - 1], still[need]) for need in range(1, at_least + 1)
        ]
    return still[at_least]


def _stay(chances: Learning, called: Matrix, uncalled: Matrix) -> Matrix:
    """Expectation over a day without cancellation: of ``called`` after a call, of ``uncalled`` without one."""

    def visited(value: Matrix) -> Matrix:
        return chances.visit * value[:, :1] + (1 - chances.visit) * _later(value, 1)

    after_call = chances.bad * visited(called)[:, :, :1, 1:] + (1 - chances.bad) * visited(called)[:, :, :1, :1]
    return chances.call * after_call + (1 - chances.call) * visited(_later(uncalled, 2))


def _later(value: Matrix, axis: int) -> Matrix:
    """The value a day of silence later along an axis."""
    return np.take(value, np.minimum(_SILENCE + 1, SILENCE - 1), axis=axis)
