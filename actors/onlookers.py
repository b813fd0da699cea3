"""Looking at entities without waking them: for read models that pass over many leads.

Who is awake is shown as it is; who sleeps is made from snapshot and tail beside the actors, and is the caller's alone.
Nobody is seated or stamped as used, so a look at all leads pushes no busy one out of memory.
"""

import asyncio
from collections.abc import Mapping, Sequence

from actors.activation import Activator
from actors.entity import Entity
from actors.roster import Actor
from eventstore.event import Stream


class Onlooker:
    """Shows entities.

    Parameters
    ----------
    activator : one of its own, so that a look does not count as an activation; its cache must be kept the host's.
    """

    def __init__(self, *, actors: Mapping[Stream, Actor], activator: Activator) -> None:
        self._actors = actors
        self.activator = activator

    async def look(self, streams: Sequence[Stream]) -> list[Entity | None]:
        """Entities with every event delivered before the call, in the order asked; None without events.

        Waits only for those that are asleep or busy. Raises ``StoreUnavailable``.
        """
        found: dict[Stream, Entity | None] = {}
        asleep: list[Stream] = []
        waits: dict[Stream, asyncio.Future[Entity | None]] = {}
        for stream in streams:
            actor = self._actors.get(stream)
            if actor is None:
                asleep.append(stream)
            elif actor.mailbox is not None:
                waits[stream] = actor.mailbox.done
            else:
                found[stream] = actor.entity
        if asleep:
            found |= await self.activator.load(asleep)
        for stream, done in waits.items():
            found[stream] = await asyncio.shield(done)
        return [found[stream] for stream in streams]
