import numpy as np
import pytest

from eventstore.admission import Admission
from kernel.clock import VirtualClock
from kernel.ids import IdSource
from kernel.times import DAY_US
from scoring.metrics import auc
from scoring.synth import END_US, World
from scoring.synth_law import cancelled_by, learning, quiet_learning, sales, won_by
from tests.unit.scoring.leads import CATALOGUE
from tests.unit.scoring.worlds import stream_of

WORLD = World(8000, 3)
DAY = 150
EVERYBODY = np.flatnonzero(WORLD.born < DAY)
TIMES = np.full(len(EVERYBODY), WORLD.start_us + DAY * DAY_US)
TRUTH = WORLD.truth(EVERYBODY, TIMES)


def happened(kind: int, within_days: int, *, at_least: int = 1) -> np.ndarray:
    """Which leads called (2) or cancelled (8) so often in the days that follow the row's."""
    moves = (WORLD._habit_moves[DAY : DAY + within_days, EVERYBODY] & kind) > 0
    return moves.sum(axis=0) >= at_least


def test_equal_arguments_give_equal_bytes_and_another_seed_others() -> None:
    first = b"".join(World(20, 7).lines())
    assert first == b"".join(World(20, 7).lines())
    assert first != b"".join(World(20, 8).lines())


def test_every_line_passes_the_door() -> None:
    clock = VirtualClock(at_us=END_US)
    door = Admission(
        org="default",
        types=CATALOGUE.event_types,
        subjects=(),
        currency="USD",
        max_clock_skew_s=0,
        clock=clock,
        ids=IdSource(clock, 1),
    )
    admitted = door.admit_body(b"".join(World(30, 2).lines()), "application/x-ndjson")
    assert admitted.rejected == []
    assert len(admitted.events) > 500


def test_events_of_a_lead_rise_in_time_and_stay_within_the_log() -> None:
    for lead in range(50):
        times = [event.at_us for event in WORLD.events(lead)]
        assert times == sorted(set(times))
        assert WORLD.start_us <= times[0] <= times[-1] < WORLD.end_us


def test_the_law_is_of_the_kind_that_is_promised() -> None:
    won = (WORLD._deal_moves[DAY : DAY + 30, EVERYBODY] == 4).any(axis=0)
    assert 0.05 < won.mean() < 0.10
    assert 0.75 < auc(TRUTH.conversion, won.astype(float)) < 0.85


def test_the_laws_probabilities_come_true_as_often_as_they_say() -> None:
    won = (WORLD._deal_moves[DAY : DAY + 30, EVERYBODY] == 4).any(axis=0)
    calls = happened(2, 14, at_least=2)
    interactions = WORLD._interactions
    is_quiet = interactions[DAY + 30, EVERYBODY] == interactions[DAY, EVERYBODY]
    was_active = interactions[DAY, EVERYBODY] > interactions[DAY - 30, EVERYBODY]
    churned = happened(8, 30) | (is_quiet & was_active)
    for said, came in ((TRUTH.conversion, won), (TRUTH.calls, calls), (TRUTH.churn, churned)):
        error = 4 * np.sqrt(came.mean() / len(came))  # four standard errors
        assert abs(said.mean() - came.mean()) < error
        upper = said > np.quantile(said, 0.8)
        assert abs(said[upper].mean() - came[upper].mean()) < 4 * np.sqrt(came[upper].mean() / upper.sum())


def test_the_laws_wait_is_that_of_the_deals_that_are_won() -> None:
    moves = WORLD._deal_moves[DAY : DAY + 90, EVERYBODY] == 4
    won = moves.any(axis=0)
    wait = moves.argmax(axis=0) + 0.5
    weight = won.astype(float)
    expected = TRUTH.days_mean[won].mean()
    assert abs(wait[won].mean() - expected) < 4 * wait[won].std() / np.sqrt(weight.sum())


def test_the_truth_is_known_at_midnights_within_the_log_only() -> None:
    with pytest.raises(ValueError, match="midnights"):
        WORLD.truth(np.array([0]), np.array([WORLD.start_us + 1]))
    with pytest.raises(ValueError, match="midnights"):
        WORLD.truth(np.array([0]), np.array([WORLD.end_us + DAY_US]))


def test_nothing_is_said_of_a_lead_before_it_came() -> None:
    late = int(np.argmax(WORLD.born))
    truth = WORLD.truth(np.array([late]), np.array([WORLD.start_us]))
    assert all(np.isnan(each[0]) for each in truth)


def test_chances_are_chances() -> None:
    chances, habits = sales(np.array([-1.5, 0.0, 1.6])), learning(np.array([-0.45, 0.65]))
    assert (chances.none > 0).all()
    assert all(((each >= 0) & (each <= 1)).all() for each in (*chances, *habits))
    waits = won_by(chances, 40)
    assert (np.diff(waits, axis=0) >= 0).all()
    assert (cancelled_by(habits, 30) + quiet_learning(habits, 30) <= 1).all()


def test_a_stream_is_what_the_lines_say() -> None:
    events = stream_of(WORLD, 5)
    assert [event.type for event in events][:3] == ["lead_created", "profile_updated", "signed_up"]
    assert all(event.recorded_us == event.at_us for event in events)
