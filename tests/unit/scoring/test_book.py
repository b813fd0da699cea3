"""The book of a lead's predictions: what is latest, what came of it, and what the log alone decides."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from eventstore.event import Event
from kernel.steps import finish
from kernel.times import DAY_US, HOUR_US, SECOND_US
from projections.companion import Companions, accompanying
from scoring.alerts import ALERTS, AlertBookKind
from scoring.book import PREDICTION_NAMES, Book, Entry
from scoring.events import Predicted, PredictionValidated, Verdict
from scoring.prediction import made_event, opinion, opinion_event, payload_of
from scoring.trained import Models
from tests.unit.scoring.leads import KEEN, NOW_US, STREAM, book, book_kind, event, lead, models, scorer, stored

HORIZON_US = 30 * DAY_US
GRACE_US = HOUR_US


def made(
    version: int,
    at_us: int = NOW_US,
    *,
    values: dict[str, Any] | None = None,
    trained: Models | None = None,
    **options: Any,
) -> Event:
    """A prediction of the lead, as the log has it."""
    of = lead(KEEN if values is None else values, at_us)
    return stored(made_event(STREAM, scorer(trained, **options).predict([of], because="request")[0], at_us), version)


def entry(of: Book, kind: Any = "CONVERSION") -> Entry:
    found = of.latest("default", kind)
    assert found is not None
    return found


def verdicts(of: Book, now_us: int) -> dict[str, PredictionValidated]:
    return {each.payload.type: each.payload for each in of.effects(now_us)}


def outcome(events: Sequence[Event], kind: str = "CONVERSION", **options: Any) -> bool:
    """What is held to have come of a prediction when all horizons have passed."""
    return verdicts(book(events, **options), NOW_US + 400 * DAY_US)[kind].verdict.outcome


def test_the_latest_prediction_of_each_type_is_kept() -> None:
    kept = book([made(1, trained=models()), made(2, NOW_US + DAY_US)])
    assert entry(kept).made_us == NOW_US + DAY_US
    assert entry(kept).source == "rules"
    assert entry(kept, "CHURN").made_us == NOW_US
    assert kept.latest("other") is None


def test_a_prediction_made_for_an_earlier_time_is_not_the_latest() -> None:
    kept = book([made(1), made(2, NOW_US - DAY_US)])
    assert entry(kept).made_us == NOW_US


def test_expressions_read_the_latest_predictions() -> None:
    said = {each.type: each for each in payload_of(made(1, trained=models())).predictions}
    assert book([made(1, trained=models())]).values() == {
        "conversion_30d": said["CONVERSION"].probability,
        "churn_risk_30d": said["CHURN"].probability,
        "ib_call_risk_14d": said["CALL_RISK"].probability,
        "customer_health_score": said["HEALTH"].score,
    }
    assert book([made(1)]).values()["churn_risk_30d"] is None
    assert set(book().values()) == set(PREDICTION_NAMES)


def test_nothing_is_due_before_a_prediction_nor_after_its_verdict() -> None:
    assert book().due_us() is None
    kept = book([made(1)])
    assert kept.due_us() == NOW_US + HORIZON_US + GRACE_US
    assert kept.effects(NOW_US + HORIZON_US + GRACE_US - 1) == []
    (verdict,) = kept.effects(NOW_US + HORIZON_US + GRACE_US)
    assert (verdict.type, verdict.at_us) == ("prediction_validated", NOW_US + HORIZON_US)
    kept.fold(stored(verdict, 2))
    assert kept.due_us() is None
    assert entry(kept).verdict == Verdict("outcome", False, False)


def test_a_verdict_is_written_once_however_often_it_is_asked_for() -> None:
    kept = book([made(1)])
    first, second = kept.effects(NOW_US + 40 * DAY_US), kept.effects(NOW_US + 50 * DAY_US)
    assert [(each.id, each.data, each.at_us) for each in first] == [(each.id, each.data, each.at_us) for each in second]
    kept.written(first)
    assert (kept.due_us(), kept.effects(NOW_US + 60 * DAY_US)) == (None, [])


def test_each_type_has_its_own_horizon() -> None:
    kept = book([made(1, trained=models())])
    assert [each.payload.type for each in kept.effects(NOW_US + 15 * DAY_US)] == ["CALL_RISK"]
    assert len(kept.effects(NOW_US + 31 * DAY_US)) == 5


@pytest.mark.parametrize(
    ("after_us", "came"), [(0, False), (1, True), (HORIZON_US, True), (HORIZON_US + 1, False), (-DAY_US, False)]
)
def test_a_conversion_counts_within_the_horizon_alone(after_us: int, came: bool) -> None:
    assert outcome([made(1), event(2, "deal_won", NOW_US + after_us)]) is came


def test_what_a_conversion_is_the_prediction_says() -> None:
    assert outcome([made(1), event(2, "purchase_completed", NOW_US + DAY_US, amount="5")])
    assert not outcome([made(1), event(2, "session_completed", NOW_US + DAY_US)])


def test_a_conversion_of_the_future_that_was_recorded_before_counts() -> None:
    ahead = event(1, "deal_won", NOW_US + 60 * SECOND_US, recorded_us=NOW_US - 1)
    assert outcome([made(2)], waiting=[ahead])
    assert outcome(
        [made(1), event(2, "deal_won", NOW_US + 9 * SECOND_US, recorded_us=NOW_US), made(3, NOW_US + SECOND_US)]
    )


def test_a_conversion_that_was_taken_back_does_not_count() -> None:
    won = event(2, "deal_won", NOW_US + DAY_US, event_id="won")
    back = event(3, "event_retracted", NOW_US + DAY_US, event_id="r")
    back.data = msgspec.json.encode({"event_id": "won"})
    assert not outcome([made(1), won, back])
    early = event(2, "event_retracted", NOW_US, event_id="r")
    early.data = back.data
    late = event(3, "deal_won", NOW_US + DAY_US, event_id="won")
    assert not outcome([made(1), early, late])
    assert not outcome([made(1), late], awaited=["won"])


def test_two_calls_within_14_days_are_the_risk_of_calls() -> None:
    prediction = made(1, trained=models())
    near, far = event(2, "inbound_call", NOW_US + DAY_US), event(3, "inbound_call", NOW_US + 15 * DAY_US)
    also = event(4, "inbound_call", NOW_US + 14 * DAY_US)
    assert not outcome([prediction, near, far], "CALL_RISK")
    assert outcome([prediction, near, far, also], "CALL_RISK")


def test_leaving_is_a_cancellation_or_the_silence_of_an_active_lead() -> None:
    prediction = made(1, trained=models())
    assert outcome([prediction], "CHURN")
    assert not outcome([prediction, event(2, "login", NOW_US + DAY_US)], "CHURN")
    assert not outcome([prediction, event(2, "login", NOW_US + HORIZON_US)], "CHURN")
    assert outcome([prediction, event(2, "login", NOW_US + HORIZON_US + 1)], "CHURN")
    assert outcome([prediction, event(2, "campaign_received", NOW_US + DAY_US, campaign_id="c")], "CHURN")
    cancelled = [event(2, "login", NOW_US + DAY_US), event(3, "subscription_cancelled", NOW_US + 2 * DAY_US)]
    assert outcome([prediction, *cancelled], "CHURN")
    silent_before = made(1, values={**KEEN, "rfm:recency_days": 30}, trained=models())
    assert not outcome([silent_before], "CHURN")


def test_health_is_neither_leaving_nor_calling_twice() -> None:
    prediction = made(1, trained=models())
    alive = event(2, "login", NOW_US + DAY_US)
    calls = [event(version, "inbound_call", NOW_US + version * DAY_US) for version in (3, 4)]
    assert outcome([prediction, alive], "HEALTH")
    assert not outcome([prediction], "HEALTH")
    assert not outcome([prediction, alive, *calls], "HEALTH")


def test_old_news_makes_a_verdict_wait_for_its_grace() -> None:
    late_us = NOW_US + HORIZON_US + GRACE_US // 2
    kept = book([made(1), event(2, "deal_won", NOW_US + DAY_US, recorded_us=late_us)])
    assert kept.due_us() == late_us + GRACE_US
    assert verdicts(kept, late_us + GRACE_US)["CONVERSION"].verdict.outcome


def test_a_verdict_compares_with_the_threshold_of_its_time() -> None:
    yes = verdicts(book([made(1), event(2, "deal_won", NOW_US + 1)]), NOW_US + 99 * DAY_US)["CONVERSION"]
    no = verdicts(book([made(1, values={}), event(2, "deal_won", NOW_US + 1)]), NOW_US + 99 * DAY_US)["CONVERSION"]
    assert (yes.verdict.was_accurate, no.verdict.was_accurate) == (True, False)


def test_peoples_verdicts_are_kept_and_named_by_the_one_that_follows() -> None:
    prediction = made(1)
    said: Predicted = payload_of(prediction).predictions[0]
    wrong = opinion(said, False)
    validated = opinion_event(prediction, said, wrong, previous=None, place=1, at_us=NOW_US + 5)
    kept = book([prediction, stored(validated, 2)])
    assert entry(kept).verdict == wrong
    assert kept.due_us() is not None
    assert verdicts(kept, NOW_US + 99 * DAY_US)["CONVERSION"].previous == wrong


def test_predictions_of_the_past_go_when_their_outcome_is_known() -> None:
    kept = book([made(1), made(2, NOW_US + DAY_US)])
    first, second = kept.effects(NOW_US + 99 * DAY_US)
    old = entry(kept).id
    kept.fold(stored(first, 3))
    assert kept.entry(first.payload.prediction) is None
    kept.fold(stored(second, 4))
    assert entry(kept).id == old
    kept.fold(made(5, NOW_US + 100 * DAY_US))
    assert kept.entry(old) is None


def test_what_decides_nothing_any_more_is_let_go() -> None:
    calls = [event(version, "inbound_call", NOW_US + version * HOUR_US) for version in range(2, 50)]
    kept = book([made(1, trained=models()), *calls])
    full = len(msgspec.msgpack.encode(kept.dump()))
    for version, verdict in enumerate(kept.effects(NOW_US + 99 * DAY_US), 50):
        kept.fold(stored(verdict, version, NOW_US + 99 * DAY_US))
    kept.fold(event(60, "login", NOW_US + 100 * DAY_US))
    assert full - len(msgspec.msgpack.encode(kept.dump())) > 40 * len("inbound_call")


def test_a_book_reads_back_what_it_wrote() -> None:
    kept = book([made(1, trained=models()), event(2, "deal_won", NOW_US + DAY_US), event(3, "login", NOW_US + DAY_US)])
    dumped = msgspec.msgpack.decode(msgspec.msgpack.encode(kept.dump()))
    again = book_kind().load(STREAM, dumped)
    assert again.dump() == kept.dump()
    assert again.due_us() == kept.due_us()
    assert again.effects(NOW_US + 99 * DAY_US) == kept.effects(NOW_US + 99 * DAY_US)


@pytest.mark.parametrize("dumped", [None, [], [1], {"a": 1}, [[], [7], [], [], 0, 0]])
def test_a_state_that_cannot_be_read_is_refused(dumped: object) -> None:
    with pytest.raises(ValueError, match=r"Expected|no entry"):
        book_kind().load(STREAM, dumped)


def test_a_lead_gets_its_book_with_its_first_prediction_and_not_before() -> None:
    ahead = event(1, "deal_won", NOW_US + 60 * SECOND_US, recorded_us=NOW_US - 1)
    kinds = [book_kind(), AlertBookKind()]
    assert finish(accompanying(STREAM, kinds, [ahead])) is None
    companions = finish(accompanying(STREAM, kinds, [ahead, made(2)]))
    assert companions is not None
    (verdict,) = companions.effects(NOW_US + 99 * DAY_US)
    assert verdict.payload.verdict.outcome
    again = Companions(STREAM, kinds)
    again.load(msgspec.msgpack.decode(msgspec.msgpack.encode(companions.dump())))
    assert again.effects(NOW_US + 99 * DAY_US) == [verdict]
    companions.written([verdict])
    assert companions.due_us() is None
    assert companions.get(ALERTS) is None


def test_an_event_of_another_version_of_the_program_is_passed_over() -> None:
    odd = event(1, "prediction_made", NOW_US, event_id="~pm:x", other=1)
    also = event(2, "prediction_validated", NOW_US, event_id="~pv:x")
    assert book([odd, also]).due_us() is None
