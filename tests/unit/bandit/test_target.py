"""What a stream's definitions and deletions come to, whatever else it holds."""

from bandit.events import PolicyDeleted, policy_deleted_event
from bandit.target import target_of
from tests.unit.bandit.logs import ARMS, COLUMNS, NOON, POLICY, Log, a_policy, seconds


def test_without_a_definition_there_is_nothing_to_fold_towards() -> None:
    assert target_of([]) is None


def test_the_newest_definition_says_what_learns_and_an_equal_learner_goes_on() -> None:
    log = Log(POLICY)
    log.definition(1, a_policy())
    log.definition(2, a_policy(arms=ARMS[:2]))
    target = target_of(log.events)
    assert target is not None
    assert (target.epoch, target.born, target.until, target.columns) == (1, 1, 2, COLUMNS)
    log.definition(3, a_policy(seed=7))
    target = target_of(log.events)
    assert target is not None
    assert (target.epoch, target.born, target.until, target.seed) == (3, 1, 3, 7)


def test_a_policy_that_was_deleted_is_born_again_with_its_next_definition() -> None:
    log = Log(POLICY)
    log.definition(1, a_policy())
    log.append(policy_deleted_event(POLICY, PolicyDeleted(2), NOON), seconds(2))
    deleted = target_of(log.events)
    assert deleted is not None
    assert deleted.born == 1, "what was decided before still settles"
    log.definition(3, a_policy())
    target = target_of(log.events)
    assert target is not None
    assert (target.epoch, target.born) == (3, 3)
