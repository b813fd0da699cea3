"""What follows from a linear learner's sums: the model, and predictions with it.

The model, of arm a in context x (standardised numbers, a constant first) with arm features z (a constant first)::

    reward = z·β + x·θₐ + noise,    β ~ N(0, v²/ridge),  θₐ ~ N(0, v²/ridge) for each arm by itself

β ties the arms: a new one starts from what all and those with its features have earned, uncertain by its own θ. Its
constant is as good as free. The posterior is exact, with full covariance, arms eliminated one by one: with
Pₐ = Σxxᵀ + ridge, Cₐ = Σxzᵀ, Mₐ = Pₐ⁻¹Cₐ, the precision of β is Σₐ(Σzzᵀ − CₐᵀMₐ) + ridge; a prediction needs
xᵀPₐ⁻¹x, u = z − Mₐᵀx and uᵀ·cov(β)·u: one product of a stack of matrices with x. v² is the residuals' variance.

References
----------
Li, Chu, Langford, Schapire: A Contextual-Bandit Approach to Personalized News Article Recommendation (2010), the hybrid model.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from bandit.learners.exploring import inverse_gaps, normals, winning_shares
from bandit.learners.learner import Arm, Context, FloatMatrix, FloatVector, Prediction
from bandit.learners.linear_args import LinearArgs
from bandit.learners.slots import Slots
from kernel.errors import NoEligibleArm

#: A column that hardly varied is not blown up beyond this deviation: its next value would move everything.
SCALE_MIN: Final = 0.1
#: Prior precision of an arm's own level beside that of all: one observation's.
_OWN_LEVEL_PRECISION: Final = 1.0
#: Prior precision of the level of all rewards: as good as none.
_LEVEL_PRECISION: Final = 1e-6
#: How many observations the spread of rewards counts as, beside the residuals, in the noise.
_NOISE_PRIOR: Final = 1.0
_SELECTIONS_MAX: Final = 64
#: Drawn for several contexts at once: half a megabyte.
_SAMPLES_MAX: Final = 2**16


class Totals(NamedTuple):
    """Updates, and Σw, Σw·r, Σw·r² over all observations."""

    updates: int
    weight: float
    reward: float
    square: float

    @property
    def variance(self) -> float:
        """Of the rewards; 0 without any."""
        if self.weight <= 0.0:
            return 0.0
        mean = self.reward / self.weight
        return max(self.square / self.weight - mean * mean, 0.0)


class Arms(NamedTuple):
    """Places of the arms in the stacks (0 for one that was never learned), and the seed of their draws."""

    places: Mapping[str, int]
    seed: int


class _Selection(NamedTuple):
    """What predictions over the same arms share: the stack's rows, arm features standardised, draws."""

    arms: tuple[Arm, ...]
    stack: FloatMatrix
    features: FloatMatrix
    draws: FloatMatrix


def moments(squares: FloatMatrix) -> tuple[FloatVector, FloatVector]:
    """Centres and scales of a row's places over all arms, from Σ w·e·eᵀ of each: shape (n_arms, size, size)."""
    pooled = squares[:, 0].sum(axis=0)
    weight = pooled[0]
    centres = pooled / weight if weight > 0.0 else np.zeros_like(pooled)
    second = np.einsum("aii->i", squares) / weight if weight > 0.0 else np.zeros_like(pooled)
    scales = np.sqrt(np.maximum(second - centres * centres, 0.0) + SCALE_MIN * SCALE_MIN)
    centres[0], scales[0] = 0.0, 1.0
    return centres, scales


class Posterior:
    """A read copy of a linear learner. Building it costs an inversion for each arm that changed (O(size³)).

    Parameters
    ----------
    args, arms, totals, slots : of the learner, as they are now; nobody changes them afterwards.
    scaling : centres and scales of the row.
    sums : Σ w·e·eᵀ and Σ w·r·e, a stack of the arms' each; read here, not kept.
    before : an earlier read copy with the same slots and scaling, whose solutions still hold but for ``changed`` places.
    """

    def __init__(
        self,
        args: LinearArgs,
        arms: Arms,
        totals: Totals,
        slots: Slots,
        scaling: tuple[FloatVector, FloatVector],
        sums: tuple[FloatMatrix, FloatMatrix],
        before: "Posterior | None",
        changed: Iterable[int],
    ) -> None:
        self.updates = totals.updates
        self._args, self._arms, self._slots = args, arms, slots
        self._x = np.concatenate([[0], slots.context_places()]).astype(np.intp)
        self._z = np.concatenate([[0], slots.arm_places()]).astype(np.intp)
        centres, scales = scaling
        self._centres, self._scales = centres, scales
        self._x_centres, self._x_scales = centres[self._x], scales[self._x]
        self._prior = np.full(len(self._x), args.ridge)
        self._prior[0] = _OWN_LEVEL_PRECISION
        self._make_stacks(len(sums[0]), before)
        known = 0 if before is None else len(before._fits)
        for place in sorted({*changed, *range(known, len(sums[0]))}) if before else range(len(sums[0])):
            self._solve(place, sums[0][place], sums[1][place])
        self._share(totals)
        self._selections: dict[tuple[str, ...], _Selection] = {}

    # -- solving

    def _make_stacks(self, places: int, before: "Posterior | None") -> None:
        p, k = len(self._x), len(self._z)
        # Rows of an arm's block: Pₐ⁻¹, Mₐᵀ, and Pₐ⁻¹ of its products: one product with x gives all of a prediction.
        self._stack = np.zeros((places, p + k + 1, p))
        self._evidence = np.zeros((places, k, k))
        self._pulls = np.zeros((places, k))
        self._fits = np.zeros(places)
        if before is not None:
            known = len(before._fits)
            self._stack[:known], self._evidence[:known] = before._stack, before._evidence
            self._pulls[:known], self._fits[:known] = before._pulls, before._fits

    def _solve(self, place: int, squares: FloatMatrix, products: FloatVector) -> None:
        x, z, p, k = self._x, self._z, len(self._x), len(self._z)
        standard, pulled = self._standardised(squares, products)
        block = self._stack[place]
        if place == 0:
            # Place 0 has no context of its own: a new arm's block is the prior, the forgotten arms' sums teach β alone.
            block[:p] = np.diag(1.0 / self._prior)
            self._evidence[0], self._pulls[0] = standard[np.ix_(z, z)], pulled[z]
            return
        inverse = np.linalg.inv(standard[np.ix_(x, x)] + np.diag(self._prior))
        crossed, own = standard[np.ix_(x, z)], pulled[x]
        block[:p] = (inverse + inverse.T) * 0.5
        block[p : p + k] = (inverse @ crossed).T
        block[p + k] = inverse @ own
        self._evidence[place] = standard[np.ix_(z, z)] - crossed.T @ block[p : p + k].T
        self._pulls[place] = pulled[z] - block[p : p + k] @ own
        self._fits[place] = own @ block[p + k]

    def _standardised(self, squares: FloatMatrix, products: FloatVector) -> tuple[FloatMatrix, FloatVector]:
        """The sums as if every row had been centred and scaled before it was added."""
        centres, scales = self._centres, self._scales
        moved = np.multiply.outer(centres, squares[0])
        centred = squares - moved - moved.T + np.multiply.outer(centres, centres * squares[0, 0])
        return centred / np.multiply.outer(scales, scales), (products - centres * products[0]) / scales

    def _share(self, totals: Totals) -> None:
        prior = np.full(len(self._z), self._args.ridge)
        prior[0] = _LEVEL_PRECISION
        covariance = np.linalg.inv(self._evidence.sum(axis=0) + np.diag(prior))
        covariance = (covariance + covariance.T) * 0.5
        pulls = self._pulls.sum(axis=0)
        self._beta = covariance @ pulls
        residual = max(totals.square - self._fits.sum() - float(pulls @ self._beta), 0.0)
        noise = (_NOISE_PRIOR * totals.variance + residual) / (_NOISE_PRIOR + totals.weight)
        # Without any spread all scores are equal, and any deviation explores the same.
        self._deviation = float(np.sqrt(noise)) or 1.0
        self._gamma = self._args.gamma * totals.updates**0.5 / (float(np.sqrt(totals.variance)) or 1.0)
        draws = [normals(self._arms.seed, f"shared {index}", self._args.draws) for index in range(len(self._z))]
        root = np.linalg.cholesky(covariance)
        self._shared_draws = (root * (self._deviation * self._args.scale)) @ np.array(draws)

    # -- predicting

    def predict(self, context: Context, arms: Sequence[Arm]) -> Prediction:
        if not arms:
            raise NoEligibleArm
        chosen = self._selection(tuple(arms))
        shares, scores = self._shares(chosen, self._standardised_contexts([context])[0])
        return Prediction(shares.tolist(), scores.tolist())

    def predict_many(self, contexts: Sequence[Context], arms: Sequence[Arm]) -> list[Prediction]:
        if not arms:
            raise NoEligibleArm
        chosen, step = self._selection(tuple(arms)), max(1, _SAMPLES_MAX // (len(arms) * self._args.draws))
        said: list[Prediction] = []
        for start in range(0, len(contexts), step):
            shares, scores = self._shares(chosen, self._standardised_contexts(contexts[start : start + step]))
            said += map(Prediction, shares.tolist(), scores.tolist())
        return said

    def _standardised_contexts(self, contexts: Sequence[Context]) -> FloatMatrix:
        """Shape (contexts, p, 1)."""
        rows = self._slots.context_rows(contexts)
        rows -= self._x_centres
        rows /= self._x_scales
        return rows[:, :, None]

    def _shares(self, chosen: _Selection, x: FloatMatrix) -> tuple[FloatMatrix, FloatMatrix]:
        """Probabilities and scores: shape (arms,), where ``x`` is one context's, else (contexts, arms).

        One product for all contexts would be faster still, but BLAS adds in another order for another number of them: numpy
        takes the product with each by itself here, so that what is said of one does not depend on the others.
        """
        p, n = len(self._x), len(chosen.arms)
        products = (chosen.stack @ x).reshape(*x.shape[:-2], n, -1)
        u = chosen.features - products[..., p:-1]
        scores = products[..., -1] + u @ self._beta
        if n == 1:
            return np.ones_like(scores), scores
        if self._args.exploration == "squarecb":
            shares = [inverse_gaps(each, self._gamma) for each in scores.reshape(-1, n)]
            return np.array(shares).reshape(scores.shape), scores
        own = np.sqrt(np.maximum(products[..., :p] @ x, 0.0)) * (self._deviation * self._args.scale)
        samples = own * chosen.draws
        samples += u @ self._shared_draws
        samples += scores[..., None]
        return winning_shares(samples), scores

    def _selection(self, arms: tuple[Arm, ...]) -> _Selection:
        key = tuple([arm.id for arm in arms])
        kept = self._selections.get(key)
        if kept is None or kept.arms != arms:
            if len(self._selections) >= _SELECTIONS_MAX:
                self._selections.clear()
            kept = self._selections[key] = self._select(arms)
        return kept

    def _select(self, arms: tuple[Arm, ...]) -> _Selection:
        places = [self._arms.places.get(arm.id, 0) for arm in arms]
        rows = np.array([self._slots.arm_row(arm) for arm in arms])
        rows[:, 0] = 1.0
        features = np.ascontiguousarray(((rows - self._centres) / self._scales)[:, self._z])
        draws = np.array([normals(self._arms.seed, f"arm {arm.id}", self._args.draws) for arm in arms])
        return _Selection(arms, self._stack[places].reshape(-1, len(self._x)), features, draws)
