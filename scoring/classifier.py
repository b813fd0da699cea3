"""One calibrated probability from a row, and what each column gave to it: boosted trees or a logistic model."""

from functools import cached_property
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from scoring.calibration import Calibration, calibrated
from scoring.model import Contributions, Matrix, Vector
from scoring.preparation import Preparation
from scoring.single_thread import single_thread
from scoring.trees import Paths

Kind = Literal["boosting", "logistic"]

#: Trees that are looked at before it is said that more do not help.
_PATIENCE = 20
_MAX_TREES = 400


class Weighted(NamedTuple):
    """Rows with a label each, and how many like it each stands for; None: every one for itself."""

    rows: Matrix
    label: Vector
    weight: Vector | None = None


class Classifier:
    """A fitted estimator and its calibration. ``estimator`` is scikit-learn's."""

    def __init__(
        self, kind: Kind, estimator: Any, calibration: Calibration, preparation: Preparation | None = None
    ) -> None:
        self.kind, self.estimator, self.calibration = kind, estimator, calibration
        self._preparation = preparation

    def margin(self, rows: Matrix) -> Vector:
        if self._preparation is not None:
            prepared = self._preparation.apply(rows)
            return np.asarray(prepared @ self.estimator.coef_[0] + self.estimator.intercept_[0])
        return tree_margin(self.estimator, rows)

    def predict_proba(self, rows: Matrix) -> Vector:
        return self.probabilities(self.margin(rows))

    def probabilities(self, margin: Vector) -> Vector:
        return self.calibration.probabilities(margin)

    def contributions(self, rows: Matrix) -> Contributions:
        if self._preparation is None:
            return self._paths.contributions(rows)
        weighted = self._preparation.apply(rows) * self.estimator.coef_[0]
        values = self._preparation.gathered(weighted, rows.shape[1])
        return Contributions(float(self.estimator.intercept_[0]), values, "coefficients")

    @cached_property
    def _paths(self) -> Paths:
        return Paths(self.estimator)

    def parts(self) -> dict[str, Any]:
        """What a file has to keep."""
        return {
            "kind": self.kind,
            "estimator": self.estimator,
            "calibration": msgspec.to_builtins(self.calibration),
            "preparation": None if self._preparation is None else self._preparation.parts(),
        }

    @classmethod
    def of_parts(cls, parts: dict[str, Any]) -> "Classifier":
        """Raises ``KeyError``, ``TypeError`` or ``msgspec.ValidationError`` for what are no parts."""
        preparation = parts["preparation"]
        return cls(
            parts["kind"],
            parts["estimator"],
            msgspec.convert(parts["calibration"], Calibration),
            None if preparation is None else Preparation.of_parts(preparation),
        )


def tree_margin(trees: Any, rows: Matrix) -> Vector:
    """Logits of fitted trees, about 0.4 ms for one row."""
    with single_thread():
        return np.asarray(trees.decision_function(rows), dtype=np.float64)


def boosted(train: Weighted, later: Weighted, *, seed: int) -> Any:
    """Gradient boosting on rows with their nulls; when the likelihood of later rows stops to rise, it ends."""
    trees = HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=_MAX_TREES,
        max_leaf_nodes=15,
        min_samples_leaf=max(5, min(100, len(train.label) // 100)),
        l2_regularization=2.0,
        max_features=0.5,
        early_stopping=True,
        n_iter_no_change=_PATIENCE,
        categorical_features=None,
        random_state=seed,
    )
    # Binning refuses columns that are null throughout; as zeros they are never asked about, whatever stands there later.
    known = np.where(np.isnan(train.rows).all(axis=0), 0.0, train.rows)
    with single_thread():
        return trees.fit(
            known,
            train.label.astype(int),
            sample_weight=train.weight,
            X_val=later.rows,
            y_val=later.label.astype(int),
            sample_weight_val=later.weight,
        )


def fit_boosting(train: Matrix, label: Vector, later: Matrix, later_label: Vector, *, seed: int) -> Classifier:
    """Trees, calibrated on the later rows."""
    trees = boosted(Weighted(train, label), Weighted(later, later_label), seed=seed)
    return Classifier("boosting", trees, calibrated(tree_margin(trees, later), later_label))


def fit_logistic(train: Matrix, label: Vector, later: Matrix, later_label: Vector) -> Classifier:
    """A logistic model, calibrated on the later rows."""
    preparation = Preparation.learn(train)
    with single_thread():
        model = LogisticRegression(C=0.05, max_iter=5000).fit(preparation.apply(train), label.astype(int))
    margin = model.decision_function(preparation.apply(later))
    return Classifier("logistic", model, calibrated(margin, later_label), preparation)
