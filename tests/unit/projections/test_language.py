"""The words of a pack: names that follow from definitions, windows, spreads, references, and code that is safe for any name."""

import builtins
import keyword
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore.event import Event
from eventstore.fields import Count
from eventstore.types import Payload
from kernel.ids import Position
from kernel.times import DAY_US
from projections.aggregators import runtime
from projections.language import Pack, days, events, hours, minutes, ratio, since
from projections.references import feature
from projections.signals import HOUR, INTERACTIONS, WEEKDAY, declaring, python_name, snake_case
from projections.source import RESERVED, SCRATCH, Names
from projections.verbs import Events
from projections.windows import Window, length_name, window_of
from tests.property.folding import LEAD, fold_live, values_at
from tests.unit.projections.packs import Written, importable


class DemoBooked(Payload, frozen=True):
    seats: Count
    plan: str | None = None


class DemoMoved(Payload, frozen=True):
    plan: str | None = None


demos = events(DemoBooked)


@pytest.fixture
def found(tmp_path: Path) -> Iterator[None]:
    sys.dont_write_bytecode = True
    with importable(tmp_path):
        yield


@pytest.mark.parametrize(
    ("expr", "name"),
    [
        (demos.count(), "demo_booked_count"),
        (demos.count().over(days(30)), "demo_booked_count_30d"),
        (demos.sum("seats").over(hours(36)), "demo_booked_sum_seats_36h"),
        (demos.median("seats"), "demo_booked_median_seats"),
        (demos.quantile("seats", 0.9).over(7), "demo_booked_quantile_0_9_seats_7d"),
        (demos.max("seats"), "demo_booked_max_seats"),
        (demos.mode(HOUR).over(7), "demo_booked_mode_hour_7d"),
        (demos.distinct("plan"), "demo_booked_distinct_plan"),
        (demos.latest("plan"), "demo_booked_latest_plan"),
        (demos.last("plan").over(1), "demo_booked_last_plan_1d"),
        (demos.last_n("plan", 3), "demo_booked_last_3_plan"),
        (demos.sessions(gap=hours(1)).count(), "demo_booked_sessions"),
        (demos.streak(), "demo_booked_streak"),
        (demos.decayed(half_life=days(7)), "demo_booked_decayed_7d"),
        (since(demos.last_time()), "demo_booked_days_since_last"),
        (demos.then(events(DemoMoved), by="plan").count(), "demo_moved_after_demo_booked_count"),
        (demos.answered(events(DemoMoved), by="plan").missing_after(7), "demo_booked_without_demo_moved_7d"),
        (demos.distinct("plan").having(events(DemoMoved)), "demo_booked_distinct_plan_with_demo_moved"),
        (events(DemoBooked, DemoMoved, name="demo").count().over(7), "demo_count_7d"),
        (events(DemoBooked, DemoMoved).count(), "demo_booked_or_demo_moved_count"),
        (demos.where("seats", ge=10).count(), "demo_booked_seats_from_10_count"),
        (demos.where("plan", eq="team").count(), "demo_booked_plan_team_count"),
        (events(INTERACTIONS).where(WEEKDAY, isin=(5, 6)).count(), "interactions_weekday_5_or_6_count"),
        (ratio(demos.count(), 2), None),
    ],
)
def test_a_feature_is_called_signal_aggregate_window(expr: object, name: str | None) -> None:
    label = expr.label()  # type: ignore[attr-defined]
    assert label == name


def test_add_takes_the_names_and_every_window_of_a_list() -> None:
    view = Pack("p").view("v", "V")
    view.add(demos.count().over(7, 14, 30), demos.sum("seats").doc("seats", unit="seats"))
    assert list(view.specs) == [
        "demo_booked_count_7d", "demo_booked_count_14d", "demo_booked_count_30d", "demo_booked_sum_seats",
    ]  # fmt: skip
    assert view["demo_booked_count_14d"] == demos.count().over(14)
    assert view.specs["demo_booked_count_7d"].documented.text == "demo booked count 7d"


def test_a_spread_fills_name_and_text_with_each_window() -> None:
    view = Pack("p").view("v", "V")
    view["share_{w}"] = (
        ratio(demos.count(), events(DemoMoved).count())
        .over(7, hours(36))
        .doc("share in {w}", null="none in {w}", unit="x", vocabulary=("a",))
    )
    assert {name: spec.documented.text for name, spec in view.specs.items()} == {
        "share_7d": "share in 7d",
        "share_36h": "share in 36h",
    }
    assert view.specs["share_36h"].documented.null == "none in 36h"
    assert view["share_7d"] == demos.count().over(7) / events(DemoMoved).count().over(7)


def test_an_expression_over_a_window_is_that_of_its_parts_and_leaves_constants_alone() -> None:
    whole = (demos.count() + 1) / demos.sum("seats")
    assert whole.over(7) == (demos.count().over(7) + 1) / demos.sum("seats").over(7)
    assert since(demos.first_time()).over(7) == since(demos.first_time().over(7))


def test_equal_definitions_are_equal_and_hash_alike() -> None:
    assert demos.mean("seats").over(7) == events(DemoBooked, name="other").mean("seats").over(days(7))
    assert len({demos.count(), demos.count(), demos.count().over(7)}) == 2


@pytest.mark.parametrize("wrong", [True, 1.5, "7d", None, 0, -1, 200_000])
def test_what_is_no_window_is_refused(wrong: object) -> None:
    with pytest.raises((TypeError, ValueError), match="a window is"):
        window_of(wrong)  # type: ignore[arg-type]


def test_a_window_knows_its_name_and_its_days() -> None:
    assert [str(w) for w in (days(30), hours(36), minutes(90))] == ["30d", "36h", "90m"]
    assert (days(7).in_days, hours(36).in_days) == (7, 1.5)
    assert [length_name(us) for us in (DAY_US, 90_000_000, 1_500_000)] == ["1d", "90s", "1.5s"]
    with pytest.raises(ValueError, match="longer than nothing"):
        Window(0, "nothing")


def test_a_group_counts_a_field_only_on_types_that_declare_it() -> None:
    assert events(INTERACTIONS).distinct("channel").signal == INTERACTIONS.where("channel", given=True)
    assert events(declaring("channel")).distinct("channel").signal == declaring("channel")
    with pytest.raises(TypeError, match="add returns"):
        events(INTERACTIONS).latest("channel")
    assert events(INTERACTIONS).latest("channel", returns="string").dtype == "string"


@pytest.mark.parametrize("reference", ["rfm", "rfm:a:b"])
def test_a_reference_is_view_and_name(reference: str) -> None:
    with pytest.raises(ValueError, match="view:name"):
        feature(reference)
    with pytest.raises(TypeError, match="its own window"):
        feature("rfm:recency_days").over(7)


def test_names_in_generated_code_never_hide_what_it_calls() -> None:
    names = Names()
    wishes = [*sorted(RESERVED), *keyword.kwlist, "7 days", "", "fresh", "fresh"]
    given = [names.fresh(wish) for wish in wishes]
    assert len(set(given)) == len(given)
    assert not set(given) & RESERVED
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in given)
    assert {*runtime.__all__, *dir(builtins), *SCRATCH} - {"_"} <= RESERVED
    assert (python_name("a-b c"), snake_case("SessionNoShow")) == ("a_b_c", "session_no_show")


def test_fields_and_features_may_be_called_like_anything_the_code_uses(tmp_path: Path, found: None) -> None:
    """A payload whose fields are named as the scratch locals and functions of generated code, and features likewise."""
    names = sorted(name for name in RESERVED if name.islower() and name.isidentifier() and name[0].isalpha())
    fields = [name for name in names if not keyword.iskeyword(name)]
    head = (
        "from eventstore.fields import *\nfrom projections.language import *\n"
        'import builtins\npack = Pack("{name}")\nProperty = builtins.property\n'
        "Odd = __import__('msgspec').defstruct('Odd', [(n, Number) for n in FIELDS], bases=(Payload,), frozen=True)\n"
        "pack.event(by='lead', name='{name}_odd')(Odd)\n"
        'view = pack.view("{name}", "Odd")\n'
    ).replace("FIELDS", repr(fields))
    body = (
        f"for n in {fields!r}:\n"
        "    view[n] = ratio(events(Odd).sum(n).over(7), events(Odd).count().over(7)) + events(Odd).mean(n) * 0\n"
        "    view[n + '_x'] = events(Odd).sessions(gap=hours(1)).mean_minutes()\n"
    )
    pack = Written(tmp_path, body, head=head)
    catalogue = pack.catalogue()
    data = ",".join(f'"{name}":{n}' for n, name in enumerate(fields))
    log = [
        Event(LEAD, 7, v, Position(v), f"e{v}", f"{pack.name}_odd", v * 1000, 10_000, f"{{{data}}}".encode())
        for v in (2, 1, 3)
    ]
    for place, event in enumerate(log, 1):
        event.version = place
    entity = fold_live(catalogue, log)
    assert entity.dead is None
    values = values_at(entity, 10_000)
    assert {name: values[f"{pack.name}:{name}"] for name in fields} == {n: float(i) for i, n in enumerate(fields)}


def test_events_of_a_signal_are_those_of_the_signal() -> None:
    assert events(INTERACTIONS) == Events(INTERACTIONS)
    with pytest.raises(TypeError, match="payload types"):
        events()
    with pytest.raises(TypeError, match="a field is"):
        demos.sum(3)  # type: ignore[arg-type]
