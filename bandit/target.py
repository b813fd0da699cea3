"""What a policy's stream is folded towards: the newest definition's learner, known before the first event is folded.

Enter: ``policy_defined`` and ``policy_deleted``, by version. Leaves: a ``Target``; two folds towards equal ones come to the
same model.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from bandit.events import POLICY_DEFINED, POLICY_DELETED, PolicyDefined, PolicyDeleted, payload_of
from bandit.learners.learner import Learner, LearnerSettings
from bandit.learners.making import load_learner, make_learner
from bandit.policy import Policy
from eventstore.event import Event
from kernel.errors import LearnerRefused


class LearnerKey(NamedTuple):
    """All that decides what a learner is: where it changes, the learner begins again."""

    settings: LearnerSettings
    seed: int
    baseline: str
    columns: tuple[str, ...]

    @classmethod
    def of(cls, policy: Policy, columns: Sequence[str]) -> "LearnerKey":
        baseline = policy.baseline or "" if policy.learner.kind == "fixed" else ""
        return cls(policy.learner, policy.seed, baseline, tuple(columns))

    def make(self) -> Learner:
        """A learner that has learned nothing; a uniform one where it can no longer be made."""
        try:
            return make_learner(self.settings, width=len(self.columns), seed=self.seed, baseline=self.baseline)
        except LearnerRefused:
            settings = LearnerSettings(kind="uniform")
            return make_learner(settings, width=len(self.columns), seed=self.seed, baseline=self.baseline)

    def load(self, model: bytes) -> Learner:
        """Raises ``ModelMismatch``."""
        return load_learner(self.settings, model, width=len(self.columns), seed=self.seed, baseline=self.baseline)


class Target(msgspec.Struct, frozen=True, array_like=True):
    """What a model is folded towards. ``born`` is the first version since the policy was last deleted; ``until`` the newest
    definition that was known when the fold began: those up to it change nothing of the learner.
    """

    settings: LearnerSettings
    seed: int
    baseline: str
    columns: tuple[str, ...]
    epoch: int
    born: int
    until: int

    @property
    def key(self) -> LearnerKey:
        return LearnerKey(self.settings, self.seed, self.baseline, self.columns)


def target_of(events: Iterable[Event]) -> Target | None:
    """What the definitions and deletions of a stream, by version, come to; None without a definition."""
    target: Target | None = None
    is_deleted = False
    for event in events:
        if event.type not in (POLICY_DEFINED, POLICY_DELETED):
            continue
        try:
            payload = payload_of(event)
        except msgspec.MsgspecError:
            continue
        if isinstance(payload, PolicyDeleted):
            is_deleted = True
        else:
            target = _towards(None if is_deleted else target, payload)
            is_deleted = False
    return target


def _towards(target: Target | None, defined: PolicyDefined) -> Target:
    key = LearnerKey.of(defined.policy, defined.columns)
    version = defined.version
    if target is None:
        return Target(*key, epoch=version, born=version, until=version)
    epoch = target.epoch if key == target.key else version
    return Target(*key, epoch=epoch, born=target.born, until=version)
