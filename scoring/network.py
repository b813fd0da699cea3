"""One network with a shared base and an output per task: scikit-learn's MLP, trained until later rows say enough.

What is kept is plain: how rows are prepared, and the weights of the layers. Contributions are integrated gradients: the
slope of a task's margin along the straight way from the mean of the training rows to the row, which adds up to the
difference of the margins; what the steps of the sum miss is spread in proportion.
"""

from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.neural_network import MLPClassifier

from kernel.steps import Steps
from scoring.model import Contributions, Matrix, Vector
from scoring.preparation import Preparation
from scoring.single_thread import single_thread

HIDDEN = (48, 24)
#: Stretches that each number is given in beside (``preparation``).
PIECES = 8
_PASSES = 50
_PATIENCE = 10
#: Points of the way at which the slope is taken.
_POINTS = (np.arange(24) + 0.5) / 24


class Network:
    """A fitted network: rectified layers, one logit per task."""

    def __init__(self, preparation: Preparation, weights: list[Matrix], biases: list[Vector]) -> None:
        self.preparation, self._weights, self._biases = preparation, weights, biases

    def margins(self, rows: Matrix) -> Matrix:
        """Logits, shape (rows, tasks)."""
        return self._layers(self.preparation.apply(rows))[-1]

    def contributions(self, rows: Matrix, task: int) -> Contributions:
        prepared = self.preparation.apply(rows)
        product = prepared @ self._weights[0]
        parts = prepared * self._mean_slope(product, task)
        base = float(self._after(np.zeros((1, product.shape[1])))[-1][0, task])
        missing = self._after(product)[-1][:, task] - base - parts.sum(axis=1)
        size = np.abs(parts)
        total = size.sum(axis=1, keepdims=True)
        even = np.full_like(parts, 1.0 / max(1, parts.shape[1]))
        parts = parts + missing[:, None] * np.divide(size, total, out=even, where=total > 0)
        return Contributions(base, self.preparation.gathered(parts, rows.shape[1]), "gradients")

    def _layers(self, prepared: Matrix) -> list[Matrix]:
        """Each layer's output; the last one's is not rectified."""
        return self._after(prepared @ self._weights[0])

    def _after(self, product: Matrix) -> list[Matrix]:
        """Each layer's output, from what the first one's weights make of the rows."""
        outputs: list[Matrix] = []
        last = len(self._weights) - 1
        for place, bias in enumerate(self._biases):
            value = (outputs[-1] @ self._weights[place] if place else product) + bias
            outputs.append(value if place == last else np.maximum(value, 0.0))
        return outputs

    def _mean_slope(self, product: Matrix, task: int) -> Matrix:
        """The gradient of a task's logit, mean over the points of each row's way.

        The wide weights of the first layer are passed once forth and once back, not at every point: what they make of
        a part of the way is that part of ``product``.
        """
        way = (_POINTS[:, None, None] * product).reshape(-1, product.shape[1])
        hidden = self._after(way)[:-1]
        slope = np.broadcast_to(self._weights[-1][:, task], hidden[-1].shape)
        for weight, output in zip(reversed(self._weights[1:-1]), reversed(hidden[1:]), strict=True):
            slope = (slope * (output > 0)) @ weight.T
        slope = slope * (hidden[0] > 0)
        mean: Matrix = slope.reshape(len(_POINTS), *product.shape).mean(axis=0)
        return mean @ self._weights[0].T

    def parts(self) -> dict[str, Any]:
        """As arrays, for a file."""
        return {"preparation": self.preparation.parts(), "weights": self._weights, "biases": self._biases}

    @classmethod
    def of_parts(cls, parts: dict[str, Any]) -> "Network":
        return cls(Preparation.of_parts(parts["preparation"]), parts["weights"], parts["biases"])


def fit_network(train: Matrix, labels: Matrix, later: Matrix, later_labels: Matrix, *, seed: int) -> Steps[Network]:
    """Pass over the rows until the likelihood of the later rows has not risen for a while; the best pass is kept.

    Parameters
    ----------
    labels : shape (rows, tasks).
    """
    preparation = Preparation.learn(train, pieces=PIECES)
    prepared, prepared_later = preparation.apply(train), preparation.apply(later)
    mlp = MLPClassifier(HIDDEN, alpha=3.0, batch_size=min(512, len(train)), learning_rate_init=5e-4, random_state=seed)
    best, since = (np.inf, Network(preparation, [], [])), 0
    for _ in range(_PASSES):
        with single_thread():
            mlp.partial_fit(prepared, labels.astype(int), classes=np.arange(labels.shape[1]))
        network = Network(preparation, [w.copy() for w in mlp.coefs_], [b.copy() for b in mlp.intercepts_])
        loss = _loss(network._layers(prepared_later)[-1], later_labels)
        if loss < best[0] - 1e-6:
            best, since = (loss, network), 0
        else:
            since += 1
            if since == _PATIENCE:
                break
        yield
    return best[1]


def _loss(margins: Matrix, labels: Matrix) -> float:
    said = np.clip(np.where(labels > 0.5, expit(margins), expit(-margins)), 1e-12, 1.0)
    return float(-np.log(said).mean())
