"""What a trained model answers, whatever it is made of: probabilities and margins of rows, contributions, a card.

A *row* is the vector of a selection's features (``Selection.vector``) as float64, nulls as NaN: the columns of
``features.FeatureSet.columns``, in that order. Rows go in as one matrix, answers come out one per row. No answer
changes a model, so that threads may share one.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

#: What a prediction is about.
PredictionType = Literal["CONVERSION", "TIME_TO_CLOSE", "CHURN", "CALL_RISK", "HEALTH"]
#: What is trained, kept and promoted as one: a file with its card.
Family = Literal["conversion", "time_to_close", "multitask"]

FAMILIES: dict[Family, tuple[PredictionType, ...]] = {
    "conversion": ("CONVERSION",),
    "time_to_close": ("TIME_TO_CLOSE",),
    "multitask": ("CHURN", "CALL_RISK", "HEALTH"),
}


class Measure(msgspec.Struct, frozen=True):
    """A figure on held-out rows, and the interval in which 95 of 100 bootstrap repetitions put it."""

    value: float
    low: float
    high: float


class CalibrationBin(msgspec.Struct, frozen=True):
    """One of ten bins of equal mass: what was said on average, and how often it came true."""

    predicted: float
    observed: float
    rows: int


class Metrics(msgspec.Struct, frozen=True):
    """How good probabilities were on held-out rows; a measure that cannot be computed (one class only) is missing."""

    measures: dict[str, Measure] = {}
    bins: tuple[CalibrationBin, ...] = ()


class Importance(msgspec.Struct, frozen=True):
    """How much a measure gets worse when a feature's values are shuffled among held-out rows."""

    feature: str
    importance: float
    std: float


class Reference(msgspec.Struct, frozen=True):
    """A column's distribution among training rows: inner edges of its bins, the share of each bin, then of nulls."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]


class Span(msgspec.Struct, frozen=True):
    """Times of rows, [from, until], and how many there are; ``positives`` by outcome."""

    from_us: int
    until_us: int
    rows: int
    positives: dict[str, int]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model: where it comes from, how good it is, what it may be used on.

    Attributes
    ----------
    family, estimator : what it predicts, and what was kept: ``boosting``, ``logistic``, ``hazard`` or ``network``.
    created_us : when it was trained.
    log_until_us : the end of the log that it was trained from.
    slices : rows of ``train``, ``calibration`` and ``test``, one after the other in time.
    outcomes : task → event types and horizon in days, in words.
    metrics : contender or task → its figures on the test rows. The model's own are under its task.
    beats_rules : whether it was better than the rules on the test rows; None where no rules were handed in.
    notes : whatever a reader has to be told: who was better than whom, what was too thin to be computed.
    features, columns, fingerprint : what a row is; a model is only ever used on rows of its own fingerprint.
    calibration : task → ``isotonic`` or ``sigmoid``.
    thresholds : named probabilities, such as the one of the best F1.
    coverage : column → share of the training rows in which it is not null.
    reference : column → its distribution among training rows, to measure drift against.
    importance : features by permutation on test rows, the greatest first.
    libraries : name → version of what it was trained with.
    asked : the request that it was trained on, in the words of whoever made it; training anew makes it again.
    beats_champion : whether it was better, on its test rows, than the model that was in use; None without such a
        comparison.
    """

    family: Family
    estimator: str
    created_us: int
    log_until_us: int
    horizon_days: float
    seed: int
    slices: dict[str, Span]
    outcomes: dict[str, str]
    metrics: dict[str, Metrics]
    beats_rules: bool | None
    notes: tuple[str, ...]
    features: tuple[str, ...]
    columns: tuple[str, ...]
    fingerprint: str
    calibration: dict[str, str]
    thresholds: dict[str, float]
    coverage: dict[str, float]
    reference: dict[str, Reference]
    importance: tuple[Importance, ...]
    libraries: dict[str, str]
    asked: dict[str, Any] = {}
    beats_champion: bool | None = None


class Contributions(NamedTuple):
    """Why a margin is what it is, in logits: ``base + values[i].sum()`` is the margin of row i (within 1e-9).

    ``values`` has shape (rows, columns). ``method`` names how they were found: ``paths``, ``coefficients`` or
    ``gradients``.
    """

    base: float
    values: Matrix
    method: str


class ProbabilityModel(Protocol):
    """One probability per row: CONVERSION, CHURN, CALL_RISK."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def calibration_error(self) -> float | None:
        """Of the test rows, ten bins of equal mass."""

    def margin(self, rows: Matrix) -> Vector:
        """Logits before calibration; the probability never falls where they rise."""

    def predict_proba(self, rows: Matrix) -> Vector:
        """Calibrated probabilities, shape (rows,)."""

    def probabilities(self, margin: Vector) -> Vector:
        """Calibrated probabilities of margins."""

    def contributions(self, rows: Matrix) -> Contributions:
        """Of each column to the margin."""


class Days(NamedTuple):
    """Days to an outcome, given that it comes within the model's reach; each of shape (rows,).

    ``expected`` is the median of that distribution, ``optimistic`` and ``pessimistic`` its quantiles 0.2 and 0.8,
    ``mean`` its mean.
    """

    expected: Vector
    optimistic: Vector
    pessimistic: Vector
    mean: Vector


class DurationModel(Protocol):
    """When the outcome comes: TIME_TO_CLOSE."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def calibration_error(self) -> float | None:
        """Of the curve at the horizon, on the test rows."""

    @property
    def edges_days(self) -> Vector:
        """Ends of the periods in days, rising; the last is the model's reach."""

    def curve(self, rows: Matrix) -> Matrix:
        """Probability that the outcome has come by each edge, shape (rows, edges); never falls along a row."""

    def days(self, rows: Matrix) -> Days: ...

    def contributions(self, rows: Matrix) -> Contributions:
        """To the logit of the outcome in the middle period: what is positive shortens the wait, what is not, lengthens it."""


class Health(NamedTuple):
    """Customer health 0 to 100 and its parts, each of shape (rows,): ``score = from_churn + from_calls + from_ratings``."""

    score: Vector
    from_churn: Vector
    from_calls: Vector
    from_ratings: Vector


class RiskModel(Protocol):
    """One network with a shared base: CHURN, CALL_RISK and, from both and the ratings, HEALTH."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def churn(self) -> ProbabilityModel: ...

    @property
    def calls(self) -> ProbabilityModel: ...

    def health(self, rows: Matrix) -> Health: ...


class Rules(Protocol):
    """A scorer without a model, as a yardstick."""

    @property
    def features(self) -> Sequence[str]:
        """References that it reads."""

    def points(self, values: dict[str, object]) -> float:
        """0 to 100, from values by reference as the catalogue serves them."""
