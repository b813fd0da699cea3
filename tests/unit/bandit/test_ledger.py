"""What a decision settles at, told sentence by sentence."""

from typing import Any

import msgspec
import pytest

from bandit.events import RewardSettled, payload_of
from bandit.ledger import SETTLE_GRACE_US, WEEK_US, Ledger, LedgerKind
from bandit.policy import RewardRule
from eventstore.event import Event, NewEvent
from tests.unit.bandit.logs import NOON, POLICY, PURCHASE, Log, a_decision, seconds, types_of

KIND = LedgerKind(types_of)
HOUR_US = 3_600_000_000


def folded(log: Log, ledger: Ledger | None = None) -> Ledger:
    ledger = ledger or KIND.new(log.stream, (), ())
    for event in log.events:
        ledger.fold(event)
    return ledger


def settled(log: Log, now_us: int = NOON + 100 * HOUR_US) -> dict[str, RewardSettled]:
    """Final settlements by decision, once everything is over."""
    found = [event.payload for event in folded(log).effects(now_us)]
    return {each.decision_id: each for each in found if each.kind != "provisional"}


def restored(ledger: Ledger) -> Ledger:
    dumped = msgspec.msgpack.decode(msgspec.msgpack.encode(ledger.dump()))
    return KIND.load(ledger.stream, dumped)


def test_a_purchase_within_its_window_is_the_reward_at_the_deadline() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    log.purchase("p1", seconds(60), 250)
    (event,) = folded(log).effects(seconds(3_600) + SETTLE_GRACE_US + 1)
    assert event.stream == POLICY
    assert event.at_us == seconds(3_600)
    assert event.id.startswith("~rs:")
    assert (event.payload.reward, event.payload.rewards, event.payload.kind) == (2.5, 1, "final")


def test_a_settlement_carries_the_decision() -> None:
    log = Log()
    made = a_decision()
    log.decision(made, NOON)
    one = settled(log)["d1"]
    assert (one.context, one.arms, one.distribution, one.arm, one.probability) == (
        made.context,
        made.arms,
        made.distribution,
        "mail",
        0.75,
    )
    assert (one.decided_us, one.settled_us) == (NOON, seconds(3_600))


def test_without_a_reward_the_default_settles() -> None:
    log = Log()
    log.decision(a_decision(default=-0.5), NOON)
    assert (settled(log)["d1"].reward, settled(log)["d1"].rewards) == (-0.5, 0)


@pytest.mark.parametrize(
    ("at_s", "counts"),
    [(0, False), (0.000001, True), (1_800, True), (1_800.000001, False), (-5, False)],
)
def test_a_rule_counts_events_after_the_decision_and_within_its_window(at_s: float, counts: bool) -> None:
    log = Log()
    rule = RewardRule(on="purchase_completed", within_s=1_800, value="1")
    log.decision(a_decision(rules=[rule]), NOON)
    log.purchase("p1", seconds(at_s), 1, recorded_us=seconds(2_000))
    assert settled(log)["d1"].reward == float(counts)


@pytest.mark.parametrize(("recorded_s", "counts"), [(3_600, True), (3_600.000001, False)])
def test_what_is_recorded_after_the_deadline_never_counts(recorded_s: float, counts: bool) -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    log.purchase("p1", seconds(10), 100, recorded_us=seconds(recorded_s))
    assert settled(log)["d1"].reward == float(counts)


def test_an_event_of_the_future_counts_from_its_time_on() -> None:
    log = Log()
    log.decision(a_decision(aggregation="earliest"), NOON)
    log.purchase("p1", seconds(200), 100, recorded_us=seconds(1))
    ledger = folded(log)
    assert ledger.effects(seconds(200)) == []
    (event,) = ledger.effects(seconds(200) + SETTLE_GRACE_US)
    assert (event.at_us, event.payload.reward) == (seconds(200), 1.0)


def test_an_event_of_the_future_recorded_before_the_decision_counts() -> None:
    log = Log()
    early = log.purchase("p1", seconds(200), 100, recorded_us=seconds(-1))
    log.decision(a_decision(), NOON)
    ledger = KIND.new(log.stream, [early], ())
    ledger.fold(log.events[1])
    (event,) = ledger.effects(seconds(9_000))
    assert event.payload.reward == 1.0


def test_retracting_a_counted_event_takes_the_reward_back() -> None:
    log = Log()
    log.decision(a_decision(default=0.1), NOON)
    log.purchase("p1", seconds(10), 100)
    log.retraction("p1", seconds(20))
    assert settled(log)["d1"].reward == 0.1


def test_retracting_after_the_settlement_changes_nothing() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    log.purchase("p1", seconds(10), 100)
    log.retraction("p1", seconds(3_601))
    assert settled(log)["d1"].reward == 1.0


def test_a_retraction_that_came_first_waits_for_its_event() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    log.retraction("p1", seconds(5))
    log.purchase("p1", seconds(10), 100)
    assert settled(log)["d1"].rewards == 0


def test_a_retraction_before_the_first_decision_is_told_to_the_companion() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    log.purchase("p1", seconds(10), 100)
    ledger = folded(log, KIND.new(log.stream, (), ["p1"]))
    assert ledger.effects(seconds(9_000))[0].payload.rewards == 0


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("latest", 2.0), ("sum", 4.0), ("max", 3.0), ("mean", 4 / 3), ("earliest", -1.0)]
)
def test_rewards_are_aggregated_in_recorded_order(aggregation: str, expected: float) -> None:
    log = Log()
    log.decision(a_decision(aggregation=aggregation), NOON)
    log.reward("d1", "a", -1.0, seconds(10))
    log.reward("d1", "b", 3.0, seconds(20))
    log.reward("d1", "c", 2.0, seconds(30))
    assert settled(log)["d1"].reward == expected


def test_earliest_settles_at_the_first_reward() -> None:
    log = Log()
    log.decision(a_decision(aggregation="earliest"), NOON)
    log.reward("d1", "a", 0.0, seconds(10))
    ledger = folded(log)
    (event,) = ledger.effects(seconds(10))
    assert (event.at_us, event.payload.reward, event.payload.rewards) == (seconds(10), 0.0, 1)
    assert ledger.closed("d1") is not None
    assert not ledger.open


def test_a_reward_recorded_again_under_its_id_is_revised_in_its_place() -> None:
    log = Log()
    log.decision(a_decision(aggregation="latest"), NOON)
    for place, (reward_id, value) in enumerate((("a", 1.0), ("b", 7.0), ("a", 5.0))):
        event = log.reward("d1", reward_id, value, seconds(place))
        event.id += str(place)  # the log would refuse it; a fold that is told of it again takes it as a revision
    assert settled(log)["d1"].reward == 7.0
    assert settled(log)["d1"].rewards == 2


def test_several_rules_reward_one_event_each() -> None:
    log = Log()
    rules = [PURCHASE, RewardRule(on="purchase_completed", within_s=60, value="0.5", where="amount > 50")]
    log.decision(a_decision(rules=rules), NOON)
    log.purchase("p1", seconds(10), 100)
    log.purchase("p2", seconds(11), 10)
    assert settled(log)["d1"].reward == pytest.approx(1.0 + 0.5 + 0.1)


def test_a_rule_whose_value_is_null_rewards_nothing() -> None:
    log = Log()
    rule = RewardRule(on="message_received", within_s=60, value="sentiment * 2")
    log.decision(a_decision(rules=[rule]), NOON)
    log.outside("message_received", "m1", seconds(1), conversation_id="c")
    log.outside("message_received", "m2", seconds(2), conversation_id="c", sentiment=0.25)
    assert (settled(log)["d1"].reward, settled(log)["d1"].rewards) == (0.5, 1)


def test_a_rule_about_a_type_that_is_gone_rewards_nothing_and_raises_nothing() -> None:
    log = Log()
    rules = [RewardRule(on="pack_is_gone", within_s=60, value="1"), RewardRule("login", 60, "no such")]
    log.decision(a_decision(rules=rules), NOON)
    log.outside("pack_is_gone", "x", seconds(1))
    log.outside("login", "l", seconds(1))
    assert settled(log)["d1"].rewards == 0


@pytest.mark.parametrize(("attribution", "rewarded"), [("last", ["d2"]), ("first", ["d1"]), ("all", ["d1", "d2"])])
def test_an_event_rewards_the_last_the_first_or_all_open_decisions(attribution: str, rewarded: list[str]) -> None:
    log = Log()
    log.decision(a_decision("d1", attribution=attribution), NOON)
    log.decision(a_decision("d2", attribution=attribution), seconds(10))
    log.purchase("p1", seconds(20), 100)
    assert [name for name, each in settled(log).items() if each.rewards] == rewarded


@pytest.mark.parametrize(("attribution", "rewarded"), [("last", ["d2"]), ("first", ["d1"])])
def test_of_decisions_of_one_instant_the_one_recorded_last_is_the_last(attribution: str, rewarded: list[str]) -> None:
    log = Log()
    for name in ("d1", "d2"):
        log.decision(a_decision(name, attribution=attribution), NOON)
    log.purchase("p1", seconds(20), 100)
    assert [name for name, each in settled(log).items() if each.rewards] == rewarded


def test_an_event_of_the_future_that_is_retracted_before_its_time_never_counts() -> None:
    log = Log()
    log.decision(a_decision(aggregation="earliest"), NOON)
    log.purchase("p1", seconds(200), 100, recorded_us=seconds(1))
    log.retraction("p1", seconds(100))
    assert settled(log)["d1"].rewards == 0


def test_a_late_told_event_rewards_the_decisions_that_were_made_before_it_happened() -> None:
    log = Log()
    log.decision(a_decision("d1"), NOON)
    log.decision(a_decision("d2"), seconds(10))
    log.purchase("p1", seconds(5), 100, recorded_us=seconds(30))
    assert [name for name, each in settled(log).items() if each.rewards] == ["d1"]


def test_decisions_of_two_policies_do_not_compete() -> None:
    log = Log()
    log.decision(a_decision("d1", policy="offers"), NOON)
    log.decision(a_decision("d2", policy="tone"), seconds(10))
    log.purchase("p1", seconds(20), 100)
    assert [each.rewards for each in settled(log).values()] == [1, 1]


def test_a_deferred_decision_keeps_its_rewards_until_it_is_activated() -> None:
    log = Log()
    log.decision(a_decision(deferred=True, aggregation="earliest"), NOON)
    log.reward("d1", "a", 2.0, seconds(10))
    ledger = folded(log)
    assert ledger.effects(seconds(11)) == []
    ledger.fold(log.activation("d1", seconds(20)))
    (event,) = ledger.effects(seconds(20))
    assert (event.at_us, event.payload.reward) == (seconds(20), 2.0)


@pytest.mark.parametrize("activated_s", [None, 3_601])
def test_a_deferred_decision_that_is_not_activated_in_time_expires(activated_s: int | None) -> None:
    log = Log()
    log.decision(a_decision(deferred=True), NOON)
    log.reward("d1", "a", 2.0, seconds(10))
    if activated_s is not None:
        log.activation("d1", seconds(activated_s))
    assert settled(log)["d1"].kind == "expired"


def test_a_surrogate_teaches_at_once_and_the_deadline_says_what_stands() -> None:
    log = Log()
    message = RewardRule(on="message_received", within_s=60, value="0.2", surrogate=True)
    log.decision(a_decision(rules=[PURCHASE, message]), NOON)
    log.outside("message_received", "m1", seconds(5), conversation_id="c")
    log.outside("message_received", "m2", seconds(6), conversation_id="c")
    log.purchase("p1", seconds(7), 100)
    first, second = [event.payload for event in folded(log).effects(seconds(9_000))]
    assert (first.kind, first.reward, first.settled_us) == ("provisional", 0.2, seconds(5))
    assert (second.kind, second.reward) == ("final", 1.4)


def test_what_is_written_is_named_no_more() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    ledger = folded(log)
    effects = ledger.effects(seconds(9_000))
    assert ledger.due_us() == seconds(3_600)
    ledger.written(effects)
    assert (ledger.effects(seconds(9_001)), ledger.due_us()) == ([], None)


def test_losing_what_was_written_names_the_same_again() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    first = folded(log).effects(seconds(9_000))
    assert [_bytes(each) for each in folded(log).effects(seconds(80_000))] == [_bytes(each) for each in first]


def test_the_deadline_is_looked_at_after_what_was_recorded_by_it_is_delivered() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    ledger = folded(log)
    due_us = ledger.due_us()
    assert due_us == seconds(3_600) + SETTLE_GRACE_US + 1
    assert ledger.effects(due_us - 1) == []
    assert len(ledger.effects(due_us)) == 1


def test_a_snapshot_goes_on_where_it_was() -> None:
    log = Log()
    log.decision(a_decision("d1"), NOON)
    log.decision(a_decision("d2", deferred=True), seconds(1))
    log.purchase("p1", seconds(100), 100, recorded_us=seconds(2))
    log.retraction("p9", seconds(3))
    ledger = restored(folded(log))
    later = Log()
    later.events = [log.purchase("p9", seconds(4), 100), log.activation("d2", seconds(5))]
    assert _contents(folded(later, ledger)) == _contents(folded(log))


def test_a_snapshot_keeps_settlements_that_are_not_written() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    ledger = folded(log)
    effects = ledger.effects(seconds(9_000))
    assert [_bytes(each) for each in restored(ledger).effects(seconds(9_000))] == [_bytes(each) for each in effects]


def test_nothing_is_kept_a_week_after_the_last_decision_settled() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    ledger = folded(log)
    ledger.written(ledger.effects(seconds(9_000)))
    assert ledger.dump() is not None
    ledger.fold(log.outside("login", "l", NOON + WEEK_US))
    assert ledger.dump() is None


@pytest.mark.parametrize("dumped", [None, [], "x", [1, 2, 3], [0, [[b"{}", 0, True, False, []]], [], [], [], [], []]])
def test_a_snapshot_that_cannot_be_read_is_refused(dumped: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        KIND.load(POLICY, dumped)


def test_the_week_counts_decisions_arms_and_channels_of_a_policy() -> None:
    log = Log()
    log.decision(a_decision("d1"), NOON)
    log.decision(a_decision("d2"), seconds(10))
    log.decision(a_decision("d3", policy="other"), seconds(20))
    week = restored(folded(log)).week("offers", seconds(30))
    assert (week.total, week.arms["mail"], week.channels["mail"]) == (2, 2, 2)
    assert folded(log).week("offers", NOON + WEEK_US).total == 1
    assert folded(log).week("offers", NOON + WEEK_US - 1).total == 2


def _bytes(event: NewEvent) -> tuple[str, bytes, int]:
    return event.id, event.data, event.at_us


def _contents(ledger: Ledger) -> list[tuple[str, bytes, int]]:
    return sorted(_bytes(each) for each in ledger.effects(NOON + 100 * HOUR_US))


def test_an_event_of_the_bandit_that_cannot_be_read_is_passed_over() -> None:
    log = Log()
    log.decision(a_decision(), NOON)
    broken: Event = log.reward("d1", "a", 1.0, seconds(1))
    broken.data, broken.payload = b'{"decision_id": 3}', None
    assert settled(log)["d1"].rewards == 0
    with pytest.raises(msgspec.MsgspecError):
        payload_of(broken)
