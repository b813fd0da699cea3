import pytest

from kernel.settings_scoring import ThresholdSettings
from scoring.confidence import confidence
from scoring.priority import priority, tier, urgency


def test_urgency_is_between_none_and_all() -> None:
    assert urgency({}, None) == 0
    assert urgency({"timing:days_since_last_activity": 0, "timing:activity_burst": 1}, 0.0) == 1


def test_urgency_goes_by_the_latest_of_activity_interaction_and_look() -> None:
    values = {"timing:days_since_last_activity": 70, "rfm:recency_days": 7, "interaction:days_since_last": None}
    assert urgency(values, None) == pytest.approx(0.25)


@pytest.mark.parametrize(("expected", "part"), [(None, 0.0), (0.0, 0.3), (30.0, 0.15), (60.0, 0.075), (-5.0, 0.3)])
def test_urgency_rises_as_the_deal_comes_near(expected: float | None, part: float) -> None:
    assert urgency({}, expected) == pytest.approx(part)


def test_priority_is_four_parts_probability_and_one_part_urgency() -> None:
    assert priority(0.5, 1.0) == 60
    assert priority(0.333, 0.2) == 31


def test_tiers_begin_at_their_thresholds() -> None:
    thresholds = ThresholdSettings(hot=90, warm=60, cold=10.5)
    assert [tier(each, thresholds) for each in (90, 89, 60, 59, 11, 10)] == [
        "top",
        "high",
        "high",
        "medium",
        "medium",
        "low",
    ]


@pytest.mark.parametrize(
    ("probability", "error", "coverage", "threshold", "expected"),
    [
        (0.5, 0.0, 1.0, 0.5, 0.7),
        (1.0, 0.0, 1.0, 0.5, 1.0),
        (0.0, 0.0, 1.0, 0.5, 1.0),
        (0.0, 0.25, 0.0, 0.5, 0.3),
        (0.5, 0.9, 0.0, 0.5, 0.0),
        (0.5, None, 0.5, 0.5, 0.15),
        (0.05, 0.05, 1.0, 0.1, 0.32 + 0.3 + 0.15),
        (1.0, 0.0, 1.0, 1.0, 0.7),
    ],
)
def test_confidence_is_calibration_coverage_and_clarity(
    probability: float, error: float | None, coverage: float, threshold: float, expected: float
) -> None:
    found = confidence(probability, calibration_error=error, coverage=coverage, threshold=threshold)
    assert found == pytest.approx(expected)
