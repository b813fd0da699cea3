"""How far a topic was told: kept by its brokers, as the offset of a consumer group that nobody reads with.

The offset is a position in the log; its metadata is an instant, in microseconds. So whoever tells the topic next, on
whichever machine, goes on from there. Brokers forget offsets that are not renewed for ``offsets.retention.minutes``, so a
place is noted again now and then though nothing moved.
"""

from types import TracebackType
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer

from eventstore.kafka_client import Connections, end_member
from kernel.ids import Position

_STOP_S = 1.0


class Place(NamedTuple):
    """All that is to be told of events up to a position, and of time up to an instant, has been told."""

    position: Position
    at_us: int


class Places:
    """One place, read and noted. An asynchronous context.

    Parameters
    ----------
    group : names the place; no consumer may have it.
    """

    def __init__(self, connections: Connections, group: str) -> None:
        self._part = connections.of(0)
        self._client: AIOKafkaConsumer = connections.keeper(group)

    async def __aenter__(self) -> "Places":
        try:
            await self._client.start()
        except BaseException:
            await end_member(self._client, _STOP_S)
            raise
        self._client.assign([self._part])
        self._client.pause(self._part)  # nothing is to be fetched
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end_member(self._client, _STOP_S)

    async def load(self) -> Place | None:
        """The place noted last; None where there is none. Raises what the client raises."""
        found = (await self._client._coordinator.fetch_committed_offsets([self._part])).get(self._part)
        if found is None or found.offset < 0 or not found.metadata.isdigit():
            return None
        return Place(Position(found.offset), int(found.metadata))

    async def note(self, place: Place) -> None:
        """Raises what the client raises."""
        await self._client.commit({self._part: (place.position, str(place.at_us))})
