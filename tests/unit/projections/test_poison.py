"""An event on which a pack's own function raises: left out whole, listed, its lead goes on, fixed code folds it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventstore.event import Event
from kernel.errors import SnapshotSchemaMismatch
from kernel.ids import Position
from kernel.times import DAY_US
from projections.catalogue import Catalogue
from projections.entity import FoldedEntity
from projections.refolding import refolded
from tests.property.folding import LEAD, fold_live, values_at
from tests.unit.projections.packs import Written, importable

NOW = 1_733_000_000_000_000

BODY = """

def per_seat(booked: {camel}Booked) -> float:
    return booked.score / booked.seats


view["count"] = demos.count()
view["seats"] = demos.sum("seats")
view["seats_7d"] = demos.sum("seats").over(7)
view["per_seat"] = demos.mean(Computed(per_seat))
view["hour"] = demos.mode(HOUR)
"""
FIXED = BODY.replace("booked.score / booked.seats", "booked.score / booked.seats if booked.seats else 0.0")


@pytest.fixture(autouse=True)
def found(tmp_path: Path) -> Iterator[None]:
    sys.dont_write_bytecode = True
    with importable(tmp_path):
        yield


def events(pack: Written, *seats: int, ago_days: int = 0) -> list[Event]:
    return [
        Event(
            LEAD,
            7,
            v,
            Position(v),
            f"e{v}",
            pack.event,
            NOW - (ago_days + len(seats) - v) * DAY_US,
            NOW,
            msgspec.json.encode({"seats": n, "score": 6.0}),
        )
        for v, n in enumerate(seats, 1)
    ]


def values(entity: FoldedEntity) -> dict[str, object]:
    return {name.partition(":")[2]: value for name, value in values_at(entity, NOW).items()}


def test_a_poisonous_event_is_left_out_whole_and_the_lead_goes_on(tmp_path: Path) -> None:
    pack = Written(tmp_path, BODY)
    catalogue = pack.catalogue()
    entity = fold_live(catalogue, events(pack, 2, 0, 3, 0, 0, 1))
    assert values(entity) == {"count": 3, "seats": 6.0, "seats_7d": 6.0, "per_seat": (3 + 2 + 6) / 3, "hour": 20}
    assert entity.dead is not None
    assert sorted(entity.dead) == [2, 4, 5]
    assert entity.dead[2].error == "ZeroDivisionError: float division by zero"
    assert (entity.dead[2].event_id, entity.dead[2].type) == ("e2", pack.event)
    assert (entity.is_dead(2), entity.is_dead(3), entity.version) == (True, False, 6)


def test_live_recovered_and_refolded_leave_out_the_same(tmp_path: Path) -> None:
    pack = Written(tmp_path, BODY)
    catalogue, log = pack.catalogue(), events(pack, 0, 2, 0, 5)
    live = fold_live(catalogue, log, sleeps=frozenset({1, 3}))
    again = refolded(LEAD, 7, catalogue, log)
    assert (values(live), live.dead) == (values(again), again.dead)
    assert FoldedEntity.load(LEAD, live.dump(), catalogue).dead == live.dead


def test_a_late_poisonous_event_does_not_disturb_what_was_folded(tmp_path: Path) -> None:
    pack = Written(tmp_path, BODY)
    catalogue, log = pack.catalogue(), events(pack, 2, 3)
    late = events(pack, 2, 3, 0, ago_days=40)[2]
    entity = fold_live(catalogue, [*log, late])
    assert values(entity)["seats"] == 5.0
    assert entity.is_dead(3)


def test_another_version_of_the_pack_folds_what_the_old_one_could_not_and_takes_no_old_snapshot(tmp_path: Path) -> None:
    broken = Written(tmp_path, BODY)
    log = events(broken, 2, 0)
    old = fold_live(broken.catalogue(), log)
    del sys.modules[broken.name]
    fixed = Written(tmp_path, FIXED, name=broken.name).catalogue()
    with pytest.raises(SnapshotSchemaMismatch):
        FoldedEntity.load(LEAD, old.dump(), fixed)
    entity = refolded(LEAD, 7, fixed, log)
    assert (values(entity)["count"], entity.dead) == (2, None)


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        ("1e13", "ValueError"),
        ('"seven"', "TypeError"),
        ("float('nan')", "ValueError"),
        ("booked.nothing", "AttributeError"),
    ],
)
def test_what_a_function_returns_is_checked_before_anything_is_folded(
    returned: str, error: str, tmp_path: Path
) -> None:
    pack = Written(tmp_path, BODY.replace("booked.score / booked.seats", returned))
    entity = fold_live(pack.catalogue(), events(pack, 1))
    assert values(entity)["count"] == 0
    assert entity.dead is not None
    assert entity.dead[1].error.startswith(error)


def test_an_event_that_raises_when_its_time_comes_is_left_out_then(tmp_path: Path) -> None:
    pack = Written(tmp_path, BODY)
    catalogue: Catalogue = pack.catalogue()
    log = events(pack, 2, 0)
    for event in log:
        event.recorded_us = NOW - 30 * DAY_US
    entity = fold_live(catalogue, log)
    entity.read(NOW - 20 * DAY_US)
    assert not entity.is_dead(2)
    assert values(entity)["count"] == 1
    assert entity.is_dead(2)
