"""The record of a decision, and what the sender of a reward is told."""

from typing import Any

import msgspec
import pytest

from bandit.ledger import Ledger, LedgerKind
from bandit.records import DecisionRecord, RewardStanding, is_late, recording, recordings, standing
from eventstore.event import Event
from kernel.steps import finish
from tests.unit.bandit.logs import COLUMNS, NOON, Log, a_decision, seconds, types_of

KIND = LedgerKind(types_of)


def recorded(log: Log, now_us: int, decision_id: str = "d1") -> DecisionRecord:
    found = finish(recording(log.events, decision_id, KIND, COLUMNS, now_us))
    assert found is not None
    return found


def stood(log: Log, reward: Event) -> RewardStanding:
    ledger = Ledger(log.stream, KIND.book)
    for event in log.events:
        ledger.fold(event)
    return standing(ledger, log.events[0], reward)


def test_an_open_decision_shows_what_was_chosen_and_what_counts_so_far() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    log.purchase("p1", seconds(5), 50)
    log.reward("d1", "r1", 2.0, seconds(6))
    record = recorded(log, seconds(7))
    assert (record.state, record.reward, record.lead, record.arm) == ("open", None, "42", "mail")
    assert [(each.id, each.value, each.at_us) for each in record.rewards] == [
        ("~p1/0", 0.5, seconds(5)),
        ("r1", 2.0, seconds(6)),
    ]
    assert record.context == {"rfm:recency_days": 3.0, "rfm:monetary_total": 120.0}
    assert [each.arm for each in record.ranking] == ["mail", "call"]


def test_a_settled_decision_shows_what_it_settled_at_and_what_came_late() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    log.reward("d1", "r1", 2.0, seconds(6))
    log.reward("d1", "r2", 5.0, seconds(3_601))
    record = recorded(log, seconds(4_000))
    assert (record.state, record.reward, [each.id for each in record.rewards]) == ("settled", 2.0, ["r1", "r2"])


def test_the_deadline_itself_still_counts() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    assert recorded(log, seconds(3_600)).state == "open"
    assert recorded(log, seconds(3_600) + 1).state == "settled"
    assert recorded(log, seconds(3_600) + 1).reward == 0.0


def test_a_deferred_decision_is_deferred_until_it_is_activated_or_expires() -> None:
    log = Log()
    log.decision(a_decision(deferred=True), NOON)
    assert recorded(log, seconds(1)).state == "deferred"
    assert recorded(log, seconds(4_000)).state == "expired"
    log.activation("d1", seconds(2))
    assert recorded(log, seconds(3)).state == "open"


def test_under_earliest_the_first_settles_and_further_ones_are_stored() -> None:
    log = Log()
    log.decision(a_decision(aggregation="earliest"), NOON)
    first = log.reward("d1", "r1", 2.0, seconds(6))
    assert stood(log, first) == RewardStanding(late=False, learned=True)
    second = log.reward("d1", "r2", 5.0, seconds(7))
    assert stood(log, second) == RewardStanding(late=False, learned=False)
    assert recorded(log, seconds(8)).reward == 2.0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, True), ({"reason": "holdout"}, False), ({"deferred": True}, False), ({"reason": "forced"}, True)],
)
def test_the_sender_is_told_whether_the_model_learns_of_it(fields: dict[str, Any], expected: bool) -> None:
    log = Log()
    log.decision(msgspec.structs.replace(a_decision(), **fields), NOON)
    assert stood(log, log.reward("d1", "r1", 2.0, seconds(6))).learned is expected


def test_a_late_reward_is_told_so() -> None:
    log = Log()
    made = log.decision(a_decision(), NOON)
    assert stood(log, log.reward("d1", "r1", 2.0, seconds(3_601))) == RewardStanding(late=True, learned=False)
    assert not is_late(made.payload or a_decision(), NOON, seconds(3_600))


def test_a_decision_that_is_not_there_has_no_record() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    assert finish(recording(log.events, "other", KIND, COLUMNS, NOON)) is None
    assert finish(recording([], "d1", KIND, COLUMNS, NOON)) is None


def test_another_decisions_rewards_are_not_its_own() -> None:
    log = Log()
    log.decision(a_decision("d1"), NOON)
    log.decision(a_decision("d2"), NOON)
    log.reward("d2", "r1", 2.0, seconds(6))
    assert recorded(log, seconds(7), "d1").rewards == []
    assert len(recorded(log, seconds(7), "d2").rewards) == 1
    both = finish(recordings(log.events, ["d2", "d1", "d3"], KIND, lambda made: COLUMNS, seconds(7)))
    assert both == {name: recorded(log, seconds(7), name) for name in ("d1", "d2")}
