"""Rows contain what was known then, and labels what came after: neither more nor less."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from eventstore.event import Event, Stream
from kernel.ids import Position
from kernel.settings_scoring import ScoringSettings
from kernel.steps import Steps, finish
from kernel.times import DAY_US
from projections.hindsight.walk import Walk
from projections.refolding import refolded
from scoring.dataset import Dataset, DatasetBuilder, Sampling
from scoring.features import feature_set
from scoring.knowledge import Knowledge, Past
from scoring.leakage import columns_of_the_future, suspects
from scoring.outcomes import CALLS, CHURN, Future, Happens, conversion
from scoring.request import Request
from scoring.rules import RuleScorer
from scoring.synth import World
from tests.unit.scoring.leads import CATALOGUE
from tests.unit.scoring.worlds import rows_of, stream_of

START_US = 20_000 * DAY_US
CATALOGUE_SCORING = ScoringSettings()
STREAM = Stream("default", "lead", "ann")
FEATURES = feature_set(CATALOGUE)
SOME = feature_set(CATALOGUE, ["activity:page_view_count", "timing:days_since_created", "timing:day_pattern"])


def at(day: float) -> int:
    return START_US + round(day * DAY_US)


def log(*given: tuple[float, str, dict[str, object]], recorded: dict[int, float] | None = None) -> list[Event]:
    """A stream of (day, type, data), recorded when it happened unless said otherwise, by version."""
    found = []
    for version, (day, kind, data) in enumerate(given, 1):
        recorded_us = at((recorded or {}).get(version, day))
        body = msgspec.json.encode(data)
        found.append(Event(STREAM, 1, version, Position(version), f"e{version}", kind, at(day), recorded_us, body))
    return found


def built(
    events: Sequence[Event],
    *,
    until: float = 100,
    sampling: Sampling = Sampling(step_days=1),  # noqa: B008 - frozen
    knowledge: Knowledge = "auto",
    outcomes: Sequence[Happens] = (conversion(),),
) -> Dataset:
    builder = DatasetBuilder(CATALOGUE, SOME, outcomes, until_us=at(until), sampling=sampling, knowledge=knowledge)
    finish(builder.add(events))
    return builder.finish()


def views_at(dataset: Dataset, day: float) -> float | None:
    """The page views of the row at a day; None without a row."""
    rows = dataset.rows[dataset.at_us == at(day)]
    return float(rows[0, 0]) if len(rows) else None


VIEW = ("page_viewed", {"url": "/"})
WON = ("deal_won", {})


def test_a_row_equals_what_a_read_would_have_answered_to_the_bit() -> None:
    world = World(12, 5)
    dataset = rows_of(world, CATALOGUE, Request(step_days=11))
    assert len(dataset) > 60
    for place in range(0, len(dataset), 7):
        number = int(dataset.leads[dataset.lead[place]].removeprefix("lead-"))
        at_us = int(dataset.at_us[place])
        events = [event for event in stream_of(world, number) if event.at_us <= at_us]
        entity = refolded(events[0].stream, 1, CATALOGUE, events)
        entity.read(at_us)
        expected = FEATURES.matrix([entity.values(CATALOGUE.everything)])[0]
        np.testing.assert_array_equal(dataset.rows[place], expected)


def test_rows_begin_when_the_lead_is_known_and_end_with_the_log() -> None:
    dataset = built(log((3.5, *VIEW)), until=10)
    assert dataset.at_us.tolist() == [at(day) for day in range(4, 11)]
    assert views_at(dataset, 4) == 1


def test_a_label_is_of_what_came_strictly_after_within_the_horizon() -> None:
    dataset = built(log((0, *VIEW), (40, *WON)))
    label = {
        (int(t) - START_US) // DAY_US: value
        for t, value in zip(dataset.at_us, dataset.labels["conversion"], strict=True)
    }
    assert label[9] == 0
    assert label[10] == 1  # the end of the window is in it
    assert label[39] == 1
    assert label[40] == 0  # its beginning is not


def test_a_horizon_past_the_end_of_the_log_is_not_known() -> None:
    dataset = built(log((0, *VIEW), (95, *WON)))
    seen = dataset.at_us <= at(70)
    assert not np.isnan(dataset.labels["conversion"][seen]).any()
    assert np.isnan(dataset.labels["conversion"][~seen]).all()
    assert dataset.wait_days[dataset.at_us == at(90)][0] == 5
    assert dataset.seen_days[dataset.at_us == at(90)][0] == 10


def test_what_is_recorded_late_is_not_known_before() -> None:
    late = log((0, *VIEW), (5.5, *VIEW), (20, *VIEW), recorded={2: 12.5})
    dataset = built(late, until=30)
    assert [views_at(dataset, day) for day in (5, 6, 12, 13, 20)] == [1, 1, 1, 2, 3]


def test_history_that_is_loaded_on_the_first_day_was_known_when_it_happened() -> None:
    loaded = log((0, *VIEW), (5.5, *VIEW), (50, *VIEW), recorded={1: 50, 2: 50, 3: 50})
    assert [views_at(built(loaded), day) for day in (5, 6, 50)] == [1, 2, 3]
    assert views_at(built(loaded, knowledge="recorded"), 49) is None
    assert views_at(built(loaded, knowledge="recorded"), 50) == 3


def test_old_news_long_after_the_first_live_event_is_no_loaded_history() -> None:
    synced = log((0, *VIEW), (5.5, *VIEW), recorded={2: 30.5})
    assert [views_at(built(synced), day) for day in (6, 30, 31)] == [1, 1, 2]
    assert views_at(built(synced, knowledge="happened"), 6) == 2


def test_a_retracted_event_is_known_until_its_retraction_is_and_never_an_outcome() -> None:
    events = log((0, *VIEW), (5.5, *VIEW), (9.5, "event_retracted", {"event_id": "e2"}))
    assert [views_at(built(events, until=40), day) for day in (5, 6, 9, 10)] == [1, 2, 2, 1]
    taken_back = log((0, *VIEW), (5.5, *WON), (9.5, "event_retracted", {"event_id": "e2"}))
    assert np.nansum(built(taken_back).labels["conversion"]) == 0


def test_rows_at_events_contain_the_event() -> None:
    events = log(
        (0, *VIEW), (3.25, "campaign_received", {"campaign_id": "c"}), (8, "campaign_clicked", {"campaign_id": "c"})
    )
    dataset = built(
        events,
        sampling=Sampling(at_types=("campaign_received",)),
        outcomes=[Happens("conversion", ("campaign_clicked",), 30)],
    )
    assert dataset.at_us.tolist() == [at(3.25)]
    assert dataset.labels["conversion"].tolist() == [1]


def test_the_days_of_rows_differ_from_lead_to_lead() -> None:
    dataset = rows_of(World(40, 1), CATALOGUE, Request(step_days=10))
    assert len(set((dataset.at_us // DAY_US % 10).tolist())) >= 8
    assert (np.diff(dataset.at_us) >= 0).all()


def test_churn_is_a_cancellation_or_the_silence_of_an_active_lead() -> None:
    interactions = frozenset({"page_viewed"})
    silent = Future(log((0, *VIEW), (20, *VIEW)), interactions)
    assert CHURN.of(silent, at(20))
    assert not CHURN.of(silent, at(10))  # it came back within 30 days
    assert not CHURN.of(silent, at(51))  # it had not been active
    cancelled = Future(log((0, *VIEW), (70, "subscription_cancelled", {})), interactions)
    assert not CHURN.of(cancelled, at(39))
    assert CHURN.of(cancelled, at(40))


def test_call_risk_needs_two_calls_within_two_weeks() -> None:
    call = ("inbound_call", {"duration_seconds": 1})
    future = Future(log((10, *call), (20, *call)), frozenset())
    assert CALLS.of(future, at(8))
    assert not CALLS.of(future, at(5))
    assert not CALLS.of(future, at(10))


def test_points_of_the_rules_stand_beside_the_rows() -> None:
    rules = RuleScorer(CATALOGUE_SCORING.weights)
    dataset = rows_of(World(6, 1), CATALOGUE, Request(features=("rfm:recency_days",), step_days=30), rules)
    assert dataset.points is not None
    assert len(dataset.points) == len(dataset)
    assert 0 < dataset.points.mean() < 100


def test_a_share_of_the_rows_is_chosen_by_a_hash() -> None:
    events = log((0, *VIEW))
    whole = built(events)
    half = built(events, sampling=Sampling(step_days=1, share=0.5))
    assert 0.2 < len(half) / len(whole) < 0.8
    assert set(half.at_us.tolist()) < set(whole.at_us.tolist())


class FarSighted(Past):
    """A broken walk, which reads a week ahead."""

    def values(self, at_us: int) -> Steps[list[object]]:
        yield from self._walk.advance(at_us + 7 * DAY_US)
        return self._walk.values(at_us + 7 * DAY_US)


def future_columns() -> list[str]:
    """Columns that have seen the future, of the rows of the lead that does most."""
    world = World(3, 4)
    request = Request(step_days=10)
    busiest = max((stream_of(world, lead) for lead in range(world.leads)), key=len)

    def new_builder() -> DatasetBuilder:
        return DatasetBuilder(
            CATALOGUE, FEATURES, request.outcomes, until_us=world.end_us, sampling=Sampling(step_days=10)
        )

    dataset = rows_of(world, CATALOGUE, request)
    age_us = CATALOGUE.trigger_max_age_us
    return columns_of_the_future(new_builder, dataset, busiest, trigger_max_age_us=age_us)


def test_no_column_of_a_row_has_seen_the_future() -> None:
    assert future_columns() == []


def test_a_feature_that_knows_the_future_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scoring.dataset.Past", FarSighted)
    caught = future_columns()
    assert "activity:page_view_count" in caught
    assert "recency:days_since_last_login" in caught


def test_a_column_that_tells_the_outcome_alone_is_suspect() -> None:
    rng = np.random.default_rng(1)
    label = (rng.random(2000) < 0.1).astype(float)
    honest = rng.normal(size=2000) + label
    knowing = np.where(rng.random(2000) < 0.02, np.nan, -label + rng.normal(size=2000) * 0.1)
    assert suspects(np.column_stack([honest, knowing]), label, ["honest", "knowing"]) == ["knowing"]
    assert suspects(np.column_stack([honest, knowing])[:50], label[:50] * 0, ["honest", "knowing"]) == []


def test_a_walk_is_started_again_only_when_the_past_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    started = 0
    plain = Walk.__init__

    def counted(self: Walk, *given: object, **named: object) -> None:
        nonlocal started
        started += 1
        plain(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Walk, "__init__", counted)
    built(log(*((day + 0.5, *VIEW) for day in range(30))), until=60)
    assert started == 1
