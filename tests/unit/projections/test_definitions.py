"""Fingerprints: equal for equal definitions in every process, another for whatever changes a value."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from kernel.settings import BrowsingSettings, EngagementWeights, OrgSettings
from projections.catalogue import Catalogue
from tests.integration.process import environment
from tests.unit.projections.packs import Written, importable

BODY = """
BONUS = {"solo": 1, "team": 2}


class Scale:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, x: float) -> float:
        return x * self.factor


def helper(seats: int) -> float:
    return float(seats)


def worth(booked: {camel}Booked) -> float:
    return helper(booked.seats) + BONUS[booked.plan or "solo"]


def shout(plan: str) -> str:
    return plan.upper()


view["count"] = demos.count()
view["flagged"] = demos.where("flag", eq=True).count().over(7)
view["worth"] = demos.mean(Computed(worth))
view["scaled"] = apply(Scale(2.0), demos.mean("score"), returns="float")
view["shouted"] = apply(shout, demos.latest("plan"), returns="string")
view["hour"] = demos.mode(HOUR)
"""
ALL = {"count", "flagged", "worth", "scaled", "shouted", "hour"}

#: A change of the source, and the features that it changes.
CHANGES = {
    "nothing": ("", "", set()),
    "a comment": ("\nBONUS", "\n# What a plan is worth.\nBONUS", set()),
    "a window": ("over(7)", "over(8)", {"flagged"}),
    "a filter": ("eq=True", "eq=False", {"flagged"}),
    "the function": ("helper(booked.seats) +", "helper(booked.seats) -", {"worth"}),
    "a function that it calls": ("float(seats)", "float(seats + 1)", {"worth"}),
    "a constant that it reads": ('"team": 2', '"team": 3', {"worth"}),
    "an object's state": ("Scale(2.0)", "Scale(3.0)", {"scaled"}),
    "an object's class": ("x * self.factor", "x / self.factor", {"scaled"}),
    "a function of features": ("plan.upper()", "plan.title()", {"shouted"}),
    "a default of the payload": ("flag: bool = False", "flag: bool = True", {"flagged", "worth"}),
    "a bound of the payload": ("score: Number", "score: Count", {"worth", "scaled"}),
    "a new field": ("flag: bool = False", "flag: bool = False\n    more: Count = 0", {"worth"}),
    "a name": ('view["count"]', 'view["number"]', {"count", "number"}),
    "a description": ("demos.count()\n", 'demos.count().doc("how many")\n', set()),
}


@pytest.fixture(autouse=True)
def found(tmp_path: Path) -> Iterator[None]:
    sys.dont_write_bytecode = True
    with importable(tmp_path):
        yield


def fingerprints(catalogue: Catalogue) -> dict[str, str]:
    return {each.name: each.fingerprint for each in catalogue.features}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_changes_the_fingerprints_of_what_it_touches_and_no_other(change: str, tmp_path: Path) -> None:
    import linecache

    old, new, expected = CHANGES[change]
    first = Written(tmp_path, BODY)
    before = first.catalogue()
    text = first.path.read_text()
    assert old in text
    del sys.modules[first.name]
    first.path.write_text(text.replace(old, new) if old else text)
    linecache.checkcache()
    after = first.catalogue()
    mine, theirs = fingerprints(before), fingerprints(after)
    assert {name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name)} == expected
    assert (before.view_fingerprints == after.view_fingerprints) == (not expected)
    if expected and change not in ("a name",):
        assert before.state_fingerprint != after.state_fingerprint


def test_the_time_zone_changes_only_what_is_local(tmp_path: Path) -> None:
    pack = Written(tmp_path, BODY)
    utc, berlin = pack.catalogue(), pack.catalogue(timezone="Europe/Berlin")
    mine, theirs = fingerprints(utc), fingerprints(berlin)
    assert {name for name in mine if mine[name] != theirs[name]} == {"hour"}
    assert utc.state_fingerprint != berlin.state_fingerprint


def test_a_setting_changes_only_what_it_decides_on() -> None:
    plain = Catalogue("default", OrgSettings())
    hours = Catalogue("default", OrgSettings(browsing=BrowsingSettings(business_hours=(8, 12))))
    changed = [
        f.reference for f, g in zip(plain.features, hours.features, strict=True) if f.fingerprint != g.fingerprint
    ]
    assert changed == ["interaction:business_hours_ratio", "timing:time_pattern"]
    for reference in changed:
        assert hours.feature(reference).settings["browsing.business_hours"] == [8, 12]
        assert hours.feature(reference).definition == plain.feature(reference).definition


def test_fingerprints_are_the_same_in_another_process() -> None:
    code = (
        "from projections.catalogue import Catalogue; from kernel.settings import OrgSettings; "
        "c = Catalogue('default', OrgSettings(packs=('commerce', 'sales', 'browsing', 'tests.property.probe'))); "
        "print(c.fingerprint, c.state_fingerprint)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment(PYTHONHASHSEED=seed), capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1


def test_a_catalogue_is_the_same_whether_its_settings_are_written_out_or_not() -> None:
    written = msgspec.convert(msgspec.to_builtins(OrgSettings()), OrgSettings)
    ours, theirs = Catalogue("default", OrgSettings()), Catalogue("default", written)
    assert ours.state_fingerprint == theirs.state_fingerprint
    for mine, same in zip(ours.features, theirs.features, strict=True):
        assert (mine.feature, mine.dtype, mine.fingerprint) == (same.feature, same.dtype, same.fingerprint)


def test_whole_weights_make_whole_scores() -> None:
    def dtype(weight: float) -> str:
        weights = EngagementWeights(view=weight)
        settings = OrgSettings(browsing=BrowsingSettings(engagement_weights=weights))
        (found,) = Catalogue("default", settings).select(features=["interaction:engagement_score_total"]).features
        return found.dtype

    assert [dtype(weight) for weight in (2, 2.0, -3.0, 0.5)] == ["int", "int", "int", "float"]
