"""A policy's stream folded: versions, one model whatever happens in between, promotions, what does not teach."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import numpy as np
import pytest

from bandit.chance import unit
from bandit.events import (
    Imitation,
    ModelPromoted,
    PolicyDeleted,
    RewardSettled,
    columns_fingerprint,
    model_promoted_event,
    pack_vector,
    policy_deleted_event,
    settlement_event,
)
from bandit.learners.learner import Arm, Context, LearnerSettings
from bandit.policy import Policy
from bandit.policy_entity import Cadence, PolicyEntity, _Saved
from bandit.policy_folds import PolicyFolds
from bandit.settling import settlement
from eventstore.event import Event
from kernel.errors import SnapshotError
from kernel.steps import finish
from tests.unit.bandit.logs import COLUMNS, NOON, POLICY, Log, a_decision, a_policy, seconds

CADENCE = Cadence(every_updates=20, every_us=10**9)
KINDS = [
    LearnerSettings(kind="linear"),
    LearnerSettings(kind="linear", exploration="squarecb"),
    LearnerSettings(kind="vw", exploration="epsilon"),
    LearnerSettings(kind="uniform"),
]


def a_settlement(number: int, columns: Any = COLUMNS, **fields: Any) -> RewardSettled:
    """A decision between two arms of which the right one depends on the first number of its context."""
    value = unit(7, "x", str(number)) * 10
    arm = "mail" if unit(7, "arm", str(number)) < 0.5 else "call"
    reward = float((arm == "mail") == (value > 5))
    made = msgspec.structs.replace(
        a_decision(f"d{number}"),
        context=pack_vector(np.array([value, 1.0][: len(columns)] + [0.0] * (len(columns) - 2))),
        columns=columns_fingerprint(columns),
        arm=arm,
        probability=0.5,
        distribution=[0.5, 0.5],
        reason="explore",
    )
    at_us = seconds(number)
    settled = settlement(made, "final", decided_us=at_us, settled_us=at_us + 60, values=[reward])
    return msgspec.structs.replace(settled, **fields)


def settle(log: Log, *numbers: int, **fields: Any) -> None:
    for number in numbers:
        log.append(settlement_event(POLICY, a_settlement(number, **fields)), seconds(number) + 100)


def a_log(policy: Policy | None = None, count: int = 0) -> Log:
    log = Log(POLICY)
    log.definition(1, policy or a_policy())
    settle(log, *range(count))
    return log


def refolded(log: Log) -> PolicyEntity:
    return finish(PolicyFolds(CADENCE).refold(POLICY, 1, log.events))


def lived(log: Log, restart: Callable[[int], bool] = lambda version: False) -> PolicyEntity:
    """As a host lives it: folded one by one, refolded when asked for, stopped and started from its snapshots."""
    folds = PolicyFolds(CADENCE)
    entity = folds.new(POLICY, 1)
    pending, stopped = list(log.events), set[int]()
    while pending:
        event = pending.pop(0)
        if not entity.fold(event):
            entity = finish(folds.refold(POLICY, 1, log.events[: event.version]))
        if restart(event.version) and event.version not in stopped:
            stopped.add(event.version)  # from an older snapshot it comes by here again
            entity = folds.load(POLICY, entity.dump())
            pending = log.events[entity.version :]
    return entity


def shown(entity: PolicyEntity) -> dict[str, str]:
    """All of an entity, the model's bytes included, each part by its hash."""
    saved = msgspec.msgpack.decode(entity._snapshot().state, type=_Saved)
    parts = {name: msgspec.msgpack.encode(getattr(saved, name)) for name in saved.__struct_fields__}
    return {name: sha256(part).hexdigest()[:8] for name, part in parts.items()} | {"version": str(entity.version)}


def model_hash(entity: PolicyEntity) -> str:
    return sha256(entity.model_bytes()).hexdigest()


def probability(entity: PolicyEntity, value: float, arm: int = 0) -> float:
    arms = [Arm("mail", {"channel": "mail"}), Arm("call", {})]
    context = Context(np.array([value, 1.0]), {})
    return entity.model(10**18).predictor.predict(context, arms).probabilities[arm]


def test_the_policy_is_its_newest_definition() -> None:
    log = a_log()
    entity = lived(log)
    assert entity.current is not None
    assert (entity.current.version, entity.current.policy, entity.next_version) == (1, a_policy(), 2)
    log.definition(2, a_policy(floor=0.1))
    entity = lived(log)
    assert entity.current is not None
    assert entity.current.policy.floor == 0.1
    assert entity.definition(1) is not None
    assert entity.columns(entity.current.fingerprint) == list(COLUMNS)


def test_it_learns_what_settles() -> None:
    entity = lived(a_log(count=300))
    assert entity.updates == 300
    assert probability(entity, 9.0) > 0.6 > 0.4 > probability(entity, 1.0)


@pytest.mark.parametrize("learner", KINDS, ids=lambda each: f"{each.kind}-{each.exploration}")
def test_the_model_is_the_same_bytes_from_any_snapshot_and_from_nothing(learner: LearnerSettings) -> None:
    log = a_log(a_policy(learner=learner), 60)
    log.definition(2, a_policy(learner=learner, floor=0.1))
    settle(log, *range(60, 90))
    expected = refolded(log)
    for every in (1, 7, 40):
        entity = lived(log, lambda version, every=every: version % every == 0)
        assert model_hash(entity) == model_hash(expected)
        assert shown(entity) == shown(expected)
    assert shown(lived(log)) == shown(expected)


def test_a_learner_that_is_not_exact_midway_is_saved_where_it_is() -> None:
    learner = LearnerSettings(kind="vw", exploration="cover")
    log = a_log(a_policy(learner=learner), 30)
    entity = lived(log)
    assert entity.learner is not None
    assert not entity.learner.is_exact_midway
    assert entity.dump().version < entity.version
    once = lived(log, lambda version: version in (5, 11))
    assert model_hash(once) == model_hash(entity) == model_hash(refolded(log))


@pytest.mark.parametrize(
    "change",
    [{"learner": LearnerSettings(kind="linear", exploration="squarecb")}, {"seed": 9}],
    ids=["learner", "seed"],
)
def test_another_learner_learns_again_what_was_settled(change: dict[str, Any]) -> None:
    log = a_log(count=50)
    log.definition(2, a_policy(**change))
    settle(log, *range(50, 60))
    entity = lived(log)
    assert entity.updates == 60
    assert entity.model(0).version == "2.60"
    plain = a_log(a_policy(**change), 60)
    assert model_hash(entity) == model_hash(refolded(plain))
    assert shown(entity) == shown(refolded(log))


def test_arms_and_guardrails_change_without_losing_what_was_learned() -> None:
    log = a_log(count=50)
    log.definition(2, a_policy(arms=a_policy().arms[:2], floor=0.5))
    folds = PolicyFolds(CADENCE)
    entity = folds.new(POLICY, 1)
    assert all(entity.fold(event) for event in log.events)
    assert entity.model(0).version == "1.50"


def test_other_columns_are_found_by_name() -> None:
    log = a_log(count=100)
    columns = ("new:one", *reversed(COLUMNS))
    log.definition(2, a_policy(), columns)
    entity = lived(log)
    assert entity.updates == 100
    assert shown(entity) == shown(refolded(log))
    arms = [Arm("mail", {"channel": "mail"}), Arm("call", {})]
    values = np.array([np.nan, 1.0, 9.0])
    assert entity.model(0).predictor.predict(Context(values, {}), arms).probabilities[0] > 0.6


def test_columns_that_no_definition_names_are_not_learned() -> None:
    log = a_log()
    settle(log, 1, columns=columns_fingerprint(["unknown"]))
    assert (lived(log).updates, lived(log).not_learned) == (0, 1)


@pytest.mark.parametrize("fields", [{"reason": "holdout"}, {"kind": "expired"}])
def test_the_holdout_and_what_expired_do_not_teach(fields: dict[str, Any]) -> None:
    log = a_log()
    settle(log, 1, **fields)
    entity = lived(log)
    assert (entity.updates, entity.not_learned) == (0, 0)
    assert entity.statistics.arms({})[0].decisions == 1


@pytest.mark.parametrize(
    "fields",
    [{"probability": 0.0}, {"probability": 1.5}, {"reward": 1e13}, {"arm": "fax"}, {"context": b"12345678" * 3}],
)
def test_what_cannot_be_learned_is_counted_and_teaches_nothing(fields: dict[str, Any]) -> None:
    log = a_log(count=5)
    settle(log, 6, **fields)
    assert lived(log).not_learned == 1
    assert model_hash(lived(log)) == model_hash(lived(a_log(count=5)))


def test_an_event_that_cannot_be_read_is_left_out_and_named() -> None:
    log = a_log(count=3)
    settle(log, 4)
    log.events[-1].data, log.events[-1].payload = b'{"kind": 3}', None
    settle(log, 5)
    entity = lived(log)
    assert (entity.updates, entity.is_dead(5), entity.is_dead(4)) == (4, True, False)
    assert entity.version == 6


def test_a_surrogate_is_learned_early_and_replaced_exactly() -> None:
    early, late = a_log(count=10), a_log(count=10)
    settle(early, 11, kind="provisional", reward=0.2, rewards=1)
    settle(early, 12)
    settle(late, 12)
    assert lived(early).updates == 12
    settle(early, 11, reward=3.0)
    settle(late, 11, reward=3.0)
    mended, plain = lived(early, lambda version: version == 13), lived(late)
    assert mended.updates == plain.updates == 12
    for value in (1.0, 4.0, 9.0):
        assert probability(mended, value) == pytest.approx(probability(plain, value), abs=0.05)
    assert model_hash(mended) == model_hash(refolded(early))


def test_a_learner_that_cannot_correct_waits_for_what_is_final() -> None:
    log = a_log(a_policy(learner=LearnerSettings(kind="vw", exploration="epsilon")))
    settle(log, 1, kind="provisional", reward=0.2)
    assert lived(log).updates == 0
    settle(log, 1, reward=1.0)
    assert lived(log).updates == 1


def test_an_apprentice_learns_to_do_as_the_baseline_does() -> None:
    log = a_log()
    for number in range(200):
        acting = "mail" if unit(7, "x", str(number)) > 0.5 else "call"
        guess = "mail" if unit(8, "guess", str(number)) < 0.5 else "call"
        imitation = Imitation(guess, 0.5, first="mail")
        settle(log, number, arm=acting, probability=1.0, reason="forced", reward=-5.0, imitation=imitation)
    entity = lived(log)
    assert probability(entity, 9.0) > 0.6 > 0.4 > probability(entity, 1.0)
    health = entity.statistics.health(seconds(300), pending=0, not_learned=0, learned_us=None)
    assert health.imitation_rate == pytest.approx(0.5, abs=0.1)


def test_versions_are_made_every_so_many_updates_and_after_so_much_recorded_time() -> None:
    log = a_log(count=45)
    entity = lived(log)
    assert [each.version for each in entity.models.listed] == ["1.20", "1.40"]
    settle(log, 45 + 1_000)
    entity = lived(log)
    assert [each.version for each in entity.models.listed] == ["1.20", "1.40", "1.45"]
    newest = entity.models.listed[-1]
    assert newest.position == log.events[-2].position
    assert newest.settings == LearnerSettings()
    assert newest.size_bytes == len(entity.models.kept["1.45"])


def test_only_the_newest_versions_keep_their_bytes() -> None:
    entity = lived(a_log(count=200))
    assert len(entity.models.listed) == 10
    assert sorted(entity.models.kept) == ["1.120", "1.140", "1.160", "1.180", "1.200"]


def promote(log: Log, number: int, version: str | None) -> None:
    log.append(model_promoted_event(POLICY, ModelPromoted(number, version), NOON), seconds(10**4))


def test_decisions_follow_a_promoted_version_while_the_model_learns_on() -> None:
    log = a_log(count=100)
    promote(log, 1, "1.60")
    settle(log, *range(100, 300))
    entity = lived(log, lambda version: version % 50 == 0)
    assert entity.model(0).version == "1.60"
    assert entity.model(0).predictor.updates == 60
    assert "1.60" in entity.models.kept
    assert entity.updates == 300
    promote(log, 2, None)
    assert lived(log).model(0).version == "1.300"
    assert lived(log).promotions == 2


def test_a_version_without_bytes_cannot_be_promoted() -> None:
    log = a_log(count=200)
    promote(log, 1, "1.20")
    assert lived(log).model(0).version == "1.200"


def test_rolling_back_goes_to_the_version_before() -> None:
    models = lived(a_log(count=70)).models
    assert models.before(None) == "1.60"
    assert models.before("1.60") == "1.40"
    assert models.before("1.20") is None


def test_a_read_copy_is_at_most_a_second_old() -> None:
    log = a_log(count=10)
    entity = lived(log)
    first = entity.model(NOON)
    settle(log, 10)
    entity.fold(log.events[-1])
    assert entity.model(NOON + 999_999) is first
    assert entity.model(NOON + 1_000_000).version == "1.11"


def test_predicting_changes_no_bytes() -> None:
    entity = lived(a_log(count=10))
    before = model_hash(entity)
    probability(entity, 3.0)
    assert model_hash(entity) == before


def test_a_deleted_policy_begins_again_with_nothing_learned() -> None:
    log = a_log(count=30)
    log.append(policy_deleted_event(POLICY, PolicyDeleted(2), NOON), seconds(100))
    assert lived(log).current is None
    assert lived(log).next_version == 3
    settle(log, 31)
    log.definition(3, a_policy())
    settle(log, 32)
    settle(log, 33, policy_version=3)
    entity = lived(log)
    assert entity.model(0).version == "3.1"
    assert shown(entity) == shown(refolded(log)) == shown(lived(log, lambda version: version % 3 == 0))


def test_an_entity_that_knows_its_definitions_never_asks_for_a_refold() -> None:
    log = a_log(count=30)
    log.definition(2, a_policy(seed=5))
    settle(log, 31)
    entity = PolicyFolds(CADENCE).start(POLICY, 1, log.events)
    assert all(entity.fold(event) for event in log.events)
    assert shown(entity) == shown(refolded(log))


def test_a_snapshot_of_another_form_is_refused() -> None:
    folds = PolicyFolds(CADENCE)
    snapshot = lived(a_log(count=3)).dump()
    with pytest.raises(SnapshotError):
        PolicyFolds(Cadence(every_updates=3)).load(POLICY, snapshot)
    for state in (b"", b"\x90", snapshot.state[:-3]):
        with pytest.raises(SnapshotError):
            folds.load(POLICY, msgspec.structs.replace(snapshot, state=state))


def test_a_model_of_another_library_is_refused() -> None:
    entity = lived(a_log(count=3))
    saved = msgspec.msgpack.decode(entity.dump().state)
    saved[8] = saved[8][:-1] + b"x"
    snapshot = msgspec.structs.replace(entity.dump(), state=msgspec.msgpack.encode(saved))
    with pytest.raises(SnapshotError):
        PolicyFolds(CADENCE).load(POLICY, snapshot)


def test_there_is_no_model_before_a_definition() -> None:
    entity = PolicyFolds(CADENCE).new(POLICY, 1)
    with pytest.raises(ValueError, match="no definition"):
        entity.model(0)
    assert entity.current is None
    assert (entity.due_us(), entity.effects(NOON)) == (None, [])


def test_events_of_other_types_are_passed_over() -> None:
    log = a_log()
    log.outside("login", "l", NOON)
    assert lived(log).version == 2
    assert isinstance(log.events[1], Event)
