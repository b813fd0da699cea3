"""What the front of a node sees of all nodes: where a stream's partition is answered now, and what this node has of it.

The front asks ``place`` at each request, and never keeps what it was told: ``Local`` holds for as long as the loop does not
turn, and a bit longer (a read that began in time is of a time at which this node was the one to ask).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from eventstore.event import Stream
from gateway.nodes.forwarding.patience import Changes
from gateway.service import Service
from kernel.errors import ActorStopped, NotLeading, StoreClosed

#: What the service of a partition raises that is given back, or was and is closed already.
LEFT = (NotLeading, StoreClosed, ActorStopped)

#: The header in which nodes show each other the secret. A request that has it is never forwarded again.
NODE_HEADER = "Leadwheel-Node"


class Local(NamedTuple):
    """The node that asks is the one that writes the partition, and answers fresh."""

    service: Service


class Remote(NamedTuple):
    """Another node is."""

    url: str


class Away(NamedTuple):
    """Nobody answers for it now: it is being handed over, a copy is being made, or this node cannot be sure of its own.

    ``progress`` is the part of the copy that is made, where one is. ``is_brief``: that will be over in a moment, and ``changes``
    will tell.
    """

    reason: str
    progress: float | None
    retry_after_s: float
    is_brief: bool = False


Place = Local | Remote | Away


class Cluster(Protocol):
    """All nodes, as one of them sees them. Nothing here waits.

    Attributes
    ----------
    url : this node's, as the others reach it.
    secret : what nodes show each other.
    generation : grows with every change of who holds what.
    changes : tells of every change of places and of the generation.
    partitions : of the topic.
    shared : the service of partition 0 on this node, which every node has: it writes there, or follows.
    """

    url: str
    secret: str
    changes: Changes
    partitions: int
    shared: Service

    @property
    def generation(self) -> int: ...

    def partition_of(self, stream: Stream) -> int:
        """Where a stream's events stand."""

    def place(self, partition: int) -> Place:
        """Who answers for a partition now."""

    def follower(self, partition: int) -> Service | None:
        """A copy here of a partition that it does not write, if it has one that was complete: for stale answers."""

    def led(self) -> Mapping[int, Service]:
        """What this node answers for now, by partition."""

    def not_ready(self) -> list[str]:
        """Why this node does not take requests yet, or no longer."""

    def nodes(self) -> Sequence[str]:
        """The URLs of all nodes, this one's included, in order."""
