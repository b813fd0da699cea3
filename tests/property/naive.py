"""Every aggregate of ``probe`` as its sentence says it, over a plain list of events: slow, without state, and obvious.

Numbers are fractions of what a payload's number is in millionths; instants are microseconds.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from kernel.fixed import micro
from kernel.times import DAY_US, format_time
from tests.property import probe
from tests.property.local import local_parts

MICRO = 10**6


@dataclass(frozen=True)
class Fact:
    """One event: when, which, of what type, with what."""

    at: int
    id: str
    type: str
    data: dict[str, Any] = field(hash=False)

    def get(self, name: str) -> Any:
        value = self.data.get(name)
        if name == "flag":
            return int(bool(value))
        return Fraction(micro(value), MICRO) if name in ("n", "whole", "paid") and value is not None else value


class World:
    """What had happened by ``tau`` and lies in the window, in order of (time, id)."""

    def __init__(self, facts: Sequence[Fact], tau: int, zone: ZoneInfo, window_us: int | None) -> None:
        ordered = sorted((f for f in facts if f.at <= tau), key=lambda f: (f.at, f.id))
        self.all, self.tau, self.zone = ordered, tau, zone
        self.inside = [f for f in ordered if window_us is None or f.at > tau - window_us]
        self.window_us = window_us
        self.beeps = [f for f in self.inside if f.type == "beep"]
        self.boops = [f for f in self.inside if f.type == "boop"]

    def given(self, name: str, facts: Sequence[Fact] | None = None) -> list[Any]:
        """A field of the beeps that give it."""
        return [f.get(name) for f in (self.beeps if facts is None else facts) if f.get(name) is not None]

    def hour(self, fact: Fact) -> int:
        return local_parts(fact.at, self.zone)[1]

    def weekday(self, fact: Fact) -> int:
        return local_parts(fact.at, self.zone)[2]

    def date(self, fact: Fact) -> int:
        return local_parts(fact.at, self.zone)[0]

    def is_in(self, at: int) -> bool:
        return self.window_us is None or at > self.tau - self.window_us


def number(value: Any) -> float | None:
    return None if value is None else float(value)


def mean(values: Sequence[Any]) -> float | None:
    return float(Fraction(sum(values)) / len(values)) if values else None


def deviation(values: Sequence[Fraction]) -> float | None:
    if not values:
        return None
    middle = Fraction(sum(values)) / len(values)
    return math.sqrt(sum((v - middle) ** 2 for v in values) / len(values))


def quantile(values: Sequence[Fraction], q: float) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    place = Fraction(q) * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (place - low) * (ordered[high] - ordered[low]))


def mode(values: Sequence[Any]) -> Any:
    return min(values, key=lambda v: (-values.count(v), v)) if values else None


def first(values: Sequence[Any]) -> Any:
    return values[0] if values else None


def last(values: Sequence[Any]) -> Any:
    return values[-1] if values else None


def runs(facts: Sequence[Fact]) -> list[list[int]]:
    found: list[list[int]] = []
    for fact in facts:
        if found and fact.at - found[-1][-1] <= probe.GAP.us:
            found[-1].append(fact.at)
        else:
            found.append([fact.at])
    return found


def turns(world: World, reply: str) -> list[int]:
    """Gaps of replies in the window whose previous event of the two, with the same tag, is a beep."""
    gaps = []
    for place, fact in enumerate(world.all):
        if fact.type != reply or fact.get("tag") is None or not world.is_in(fact.at):
            continue
        before = [f for f in world.all[:place] if f.get("tag") == fact.get("tag") and f.type in ("beep", reply)]
        if before and before[-1].type == "beep":
            gaps.append(fact.at - before[-1].at)
    return gaps


def replies(world: World) -> list[int]:
    """For each tag the time from its first beep to the first boop at or after it, where that lies in the window."""
    gaps = []
    for tag in {f.get("tag") for f in world.all} - {None}:
        beep = first([f.at for f in world.all if f.type == "beep" and f.get("tag") == tag])
        if beep is None:
            continue
        boop = first([f.at for f in world.all if f.type == "boop" and f.get("tag") == tag and f.at >= beep])
        if boop is not None and world.is_in(boop):
            gaps.append(boop - beep)
    return gaps


def seconds(gaps: Sequence[int]) -> float | None:
    return sum(gaps) / (len(gaps) * MICRO) if gaps else None


def whole_days(us: int | None) -> int | None:
    return None if us is None else us // DAY_US


def between(start: int | None, end: int | None) -> int | None:
    return None if start is None or end is None else (end - start) // DAY_US


def session_minutes(facts: Sequence[Fact]) -> float | None:
    found = runs(facts)
    return sum(run[-1] - run[0] for run in found) / (len(found) * 60 * MICRO) if found else None


def since_times(world: World, times: Sequence[int], which: Callable[[Sequence[int]], Any]) -> int | None:
    at = which(times)
    return None if at is None else (world.tau - at) // DAY_US


def decayed(world: World, facts: Sequence[Fact], step_us: int) -> float:
    whole = world.tau // step_us * step_us
    return math.fsum(1.0 if f.at >= whole else 2 ** ((f.at - whole) / probe.HALF_LIFE.us) for f in facts)


def streak(world: World) -> int:
    dates = {world.date(f) for f in world.beeps}
    today = local_parts(world.tau, world.zone)[0]
    day = today if today in dates else today - 1
    length = 0
    while day - length in dates:
        length += 1
    return length


def unanswered(world: World) -> int:
    count = 0
    for tag in {f.get("tag") for f in world.beeps} - {None}:
        cause = min(f.at for f in world.beeps if f.get("tag") == tag)
        answered = any(f.get("tag") == tag and cause <= f.at < cause + probe.WINDOWS[0].us for f in world.boops)
        count += not answered and cause + probe.WINDOWS[0].us <= world.tau
    return count


def favourite(world: World) -> str | None:
    recent = world.given("tag")[-3:]
    return max(
        recent, key=lambda tag: (recent.count(tag), max(i for i, t in enumerate(recent) if t == tag)), default=None
    )


def favourite_share(world: World) -> float | None:
    recent = world.given("tag")[-3:]
    return recent.count(favourite(world)) / len(recent) if recent else None


def favourite_mean(world: World) -> float | None:
    best = favourite(world)
    return None if best is None else mean(world.given("n", [f for f in world.beeps if f.get("tag") == best]))


def tags(facts: Sequence[Fact]) -> set[str]:
    return {f.get("tag") for f in facts} - {None}


def red(w: World) -> list[Fact]:
    return [f for f in w.beeps if f.get("word") == "red"]


#: The sentence of each aggregate that may look through a window.
SENTENCES: dict[str, Callable[[World], Any]] = {
    "count": lambda w: len(w.beeps),
    "count_both": lambda w: len(w.inside),
    "count_red": lambda w: len(red(w)),
    "count_late": lambda w: sum(12 <= w.hour(f) < 20 for f in w.beeps),
    "count_low": lambda w: sum(v < Fraction(-3, 10) for v in w.given("n")),
    "count_few": lambda w: sum(v in (1, 3) for v in w.given("whole")),
    "count_flagged": lambda w: sum(f.get("flag") for f in w.beeps),
    "count_untagged": lambda w: sum(f.get("tag") is None for f in w.beeps),
    "sum": lambda w: float(sum(w.given("n"))),
    "sum_paid": lambda w: float(sum(w.given("paid"))),
    "sum_flags": lambda w: float(sum(w.given("flag"))),
    "sum_of_red": lambda w: float(sum(w.given("n", red(w)))),
    "mean": lambda w: mean(w.given("n")),
    "mean_half": lambda w: mean([Fraction(micro(f.data["n"] / 2), MICRO) for f in w.beeps if f.get("n") is not None]),
    "deviation": lambda w: deviation(w.given("n")),
    "min": lambda w: number(min(w.given("n"), default=None)),
    "max": lambda w: number(max(w.given("paid"), default=None)),
    "median": lambda w: number(statistics.median(w.given("n")) if w.given("n") else None),
    "quantile": lambda w: quantile(w.given("whole"), 0.9),
    "mode_word": lambda w: mode(w.given("word")),
    "mode_whole": lambda w: mode(w.given("whole")),
    "mode_number": lambda w: number(mode(w.given("n"))),
    "mode_hour": lambda w: mode([w.hour(f) for f in w.inside]),
    "mode_weekday": lambda w: mode([w.weekday(f) for f in w.beeps]),
    "distinct": lambda w: len(tags(w.inside)),
    "distinct_dates": lambda w: len({w.date(f) for f in w.beeps}),
    "distinct_types": lambda w: len({f.type for f in w.inside}),
    "distinct_interactions": lambda w: len(tags(w.beeps)),
    "first": lambda w: number(first(w.given("n"))),
    "first_word": lambda w: first(w.given("word")),
    "latest": lambda w: number(last(w.given("n"))),
    "latest_whole": lambda w: last(w.given("whole")),
    "latest_tag": lambda w: last(w.given("tag", w.inside)),
    "latest_type": lambda w: last([f.type for f in w.inside]),
    "latest_hour": lambda w: last([w.hour(f) for f in w.beeps]),
    "last": lambda w: number(w.beeps[-1].get("n")) if w.beeps else None,
    "last_word": lambda w: w.beeps[-1].get("word") if w.beeps else None,
    "last_three": lambda w: [float(v) for v in w.given("n")[-3:]] or None,
    "first_two": lambda w: w.given("word")[:2] or None,
    "sessions": lambda w: len(runs(w.beeps)),
    "session_minutes": lambda w: session_minutes(w.inside),
    "turns": lambda w: len(turns(w, "boop")),
    "turn_seconds": lambda w: seconds(turns(w, "boop")),
    "gap_seconds": lambda w: seconds(turns(w, "beep")),
    "replies": lambda w: len(replies(w)),
    "reply_seconds": lambda w: seconds(replies(w)),
    "since_first": lambda w: since_times(w, [f.at for f in w.beeps], first),
    "since_last": lambda w: since_times(w, [f.at for f in w.inside], last),
    "span": lambda w: between(first([f.at for f in w.beeps]), last([f.at for f in w.inside])),
    "last_at": lambda w: format_time(w.beeps[-1].at) if w.beeps else None,
    "red_share": lambda w: len(red(w)) / len(w.beeps) if w.beeps else None,
    "combined": lambda w: (0.5 if mean(w.given("n")) is None else mean(w.given("n"))) * 2 + len(w.boops),
}

#: The sentences of those that are a lifetime's.
LIFELONG: dict[str, Callable[[World], Any]] = {
    "streak": streak,
    "decayed": lambda w: decayed(w, w.beeps, 3600 * MICRO),
    "decayed_finely": lambda w: decayed(w, w.all, probe.STEP.us),
    "tags_of_both": lambda w: len(tags(w.beeps) & tags(w.boops)),
    "unanswered": unanswered,
    "favourite_share": favourite_share,
    "favourite_mean": favourite_mean,
}


def values(facts: Sequence[Fact], tau: int, zone: ZoneInfo) -> dict[str, Any]:
    """What every feature of the probe should be."""
    life = World(facts, tau, zone, None)
    found = {f"probe:{name}": sentence(life) for name, sentence in {**SENTENCES, **LIFELONG}.items()}
    for window in probe.WINDOWS:
        within = World(facts, tau, zone, window.us)
        found |= {f"probe:{name}_{window}": sentence(within) for name, sentence in SENTENCES.items()}
    return found
