"""The numbers that bound a host, and the numbers it tells of itself."""

import msgspec

from actors.activation import ActivationCounts


class ActorLimits(msgspec.Struct, frozen=True):
    """The host's bounds.

    Attributes
    ----------
    max_awake : entities in memory.
    idle_timeout_s : an entity nobody used for this long goes to sleep, at the latest after twice this.
    snapshot_interval_s : changed entities are written this often; what a crash has to fold again.
    snapshot_slice : entities dumped in one go, between two turns of the loop.
    mailbox_events : events that wait for one busy actor in memory.
    backlog_max : unwritten snapshots past which deliveries wait; past twice that the intake is full.
    recovery_batch : sleeping entities brought up to date in one go, in the background.
    stale_max : streams that may be marked as behind at the start; past it every snapshot is looked at instead.
    """

    max_awake: int = 50_000
    idle_timeout_s: float = 900.0
    snapshot_interval_s: float = 5.0
    snapshot_slice: int = 50
    mailbox_events: int = 10_000
    backlog_max: int = 5_000
    recovery_batch: int = 64
    stale_max: int = 200_000


class Counts(msgspec.Struct):
    """Counters since start; one object, shared by the parts of a host.

    Attributes
    ----------
    folded : events folded in place.
    skipped : events delivered that their entity had already.
    gaps : entities that had to read what they missed.
    refolded : entities folded anew: a late event, a retraction, a fold that raised.
    fold_failures : folds that raised instead of answering.
    failures : activations that failed, most often since the log could not be read.
    """

    folded: int = 0
    skipped: int = 0
    gaps: int = 0
    refolded: int = 0
    fold_failures: int = 0
    failures: int = 0
    passivated: int = 0
    snapshots_put: int = 0


class HostStatistics(msgspec.Struct, frozen=True):
    """The host now, and its counters since start.

    Attributes
    ----------
    behind : streams with events that no snapshot contains, awake or asleep.
    doubts : appends of unknown outcome, to be looked up in the log.
    recovered, to_recover : sleeping entities brought up to date since start, and how many there were to look at.
    """

    awake: int
    busy: int
    behind: int
    doubts: int
    timers: int
    is_recovering: bool
    recovered: int
    to_recover: int
    counts: Counts
    activations: ActivationCounts
