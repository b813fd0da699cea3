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
    │  ├ StoreClosed                used after close
    │  ├ StoreFailed                a write's fate is unknown: only a restart from disk tells
    │  ├ HighWaterUnreadable        the record of what was acknowledged is damaged
    │  ├ LogBehindHighWater         the log ends before what was once acknowledged
    │  ├ LogNewerSchema             written by a later version of this program
    │  └ DirectoryInUse             another process owns the data directory
    ├ SnapshotError                 both recover by a refold; counted, never fatal
    │  ├ SnapshotCorrupt
    │  └ SnapshotSchemaMismatch
    ├ FeatureError
    │  ├ UnknownFeature
    │  └ DefinitionError            a pack that cannot be compiled: file, line, hint
    │     └ DuplicateFeature
    └ ActorError
       ├ MailboxFull*
       ├ IntakeFull*
       └ ActorStopped

``*`` is transient: trying again later is sensible (``is_transient``).
"""

from typing import ClassVar


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
