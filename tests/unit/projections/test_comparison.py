from typing import Any

import msgspec
import pytest

from gateway.routes.catalogue import document
from kernel.settings import BrowsingSettings, OrgSettings
from projections.catalogue import Catalogue
from projections.comparison import Change, compare


def items(**settings: Any) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(document(each)) for each in Catalogue("default", OrgSettings(**settings)).features]


BASE = items(packs=("browsing", "service"))


def test_equal_catalogues_do_not_differ() -> None:
    assert compare(BASE, msgspec.json.decode(msgspec.json.encode(BASE))) == []


def test_features_that_come_or_go_are_named() -> None:
    changes = compare(items(packs=("browsing",)), items(packs=("service",)))
    assert {change.kind for change in changes} == {"added", "removed"}
    assert Change("customer:service_count", "added") in changes
    assert changes[-1].feature.startswith("interaction:")


def test_a_setting_is_told_with_both_values_and_no_definition() -> None:
    changes = compare(BASE, items(packs=("browsing", "service"), browsing=BrowsingSettings(min_interactions=3)))
    assert len(changes) == 20
    assert changes[0].what[0] == "setting browsing.min_interactions 1 -> 3"
    assert all("definition" not in change.what for change in changes)
    back = compare(items(packs=("browsing", "service"), browsing=BrowsingSettings(min_interactions=3)), BASE)
    assert back[0].what[0] == "setting browsing.min_interactions 3 -> 1"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("dtype", "float", "type int -> float"),
        ("unit", "", "unit interactions -> none"),
        ("description", "others", "description interactions -> others"),
        ("fingerprint", "x", "definition of what it refers to"),
    ],
)
def test_each_property_is_told_with_old_and_new(key: str, value: str, said: str) -> None:
    changed = [{**each} for each in BASE]
    changed[0][key] = value
    assert compare(BASE, changed) == [Change("interaction:total_interactions", "changed", (said,))]


def test_a_definition_and_a_setting_are_told_apart() -> None:
    changed = [{**each} for each in BASE]
    changed[0] |= {
        "fingerprint": "x",
        "definition": "y",
        "settings": {"timezone": "Asia/Tokyo", "of.another.version": 1},
    }
    (change,) = compare(BASE, changed)
    assert change.what == (
        "definition",
        'setting timezone "UTC" -> "Asia/Tokyo"',
        "setting of.another.version null -> 1",
    )
