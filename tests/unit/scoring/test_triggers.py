import pytest

from kernel.settings_scoring import ScoringSettings
from kernel.times import DAY_US
from scoring.triggers import is_old, triggers
from tests.unit.scoring.leads import NOW_US, event


@pytest.mark.parametrize(
    "event_type",
    [
        "session_completed",
        "inbound_call",
        "payment_failed",
        "subscription_cancelled",
        "booking_request",
        "deal_won",
        "deal_lost",
    ],
)
def test_events_of_weight_make_predictions(event_type: str) -> None:
    assert triggers(event(1, event_type, NOW_US), ScoringSettings(), DAY_US)


def test_other_events_old_news_and_the_systems_own_make_none() -> None:
    settings = ScoringSettings()
    assert not triggers(event(1, "login", NOW_US), settings, DAY_US)
    assert not triggers(event(1, "deal_won", NOW_US, recorded_us=NOW_US + DAY_US + 1), settings, DAY_US)
    assert not triggers(event(1, "deal_won", NOW_US, event_id="~x"), settings, DAY_US)
    assert triggers(event(1, "login", NOW_US), ScoringSettings(triggers=("login",)), DAY_US)


def test_a_prediction_is_old_after_its_age() -> None:
    assert not is_old(NOW_US, ScoringSettings(), NOW_US + DAY_US - 1)
    assert is_old(NOW_US, ScoringSettings(), NOW_US + DAY_US)
