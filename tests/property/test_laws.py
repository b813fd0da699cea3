"""The laws of the feature specification, against an oracle written from its sentences."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore.event import Event, Stream
from kernel.times import DAY_US, HOUR_US
from projections.catalogue import Catalogue
from projections.entity import FoldedEntity
from projections.refolding import refolded
from tests.oracle.changes import first_change
from tests.oracle.facts import Settings
from tests.oracle.features import campaigns_ignored, ignored_event_id, lead_features, subject_features
from tests.property.folding import LEAD, catalogue_of, differences, fold_live, stored, values_at
from tests.property.strategies import History, histories, org_settings, subject_histories

EXAMPLES = settings(max_examples=120, deadline=None)
FEW = settings(max_examples=40, deadline=None)
SUBJECT = Stream("default", "subject", "algebra")


@given(histories(30), org_settings(), st.data())
@EXAMPLES
def test_whatever_the_order_and_the_sleeps_the_values_are_the_oracles(
    history: History, org: Settings, data: st.DataObject
) -> None:
    catalogue = catalogue_of(org)
    events = stored(history.events, history.tau_us)
    sleeps = data.draw(st.frozensets(st.integers(1, max(1, len(events))), max_size=3))
    live = values_at(fold_live(catalogue, events, sleeps=sleeps), history.tau_us)
    assert differences(live, lead_features(history.facts, history.tau_us, org)) == {}


@pytest.mark.deep
@pytest.mark.timeout(3600)
@given(histories(80), org_settings())
@settings(max_examples=5000, deadline=None)
def test_five_thousand_histories_have_the_oracles_values(history: History, org: Settings) -> None:
    live = values_at(fold_live(catalogue_of(org), stored(history.events, history.tau_us)), history.tau_us)
    assert differences(live, lead_features(history.facts, history.tau_us, org)) == {}


@given(subject_histories(40))
@EXAMPLES
def test_a_subjects_values_are_the_oracles(history: History) -> None:
    events = stored(history.events, history.tau_us, SUBJECT)
    live = values_at(fold_live(catalogue_of(Settings()), events, stream=SUBJECT), history.tau_us)
    assert differences(live, subject_features(history.facts, history.tau_us)) == {}


@given(histories(30), org_settings(), st.randoms(use_true_random=False))
@EXAMPLES
def test_live_recovered_replayed_and_shuffled_values_are_equal_to_the_bit(
    history: History, org: Settings, chance: random.Random
) -> None:
    catalogue = catalogue_of(org)
    events = stored(history.events, history.tau_us)
    live = values_at(fold_live(catalogue, events), history.tau_us)
    assert values_at(refolded(LEAD, 7, catalogue, events), history.tau_us) == live
    assert values_at(fold_live(catalogue, _shuffled(events, chance)), history.tau_us) == live


def _shuffled(events: list[Event], chance: random.Random) -> list[Event]:
    """The same stored events in another order of arrival (the versions follow it)."""
    order = chance.sample(events, len(events))
    return [
        Event(e.stream, e.number, i + 1, e.position, e.id, e.type, e.at_us, e.recorded_us, e.data)
        for i, e in enumerate(order)
    ]


@given(histories(20), org_settings())
@FEW
def test_events_ahead_of_the_clock_count_from_their_time_on(history: History, org: Settings) -> None:
    """Recorded long before most of them happen: they wait, and each read admits those whose time has come."""
    catalogue = catalogue_of(org)
    events = stored(history.events, history.tau_us - 10 * DAY_US)
    entity = fold_live(catalogue, events)
    for at_us in sorted({history.tau_us - 10 * DAY_US, history.tau_us - 1, history.tau_us}):
        assert differences(values_at(entity, at_us), lead_features(history.facts, at_us, org)) == {}


@given(histories(12), org_settings())
@FEW
def test_values_hold_until_the_stated_next_change_and_are_exact_on_both_sides_of_it(
    history: History, org: Settings
) -> None:
    catalogue = catalogue_of(org)
    entity = fold_live(catalogue, stored(history.events, history.tau_us))
    at_us, everything = history.tau_us, catalogue.everything
    for _ in range(3):
        values = values_at(entity, at_us)
        change_us = entity.next_change_us(everything)
        actual_us = first_change(history.facts, at_us, at_us + 100 * DAY_US, org)
        assert actual_us is None or (change_us is not None and change_us <= actual_us)
        if change_us is None:
            return
        assert change_us > at_us
        assert values_at(entity.copy(), change_us - 1) == values
        at_us = change_us
        assert differences(values_at(entity, at_us), lead_features(history.facts, at_us, org)) == {}


@given(histories(15), org_settings(), st.integers(0, 3), st.integers(0, 3))
@FEW
def test_reads_of_the_past_fold_what_had_happened_and_was_known_by_then(
    history: History, org: Settings, back: int, known: int
) -> None:
    catalogue = catalogue_of(org)
    recorded = [history.tau_us - (len(history.events) - i) * HOUR_US for i in range(len(history.events))]
    events = stored(history.events, recorded)
    at_us, known_us = history.tau_us - back * DAY_US, history.tau_us - known * HOUR_US * 2
    past = refolded(LEAD, 7, catalogue, events, until_us=at_us, known_at_us=known_us)
    seen = [(each, at) for each, at in zip(history.events, recorded, strict=True) if at <= known_us]
    facts = History([each for each, _ in seen], at_us).facts
    assert differences(values_at(past, at_us), lead_features(facts, at_us, org)) == {}
    change_us, actual_us = (
        past.next_change_us(catalogue.everything),
        first_change(facts, at_us, at_us + 40 * DAY_US, org),
    )
    assert actual_us is None or (change_us is not None and change_us <= actual_us)


@given(histories(30, packs=("commerce",)))
@EXAMPLES
def test_each_campaign_ignored_is_written_once_when_due_and_the_grace_has_passed(history: History) -> None:
    catalogue = catalogue_of(Settings())
    events = stored(history.events, history.tau_us)
    entity = fold_live(catalogue, events)
    grace_us = round(catalogue.settings.absence_grace_s * 1_000_000)
    written: dict[str, int] = {}
    now_us = history.tau_us
    for _ in range(200):
        due_us = entity.due_us()
        if due_us is None:
            break
        now_us = max(now_us, due_us)
        assert entity.effects(due_us - 1) == []
        for new in entity.effects(now_us):
            assert now_us >= history.tau_us + grace_us, "a cause recorded at tau is not judged before its grace"
            assert new.id not in written
            written[new.id] = new.at_us
            entity.fold(
                Event(LEAD, 7, entity.version + 1, entity.position, new.id, new.type, new.at_us, now_us, new.data)
            )
    expected = campaigns_ignored(history.facts, now_us, Settings())
    assert written == {ignored_event_id(LEAD.id, campaign): at for campaign, at in expected.items()}


def test_a_year_of_ageing_passes_day_by_day_in_one_test() -> None:
    """365 days and every change in between: live ageing equals a fold from nothing at each instant."""
    catalogue: Catalogue = catalogue_of(Settings(timezone="America/Sao_Paulo"))
    start_us = 1_700_000_000_000_000
    envelopes = [
        {"id": f"e{i:03}", "type": kind, "time": start_us / 1e6 + i * 40_000, "data": data}
        for i, (kind, data) in enumerate(
            [
                ("campaign_received", {"campaign_id": "spring"}),
                ("login", {}),
                ("interaction", {"action": "view"}),
                ("purchase_completed", {"amount": "12.50"}),
                (
                    "session_completed",
                    {"session_id": "s", "tutor_id": "t", "duration_minutes": 50, "student_rating": 4.5},
                ),
                ("payment_succeeded", {"amount": 30}),
            ]
            * 4
        )
    ]
    end_us = start_us + 40_000 * len(envelopes) * 1_000_000
    events = stored(envelopes, end_us)
    entity: FoldedEntity = fold_live(catalogue, events)
    facts, org = History(envelopes, end_us).facts, Settings(timezone="America/Sao_Paulo")
    at_us, changes = end_us, 0
    while at_us < end_us + 365 * DAY_US:
        live = values_at(entity, at_us)
        if changes % 25 == 0:
            assert differences(live, lead_features(facts, at_us, org)) == {}
        change_us = entity.next_change_us(catalogue.everything)
        assert change_us is not None, "whole days go on for ever"
        assert change_us > at_us
        at_us, changes = change_us, changes + 1
    assert changes > 365
