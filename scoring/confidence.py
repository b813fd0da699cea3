"""Confidence: how far a prediction can be relied on, 0 to 1. Not how likely the outcome is.

::

    confidence = 0.4 · calibration + 0.3 · coverage + 0.3 · clarity
    calibration = 1 − min(1, calibration error / 0.25); 0 while the source's error was never measured
    coverage    = share of the features read by the source that are known (not null)
    clarity     = how far the probability p is from the threshold θ, beyond which it says yes:
                  (p − θ) / (1 − θ) at or above it, (θ − p) / θ below

A calibration error of 0.25 is that of saying one half of everything, where nothing or all of it happens half of the
time. Rules have no measured error until outcomes have come, so what they say is never held for sure.
"""

CALIBRATION_WEIGHT = 0.4
COVERAGE_WEIGHT = 0.3
CLARITY_WEIGHT = 0.3
WORST_ERROR = 0.25


def confidence(probability: float, *, calibration_error: float | None, coverage: float, threshold: float) -> float:
    """How far to rely on it.

    Parameters
    ----------
    calibration_error : mean distance of what was said from what happened, 0 to 1; None: never measured.
    coverage : 0 to 1.
    threshold : the probability from which on the source says yes, 0 to 1.

    Examples
    --------
    >>> confidence(0.5, calibration_error=0.0, coverage=1.0, threshold=0.5)
    0.7
    >>> confidence(1.0, calibration_error=None, coverage=0.0, threshold=0.5)
    0.3
    """
    calibration = 0.0 if calibration_error is None else 1.0 - min(1.0, calibration_error / WORST_ERROR)
    parts = (
        CALIBRATION_WEIGHT * calibration,
        COVERAGE_WEIGHT * coverage,
        CLARITY_WEIGHT * clarity(probability, threshold),
    )
    return max(0.0, min(1.0, sum(parts)))


def clarity(probability: float, threshold: float) -> float:
    """How far a probability is from the threshold, as a share of how far it could be on its side.

    Examples
    --------
    >>> clarity(0.04, 0.08), clarity(1.0, 0.08), clarity(0.0, 0.0)
    (0.5, 1.0, 0.0)
    """
    room = 1.0 - threshold if probability >= threshold else threshold
    return min(1.0, abs(probability - threshold) / room) if room > 0 else 0.0
