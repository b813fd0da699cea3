import pytest

from kernel.errors import UnknownFeature
from kernel.settings import OrgSettings
from projections.catalogue import Catalogue
from projections.ranking.columns import ListColumn
from projections.ranking.conditions import Condition, condition_of


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue("default", OrgSettings(packs=("commerce", "service")))


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("rfm:recency_days<=30", Condition("rfm:recency_days", "<=", 30.0)),
        ("  rfm:recency_days  >  -1.5e2 ", Condition("rfm:recency_days", ">", -150.0)),
        ("rfm:recency_days=null", Condition("rfm:recency_days", "=", None)),
        ("rfm:recency_days!=null", Condition("rfm:recency_days", "!=", None)),
        ("property:city=New York, NY = x", Condition("property:city", "=", "New York, NY = x")),
        ("property:city=", Condition("property:city", "=", "")),
        ("property:city>=B", Condition("property:city", ">=", "B")),
    ],
)
def test_a_condition_is_read_as_it_is_written(catalogue: Catalogue, text: str, condition: Condition) -> None:
    assert condition_of(text, catalogue) == condition


@pytest.mark.parametrize(
    "text",
    ["", "rfm:recency_days", ">=1", "rfm:recency_days=>1", "rfm:recency_days>=1x", "rfm:recency_days=inf",
     "rfm:recency_days>null", "property:pest_issues=ants", "rfm:recency_days>=٣"],
)  # fmt: skip
def test_what_is_no_condition_says_what_was_expected(catalogue: Catalogue, text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        condition_of(text, catalogue)


def test_an_unknown_feature_is_named(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownFeature, match="rfm:nothing"):
        condition_of("rfm:nothing=1", catalogue)


def test_lists_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="property:pest_issues"):
        Condition("property:pest_issues", "=", "x").mask(ListColumn(1), 1)
