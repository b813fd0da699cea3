"""Days to an outcome, from its chance in each period, given that it has not come before.

A row is asked once per period; the answers multiply to a curve. Rows whose outcome has not come by the end of the log
take part for as long as they were seen (*person-periods*), so that open leads count: learning from closed leads alone
would take the quick ones for all. A lead that is lost stays among those to whom nothing comes, so the curve ends at the
chance that it comes at all.

As for conversion, boosted trees (the period is one more column) and a logistic model (a level per period, and the same
weights in all) are both trained, levelled on later rows, and the likelier one there is kept. The trees' weak side is
that long waits are seen in the oldest rows only, and they take the one for the other.
"""

from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from kernel.steps import Steps
from scoring.classifier import Weighted, boosted, tree_margin
from scoring.metrics import log_loss
from scoring.model import Contributions, Days, Matrix, Vector
from scoring.preparation import Preparation
from scoring.single_thread import single_thread
from scoring.trees import Paths

#: Ends of the periods; finer at the beginning, where chances change most.
EDGES_DAYS = (1, 2, 3, 5, 7, 10, 14, 18, 24, 30, 40, 50, 60, 75, 90)

#: Person-periods trained on at most; rows without an outcome are thinned, and stand for those left out.
MAX_PERSON_PERIODS = 80_000

Kind = Literal["boosting", "logistic"]


class Levels:
    """A logistic hazard: ``estimator`` weighs the prepared row, then the periods, one of which is 1."""

    def __init__(self, estimator: Any, preparation: Preparation, edges_days: Vector) -> None:
        self.estimator, self.preparation, self._edges = estimator, preparation, edges_days

    def margin(self, rows: Matrix, period: Vector) -> Vector:
        weights = self.estimator.coef_[0]
        own, levels = weights[: len(self.preparation.source)], weights[len(self.preparation.source) :]
        places = np.searchsorted(self._edges, period)
        return np.asarray(self.preparation.apply(rows) @ own + levels[places] + self.estimator.intercept_[0])

    def margins(self, rows: Matrix, periods: Vector) -> Matrix:
        """Of every row in every period, shape (rows, periods)."""
        weights = self.estimator.coef_[0]
        own, levels = weights[: len(self.preparation.source)], weights[len(self.preparation.source) :]
        levelled = levels[np.searchsorted(self._edges, periods)] + self.estimator.intercept_[0]
        return np.asarray((self.preparation.apply(rows) @ own)[:, None] + levelled)

    def contributions(self, rows: Matrix, period: float) -> Contributions:
        own = self.estimator.coef_[0][: len(self.preparation.source)]
        values = self.preparation.gathered(self.preparation.apply(rows) * own, rows.shape[1])
        base = self.margin(rows[:1], np.array([period])) - values[:1].sum(axis=1) if len(rows) else [0.0]
        return Contributions(float(base[0]), values, "coefficients")


class Trees:
    """A boosted hazard: the period is the last column."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def margin(self, rows: Matrix, period: Vector) -> Vector:
        return tree_margin(self.estimator, np.hstack([rows, period[:, None]]))

    def margins(self, rows: Matrix, periods: Vector) -> Matrix:
        """Of every row in every period, shape (rows, periods)."""
        asked = self.margin(np.repeat(rows, len(periods), axis=0), np.tile(periods, len(rows)))
        return asked.reshape(len(rows), len(periods))

    def contributions(self, rows: Matrix, period: float) -> Contributions:
        found = self._paths.contributions(np.hstack([rows, np.full((len(rows), 1), period)]))
        # The period is asked of every row alike; what a row's own questions made of it is spread over its columns.
        own, asked = found.values[:, :-1], found.values[:, -1]
        level = float(asked.mean()) if len(rows) else 0.0
        size = np.abs(own)
        even = np.full_like(own, 1.0 / max(1, own.shape[1]))
        total = size.sum(axis=1, keepdims=True)
        values = own + np.divide(size, total, out=even, where=total > 0) * (asked - level)[:, None]
        return Contributions(found.base + level, values, found.method)

    @cached_property
    def _paths(self) -> Paths:
        return Paths(self.estimator)


class Hazard:
    """A fitted hazard, levelled: ``slope · margin + intercept`` is the logit of a period's chance."""

    def __init__(self, kind: Kind, fitted: Levels | Trees, level: tuple[float, float], edges_days: Vector) -> None:
        self.kind, self.edges_days = kind, edges_days
        self._fitted, self._level = fitted, level

    def logits(self, rows: Matrix, period: Vector) -> Vector:
        """Of the outcome in the period that a day lies in, row by row."""
        slope, intercept = self._level
        return slope * self._fitted.margin(rows, period) + intercept

    def curve(self, rows: Matrix) -> Matrix:
        """Probability that the outcome has come by each edge, shape (rows, edges)."""
        slope, intercept = self._level
        asked = slope * self._fitted.margins(rows, _middles(self.edges_days)) + intercept
        return 1.0 - np.cumprod(1.0 - expit(asked), axis=1)

    def days(self, rows: Matrix) -> Days:
        return days_of(self.curve(rows), self.edges_days)

    def contributions(self, rows: Matrix) -> Contributions:
        """To the logit of the outcome in the middle period."""
        slope, intercept = self._level
        found = self._fitted.contributions(rows, float(_middles(self.edges_days)[len(self.edges_days) // 2]))
        return Contributions(slope * found.base + intercept, slope * found.values, found.method)

    def parts(self) -> dict[str, Any]:
        """What a file has to keep."""
        preparation = self._fitted.preparation.parts() if isinstance(self._fitted, Levels) else None
        return {
            "kind": self.kind,
            "estimator": self._fitted.estimator,
            "preparation": preparation,
            "level": list(self._level),
            "edges_days": self.edges_days,
        }

    @classmethod
    def of_parts(cls, parts: dict[str, Any]) -> "Hazard":
        edges, estimator = parts["edges_days"], parts["estimator"]
        is_logistic = parts["preparation"] is not None
        fitted = (
            Levels(estimator, Preparation.of_parts(parts["preparation"]), edges) if is_logistic else Trees(estimator)
        )
        slope, intercept = parts["level"]
        return cls(parts["kind"], fitted, (slope, intercept), edges)


def fit_hazard(
    rows: Matrix, wait: Vector, seen: Vector, is_later: Any, *, seed: int, edges_days: Vector
) -> Steps[tuple[Hazard, dict[str, float]]]:
    """Train both kinds on rows whose wait was seen for so long; the better one, and the log loss of each.

    Parameters
    ----------
    wait, seen : days to the outcome (infinite where it did not come) and to the end of what may be looked at.
    is_later : rows that levels are taken from, and by which one kind is chosen.
    """
    train = person_periods(rows[~is_later], wait[~is_later], seen[~is_later], edges_days, seed=seed)
    later = person_periods(rows[is_later], wait[is_later], seen[is_later], edges_days, seed=seed + 1)
    yield
    found: dict[Kind, Levels | Trees] = {"logistic": _fit_levels(train, edges_days)}
    yield
    found["boosting"] = Trees(boosted(train, later, seed=seed))
    yield
    hazards = {kind: Hazard(kind, fitted, _levelled(fitted, later), edges_days) for kind, fitted in found.items()}
    losses = {str(kind): _loss(hazard, later) for kind, hazard in hazards.items()}
    return min(hazards.values(), key=lambda each: losses[each.kind]), losses


def _fit_levels(train: Weighted, edges_days: Vector) -> Levels:
    rows, period = train.rows[:, :-1], train.rows[:, -1]
    preparation = Preparation.learn(rows)
    is_period = (period[:, None] == _middles(edges_days)).astype(np.float64)
    with single_thread():
        model = LogisticRegression(C=0.05, max_iter=5000).fit(
            np.hstack([preparation.apply(rows), is_period]), train.label.astype(int), sample_weight=train.weight
        )
    return Levels(model, preparation, edges_days)


def _levelled(fitted: Levels | Trees, later: Weighted) -> tuple[float, float]:
    margin = fitted.margin(later.rows[:, :-1], later.rows[:, -1])
    if not 0 < later.label.sum() < len(later.label):
        return 1.0, 0.0
    with single_thread():
        sigmoid = LogisticRegression(C=1e6).fit(margin[:, None], later.label.astype(int), sample_weight=later.weight)
    return max(0.0, float(sigmoid.coef_[0, 0])), float(sigmoid.intercept_[0])


def _loss(hazard: Hazard, later: Weighted) -> float:
    return log_loss(expit(hazard.logits(later.rows[:, :-1], later.rows[:, -1])), later.label, later.weight)


def person_periods(
    rows: Matrix, wait: Vector, seen: Vector, edges_days: Vector, *, seed: int, most: int = MAX_PERSON_PERIODS
) -> Weighted:
    """One row per row and period in which its outcome could have come and the whole of which was seen.

    The last column is the period's middle.
    """
    starts = np.concatenate([[0.0], edges_days[:-1]])
    weight, kept = _thinned(wait, seen, edges_days, seed, most)
    at_risk = (wait[kept, None] > starts) & (seen[kept, None] >= edges_days)
    which, period = np.nonzero(at_risk)
    which = kept[which]
    label = (wait[which] <= edges_days[period]).astype(np.float64)
    return Weighted(np.hstack([rows[which], _middles(edges_days)[period][:, None]]), label, weight[which])


def _thinned(wait: Vector, seen: Vector, edges_days: Vector, seed: int, most: int) -> tuple[Vector, Any]:
    """For how many rows each stands, and which are kept: all of those with an outcome in sight, some of the others."""
    weight = np.ones(len(wait))
    has_outcome = wait <= np.minimum(seen, edges_days[-1])
    periods = np.searchsorted(edges_days, np.minimum(wait, seen), side="right")
    room = most - periods[has_outcome].sum()
    share = min(1.0, max(0.05, room / max(1, periods[~has_outcome].sum())))
    is_kept = has_outcome | (np.random.default_rng(seed).random(len(wait)) < share)
    weight[~has_outcome] = 1.0 / share
    return weight, np.flatnonzero(is_kept)


def days_of(curve: Matrix, edges_days: Vector) -> Days:
    """Quantiles and mean of the days to the outcome, given that it comes by the last edge; evenly within a period."""
    ends = np.concatenate([[0.0], edges_days])
    reached = np.maximum(curve[:, -1:], 1e-12)
    share = np.hstack([np.zeros((len(curve), 1)), curve / reached])
    mean = ((1.0 - (share[:, 1:] + share[:, :-1]) / 2) * np.diff(ends)).sum(axis=1)
    expected, optimistic, pessimistic = (np.array([np.interp(q, row, ends) for row in share]) for q in (0.5, 0.2, 0.8))
    return Days(expected, optimistic, pessimistic, mean)


def _middles(edges_days: Vector) -> Vector:
    return (np.concatenate([[0.0], edges_days[:-1]]) + edges_days) / 2
