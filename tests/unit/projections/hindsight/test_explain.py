from typing import Any

import pytest

from eventstore.event import Event
from kernel.errors import UnknownFeature
from kernel.steps import finish
from kernel.times import DAY_US
from projections.hindsight.explain import Explanation
from tests.unit.projections.hindsight.world import NOW, OWN, catalogue_of, explainer_of, most_at_once, stored


def explained(reference: str, events: list[Event], *packs: str, at_us: int = NOW, **more: Any) -> Explanation:
    return finish(explainer_of(catalogue_of(*packs)).explain(reference, events, at_us, **more))


def named(explanation: Explanation) -> list[str]:
    return [event.id for event in explanation.events]


def test_whole_days_rest_on_the_last_event_and_grow_by_one() -> None:
    found = explained("rfm:recency_days", stored(("login", 9, {}), ("login", 3.5, {}), ("message_sent", 1, {})))
    assert (found.value, named(found), found.window) == (3, ["e2"], None)
    assert (found.next_change_us, found.next_value) == (NOW + DAY_US // 2, 4)
    assert found.sentence == (
        "Whole days since the last interaction, of any pack: 3 days, from one event, the login of 2026-11-17 22:00 UTC."
    )
    assert found.definition == "whole days since the last interaction"


def test_a_window_names_what_is_in_it_and_when_it_leaves() -> None:
    found = explained("window:login_count_7d", stored(("login", 7, {}), ("login", 6, {}), ("login", 1, {})))
    assert (found.value, named(found)) == (2, ["e2", "e3"])
    assert found.window == (NOW - 7 * DAY_US, NOW)
    assert (found.next_change_us, found.next_value) == (NOW + DAY_US, 1)
    assert "2 logins, from 2 events between 2026-11-14 10:00 UTC and 2026-11-21 10:00 UTC, " in found.sentence


def test_a_filter_on_the_payload_leaves_out_what_does_not_pass() -> None:
    calls = stored(
        ("inbound_call", 3, {"duration_seconds": 1, "sentiment_score": -0.5}),
        ("inbound_call", 2, {"duration_seconds": 1, "sentiment_score": 0.5}),
        ("inbound_call", 1, {"duration_seconds": 1}),
    )
    assert named(explained("window:negative_sentiment_calls_7d", calls)) == ["e1"]


def test_a_turn_keeps_the_message_before_it_and_other_threads_stay_out() -> None:
    events = stored(
        ("message_sent", 5, {"conversation_id": "a"}),
        ("message_received", 4, {"conversation_id": "a"}),
        ("message_received", 3, {"conversation_id": "b"}),
        ("message_sent", 2, {"conversation_id": "b"}),
    )
    found = explained("engagement:avg_response_time_seconds", events)
    assert (found.value, named(found)) == (86_400.0, ["e1", "e2"])


def test_a_thread_with_a_turn_is_kept_whole_since_a_part_of_it_could_make_another_turn() -> None:
    messages = ("message_sent", "message_received", "message_received", "message_sent")
    events = stored(*((kind, 9 - n, {"conversation_id": "a"}) for n, kind in enumerate(messages)))
    assert named(explained("engagement:avg_response_time_seconds", events)) == ["e1", "e2", "e3", "e4"]
    assert named(explained("engagement:avg_response_time_seconds", events[2:])) == []


def test_a_sequence_rests_on_the_latest_enrolment_and_on_what_ended_it() -> None:
    events = stored(
        ("sequence_enrolled", 9, {"sequence_id": "a", "steps": 2}),
        ("sequence_finished", 8, {"sequence_id": "a"}),
        ("sequence_enrolled", 7, {"sequence_id": "a", "steps": 4}),
        ("sequence_step_completed", 6, {"sequence_id": "b", "step": 3}),
        ("sequence_step_completed", 5, {"sequence_id": "a", "step": 1}),
        ("sequence_finished", 4, {"sequence_id": "b"}),
        ("sequence_finished", 3, {"sequence_id": "a"}),
    )
    found = explained("outreach:is_in_active_sequence", events)
    assert (found.value, named(found)) == (0, ["e3", "e7"])
    found = explained("outreach:is_in_active_sequence", events[:6])
    assert (found.value, named(found)) == (1, ["e3"])
    found = explained("outreach:sequence_engagement", events)
    assert (found.value, named(found)) == (0.25, ["e3", "e5"])


def test_an_ignored_campaign_rests_on_its_receipt_and_others_on_what_saved_them() -> None:
    events = stored(
        ("campaign_received", 20, {"campaign_id": "ignored"}),
        ("campaign_opened", 1, {"campaign_id": "ignored"}),
        ("campaign_received", 20.5, {"campaign_id": "opened"}),
        ("campaign_opened", 19, {"campaign_id": "opened"}),
        ("campaign_received", 2, {"campaign_id": "new"}),
    )
    found = explained("campaign:campaign_ignored", events)
    assert found.value == 1
    assert named(found) == ["e1", "e2", "e3"]
    assert (found.next_change_us, found.next_value) == (NOW + 5 * DAY_US, 2)


def test_null_is_told_in_the_words_of_the_catalogue() -> None:
    found = explained("tutor:avg_tutor_response_time", [])
    assert (found.value, found.events, found.next_change_us, found.next_value) == (None, [], None, None)
    assert found.sentence == "Mean time that tutors take to respond: unknown (no response yet)."


def test_nothing_is_told_as_nothing() -> None:
    assert explained("lifetime:referral_count", []).sentence == "Referrals made: 0 referrals, since no event counts."


def test_a_later_event_is_the_next_change() -> None:
    events = stored(("payment_succeeded", 3, {"amount": 5}), ("payment_succeeded", -1, {"amount": 2.5}))
    found = explained("lifetime:total_spend_lifetime", events)
    assert (found.value, named(found)) == (5.0, ["e1"])
    assert (found.next_change_us, found.next_value) == (NOW + DAY_US, 7.5)


def test_an_instant_that_changes_nothing_is_not_the_next_change() -> None:
    """Days pass; an activity per day that nobody made stays none."""
    found = explained("activity:activity_velocity", stored(("lead_created", 3, {})))
    assert found.value == 0.0
    assert found.next_change_us is not None
    assert found.next_change_us > NOW + 300 * DAY_US
    assert found.next_value == 0.0


def test_without_an_enrolment_of_its_own_the_creation_is_the_first_event() -> None:
    events = stored(("login", 9, {}), ("lead_created", 5, {}), ("login", 1, {}))
    assert named(explained("timing:days_since_created", events)) == ["e2"]
    assert named(explained("timing:days_since_created", [events[0], events[2]])) == ["e1"]


def test_where_a_pack_names_too_few_every_event_is_named() -> None:
    events = stored(("shot", 3, {}), ("shot", 2, {}), ("shot", 1, {}))
    found = explained("own:careless", events, OWN)
    assert (found.value, named(found)) == (3, ["e1", "e2", "e3"])
    assert named(explained("own:careless", events[:1], OWN)) == ["e1"]


def test_an_event_that_the_fold_raises_on_is_behind_nothing() -> None:
    events = stored(("shot", 3, {"n": 1}), ("shot", 2, {"n": 13}), ("shot", 1, {"n": 2}))
    found = explained("own:worth", events, OWN)
    assert (found.value, named(found)) == (3.0, ["e1", "e3"])
    # Another feature's fold would take it, but the lead's left it out whole.
    found = explained("own:shots", events, OWN, dead={2})
    assert (found.value, named(found)) == (2, ["e1", "e3"])


def test_a_feature_that_is_not_there_is_not_explained() -> None:
    with pytest.raises(UnknownFeature):
        explained("rfm:nothing", [])


@pytest.mark.parametrize(
    "reference", ["engagement:avg_response_time_seconds", "temporal:preferred_hour_of_day", "campaign:campaign_ignored"]
)
def test_a_long_past_is_explained_in_steps(reference: str) -> None:
    thread = ("message_sent", "message_received", "campaign_received")
    data = {"conversation_id": "a", "campaign_id": "b"}
    events = stored(*((thread[n % 3], n / 1000, data) for n in range(6000)))
    assert most_at_once(explainer_of(catalogue_of()).explain(reference, events, NOW)) <= 1000
