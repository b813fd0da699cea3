"""What came of a lead after a time: the labels of a row.

An outcome is judged on everything that is known at the end of the log, retracted events left out. Where its window,
(t, t + horizon], reaches past the end of the log, what came of it is not known: the row is *censored* for it.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Protocol

import msgspec

from eventstore.event import Event
from kernel.times import DAY_US

#: Days before a time in which a lead must have been active for its silence to be churn.
ACTIVE_DAYS = 30.0


class Future:
    """Times of one lead's events, by type, and of its interactions: all of them, asked for what follows a time.

    Parameters
    ----------
    events : those that count, by (time, id), none after the end of the log.
    interactions : the event types that are initiated by the lead.
    """

    def __init__(self, events: Iterable[Event], interactions: frozenset[str]) -> None:
        self._times: dict[str, list[int]] = {}
        self._interactions: list[int] = []
        for event in events:
            self._times.setdefault(event.type, []).append(event.at_us)
            if event.type in interactions:
                self._interactions.append(event.at_us)

    def times(self, event_type: str) -> list[int]:
        return self._times.get(event_type, [])

    def count(self, types: Iterable[str], from_us: int, until_us: int) -> int:
        """Events of these types in (from, until]."""
        return sum(_between(self.times(each), from_us, until_us) for each in types)

    def interactions(self, from_us: int, until_us: int) -> int:
        """Interactions in (from, until]."""
        return _between(self._interactions, from_us, until_us)

    def next_us(self, types: Iterable[str], after_us: int) -> int | None:
        """Time of the first event of these types after a time."""
        found = [
            times[place] for each in types if (place := bisect_right(times := self.times(each), after_us)) < len(times)
        ]
        return min(found, default=None)


def _between(times: list[int], from_us: int, until_us: int) -> int:
    return bisect_right(times, until_us) - bisect_right(times, from_us)


class Outcome(Protocol):
    """One thing that may come of a lead within a horizon."""

    @property
    def name(self) -> str: ...

    @property
    def within_days(self) -> float: ...

    def of(self, future: Future, at_us: int) -> bool:
        """Whether it came, in (at, at + within]."""

    def words(self) -> str:
        """What it is, for a card."""


class Happens(msgspec.Struct, frozen=True):
    """At least ``at_least`` events of these types within so many days."""

    name: str
    types: tuple[str, ...]
    within_days: float
    at_least: int = 1

    def of(self, future: Future, at_us: int) -> bool:
        return future.count(self.types, at_us, at_us + round(self.within_days * DAY_US)) >= self.at_least

    def words(self) -> str:
        number = "" if self.at_least == 1 else f"at least {self.at_least} of "
        return f"{number}{' or '.join(self.types)} within {self.within_days:g} days"


class Leaves(msgspec.Struct, frozen=True):
    """A cancellation within so many days, or silence in them of a lead that was active in the 30 days before."""

    name: str
    types: tuple[str, ...]
    within_days: float

    def of(self, future: Future, at_us: int) -> bool:
        until_us = at_us + round(self.within_days * DAY_US)
        if future.count(self.types, at_us, until_us):
            return True
        was_active = future.interactions(at_us - round(ACTIVE_DAYS * DAY_US), at_us) > 0
        return was_active and future.interactions(at_us, until_us) == 0

    def words(self) -> str:
        days = f"{self.within_days:g} days"
        return f"{' or '.join(self.types)} within {days}, or no interaction in them after one in the {ACTIVE_DAYS:g} days before"


#: What a lead converts by unless a configuration says otherwise.
CONVERSION_TYPES = ("deal_won", "purchase_completed")


def conversion(types: tuple[str, ...] = CONVERSION_TYPES, within_days: float = 30.0) -> Happens:
    """The outcome that the conversion model learns, and whose time the hazard model learns."""
    return Happens("conversion", types, within_days)


CHURN = Leaves("churn", ("subscription_cancelled",), 30.0)
CALLS = Happens("calls", ("inbound_call",), 14.0, at_least=2)
