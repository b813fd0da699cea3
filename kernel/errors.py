"""The one error tree. Fields, not prose: a leaf is added with the code that raises it.

::

    LeadwheelError
    ├ SettingsError                 at start only: key, source, expected form
    ├ AdmissionError                a request is refused before its events are looked at
    │  ├ MalformedBody              the body is no JSON
    │  ├ UnsupportedMediaType       neither JSON nor NDJSON
    │  └ RequestTooLarge            more bytes or events than a request may carry
    ├ EventStoreError
    │  ├ StoreUnavailable*          the log cannot be written now (disk full, broker away)
    │  │  ├ NotLeading*             another process writes it, or will in a moment
    │  │  └ LogIncomplete*          the copy of it is being made, and has not come to what is asked for
    │  ├ StoreClosed                used after close
    │  ├ StoreFailed                a write's fate is unknown: only a restart from disk tells
    │  ├ HighWaterUnreadable        the record of what was acknowledged is damaged
    │  ├ LogBehindHighWater         the log ends before what was once acknowledged
    │  ├ LogNewerSchema             written by a later version of this program
    │  ├ LogIsCopy                  the directory follows a Kafka topic, and is opened without it
    │  ├ LogIsNoCopy                the directory has a log of its own, and is opened as a topic's copy
    │  ├ CopyDiffers                a copy that began from snapshots does not agree with its topic
    │  ├ TopicUnfit                 the Kafka topic is missing, or kept in a way that would lose events
    │  ├ TopicMissing               no Kafka topic of that name
    │  ├ BrokersRefused             the Kafka brokers refuse who connects
    │  ├ RecordTooLarge             the topic does not take an event of that size
    │  ├ OwnershipLost              another process writes the topic now
    │  ├ MoveRefused                a log cannot be moved: what is at its new place is not its beginning
    │  ├ MoveDiffers                what was moved does not fold to the same; the old place stays in use
    │  └ DirectoryInUse             another process owns the data directory
    ├ SnapshotError                 both recover by a refold; counted, never fatal
    │  ├ SnapshotCorrupt
    │  └ SnapshotSchemaMismatch
    ├ FeatureError
    │  ├ UnknownFeature
    │  └ DefinitionError            a pack that cannot be compiled: file, line, hint
    │     └ DuplicateFeature
    ├ NodeUnreachable*              another node did not answer
    ├ NotDelivered                  a webhook's receiver did not take what was posted
    ├ InvalidDefinition             a policy, a rule or an expression that was sent: each fault by path
    ├ ActorError
    │  ├ MailboxFull*
    │  ├ IntakeFull*
    │  └ ActorStopped
    ├ BanditError
    │  ├ NoEligibleArm              nobody may be chosen, or the chosen one was not eligible
    │  │  └ NobodyEligible          of a decision's arms, by the request or by the guardrails
    │  ├ InvalidProbability         a number that is no probability, numbers that are no distribution
    │  ├ InvalidReward              not finite, or beyond what sums can hold
    │  ├ UnmeetableShares           floor and shares that no distribution meets
    │  ├ ContextWidthMismatch       a context of another service than the learner's
    │  ├ CannotCorrect              this kind of learner cannot take a reward back
    │  ├ LearnerRefused             settings of a learner that are unknown or not allowed
    │  └ ModelMismatch              a model's bytes of other settings or library; rebuild it from the log
    └ ScoringError
       ├ TooFewRows                 the log does not hold enough to train from
       ├ ModelNotFound              no scoring model of that version
       ├ ModelCorrupt               a model's file or card is damaged, or holds what is not trusted
       └ ModelSchemaMismatch        a scoring model of other features than the catalogue's; train it anew

``*`` is transient: trying again later is sensible (``is_transient``).
"""

from collections.abc import Sequence
from typing import ClassVar, Literal


class LeadwheelError(Exception):
    """Root of all errors raised on purpose."""

    is_transient: ClassVar[bool] = False


class SettingsError(LeadwheelError):
    """A setting is unknown or has the wrong form."""

    def __init__(self, key: str, source: str, expected: str) -> None:
        super().__init__(f"{source}: {key}: {expected}")
        self.key, self.source, self.expected = key, source, expected


class AdmissionError(LeadwheelError):
    """A request is refused before its events are looked at."""


class MalformedBody(AdmissionError):
    """The body is no JSON (in UTF-8)."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the body is no JSON: {reason}")
        self.reason = reason


class UnsupportedMediaType(AdmissionError):
    """The body's media type is none of those that are taken."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"expected {expected}, got {actual or 'no media type'}")
        self.expected, self.actual = expected, actual


class RequestTooLarge(AdmissionError):
    """A request carries more than it may. ``unit`` is ``bytes`` or ``events``."""

    def __init__(self, unit: str, limit: int, actual: int) -> None:
        super().__init__(f"a request may carry at most {limit} {unit}, this one has {actual}")
        self.unit, self.limit, self.actual = unit, limit, actual


class EventStoreError(LeadwheelError):
    """The event store refuses or fails."""


class StoreUnavailable(EventStoreError):
    """The log cannot be written now; nothing of the request was stored."""

    is_transient = True


class NotLeading(StoreUnavailable):
    """Another process writes the log, or will in a moment: this one only follows."""


class LogIncomplete(StoreUnavailable):
    """The copy of the log does not have the events yet that are asked for. ``progress``: the part that it has, 0 to 1."""

    def __init__(self, progress: float) -> None:
        super().__init__(f"the copy of the log is being made, {progress:.0%} so far; this waits for it")
        self.progress = progress


class CopyDiffers(EventStoreError):
    """A copy that began from a changelog's snapshots does not agree with the topic that it is of."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}: the changelog is not of this topic. Remove the changelog's topic, and the copy's directory"
        )


class StoreClosed(EventStoreError):
    """The store was used after it was closed."""


class StoreFailed(EventStoreError):
    """A write's fate is unknown after an I/O error: only a restart from disk tells what is stored."""


class HighWaterUnreadable(EventStoreError):
    """The record of the highest acknowledged position is damaged, so the log cannot be checked against it."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}: the high-water mark is damaged, so it cannot be said whether events are missing. "
            "Check the log, then remove this file to start without the check."
        )
        self.path = path


class LogBehindHighWater(EventStoreError):
    """The log ends before a position that was once acknowledged: the file was damaged or replaced."""

    def __init__(self, path: str, expected: int, actual: int) -> None:
        super().__init__(
            f"{path}: the log ends at position {actual}, but position {expected} was acknowledged: "
            f"{expected - actual} events are missing. The file or its write-ahead log was damaged or replaced; "
            "restore it from a backup. Nothing was changed."
        )
        self.path, self.expected, self.actual = path, expected, actual


class LogNewerSchema(EventStoreError):
    """The log was written by a later version of this program."""

    def __init__(self, path: str, expected: int, actual: int) -> None:
        super().__init__(f"{path}: schema {actual} is newer than {expected}, the newest this version knows")
        self.path, self.expected, self.actual = path, expected, actual


class LogIsCopy(EventStoreError):
    """The directory is a copy of a Kafka topic: appending to it alone would part the two."""

    def __init__(self, path: str, topic: str) -> None:
        super().__init__(f"{path} is a copy of the Kafka topic {topic}: open it with store.kind = kafka and this topic")
        self.path, self.topic = path, topic


class LogIsNoCopy(EventStoreError):
    """The directory cannot follow this topic: it has a log of its own, or follows another one."""

    def __init__(self, topic: str, actual: str) -> None:
        super().__init__(f"the directory cannot follow the topic {topic}: it holds {actual}; give an empty directory")
        self.topic, self.actual = topic, actual


class TopicUnfit(EventStoreError):
    """A Kafka topic cannot be the log, or what it is to be beside it."""

    def __init__(self, topic: str, expected: str, actual: str, *, use: str = "the log") -> None:
        super().__init__(f"the Kafka topic {topic} cannot be {use}: expected {expected}, got {actual}")
        self.topic, self.expected, self.actual = topic, expected, actual


class TopicMissing(EventStoreError):
    """The brokers know no topic of that name, or do not show it to who connects."""

    def __init__(self, topic: str, brokers: str) -> None:
        super().__init__(f"there is no topic {topic} at {brokers}, or no access to it")
        self.topic, self.brokers = topic, brokers


class BrokersRefused(EventStoreError):
    """The Kafka brokers refuse who connects, or what they want to do."""

    def __init__(self, brokers: str, reason: str) -> None:
        super().__init__(f"the Kafka brokers at {brokers} refuse: {reason}")
        self.brokers, self.reason = brokers, reason


class RecordTooLarge(EventStoreError):
    """The topic does not take a record of that size; nothing of the append was stored."""

    def __init__(self, stream: str, limit: int, actual: int) -> None:
        super().__init__(f"an event of {stream} takes {actual} bytes, the topic takes at most {limit}")
        self.stream, self.limit, self.actual = stream, limit, actual


class OwnershipLost(EventStoreError):
    """Another process has become the one that writes a partition: this one must not go on."""

    def __init__(self, topic: str, partition: int, owner: str) -> None:
        super().__init__(f"partition {partition} of the topic {topic} is written by {owner} now")
        self.topic, self.partition, self.owner = topic, partition, owner


class MoveRefused(EventStoreError):
    """A log cannot be moved to or from a topic that holds something else."""

    def __init__(self, topic: str, expected: str, actual: str) -> None:
        super().__init__(f"the topic {topic} is left as it is: expected {expected}, found {actual}")
        self.topic, self.expected, self.actual = topic, expected, actual


class MoveDiffers(EventStoreError):
    """What was moved does not fold to the same values or models: the old place is to stay in use."""

    def __init__(self, streams: Sequence[str], compared: int) -> None:
        first = ", ".join(streams[:5])
        super().__init__(f"{len(streams)} of {compared} streams differ, do not switch: {first}")
        self.streams, self.compared = tuple(streams), compared


class DirectoryInUse(EventStoreError):
    """Another process owns the data directory."""

    def __init__(self, path: str, holder: str) -> None:
        super().__init__(f"{path} is in use by {holder}")
        self.path, self.holder = path, holder


class SnapshotError(LeadwheelError):
    """A snapshot cannot be used; the state is folded again from the log."""


class SnapshotCorrupt(SnapshotError):
    """A snapshot's checksum or encoding is wrong."""


class SnapshotSchemaMismatch(SnapshotError):
    """A snapshot was built under another catalogue."""


class FeatureError(LeadwheelError):
    """A feature or its definition is at fault."""


class UnknownFeature(FeatureError):
    """No view, feature or service of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown view, feature or service: {name}")
        self.name = name


class DefinitionError(FeatureError):
    """A pack's declaration cannot be compiled."""

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        super().__init__(f"{where}: {problem}" + (f" (hint: {hint})" if hint else ""))
        self.where, self.problem, self.hint = where, problem, hint


class DuplicateFeature(DefinitionError):
    """Two definitions have one name."""

    def __init__(self, name: str, where: str, first: str) -> None:
        super().__init__(where, f"defined twice: {name}", f"first at {first}")
        self.name = name


class InvalidDefinition(LeadwheelError):
    """Something that users define as data (a policy, a rule, an expression) is refused.

    ``faults`` are triples of path, what was expected there, and what came.
    """

    def __init__(self, faults: Sequence[tuple[str, str, str]]) -> None:
        self.faults = tuple(faults)
        path, expected, actual = self.faults[0]
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        super().__init__(f"{path or 'the definition'}: expected {expected}, got {actual}{more}")


class NodeUnreachable(LeadwheelError):
    """Another node gave no answer.

    ``was_sent``: it may have done all the same what it was asked. ``was_closed``: the connection ended before anything of an
    answer came, as that of a node does which has closed it for being idle.
    """

    is_transient = True

    def __init__(self, reason: str, *, was_sent: bool = False, was_closed: bool = False) -> None:
        super().__init__(reason)
        self.was_sent, self.was_closed = was_sent, was_closed


class NotDelivered(LeadwheelError):
    """A webhook's receiver did not take what was posted: no answer in time, or another one than 2xx."""

    def __init__(self, reason: str, *, is_final: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.is_final = is_final  #: the receiver says that it is gone: trying again is in vain
        self.retry_after_s = retry_after_s  #: what it asks to be spared for


class ActorError(LeadwheelError):
    """An actor cannot take a message."""


class MailboxFull(ActorError):
    """An actor's mailbox is at its bound."""

    is_transient = True


class IntakeFull(ActorError):
    """The intake holds as much as it may; nothing of the request was stored."""

    is_transient = True


class ActorStopped(ActorError):
    """The host is stopping."""


class BanditError(LeadwheelError):
    """A policy, a decision or a learner is asked for what it cannot do."""


class NoEligibleArm(BanditError):
    """No arm may be chosen, or the arm in question is none of those that may."""

    def __init__(self, arm: str | None = None) -> None:
        super().__init__("no arm is eligible" if arm is None else f"not among the eligible arms: {arm}")
        self.arm = arm


class NobodyEligible(NoEligibleArm):
    """A decision has nobody to choose. ``by`` says whether the request or the guardrails left none."""

    def __init__(self, by: Literal["request", "guardrails"]) -> None:
        super().__init__()
        self.args = (f"no arm is eligible: the {by} left none",)
        self.by = by


class InvalidProbability(BanditError):
    """A number is no probability, or numbers are no distribution."""

    def __init__(self, expected: str, actual: object) -> None:
        super().__init__(f"expected {expected}, got {actual}")
        self.expected, self.actual = expected, actual


class InvalidReward(BanditError):
    """A reward or its weight is not finite, or beyond what sums can hold."""

    def __init__(self, expected: str, actual: object) -> None:
        super().__init__(f"expected {expected}, got {actual}")
        self.expected, self.actual = expected, actual


class UnmeetableShares(BanditError):
    """No distribution over the eligible arms meets floor and shares together."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class ContextWidthMismatch(BanditError):
    """A context has another number of columns than the learner was made for."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"the learner takes contexts of {expected} columns, this one has {actual}")
        self.expected, self.actual = expected, actual


class CannotCorrect(BanditError):
    """The kind of learner cannot replace a reward that it has learned."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"a {kind} learner cannot take a reward back")
        self.kind = kind


class LearnerRefused(BanditError):
    """A learner's settings are unknown or not allowed. ``key`` is ``kind``, ``exploration`` or ``args``."""

    def __init__(self, key: str, expected: str, actual: object) -> None:
        super().__init__(f"learner.{key}: expected {expected}, got {actual}")
        self.key, self.expected, self.actual = key, expected, actual


class ModelMismatch(BanditError):
    """A model's bytes cannot be used here: it is to be rebuilt from the log. ``what`` names what differs."""

    def __init__(self, what: str, expected: object, actual: object) -> None:
        super().__init__(f"the model's {what} is {actual}, not {expected}; rebuild it from the log")
        self.what, self.expected, self.actual = what, expected, actual


class ScoringError(LeadwheelError):
    """A scoring model cannot be trained, found or used."""


class TooFewRows(ScoringError):
    """The log does not hold enough to train from."""

    def __init__(self, reason: str, rows: int) -> None:
        super().__init__(f"{reason} ({rows} rows)")
        self.reason, self.rows = reason, rows


class TrainingFailed(ScoringError):
    """A training made no model; why, its process said."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ModelNotFound(ScoringError):
    """No scoring model of that version."""

    def __init__(self, model_id: str) -> None:
        super().__init__(f"no model {model_id}")
        self.model_id = model_id


class ModelCorrupt(ScoringError):
    """A model's file or card is damaged, or holds a type that is not trusted."""

    def __init__(self, model_id: str, reason: str) -> None:
        super().__init__(f"model {model_id}: {reason}")
        self.model_id, self.reason = model_id, reason


class ModelSchemaMismatch(ScoringError):
    """A model was trained on other features than those that it is asked about; it is to be trained anew."""

    def __init__(self, model_id: str, expected: str, actual: str) -> None:
        super().__init__(f"model {model_id} is of features {expected}, not of {actual}; train it anew")
        self.model_id, self.expected, self.actual = model_id, expected, actual
