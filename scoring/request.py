"""What is to be trained, and how a training says how far it is."""

from collections.abc import Callable
from typing import Any

import msgspec

from scoring.knowledge import Knowledge
from scoring.model import Family
from scoring.outcomes import CALLS, CHURN, CONVERSION_TYPES, Happens, Outcome, conversion

#: (phase, done, total): ``rows`` counts leads, every other phase its steps, whose number is not known before.
Report = Callable[[str, int, int | None], None]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be trained.

    Attributes
    ----------
    features : references, those of a service, say; None: all of a lead's own.
    outcome_types, horizon_days : what conversion is, and within how many days.
    families : what to train.
    at_types : rows at events of these types instead of at regular midnights.
    asked : the same in the words of the caller, for the cards.
    """

    features: tuple[str, ...] | None = None
    outcome_types: tuple[str, ...] = CONVERSION_TYPES
    horizon_days: float = 30.0
    families: tuple[Family, ...] = ("conversion", "time_to_close", "multitask")
    step_days: int = 15
    at_types: tuple[str, ...] = ()
    knowledge: Knowledge = "auto"
    seed: int = 1
    asked: dict[str, Any] = {}

    @property
    def outcome(self) -> Happens:
        return conversion(self.outcome_types, self.horizon_days)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        return self.outcome, CHURN, CALLS
