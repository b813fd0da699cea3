"""Which events make predictions, and which stored predictions have grown old."""

from eventstore.event import Event
from eventstore.system import is_system_id
from kernel.settings_scoring import ScoringSettings
from kernel.times import SECOND_US


def triggers(event: Event, settings: ScoringSettings, trigger_max_age_us: int) -> bool:
    """Whether an event makes predictions without anybody asking. Old news does not."""
    return (
        event.type in settings.triggers
        and not is_system_id(event.id)
        and event.recorded_us - event.at_us <= trigger_max_age_us
    )


def is_old(made_us: int, settings: ScoringSettings, now_us: int) -> bool:
    """Whether a prediction is so old that it is remade if its inputs have changed."""
    return now_us - made_us >= settings.refresh_age_s * SECOND_US
