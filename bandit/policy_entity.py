"""A policy's stream, folded: its versions, its model, its figures.

Enters: ``policy_defined``, ``policy_deleted``, ``reward_settled`` and ``model_promoted``, by version. Leaves: the current policy, a
read copy of the model for decisions, model versions, statistics. Nothing here reads a clock but to say how old a read
copy may be.

The model is a function of the stream: of the newest definition's learner, seed and columns, and of all settlements
since the policy was last made anew, learned in order. A definition that changes the learner, the seed or the columns
therefore asks for a refold: what was settled before is learned again, under the new one, columns found by name. Arms
and everything else may change without.

A *model version* is made every ``every_updates`` updates, and before the first update that is recorded ``every_us`` after
the last one: places that follow from the log. It is named ``epoch.updates``: the policy version with which the learner
began, and how much it had learned. The newest few keep their bytes, as does the one that was promoted.

Snapshot, msgpack: ``_Saved``. A learner that does not go on to the same bytes from any place is saved as it was at the
last place from which it does; the host folds the rest again.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from bandit.deciding import Model
from bandit.events import (
    MODEL_PROMOTED,
    POLICY_DEFINED,
    POLICY_DELETED,
    REWARD_SETTLED,
    ModelPromoted,
    PolicyDefined,
    PolicyDeleted,
    RewardSettled,
    columns_fingerprint,
    payload_of,
)
from bandit.learners.learner import Learner
from bandit.models import ModelVersions
from bandit.policy import Policy
from bandit.settling import Translation, observation, teaches
from bandit.statistics import PolicyStatistics
from bandit.target import LearnerKey, Target
from eventstore.event import Event, NewEvent, Stream
from eventstore.snapshots import Snapshot
from kernel.errors import BanditError, LearnerRefused, ModelMismatch, SnapshotCorrupt, SnapshotSchemaMismatch
from kernel.ids import Position
from kernel.times import MINUTE_US, SECOND_US

#: How old a read copy may be when it decides.
READER_MAX_AGE_US: Final = SECOND_US
#: Definitions of which the documents are kept; of the columns, all.
_DEFINITIONS_KEPT: Final = 100
_FORMAT: Final = "policy 1"


class Definition(msgspec.Struct, frozen=True, array_like=True):
    """A version of the policy."""

    version: int
    policy: Policy
    fingerprint: str
    defined_us: int


class Cadence(msgspec.Struct, frozen=True):
    """When model versions are made."""

    every_updates: int = 1_000
    every_us: int = 60 * MINUTE_US


class _Saved(msgspec.Struct, array_like=True):
    position: int
    recorded_us: int
    definitions: list[Definition]
    columns: dict[str, list[str]]
    is_deleted: bool
    counted: int
    promotions: int
    target: Target | None
    model: bytes
    provisional: dict[str, tuple[int, float]]
    models: ModelVersions
    statistics: PolicyStatistics
    not_learned: int
    learned_us: int | None
    learned_position: int
    dead: list[int]


class PolicyEntity:
    """One policy.

    Attributes
    ----------
    learner : None before the first definition.
    models : its versions.
    not_learned : settlements that the learner refused, or that are of other columns than any definition's.
    """

    def __init__(self, stream: Stream, number: int, cadence: Cadence, target: Target | None = None) -> None:
        self.stream, self.number = stream, number
        self.version, self.position = 0, Position(0)
        self.recorded_us = 0
        self.definitions: list[Definition] = []
        self.is_deleted = False
        self.learner: Learner | None = None
        self.models = ModelVersions()
        self.statistics = PolicyStatistics()
        self.not_learned = 0
        self.learned_us: int | None = None
        self.promotions = 0
        self._counted = 0
        self._learned_position = Position(0)
        self._columns: dict[str, list[str]] = {}
        self._cadence = cadence
        self._target = target
        self._provisional: dict[str, tuple[int, float]] = {}
        self._translations: dict[str, Translation] = {}
        self._dead: set[int] = set()
        self._reader: tuple[int, Model] | None = None
        self._pinned: Model | None = None
        self._exact: Snapshot | None = None
        self._exact_updates = -1

    # The host's entity.

    def fold(self, event: Event) -> bool:
        """Take the next event. False: another learner begins, what was settled is to be learned again."""
        self.version, self.position = event.version, event.position
        is_folded = True
        try:
            is_folded = self._fold(event)
        except (msgspec.MsgspecError, ValueError):  # not as this version writes it: left out, as every fold leaves it
            self._dead.add(event.version)
        self.recorded_us = max(self.recorded_us, event.recorded_us)
        self._keep_exact()
        return is_folded

    def due_us(self) -> int | None:
        return None

    def effects(self, now_us: int) -> list[NewEvent]:
        return []

    def written(self, events: Sequence[NewEvent]) -> None:
        return None

    def is_dead(self, version: int) -> bool:
        return version in self._dead

    def dump(self) -> Snapshot:
        """The state now, or as it was where the learner could last be continued exactly."""
        learner = self.learner
        if learner is not None and not learner.is_exact_now and self._exact is not None:
            return self._exact
        return self._snapshot()

    # Questions.

    @property
    def current(self) -> Definition | None:
        """The policy as it is; None when it is deleted, or was never defined."""
        return None if self.is_deleted or not self.definitions else self.definitions[-1]

    @property
    def next_version(self) -> int:
        """What the next definition or deletion counts."""
        return self._counted + 1

    def definition(self, version: int) -> Definition | None:
        """A version of the policy, of the newest ones."""
        return next((each for each in self.definitions if each.version == version), None)

    def columns(self, fingerprint: str) -> Sequence[str]:
        """The names that a fingerprint stands for; none for one that is in no definition."""
        return self._columns.get(fingerprint, ())

    @property
    def updates(self) -> int:
        return 0 if self.learner is None else self.learner.updates

    def model(self, now_us: int) -> Model:
        """What decides: the promoted version, or a read copy at most a second old. Raises ``ValueError`` before a definition."""
        if self._pinned is not None:
            return self._pinned
        if self.learner is None:
            raise ValueError("there is no definition yet")
        if self._reader is None or not 0 <= now_us - self._reader[0] < READER_MAX_AGE_US:
            self._reader = (now_us, Model(self.model_name, self.learner.reader()))
        return self._reader[1]

    @property
    def model_name(self) -> str:
        """The name of the model as it is now: the policy version with which its learner began, and its updates."""
        return f"{0 if self._target is None else self._target.epoch}.{self.updates}"

    def model_bytes(self) -> bytes:
        """The model as it is now. Raises ``ValueError`` before a definition."""
        if self.learner is None:
            raise ValueError("there is no definition yet")
        return self.learner.dump()

    # Folding.

    def _fold(self, event: Event) -> bool:
        if event.type == REWARD_SETTLED:
            self._settle(event, payload_of(event))
        elif event.type == POLICY_DEFINED:
            return self._define(event, payload_of(event))
        elif event.type == POLICY_DELETED:
            self._delete(payload_of(event))
        elif event.type == MODEL_PROMOTED:
            self._promote(payload_of(event))
        return True

    def _define(self, event: Event, defined: PolicyDefined) -> bool:
        fingerprint = columns_fingerprint(defined.columns)
        key = LearnerKey.of(defined.policy, defined.columns)
        target = self._target
        if target is None or (self.is_deleted and defined.version > target.until):
            target = self._begin(key, defined.version)
        elif defined.version > target.until and key != target.key:
            return False
        # As it would be had the fold begun now: a model is not told from one that was folded anew.
        self._target = msgspec.structs.replace(target, until=max(target.until, defined.version))
        if self.learner is None:
            self.learner = target.key.make()
        self.definitions = [
            *self.definitions[-_DEFINITIONS_KEPT + 1 :],
            Definition(defined.version, defined.policy, fingerprint, event.at_us),
        ]
        self._columns[fingerprint] = defined.columns
        self._counted = defined.version
        self.is_deleted = False
        return True

    def _begin(self, key: LearnerKey, version: int) -> Target:
        """A policy that was never there, or was deleted, begins with an empty model."""
        self._target = Target(*key, epoch=version, born=version, until=version)
        self.learner = None
        self.models, self._provisional, self._translations = ModelVersions(), {}, {}
        self.not_learned, self.learned_us, self._learned_position = 0, None, Position(0)
        self._pinned = self._reader = self._exact = None
        self._exact_updates = -1
        return self._target

    def _delete(self, deleted: PolicyDeleted) -> None:
        self.is_deleted = True
        self._counted = deleted.version

    def _promote(self, promoted: ModelPromoted) -> None:
        self.promotions = promoted.number
        self.models.promote(promoted.version)
        self._pin()

    def _pin(self) -> None:
        self._pinned = None
        model = self.models.promoted_bytes()
        if model is not None and self._target is not None and self.models.promoted is not None:
            try:
                self._pinned = Model(self.models.promoted, self._target.key.load(model).reader())
            except ModelMismatch:  # of another library: what is learned since then decides
                self.models.promoted = None

    def _settle(self, event: Event, settled: RewardSettled) -> None:
        if settled.kind != "provisional":
            self.statistics.fold(settled)
        target, learner = self._target, self.learner
        if target is None or learner is None or settled.policy_version < target.born or not teaches(settled):
            return
        translation = self._translation(settled.columns, target.key)
        if translation is None:
            self.not_learned += 1
            return
        self._make_version_by_time(event)
        try:
            self._learn(learner, settled, translation)
        except BanditError:
            self.not_learned += 1
            return
        self.learned_us, self._learned_position = event.recorded_us, event.position
        if learner.updates - self.models.newest_updates >= self._cadence.every_updates:
            self._make_version(event.recorded_us)

    def _learn(self, learner: Learner, settled: RewardSettled, translation: Translation) -> None:
        """Learn a settlement once: early where it is provisional and can be corrected, else when it is final."""
        taught = observation(settled, translation)
        if settled.kind == "provisional":
            if learner.can_correct and settled.imitation is None:
                self._provisional[settled.decision_id] = (learner.learn(taught), settled.reward)
            return
        early = self._provisional.pop(settled.decision_id, None)
        if early is None:
            learner.learn(taught)
        else:
            mark, reward = early
            learner.correct(taught._replace(reward=reward), mark, taught.reward)

    def _translation(self, fingerprint: str, key: LearnerKey) -> Translation | None:
        found = self._translations.get(fingerprint)
        if found is None and fingerprint in self._columns:
            found = self._translations[fingerprint] = Translation.between(self._columns[fingerprint], key.columns)
        return found

    # Versions of the model.

    def _make_version_by_time(self, event: Event) -> None:
        since = self.models.newest_us
        if since is None:
            self.models.newest_us = event.recorded_us
        elif event.recorded_us - since >= self._cadence.every_us and self.updates > self.models.newest_updates:
            self._make_version(event.recorded_us)

    def _make_version(self, recorded_us: int) -> None:
        if self.learner is None or self._target is None:
            return
        self.models.add(
            self.model_name,
            self.learner.dump(),
            updates=self.learner.updates,
            position=self._learned_position,
            recorded_us=recorded_us,
            settings=self._target.settings,
        )

    # Snapshots.

    def _keep_exact(self) -> None:
        """A learner that is exact at some places only is saved at each of them."""
        learner = self.learner
        if learner is None or learner.is_exact_midway or not learner.is_exact_now:
            return
        if self._exact_updates != learner.updates:
            self._exact, self._exact_updates = self._snapshot(), learner.updates

    def _snapshot(self) -> Snapshot:
        saved = _Saved(
            position=self.position,
            recorded_us=self.recorded_us,
            definitions=self.definitions,
            columns=self._columns,
            is_deleted=self.is_deleted,
            counted=self._counted,
            promotions=self.promotions,
            target=self._target,
            model=b"" if self.learner is None else self.learner.dump(),
            provisional=self._provisional,
            models=self.models,
            statistics=self.statistics,
            not_learned=self.not_learned,
            learned_us=self.learned_us,
            learned_position=self._learned_position,
            dead=sorted(self._dead),
        )
        return Snapshot(self.number, self.version, _fingerprint(self._cadence), _ENCODER.encode(saved))

    @classmethod
    def load(cls, stream: Stream, snapshot: Snapshot, cadence: Cadence) -> "PolicyEntity":
        """Raises ``SnapshotError``."""
        if snapshot.fingerprint != _fingerprint(cadence):
            raise SnapshotSchemaMismatch(f"{snapshot.fingerprint} is not {_fingerprint(cadence)}")
        try:
            saved = _DECODER.decode(snapshot.state)
            entity = cls(stream, snapshot.number, cadence, saved.target)
            if saved.target is not None and saved.model:
                entity.learner = saved.target.key.load(saved.model)
        except msgspec.MsgspecError as error:
            raise SnapshotCorrupt(str(error)) from error
        except (ModelMismatch, LearnerRefused) as error:
            raise SnapshotSchemaMismatch(str(error)) from error
        entity._restore(snapshot, saved)
        return entity

    def _restore(self, snapshot: Snapshot, saved: _Saved) -> None:
        self.version, self.position = snapshot.version, Position(saved.position)
        self.recorded_us = saved.recorded_us
        self.definitions, self._columns = saved.definitions, saved.columns
        self.is_deleted, self._counted, self.promotions = saved.is_deleted, saved.counted, saved.promotions
        self._provisional, self.models, self.statistics = saved.provisional, saved.models, saved.statistics
        self.not_learned, self.learned_us = saved.not_learned, saved.learned_us
        self._learned_position, self._dead = Position(saved.learned_position), set(saved.dead)
        if self.learner is not None and not self.learner.is_exact_midway:
            self._exact, self._exact_updates = snapshot, self.learner.updates
        self._pin()


def _fingerprint(cadence: Cadence) -> str:
    return f"{_FORMAT} {cadence.every_updates} {cadence.every_us}"


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Saved)
