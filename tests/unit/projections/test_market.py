"""Spans of a lead and its market: which features, in which order, which bytes."""

import itertools

import msgspec
import pytest

from kernel.errors import DefinitionError, UnknownFeature
from kernel.settings import OrgSettings
from projections.answer import (
    Form,
    Part,
    each_encoded,
    encode_values,
    joined,
    own_part,
    part_of,
    span_answer,
    span_values,
)
from projections.catalogue import Catalogue
from projections.entity import FoldedEntity
from projections.market import Run, Span
from tests.property.folding import LEAD

SUBJECTS = ("algebra", "physics")
CATALOGUE = Catalogue("default", OrgSettings(subjects=SUBJECTS))
NOW = 1_700_000_000_000_000


def lead() -> FoldedEntity:
    entity = FoldedEntity(LEAD, 1, CATALOGUE)
    entity.read(NOW)
    return entity


def market_part(span: Span, form: Form, as_of_us: int = NOW, change_us: int | None = None) -> Part:
    """The market's part of a span in which every value is the place of its subject and row."""
    pieces = {
        subject: each_encoded(CATALOGUE.market.of_subject[subject].everything, [10 * n + row for row in range(4)], form)
        for n, subject in enumerate(SUBJECTS)
    }
    runs = [span.market[run.start : run.stop] for run in span.runs if not run.is_own]
    return part_of(tuple(joined([pieces[s][row] for s, row in run]) for run in runs), as_of_us, change_us)


def test_the_markets_features_stand_row_by_row_and_say_whose_they_are() -> None:
    rows = [feature.name for feature in CATALOGUE.subjects.features]
    assert [f.name for f in CATALOGUE.market.features] == [f"{row}_{s}" for row in rows for s in SUBJECTS]
    assert all(f.description.endswith(f", in {f.name.rpartition('_')[2]}") for f in CATALOGUE.market.features)
    assert [f.feature for f in CATALOGUE.market.of_subject["physics"].features] == [f"market:{r}_physics" for r in rows]
    assert CATALOGUE.all_features == (*CATALOGUE.features, *CATALOGUE.market.features)


@pytest.mark.parametrize(
    ("views", "own", "market"),
    [
        (None, 152, 0),
        (["rfm"], 5, 0),
        (["market"], 0, 8),
        (["market", "rfm"], 5, 8),
        (["*"], 152, 8),
        (["rfm", "*"], 152, 8),
    ],
)
def test_views_give_the_leads_own_first_and_the_market_when_it_is_asked_for(
    views: list[str] | None, own: int, market: int
) -> None:
    span = CATALOGUE.span(views)
    assert (len(span.own.names), len(span.market)) == (own, market)
    assert span.names == tuple(f.feature for f in CATALOGUE.all_features if f in span.features)
    assert span.is_own is (market == 0)
    assert span.runs == tuple(run for run in (Run(True, 0, own), Run(False, 0, market)) if run.stop)


@pytest.mark.parametrize("asked", [["market:tutor_count"], ["market:tutor_count_chemistry"], ["rfm:nothing"], [""]])
def test_what_neither_side_has_is_unknown(asked: list[str]) -> None:
    with pytest.raises(UnknownFeature, match=f": {asked[0]}$"):
        CATALOGUE.span(features=asked)
    with pytest.raises(UnknownFeature):
        CATALOGUE.span(asked)


def test_the_fingerprint_knows_of_the_market_only_where_it_is_asked_for() -> None:
    other = Catalogue("default", OrgSettings(subjects=(*SUBJECTS, "chemistry")))
    assert CATALOGUE.span().fingerprint == other.span().fingerprint == CATALOGUE.fingerprint
    names = ["market:tutor_count_algebra"]
    assert CATALOGUE.span(features=names).fingerprint != other.span(features=names).fingerprint
    assert CATALOGUE.span(features=names).definition == other.span(features=names).definition
    assert CATALOGUE.span(["*"]).fingerprint == CATALOGUE.span(["market"]).fingerprint


NAMES = (
    "rfm:monetary_total",
    "market:tutor_count_physics",
    "segment:acquisition_channel",
    "market:utilization_rate_algebra",
)


@pytest.mark.parametrize("names", list(itertools.permutations(NAMES)))
@pytest.mark.parametrize("form", ["list", "map", "vector"])
def test_sides_are_joined_in_any_order_as_if_encoded_at_once(names: tuple[str, ...], form: Form) -> None:
    span = CATALOGUE.span(features=names)
    values = {NAMES[0]: 0, NAMES[1]: 13, NAMES[2]: None, NAMES[3]: 2}
    found = msgspec.json.decode(span_values(span, own_part(lead(), span, form), market_part(span, form), form))
    if form == "map":
        assert list(found.items()) == [(name, values[name]) for name in names]
    elif form == "list":
        assert found == [values[name] for name in names]
    else:
        by_column = {NAMES[0]: [0], NAMES[1]: [13], NAMES[2]: [0, 0, 0, 0], NAMES[3]: [2]}
        assert found == [number for name in names for number in by_column[name]]
        assert [name.partition("=")[0] for name in span.column_names] == [n for n in names for _ in by_column[n]]
        assert msgspec.json.decode(span.encoded_columns) == list(span.column_names)


def test_a_feature_without_a_column_leaves_no_comma_behind() -> None:
    names = ("segment:geographic_region", "market:tutor_count_physics", "property:city")
    span = CATALOGUE.span(features=names)
    found = span_values(span, own_part(lead(), span, "vector"), market_part(span, "vector"), "vector")
    assert found == b"[13]"


def test_an_answer_holds_from_the_later_computation_to_the_earlier_change() -> None:
    span = CATALOGUE.span(features=NAMES)
    own = own_part(lead(), span, "map")
    for change_us in (None, NOW + 5, NOW + 10**12):
        market = market_part(span, "map", NOW + 1, change_us)
        answer = span_answer("ann", span, own, market, "map")
        body = msgspec.json.decode(answer.body)
        assert answer.next_change_us == min((t for t in (own.next_change_us, change_us) if t is not None), default=None)
        assert (body["lead"], body["as_of"]) == ("ann", "2023-11-14T22:13:20.000001Z")
        assert (body["next_change"] is None) is (answer.next_change_us is None)


def test_the_seal_of_a_joined_answer_covers_both_sides_the_lead_the_form_and_the_names() -> None:
    span, other = CATALOGUE.span(features=NAMES), CATALOGUE.span(features=NAMES[::-1])
    own, market = own_part(lead(), span, "map"), market_part(span, "map")
    moved = market_part(span, "map", NOW + 1, NOW + 9)
    assert span_answer("ann", span, own, moved, "map").etag == span_answer("ann", span, own, market, "map").etag
    bob = FoldedEntity(LEAD._replace(id="bob"), 1, CATALOGUE)
    bob.read(NOW)
    etags = {
        span_answer("ann", span, own, market, "map").etag,
        span_answer("bob", span, own_part(bob, span, "map"), market, "map").etag,
        span_answer("ann", other, own_part(lead(), other, "map"), market_part(other, "map"), "map").etag,
        span_answer("ann", span, own_part(lead(), span, "vector"), market_part(span, "vector"), "vector").etag,
        span_answer("ann", span, own, part_of((b'"x":1', b'"y":2'), NOW, None), "map").etag,
    }
    assert len(etags) == 5


def test_values_of_one_entity_are_encoded_in_every_form() -> None:
    everything = CATALOGUE.market.of_subject["algebra"].everything
    assert encode_values(everything, [None, 1.5, 2.0, 3], "list") == b"[null,1.5,2.0,3]"
    assert encode_values(everything, [None, 1.5, 2.0, 3], "vector") == b"[null,1.5,2.0,3]"
    assert msgspec.json.decode(encode_values(everything, [None, 1.5, 2.0, 3], "map")) == dict(
        zip(everything.names, [None, 1.5, 2.0, 3], strict=True)
    )


def test_a_name_that_two_subjects_would_share_ends_the_start() -> None:
    class Two:
        views = ("m",)
        fingerprint = "f"
        features = tuple(
            msgspec.structs.replace(CATALOGUE.subjects.features[0], feature=f"m:{name}", name=name, view="m")
            for name in ("x", "x_a")
        )

    from projections.market import MarketFeatures

    with pytest.raises(DefinitionError, match="m:x_a_b would be two features"):
        MarketFeatures(Two, ["a_b", "b"])  # type: ignore[arg-type]
