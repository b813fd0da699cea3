"""Looking at entities without waking them: for read models that pass over many leads.

Who is awake is shown as it is; who sleeps is made from snapshot and tail beside the actors, and is the caller's alone.
Nobody is seated or stamped as used, so a look at all leads pushes no busy one out of memory.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from actors.activation import Activator
from actors.entity import Entity
from actors.roster import Actor
from eventstore.event import Kind, Stream
from eventstore.snapshots import Snapshot
from kernel.errors import SnapshotError


class Dumped(NamedTuple):
    """A state, and the version of the entity that it is of: some entities are dumped as they were a while ago."""

    version: int
    snapshot: Snapshot


class Onlooker:
    """Shows entities.

    Parameters
    ----------
    activator : one of its own, so that a look does not count as an activation; its cache must be kept the host's.
    """

    def __init__(self, *, actors: Mapping[Stream, Actor], activator: Activator) -> None:
        self._actors = actors
        self.activator = activator
        self._fingerprints: dict[tuple[str, Kind], str] = {}

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

    async def dump(self, stream: Stream, number: int, version: int) -> Dumped | None:
        """The state of an entity now, of that version if it has so many events here; None without events.

        Waits only for one that is asleep or busy. Where the cache has the state of one that sleeps, under the definitions
        of today, it is taken from there. Raises ``StoreUnavailable``.
        """
        while (actor := self._actors.get(stream)) is not None and actor.mailbox is not None:
            await asyncio.wait([actor.mailbox.done])
        if actor is not None and actor.entity is not None:
            return self._dumped(actor.entity)
        if (saved := self._saved(number)) is not None and saved.version >= version:
            fingerprint = self._fingerprints.get((stream.org, stream.kind))
            if saved.fingerprint == fingerprint:
                return Dumped(saved.version, saved)
        loaded = (await self.activator.load([stream]))[stream]
        return None if loaded is None else self._dumped(loaded)

    def _dumped(self, entity: Entity) -> Dumped:
        snapshot = entity.dump()
        self._fingerprints[entity.stream.org, entity.stream.kind] = snapshot.fingerprint
        return Dumped(entity.version, snapshot)

    def _saved(self, number: int) -> Snapshot | None:
        try:
            return self.activator.snapshots.get(number)
        except SnapshotError:  # it is made anew, and counted when its lead wakes
            return None
