"""The linear learner: sums of what was learned, from which the model follows.

Of each arm it keeps Σ w·e·eᵀ and Σ w·r·e over its observations' rows e (``slots``), and of all together
Σ w, Σ w·r, Σ w·r². The model (``posterior``) is a pure function of them, computed when a read copy is taken. So

- learning is two additions, element by element: no matrix is inverted, no BLAS is called (whose sums may differ with
  the number of threads), and equal sequences give equal bytes;
- a reward is corrected exactly: the rows stay, only r changes, by w·(new − old)·e in one sum;
- nothing drifts, as updated inverses do.

**Memory.** After every ``half_life`` updates all sums are halved (exact in floating point), so what was learned n
half-lives ago counts 2⁻ⁿ. The mark of an observation is the number of halvings before it: a correction counts as much as
what it corrects. Without it (0) a change of the world would be noticed only when the new outweighs all that came before.

**Arms** that were not learned for longest give way when the sums of all would pass ``SUMS_BYTES``; what they taught of the
arms' features stays, in a place for all of the forgotten.

The columns' centres and scales are taken anew from the sums at counts that grow by an eighth, not at each update: reading
between them need solve only the arms that were learned.
"""

from typing import Any, Final

import msgspec
import numpy as np

from bandit.learners.encoding import Token, checked, checked_reward
from bandit.learners.learner import REWARD_MAX, FloatVector, Observation, Predictor
from bandit.learners.linear_args import LinearArgs
from bandit.learners.posterior import Arms, Posterior, Totals, moments
from bandit.learners.slots import Slots
from bandit.versions import Stamp, opened, sealed
from kernel.errors import ModelMismatch

#: The sums of all arms together stay below this.
SUMS_BYTES: Final = 64 * 2**20
#: But so many arms may always be held.
ARMS_MIN: Final = 16
_BORN_BITS: Final = 32


class _ArmState(msgspec.Struct, array_like=True):
    """An arm's place in the stack, the how-manieth arm it was when it came, and the update that taught it last."""

    place: int
    born: int
    last: int


class _Body(msgspec.Struct, array_like=True):
    """What is dumped: matrices as their upper triangles, row by row, little-endian float64."""

    keys: list[list[str]]
    arms: dict[str, _ArmState]
    places: int
    born: int
    halvings: int
    rescale_at: int
    totals: bytes
    centres: bytes
    scales: bytes
    squares: bytes
    products: bytes


class LinearLearner:
    """Ridge regressions, one an arm, tied by what the arms have in common; explored by Thompson sampling or SquareCB.

    Parameters
    ----------
    stamp : what it belongs to.
    args : exploration and its numbers.
    """

    is_exact_midway = True
    is_exact_now = True
    can_correct = True

    def __init__(self, stamp: Stamp, args: LinearArgs) -> None:
        self._stamp, self._args = stamp, args
        self.updates = 0
        self._slots = Slots(stamp.width)
        # Place 0 is for all arms that were forgotten.
        self._arms: dict[str, _ArmState] = {}
        self._places, self._born, self._halvings, self._rescale_at = 1, 0, 0, 1
        self._squares = np.zeros((4, self._slots.size, self._slots.size))
        self._products = np.zeros((4, self._slots.size))
        self._totals = np.zeros(3)
        self._centres, self._scales = np.zeros(self._slots.size), np.ones(self._slots.size)
        self._reader: Posterior | None = None
        self._changed: set[int] = {0}
        self._is_rescaled = True

    # -- learning

    def learn(self, observation: Observation) -> int:
        arm = observation.arms[checked(observation, REWARD_MAX)]
        row = self._slots.row(observation.context, arm)
        self._widen()
        state = self._state(arm.id)
        weight, reward = observation.weight, observation.reward
        square = np.multiply.outer(row, row)
        if weight != 1.0:
            square *= weight
        self._squares[state.place] += square
        self._products[state.place] += row * (weight * reward)
        self._totals += (weight, weight * reward, weight * reward * reward)
        self._changed.add(state.place)
        self.updates += 1
        state.last = self.updates
        mark = self._halvings << _BORN_BITS | state.born
        self._age()
        return mark

    def correct(self, observation: Observation, mark: int, reward: float) -> None:
        arm = observation.arms[checked(observation, REWARD_MAX)]
        checked_reward(reward, REWARD_MAX)
        row = self._slots.row(observation.context, arm)
        self._widen()
        weight = observation.weight * 2.0 ** ((mark >> _BORN_BITS) - self._halvings)
        old = observation.reward
        state = self._arms.get(arm.id)
        if state is not None and state.born == mark & (1 << _BORN_BITS) - 1:
            place = state.place
        else:
            place, row = 0, self._arm_part(row)
        self._products[place] += row * (weight * (reward - old))
        self._totals += (0.0, weight * (reward - old), weight * (reward * reward - old * old))
        self._changed.add(place)

    def _state(self, arm: str) -> _ArmState:
        state = self._arms.get(arm)
        if state is None:
            place = self._free_place()
            self._born += 1
            state = self._arms[arm] = _ArmState(place, self._born, 0)
        return state

    def _free_place(self) -> int:
        size = self._slots.size
        if len(self._arms) >= max(ARMS_MIN, SUMS_BYTES // (8 * size * size)):
            return self._forget(min(self._arms, key=lambda arm: self._arms[arm].last))
        if self._places == len(self._squares):
            self._squares = np.concatenate([self._squares, np.zeros_like(self._squares)])
            self._products = np.concatenate([self._products, np.zeros_like(self._products)])
        self._places += 1
        return self._places - 1

    def _forget(self, arm: str) -> int:
        place = self._arms.pop(arm).place
        kept = self._arm_part(np.ones(self._slots.size))
        self._squares[0] += self._squares[place] * np.multiply.outer(kept, kept)
        self._products[0] += self._products[place] * kept
        self._squares[place] = 0.0
        self._products[place] = 0.0
        self._changed |= {0, place}
        return place

    def _arm_part(self, row: FloatVector) -> FloatVector:
        """The row with nothing of the context in it."""
        part = row.copy()
        part[self._slots.context_places()] = 0.0
        return part

    def _widen(self) -> None:
        """Make room for slots that came; what they were before they came is 0."""
        more = self._slots.size - len(self._centres)
        if more:
            self._squares = np.pad(self._squares, ((0, 0), (0, more), (0, more)))
            self._products = np.pad(self._products, ((0, 0), (0, more)))
            self._centres, self._scales = np.pad(self._centres, (0, more)), np.pad(self._scales, (0, more))
            self._rescale_at = self.updates + 1
            self._is_rescaled = True

    def _age(self) -> None:
        if self._args.half_life and self.updates % self._args.half_life == 0:
            self._squares *= 0.5
            self._products *= 0.5
            self._totals *= 0.5
            self._halvings += 1
            self._is_rescaled = True
        if self.updates >= self._rescale_at:
            self._rescale_at = self.updates + 1 + self.updates // 8
            self._centres, self._scales = moments(self._squares[: self._places])
            self._is_rescaled = True

    # -- reading

    def reader(self) -> Predictor:
        if self._reader is None or self._changed or self._is_rescaled or self._reader.updates != self.updates:
            before = None if self._is_rescaled else self._reader
            self._reader = Posterior(
                self._args,
                Arms({arm: state.place for arm, state in self._arms.items()}, self._stamp.seed),
                Totals(self.updates, *self._totals.tolist()),
                Slots(self._slots.width, list(self._slots.keys)),
                (self._centres, self._scales),
                (self._squares[: self._places], self._products[: self._places]),
                before,
                self._changed,
            )
            self._changed, self._is_rescaled = set(), False
        return self._reader

    # -- bytes

    def dump(self) -> bytes:
        upper = np.triu_indices(self._slots.size)
        body = _Body(
            [list(key) for key in self._slots.keys],
            self._arms,
            self._places,
            self._born,
            self._halvings,
            self._rescale_at,
            _bytes(self._totals),
            _bytes(self._centres),
            _bytes(self._scales),
            _bytes(self._squares[: self._places, upper[0], upper[1]]),
            _bytes(self._products[: self._places]),
        )
        return sealed(self._stamp, self.updates, msgspec.msgpack.encode(body))

    @classmethod
    def load(cls, stamp: Stamp, args: LinearArgs, model: bytes) -> "LinearLearner":
        """Raises ``ModelMismatch``."""
        updates, raw = opened(model, stamp)
        try:
            body = msgspec.msgpack.decode(raw, type=_Body)
            return cls._of(stamp, args, updates, body)
        except (msgspec.DecodeError, ValueError) as error:
            raise ModelMismatch("body", "a linear model", f"damaged ({error})") from error

    @classmethod
    def _of(cls, stamp: Stamp, args: LinearArgs, updates: int, body: _Body) -> "LinearLearner":
        learner = cls(stamp, args)
        learner.updates = updates
        learner._slots = Slots(stamp.width, [Token(*key) for key in body.keys])
        learner._arms, learner._places, learner._born = body.arms, body.places, body.born
        learner._halvings, learner._rescale_at = body.halvings, body.rescale_at
        size, places = learner._slots.size, body.places
        rows, cols = np.triu_indices(size)
        squares = np.zeros((places, size, size))
        squares[:, rows, cols] = _floats(body.squares).reshape(places, -1)
        squares[:, cols, rows] = squares[:, rows, cols]
        learner._squares = squares
        learner._products = _floats(body.products).reshape(places, size)
        learner._totals, learner._centres = _floats(body.totals), _floats(body.centres)
        learner._scales = _floats(body.scales)
        return learner


def _bytes(values: "np.ndarray[Any, np.dtype[np.float64]]") -> bytes:
    return values.astype("<f8", copy=False).tobytes()


def _floats(raw: bytes) -> FloatVector:
    return np.frombuffer(raw, "<f8").astype(np.float64)
