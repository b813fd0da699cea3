"""Who comes first: the latest prediction of conversion of every lead, by priority. A fold of what was predicted.

Priorities are whole numbers of 0 to 100, so leads stand in a hundred and one heaps; asking for the best sorts no more
of them than it answers from. Events may come in any order: of one lead the prediction made last counts. About 400
bytes a lead and configuration.
"""

from collections.abc import Iterator
from heapq import nsmallest
from typing import NamedTuple

from scoring.events import PredictionMade
from scoring.identity import PredictionId, making_of
from scoring.priority import Tier

_HEAPS = 101


class Standing(NamedTuple):
    """One lead's place. Those of one priority stand by probability, then by lead."""

    unlikely: float  # −probability, so that plain order is the order of the list
    lead: str
    prediction: str
    priority: int
    tier: Tier
    made_us: int


class Ranking:
    """The leads of one organisation under one configuration."""

    def __init__(self) -> None:
        self._heaps: list[dict[str, Standing]] = [{} for _ in range(_HEAPS)]
        self._of: dict[str, Standing] = {}

    def __len__(self) -> int:
        return len(self._of)

    def get(self, lead: str) -> Standing | None:
        return self._of.get(lead)

    def counts(self) -> list[int]:
        """How many stand at each priority, from 0."""
        return [len(heap) for heap in self._heaps]

    def leads(self) -> list[str]:
        """All that have a place, in no order."""
        return list(self._of)

    def note(self, lead: str, event_id: str, made: PredictionMade, made_us: int) -> None:
        """Take a ``prediction_made``, unless a later one is known."""
        before = self._of.get(lead)
        if before is not None and before.made_us > made_us:
            return
        main = next((each for each in made.predictions if each.type == "CONVERSION"), None)
        if main is None:
            return
        prediction = str(PredictionId(making_of(event_id), "CONVERSION"))
        self.forget(lead)
        place = min(_HEAPS - 1, main.priority)
        standing = Standing(-main.probability, lead, prediction, place, main.tier, made_us)
        self._of[lead] = self._heaps[place][lead] = standing

    def forget(self, lead: str) -> None:
        """The lead is erased."""
        before = self._of.pop(lead, None)
        if before is not None:
            del self._heaps[before.priority][lead]

    def best(
        self, limit: int, *, least: int = 0, tier: Tier | None = None, after: Standing | None = None
    ) -> list[Standing]:
        """The first leads of a priority of at least ``least``, of one tier if given, behind ``after`` if given."""
        found: list[Standing] = []
        highest = _HEAPS - 1 if after is None else after.priority
        for priority in range(highest, max(0, least) - 1, -1):
            behind = after if after is not None and priority == after.priority else None
            found += nsmallest(limit - len(found), self._chosen(priority, tier, behind))
            if len(found) >= limit:
                break
        return found

    def _chosen(self, priority: int, tier: Tier | None, behind: Standing | None) -> Iterator[Standing]:
        return (
            standing
            for standing in self._heaps[priority].values()
            if (tier is None or standing.tier == tier) and (behind is None or standing > behind)
        )
