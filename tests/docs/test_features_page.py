"""The page of features: each has its meaning, unit, range, null, window, an example, and what moves it."""

import pytest

from kernel.settings import DEFAULT_ORG, OrgSettings
from projections.catalogue import Catalogue
from tests.docs.test_reference import PAGES, generator

CATALOGUE = Catalogue(DEFAULT_ORG, OrgSettings())
FEATURES = (*CATALOGUE.features, *CATALOGUE.subjects.features)
HEADER = ["feature", "what", "type", "range", "null means", "window", "example", "moved by"]


def rows() -> dict[str, list[str]]:
    table = [line for line in PAGES["features.md"].splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    return {row[0].strip("` ").removesuffix("_{subject}"): row for row in cells}


ROWS = rows()


@pytest.mark.parametrize("feature", FEATURES, ids=lambda each: each.reference)
def test_a_feature_has_all_its_cells(feature: object) -> None:
    row = ROWS[feature.reference]  # type: ignore[attr-defined]
    assert len(row) == len(HEADER)
    assert all(row)
    assert feature.affected_by  # type: ignore[attr-defined]


def test_the_example_of_each_feature_is_a_value_and_not_null() -> None:
    values = generator().example_values(CATALOGUE)
    assert {name for name, value in values.items() if value is None} == set()
    assert set(values) == {each.reference for each in FEATURES}


def test_windows_stand_in_their_column() -> None:
    assert ROWS["window:login_count_14d"][5] == "14d"
    assert ROWS["trend:rating_trend"][5] == "7d, 30d"
    assert ROWS["rfm:monetary_total"][5] == "lifetime"
