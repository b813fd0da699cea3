"""Every aggregate of the language against a naive oracle written from its sentence."""

import random
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from eventstore.event import Event
from kernel.ids import Position
from kernel.settings import OrgSettings
from kernel.times import DAY_US, HOUR_US, parse_rfc3339
from projections.catalogue import Catalogue
from projections.entity import FoldedEntity
from projections.refolding import refolded
from tests.property import naive, probe
from tests.property.folding import LEAD, differences, fold_live, values_at
from tests.property.naive import Fact

EXAMPLES = settings(max_examples=120, deadline=None)
FEW = settings(max_examples=60, deadline=None)

ZONES = ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu")
CATALOGUES = {zone: Catalogue("default", OrgSettings(timezone=zone, packs=("tests.property.probe",))) for zone in ZONES}
#: An ordinary instant, midnights of some zones, and around clock changes.
TAUS = tuple(
    parse_rfc3339(text)
    for text in (
        "2024-12-01T12:00:00Z",
        "2024-12-01T00:00:00Z",
        "2024-11-30T23:00:00Z",
        "2024-03-31T01:00:00Z",
        "2024-10-27T01:30:00Z",
        "2024-04-06T15:00:00Z",
        "2024-10-05T15:15:00Z",
    )
)
EDGES_US = (*(w.us for w in probe.WINDOWS), DAY_US, 2 * DAY_US, probe.GAP.us, HOUR_US, 7 * DAY_US, 0)


def ages() -> SearchStrategy[int]:
    """How long before the as-of time an event lies: on an edge, a microsecond beside it, on a grid, anywhere."""
    near = st.sampled_from((0, 0, 0, 1, -1))
    return st.one_of(
        st.builds(lambda edge, off: max(0, edge + off), st.sampled_from(EDGES_US), near),
        st.builds(lambda n, off: max(0, n * probe.GAP.us + off), st.integers(0, 12), near),
        st.integers(0, 3 * DAY_US),
    )


NUMBERS = st.one_of(st.none(), st.sampled_from((0.1, -0.3, 2.5, -0.300001)), st.floats(-1e12, 1e12))
WHOLES = st.one_of(st.none(), st.integers(0, 4), st.just(10**12))
PAID = st.one_of(st.none(), st.integers(0, 10**6).map(lambda n: n / 100), st.just(10**12))
TAGS = st.sampled_from((None, "a", "b", "c"))


@st.composite
def histories(draw: st.DrawFn, max_size: int = 24) -> tuple[list[Fact], int]:
    """Facts in order of arrival, and the time to read at: by then all of them have happened."""
    tau = draw(st.sampled_from(TAUS)) + draw(st.sampled_from((0, 0, 1, -1)))
    facts = []
    names = draw(st.permutations(range(max_size)))
    for name in names[: draw(st.integers(0, max_size))]:
        kind = draw(st.sampled_from(("beep", "beep", "beep", "boop")))
        data = {"tag": draw(TAGS)}
        if kind == "beep":
            data |= {"n": draw(NUMBERS), "whole": draw(WHOLES), "paid": draw(PAID), "flag": draw(st.booleans())}
            data["word"] = draw(st.sampled_from((None, "red", "green", "blue")))
        facts.append(Fact(tau - draw(ages()), f"e{name:02d}", kind, data))
    return facts, tau


def stored(facts: list[Fact], recorded_us: int) -> list[Event]:
    return [
        Event(LEAD, 7, v, Position(v), f.id, f.type, f.at, recorded_us, msgspec.json.encode(f.data))
        for v, f in enumerate(facts, 1)
    ]


def expected(facts: list[Fact], tau: int, zone: str) -> dict[str, object]:
    found = naive.values(facts, tau, ZoneInfo(zone))
    return {name: found[name] for name in CATALOGUES[zone].everything.names}


def test_every_aggregate_has_its_sentence() -> None:
    assert set(naive.SENTENCES) == set(probe.WINDOWED)
    assert set(naive.LIFELONG) == set(probe.LIFELONG)


@given(histories(), st.sampled_from(ZONES), st.data())
@EXAMPLES
def test_in_any_order_with_sleeps_in_between_each_value_is_what_its_sentence_says(
    history: tuple[list[Fact], int], zone: str, data: st.DataObject
) -> None:
    facts, tau = history
    sleeps = data.draw(st.frozensets(st.integers(1, max(1, len(facts))), max_size=3))
    live = fold_live(CATALOGUES[zone], stored(facts, tau), sleeps=sleeps)
    assert differences(values_at(live, tau), expected(facts, tau, zone)) == {}


@pytest.mark.deep
@pytest.mark.timeout(3600)
@given(histories(60), st.sampled_from(ZONES), st.data())
@settings(max_examples=3000, deadline=None)
def test_three_thousand_histories_have_the_values_of_their_sentences(
    history: tuple[list[Fact], int], zone: str, data: st.DataObject
) -> None:
    facts, tau = history
    sleeps = data.draw(st.frozensets(st.integers(1, max(1, len(facts))), max_size=5))
    live = fold_live(CATALOGUES[zone], stored(facts, tau), sleeps=sleeps)
    assert differences(values_at(live, tau), expected(facts, tau, zone)) == {}


@given(histories(), st.sampled_from(ZONES), st.randoms(use_true_random=False))
@FEW
def test_shuffled_recovered_and_refolded_values_are_equal_to_the_bit(
    history: tuple[list[Fact], int], zone: str, chance: random.Random
) -> None:
    facts, tau = history
    catalogue = CATALOGUES[zone]
    live = values_at(fold_live(catalogue, stored(facts, tau)), tau)
    shuffled = list(facts)
    chance.shuffle(shuffled)
    assert repr(values_at(fold_live(catalogue, stored(shuffled, tau)), tau)) == repr(live)
    assert repr(values_at(refolded(LEAD, 7, catalogue, stored(facts, tau)), tau)) == repr(live)


@given(histories(14), st.sampled_from(ZONES))
@FEW
def test_a_value_changes_at_the_stated_instant_or_later_never_before(
    history: tuple[list[Fact], int], zone: str
) -> None:
    facts, tau = history
    catalogue = CATALOGUES[zone]
    entity = fold_live(catalogue, stored(facts, tau))
    entity.read(tau)
    everything = catalogue.everything
    for _ in range(3):
        values, change = expected(facts, tau, zone), entity.next_change_us(everything)
        last = change - 1 if change is not None else tau + 30 * DAY_US
        for instant in _candidates(facts, tau, last):
            assert differences(values, expected(facts, instant, zone)) == {}, instant - tau
        if change is None:
            return
        assert change > tau
        tau = change
        assert differences(values_at(entity, tau), expected(facts, tau, zone)) == {}


def _candidates(facts: list[Fact], tau: int, last: int) -> set[int]:
    """Instants in (tau, last] at which something might happen, and the last of them."""
    edges = {fact.at + age for fact in facts for age in (*EDGES_US, *(n * DAY_US for n in range(1, 9)))}
    hours = {(tau // HOUR_US + n) * HOUR_US for n in range(1, 40)}
    return {at for at in edges | hours | {last} if tau < at <= last}


@given(histories(14), st.sampled_from(ZONES), st.integers(1, 40 * 3600))
@FEW
def test_a_read_at_any_later_time_is_exact_whether_or_not_one_came_before(
    history: tuple[list[Fact], int], zone: str, ahead_s: int
) -> None:
    facts, tau = history
    entity = fold_live(CATALOGUES[zone], stored(facts, tau))
    entity.read(tau)
    later = tau + ahead_s * 1_000_000
    assert differences(values_at(entity, later), expected(facts, later, zone)) == {}


@pytest.mark.parametrize("zone", ZONES[:1])
def test_sums_beyond_64_bits_are_exact_live_recovered_and_late(zone: str) -> None:
    """A thousand amounts of 10¹² are 10²¹ millionths: columns and totals leave the machine's integers behind."""
    tau = TAUS[0]
    data = {"paid": 10**12, "n": 1e12, "tag": "a"}
    facts = [Fact(tau - (i * 7919 % 1000) * 60_000_000, f"e{i:04d}", "beep", data) for i in range(1000)]
    facts += [Fact(tau - 5 * DAY_US - i, f"f{i}", "beep", {**data, "n": -1e12}) for i in range(20)]
    live = fold_live(CATALOGUES[zone], stored(facts, tau), sleeps=frozenset(range(9, 1020, 97)))
    found = values_at(live, tau)
    assert differences(found, expected(facts, tau, zone)) == {}
    assert found["probe:sum_paid"] == 1.02e15
    assert found["probe:sum_paid_1d"] == 1e15
    assert values_at(FoldedEntity.load(LEAD, live.dump(), CATALOGUES[zone]), tau) == found


def test_what_no_window_reaches_is_dropped() -> None:
    tau = TAUS[0]
    facts = [Fact(tau + i * HOUR_US, f"e{i:03d}", "beep", {"n": 1.0, "tag": "a"}) for i in range(600)]
    entity = fold_live(CATALOGUES["UTC"], stored(facts, tau + 600 * HOUR_US))
    longest = max(len(getattr(entity.state, s.name) or ()) for s in entity.entities.compiled.slots if "times" in s.name)
    # 36 hours, what came since the last pruning, and for the decayed count 64 half-lives.
    assert longest <= 64 * 12 + 64
    short = [s.name for s in entity.entities.compiled.slots if s.name.endswith("_times") and "fading" not in s.name]
    assert all(len(getattr(entity.state, name) or ()) <= 36 + 64 for name in short)
