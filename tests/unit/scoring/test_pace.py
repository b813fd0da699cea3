import pytest

from scoring.pace import PACES, days_by_rules, days_to_close
from tests.unit.scoring.leads import KEEN


def test_without_anything_known_the_rules_say_45_days() -> None:
    days = days_by_rules({})
    assert (days.expected, days.optimistic, days.pessimistic) == pytest.approx((45, 15, 135))
    assert (days.factors, days.accelerators) == ((), ())


def test_what_shortens_and_what_lengthens_is_said() -> None:
    days = days_by_rules({"activity:meeting_count": 1, "timing:days_since_last_activity": 20})
    assert days.expected == pytest.approx(45 * 0.6 * 1.5)
    assert days.factors == ("Silent for 20 days",)
    assert days.accelerators == ("A meeting is held or scheduled",)


def test_a_keen_lead_of_an_enterprise_has_both() -> None:
    days = days_by_rules(KEEN)
    assert days.expected < 45
    assert days.factors == ("Enterprises take longer to decide",)
    assert len(days.accelerators) == 6


def test_a_models_days_are_put_in_order_and_within_a_year() -> None:
    days = days_to_close({}, 500.0, 0.2, 40.0)
    assert (days.optimistic, days.expected, days.pessimistic) == (1.0, 40.0, 365.0)


def test_every_line_lengthens_or_shortens() -> None:
    assert all(pace.factor > 0 and pace.factor != 1 and pace.text for pace in PACES)
