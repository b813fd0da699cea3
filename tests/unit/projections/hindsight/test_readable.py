import pytest

from projections.hindsight.readable import readable
from tests.unit.projections.hindsight.world import OWN, catalogue_of


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("rfm:recency_days", "whole days since the last interaction"),
        (
            "trend:session_velocity_change",
            "count(session_completed) over 7d / 7 - count(session_completed) over 30d / 30",
        ),
        (
            "window:negative_sentiment_calls_7d",
            "count(inbound_call where sentiment_score < -0.3) over 7d",
        ),
        (
            "customer:service_count",
            "max(count(service_completed), (latest(services_count of service_completed) or else 0))",
        ),
        (
            "campaign:campaign_open_rate",
            "distinct(campaign_id of campaign_received and of campaign_opened) / "
            "distinct(campaign_id of campaign_received)",
        ),
        ("temporal:channel_diversity", "distinct(channel of any event with channel but signed_up)"),
        ("lifetime:subscription_tier", "tier_rank(latest(tier of signed_up or subscription_changed))"),
        ("customer:last_updated", "time of the last service_completed or property_updated"),
    ],
)
def test_a_definition_reads_like_its_sentence(reference: str, text: str) -> None:
    assert readable(catalogue_of().specs[reference].documented.expr) == text


@pytest.mark.parametrize("packs", [(), (OWN,), ("tests.property.probe",)])
def test_every_definition_is_one_line_without_a_trace_of_the_code(packs: tuple[str, ...]) -> None:
    catalogue = catalogue_of(*packs)
    for reference, spec in {**catalogue.specs, **catalogue.subjects.specs}.items():
        text = readable(spec.documented.expr)
        assert text, reference
        for trace in ("\n", "<function", "<class", "Signal", "object at", "None", "_us"):
            assert trace not in text, (reference, text)


def test_a_node_of_a_packs_own_reads_like_a_call() -> None:
    assert readable(catalogue_of(OWN).specs["own:careless"].documented.expr) == "careless(shot)"
