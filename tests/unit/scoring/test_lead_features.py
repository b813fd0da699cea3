import msgspec

from scoring.lead_features import GROUPS, lead_features
from tests.unit.scoring.leads import CATALOGUE, KEEN


def test_features_are_grouped_under_their_names_in_camel_case() -> None:
    shown = msgspec.to_builtins(lead_features("ann", "now", KEEN))
    assert list(shown) == ["leadId", "asOf", "demographic", "behavioral", "temporal", "engagement"]
    assert shown["demographic"] == {
        "hasCompany": True,
        "hasTitle": True,
        "hasPhone": True,
        "emailDomainType": "corporate",
        "titleSeniority": "c_level",
        "companySizeEstimate": "enterprise",
    }
    assert list(shown["behavioral"]) == [
        "emailOpenCount",
        "emailClickCount",
        "pageViewCount",
        "formSubmitCount",
        "meetingCount",
        "callCount",
        "activityVelocity",
        "channelDiversity",
        "highValueActionCount",
    ]
    assert shown["temporal"]["activityBurst"] is True
    assert next(iter(shown["temporal"])) == "daysSinceCreated"
    assert list(shown["temporal"])[-1] == "timePattern"
    assert shown["engagement"]["isInActiveSequence"] is True
    assert next(iter(shown["engagement"])) == "emailOpenRate"


def test_claims_are_booleans_and_counts_are_not() -> None:
    shown = msgspec.to_builtins(lead_features("ann", "now", {"demographic:has_title": 0, "activity:call_count": 0}))
    assert shown["demographic"]["hasTitle"] is False
    assert shown["behavioral"]["callCount"] == 0
    assert shown["behavioral"]["callCount"] is not False
    assert shown["demographic"]["hasCompany"] is None


def test_every_feature_of_the_four_views_is_shown() -> None:
    for view, kind in GROUPS.values():
        named = {feature.name for feature in CATALOGUE.features if feature.view == view}
        assert set(kind.__struct_fields__) == named
