"""When values change if nothing more happens than what is stored: brute force over every candidate instant.

Between two events a value changes only when an event leaves a window or a whole day passes since one. Every
window of the specification (24 h, 7, 14, 30, 90 d and the 7 d of a campaign) is a whole number of days, so the
candidates are event time + k days, k = 0, 1, 2 … (test_oracle_laws.py proves values constant in between).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tests.oracle.exact import DAY_US
from tests.oracle.facts import Fact, Settings, Value
from tests.oracle.features import lead_features, subject_features


class Change(NamedTuple):
    """At ``at_us`` the values of ``names`` differ from those an instant earlier."""

    at_us: int
    names: tuple[str, ...]


def candidates(facts: Iterable[Fact], t0_us: int, t1_us: int) -> list[int]:
    """Every instant in (t0, t1] that is a whole number of days, zero included, after some event."""
    instants: set[int] = set()
    for at_us in {fact.at_us for fact in facts}:
        days = max(0, (t0_us - at_us) // DAY_US + 1)
        instants.update(range(at_us + days * DAY_US, t1_us + 1, DAY_US))
    return sorted(instants)


def _changes(
    facts: list[Fact], t0_us: int, t1_us: int, values_at: Callable[[int], dict[str, Value]]
) -> Iterator[Change]:
    before = values_at(t0_us)
    for at_us in candidates(facts, t0_us, t1_us):
        after = values_at(at_us)
        changed = tuple(name for name in after if after[name] != before[name])
        if changed:
            yield Change(at_us, changed)
        before = after


def changes_between(
    facts: Iterable[Fact],
    t0_us: int,
    t1_us: int,
    settings: Settings | None = None,
    features: Iterable[str] | None = None,
    *,
    known_us: int | None = None,
) -> Iterator[Change]:
    """The changes in (t0, t1] of the features asked for (all by default), lazily, earliest first."""
    facts = list(facts)
    asked = None if features is None else set(features)
    views = None if asked is None else {name.split(":")[0] for name in asked}

    def values_at(at_us: int) -> dict[str, Value]:
        values = lead_features(facts, at_us, settings, views=views, known_us=known_us)
        return {name: value for name, value in values.items() if asked is None or name in asked}

    return _changes(facts, t0_us, t1_us, values_at)


def first_change(
    facts: Iterable[Fact],
    t0_us: int,
    t1_us: int,
    settings: Settings | None = None,
    features: Iterable[str] | None = None,
    *,
    known_us: int | None = None,
) -> int | None:
    """The earliest instant of ``changes_between``: a stated ``next_change`` at t0 must not be later."""
    change = next(changes_between(facts, t0_us, t1_us, settings, features, known_us=known_us), None)
    return None if change is None else change.at_us


def subject_changes_between(facts: Iterable[Fact], t0_us: int, t1_us: int) -> Iterator[Change]:
    """The same for a subject's market features."""
    facts = list(facts)
    return _changes(facts, t0_us, t1_us, lambda at_us: subject_features(facts, at_us))


def first_subject_change(facts: Iterable[Fact], t0_us: int, t1_us: int) -> int | None:
    """The earliest instant of ``subject_changes_between``."""
    change = next(subject_changes_between(facts, t0_us, t1_us), None)
    return None if change is None else change.at_us
