"""What values a feature can have, where its pack does not say."""

from pathlib import Path

import pytest

from kernel.settings import OrgSettings
from projections.catalogue import Catalogue
from tests.unit.projections.packs import Written, importable

RANGES = {
    "demos.count()": "0 or more",
    'demos.sum("seats")': "0 or more",
    'demos.mean("price").over(7)': "0 or more",
    'demos.sum("score")': "any number",
    'demos.latest("stars")': "0 or more",
    'demos.max("flag")': "0 or more",
    "demos.count() - 1": "any number",
    "demos.count() / demos.count().over(7)": "0 or more",
    'greatest(demos.sum("score"), 0)': "0 or more",
    'least(demos.sum("score"), 0)': "any number",
    'if_null(demos.mean("seats"), -1)': "any number",
    "when(demos.count() > 0, demos.count(), None)": "0 or more",
    "demos.sum(Computed(lambda demo: -1.0))": "any number",
    "since(demos.last_time())": "0 or more",
    "days_between(demos.last_time(), demos.first_time())": "any number",
    "demos.count() > 3": "0 or 1",
    'demos.latest("note")': "",
    'demos.count().doc("so many", range="0 to 9")': "0 to 9",
}


@pytest.mark.parametrize("written", RANGES)
def test_a_range_follows_from_what_is_computed(written: str, tmp_path: Path) -> None:
    with importable(tmp_path):
        pack = Written(tmp_path, f'view["x"] = {written}\n')
        assert pack.catalogue().feature(f"{pack.name}:x").range == RANGES[written]


def test_every_number_of_the_built_in_packs_has_a_range() -> None:
    features = Catalogue("default", OrgSettings()).all_features
    assert [each.feature for each in features if each.dtype in ("int", "float") and not each.range] == []
