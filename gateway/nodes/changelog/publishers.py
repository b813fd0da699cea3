"""The changelog of a node's topic, as far as the node writes it: what its publishers share, and what they come to."""

from collections.abc import Callable
from typing import Self, cast

from eventstore.kafka_changelog import open_changelog
from eventstore.kafka_changelog_writer import ChangelogWriter
from eventstore.kafka_client import Connections
from eventstore.sqlite import SqliteEventStore
from gateway.nodes.changelog.pace import Pace
from gateway.nodes.changelog.publishing import ChangelogCounts, Publisher
from gateway.service import Service
from kernel.clock import Clock

#: Of the loop's time, for all publishers together; and of memory, for hashes of ids that they keep.
_SHARE_RATIO = 0.2
_HASHES_BYTES = 32 * 1024 * 1024
#: Of the fingerprint of all definitions, so much stands in every record.
_FINGERPRINT = 16


class NodeChangelog:
    """Made by ``open``.

    Parameters
    ----------
    record_bytes : how large a record may be.
    interval_s : between two rounds of a publisher.
    """

    def __init__(
        self, connections: Connections, *, partitions: int, record_bytes: int, interval_s: float, clock: Clock
    ) -> None:
        self._connections, self._partitions, self._record_bytes = connections, partitions, record_bytes
        self._interval_s, self._clock = interval_s, clock
        self._pace = Pace(clock, share_ratio=_SHARE_RATIO)
        self.counts = ChangelogCounts()

    @classmethod
    async def open(cls, connections: Connections, *, partitions: int, interval_s: float, clock: Clock) -> Self | None:
        """Make the topic if it is missing, or check it; None where nothing is to be written.

        Raises ``TopicUnfit``, ``BrokersRefused``, ``StoreUnavailable``.
        """
        if not interval_s:
            return None
        record_bytes = await open_changelog(connections)
        return cls(connections, partitions=partitions, record_bytes=record_bytes, interval_s=interval_s, clock=clock)

    def publisher(self, partition: int, service: Service, may_write: Callable[[], bool]) -> Publisher:
        """For one time that a partition is led."""
        return Publisher(
            partition,
            copy=cast("SqliteEventStore", service.store),
            host=service.host,
            writer=ChangelogWriter(self._connections, partition, clock=self._clock, limit_bytes=self._record_bytes),
            clock=self._clock,
            interval_s=self._interval_s,
            catalogue=service.orgs.fingerprint()[:_FINGERPRINT],
            may_write=may_write,
            pace=self._pace,
            hashes_bytes=_HASHES_BYTES // self._partitions,
            counts=self.counts,
        )
