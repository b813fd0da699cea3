"""From margins to probabilities that come true as often as they say.

The fitted form is kept as plain numbers, two arrays to interpolate between or a sigmoid's two coefficients, so that it is
small in a file and fast on one row.
"""

from typing import Any, Literal

import msgspec
import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from scoring.model import Vector

#: With fewer of a class nothing can be fitted: margins are taken at their word.
_FEWEST = 5
#: Isotonic calibration needs so many rows of the rarer class; with fewer a sigmoid is steadier.
ISOTONIC_MIN = 500

Kind = Literal["isotonic", "sigmoid"]


class Calibration(msgspec.Struct, frozen=True):
    """Rises with the margin.

    Attributes
    ----------
    at, to : isotonic: margins, and the probabilities to interpolate between; sigmoid: ``(slope, intercept)`` and nothing.
    least : no probability is less, nor more than 1 less it: so many rows cannot tell it from 0.
    """

    kind: Kind
    at: tuple[float, ...]
    to: tuple[float, ...]
    least: float

    def probabilities(self, margin: Vector) -> Vector:
        if self.kind == "isotonic":
            found = np.interp(margin, self.at, self.to)
        else:
            slope, intercept = self.at
            found = expit(slope * margin + intercept)
        return np.clip(found, self.least, 1.0 - self.least)


def calibrated(margin: Vector, labels: Vector) -> Calibration:
    """Fit on rows that the model has not seen, by the size of what there is of the rarer class."""
    rarer = min(labels.sum(), len(labels) - labels.sum())
    kind: Kind = "isotonic" if rarer >= ISOTONIC_MIN else "sigmoid"
    least = 0.5 / (len(labels) + 1)
    if rarer < _FEWEST:
        return Calibration("sigmoid", (1.0, 0.0), (), least)
    fitted = CalibratedClassifierCV(FrozenEstimator(_Margins()), method=kind).fit(margin[:, None], labels.astype(int))
    calibrator = fitted.calibrated_classifiers_[0].calibrators[0]
    if kind == "isotonic":
        at, to = calibrator.X_thresholds_, calibrator.y_thresholds_
        return Calibration(kind, tuple(at.tolist()), tuple(to.tolist()), least)
    return Calibration(kind, (-float(calibrator.a_), -float(calibrator.b_)), (), least)


class _Margins(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """A fitted classifier whose margin is its only column."""

    classes_ = np.array([0, 1])

    def fit(self, rows: Any, labels: Any) -> "_Margins":
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def decision_function(self, rows: Any) -> Any:
        return rows[:, 0]

    def predict(self, rows: Any) -> Any:
        return rows[:, 0] > 0
