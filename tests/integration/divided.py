"""A log that is divided, in memory: one service of what leads share, and some of a part of the leads each."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple

from eventstore.event import Stream
from eventstore.kafka_records import key_of, partition_of
from gateway.app import open_service
from gateway.sharing import Part
from kernel.clock import VirtualClock
from kernel.settings import Settings
from kernel.settings_sources import load_settings
from tests.integration.service import NOW, Door, door_to


class Divided(NamedTuple):
    """Doors to all of them; ``parts`` in order of their partitions, from the second on; ``current`` are sure of theirs."""

    shared: Door
    parts: Sequence[Door]
    current: set[int]

    def of(self, stream: Stream) -> Door:
        partition = partition_of(stream, key_of(stream), len(self.parts) + 1)
        return (self.shared, *self.parts)[partition]

    def of_lead(self, lead: str) -> Door:
        return self.of(Stream("default", "lead", lead))

    async def passing(self, seconds: float) -> None:
        """Let time pass, and do in each what is due."""
        self.shared.clock.advance(seconds)
        for door in (*self.parts, self.shared):
            await door.service.ticker.tick()


@asynccontextmanager
async def divided(settings: Settings | None = None, parts: int = 3) -> AsyncIterator[Divided]:
    """They live as long as the context."""
    settings, clock = settings or load_settings(), VirtualClock(NOW)
    async with AsyncExitStack() as stack:
        shared = await open_service(settings, paths=None, clock=clock, seed=1)
        doors = [await stack.enter_async_context(door_to(shared, clock))]
        current = set(range(parts))
        for number in range(parts):
            part = await open_service(
                settings,
                paths=None,
                clock=clock,
                seed=2 + number,
                shared=shared,
                part=Part(number, parts),
                is_current=partial(current.__contains__, number),
            )
            doors.append(await stack.enter_async_context(door_to(part, clock)))
        yield Divided(doors[0], doors[1:], current)
