"""Synthetic leads with known laws: an event log of the tutoring and sales packs, and the true probabilities.

Enters: how many leads, a seed, the span. Leaves: the events of each lead in order of time, and for any lead and
midnight the probability that the law itself (``synth_law``) gives to what models are to predict. Deterministic: equal
arguments give equal bytes, and no clock is read. A day's events happen between 07:00 and 21:00 UTC, so that a midnight
has seen all of the days before it and nothing of its own.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from kernel.times import DAY_US, format_time, parse_rfc3339
from scoring import synth_law as law
from scoring.model import Vector
from scoring.synth_life import Story, events_of

#: The end of the log unless another one is asked for.
END_US = parse_rfc3339("2026-11-01T00:00:00Z")
DAYS = 270

Days = npt.NDArray[np.int16]
Places = npt.NDArray[np.int64]

_TITLES, _SIZES, _DOMAINS = tuple(law.SENIORITY), tuple(law.SIZE), tuple(law.DOMAIN)
_TIERS, _CHANNELS = tuple(law.TIER), tuple(law.CHANNEL)
_APPEALS = np.array([law.SENIORITY[t] + law.SIZE[s] + law.DOMAIN[d] for t in _TITLES for s in _SIZES for d in _DOMAINS])
_LOYALTIES = np.array([law.TIER[t] + law.CHANNEL[c] for t in _TIERS for c in _CHANNELS])
#: A lead's place in its chain when there is nothing to come of it any more, or nothing yet.
_CLOSED, _UNBORN = -1, -2


class SynthEvent(NamedTuple):
    """An envelope as a client would send it, and its time in microseconds."""

    at_us: int
    id: str
    type: str
    data: dict[str, Any]


class Truth(NamedTuple):
    """What the law says of leads at times, each of shape (n,); NaN where the lead did not exist yet.

    ``days_median`` and ``days_mean`` are of the wait for a deal, given that it is won within ``synth_law.REACH_DAYS``.
    """

    conversion: Vector
    churn: Vector
    calls: Vector
    days_median: Vector
    days_mean: Vector


class World:
    """Leads and their lives, simulated at once: about a second for 20,000.

    Parameters
    ----------
    leads, seed : equal ones give equal lives.
    days : how long the log is; leads are created in all of it but its last month.
    end_us : its end, a midnight (UTC).
    """

    def __init__(self, leads: int, seed: int, *, days: int = DAYS, end_us: int = END_US) -> None:
        if end_us % DAY_US or days < 60 or leads < 1:
            raise ValueError("expected at least one lead, 60 days, and an end at midnight UTC")
        self.leads, self.seed, self.days = leads, seed, days
        self.start_us, self.end_us = end_us - days * DAY_US, end_us
        rng = np.random.default_rng([seed, leads, days])
        # More of them early than late: a log begins with leads that were there before it.
        self.born: Days = np.floor((days - 30) * rng.random(leads) ** 2).astype(np.int16)
        self.appeal = _mixed(rng, leads, (0.08, 0.12, 0.2, 0.25, 0.35), (0.2, 0.25, 0.25, 0.2, 0.1), (0.45, 0.1, 0.45))
        self.loyalty = _mixed(rng, leads, (0.4, 0.4, 0.2), (0.4, 0.35, 0.25))
        self._sales, self._learning = law.sales(_APPEALS), law.learning(_LOYALTIES)
        shape = (days + 1, leads)
        self._deal: Days = np.full(shape, _UNBORN, dtype=np.int16)
        self._habit: Days = np.full(shape, _UNBORN, dtype=np.int16)
        self._deal_moves = np.zeros((days, leads), dtype=np.uint8)
        self._habit_moves = np.zeros((days, leads), dtype=np.uint8)
        for day in range(days):
            self._live(day, rng)
        is_interaction = (self._deal_moves > 0) | (self._habit_moves > 0)
        is_interaction[self.born, np.arange(leads)] = True
        self._interactions = np.concatenate([np.zeros((1, leads), dtype=np.int32), is_interaction.cumsum(axis=0)])

    def name(self, lead: int) -> str:
        return f"lead-{lead:06d}"

    def events(self, lead: int) -> list[SynthEvent]:
        """All events of one lead in order of time. O(its events)."""
        title, size, domain = _parts(self.appeal[lead], len(_SIZES), len(_DOMAINS))
        tier, channel = divmod(int(self.loyalty[lead]), len(_CHANNELS))
        story = Story(
            rng=np.random.default_rng([self.seed, lead, 1]),
            start_us=self.start_us,
            born=int(self.born[lead]),
            profile={
                "name": f"Lead {lead}",
                "email": f"person{lead}@{_DOMAINS[domain]}",
                "title": _TITLES[title],
                "company_size": _SIZES[size],
            },
            signup={"tier": _TIERS[tier], "channel": _CHANNELS[channel]},
            deal_moves=self._deal_moves[:, lead],
            habit_moves=self._habit_moves[:, lead],
        )
        return [
            SynthEvent(at_us, f"e{place}", type_, data) for place, (at_us, type_, data) in enumerate(events_of(story))
        ]

    def lines(self) -> Iterator[bytes]:
        """The log as NDJSON, lead by lead, each line with its end."""
        encode = msgspec.json.Encoder().encode
        for lead in range(self.leads):
            name = self.name(lead)
            for event in self.events(lead):
                time = format_time(event.at_us)
                line = {"id": event.id, "lead": name, "type": event.type, "time": time, "data": event.data}
                yield encode(line) + b"\n"

    def truth(self, leads: Places, at_us: Places) -> Truth:
        """The law's own probabilities for leads at midnights (UTC) within the log, element by element."""
        leads, day = np.asarray(leads), (np.asarray(at_us) - self.start_us) // DAY_US
        if np.any((np.asarray(at_us) - self.start_us) % DAY_US) or np.any((day < 0) | (day > self.days)):
            raise ValueError("the law is known at midnights UTC within the log only")
        deal, habit = self._deal[day, leads], self._habit[day, leads]
        won, median, mean, quiet_deal = (table[self.appeal[leads], deal] for table in self._deal_tables)
        cancel, calls, quiet_habit = (table[self.loyalty[leads], habit] for table in self._habit_tables)
        was_active = self._interactions[day, leads] > self._interactions[np.maximum(day - 30, 0), leads]
        found = (won, cancel + was_active * quiet_deal * quiet_habit, calls, median, mean)
        return Truth(*(np.where(deal == _UNBORN, np.nan, each) for each in found))

    @cached_property
    def _deal_tables(self) -> tuple[Vector, ...]:
        """By appeal and state: won within 30 days, median and mean wait, silence for 30 days."""
        waits = law.won_by(self._sales, law.REACH_DAYS)
        median, mean = _given(waits)
        quiet = law.quiet_sales(self._sales, 30)
        return _flat(waits[30], 0.0), _flat(median, np.nan), _flat(mean, np.nan), _flat(quiet, 1.0)

    @cached_property
    def _habit_tables(self) -> tuple[Vector, ...]:
        """By loyalty and state: cancelled within 30 days, two calls within 14, silence for 30."""
        chances = self._learning
        cancel, calls = law.cancelled_by(chances, 30), law.calls_by(chances, 14, 2)
        return _flat(cancel, 0.0), _flat(calls, 0.0), _flat(law.quiet_learning(chances, 30), 1.0)

    def _live(self, day: int, rng: np.random.Generator) -> None:
        """One day of everybody."""
        self._deal[day + 1], self._deal_moves[day] = self._sell(self._deal[day], rng)
        self._habit[day + 1], self._habit_moves[day] = self._learn(self._habit[day], rng)
        newborn = self.born == day
        self._deal[day + 1, newborn] = 0  # a page viewed on the day it came: stage 0, no day of silence
        self._habit[day + 1, newborn] = _habit_state(0, law.SILENCE - 1, 0)

    def _sell(self, state: Days, rng: np.random.Generator) -> tuple[Days, Days]:
        stage, silence = np.divmod(np.maximum(state, 0), law.SILENCE)
        chances = [each[self.appeal, stage, silence] for each in self._sales]
        move = (rng.random(self.leads)[None, :] < np.cumsum(chances, axis=0)).sum(axis=0)
        move = np.where(state < 0, 0, move)  # 4 won, 3 lost, 2 moved on, 1 did something, 0 nothing
        silence = np.where(move == 0, np.minimum(silence + 1, law.SILENCE - 1), 0)
        after = np.where(move >= 3, _CLOSED, (stage + (move == 2)) * law.SILENCE + silence)
        return np.where(state < 0, state, after).astype(np.int16), move.astype(np.uint8)

    def _learn(self, state: Days, rng: np.random.Generator) -> tuple[Days, Days]:
        """Moves as bits: 1 visited, 2 called, 4 the call was bad, 8 cancelled."""
        rest, bad = np.divmod(np.maximum(state, 0), 2)
        away, since_call = np.divmod(rest, law.SILENCE)
        chances = self._learning
        cancel, call, visit, turns_bad = (
            rng.random(self.leads) < each[self.loyalty, away, since_call, bad] for each in chances
        )
        away = np.where(visit, 0, np.minimum(away + 1, law.SILENCE - 1))
        since_call = np.where(call, 0, np.minimum(since_call + 1, law.SILENCE - 1))
        bad = np.where(call, turns_bad, bad)
        after = np.where(cancel, _CLOSED, _habit_state(away, since_call, bad))
        move = np.where(cancel, 8, visit + 2 * call + 4 * (call & turns_bad))
        is_open = state >= 0
        return np.where(is_open, after, state).astype(np.int16), np.where(is_open, move, 0).astype(np.uint8)


def _habit_state(away: Any, since_call: Any, bad: Any) -> Any:
    return (away * law.SILENCE + since_call) * 2 + bad


def _mixed(rng: np.random.Generator, leads: int, *shares: Sequence[float]) -> Places:
    """A kind for each lead: the places of independent draws, mixed into one number."""
    kind: Places = np.zeros(leads, dtype=np.int64)
    for each in shares:
        kind = kind * len(each) + rng.choice(len(each), size=leads, p=np.array(each) / np.sum(each))
    return kind


def _parts(kind: int, *sizes: int) -> tuple[int, ...]:
    parts: list[int] = []
    rest = int(kind)
    for size in reversed(sizes):
        rest, part = divmod(rest, size)
        parts.append(part)
    return (rest, *reversed(parts))


def _flat(table: Vector, closed: float) -> Vector:
    """States as one last axis, with two more at its end, to which nothing comes: unborn (-2) and closed (-1)."""
    return np.concatenate([table.reshape(len(table), -1), np.full((len(table), 2), closed)], axis=1)


def _given(waits: Vector) -> tuple[Vector, Vector]:
    """Median and mean of the days to a deal, given that it comes within reach. Days pass evenly within a day."""
    share = waits / waits[-1]
    mean = (1.0 - share[:-1] / 2 - share[1:] / 2).sum(axis=0)
    above = np.argmax(share >= 0.5, axis=0)
    low = np.take_along_axis(share, above[None] - 1, axis=0)[0]
    high = np.take_along_axis(share, above[None], axis=0)[0]
    return above - 1 + (0.5 - low) / (high - low), mean
