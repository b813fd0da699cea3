"""Work that has to read the log: one task for all actors that one call made busy.

While an actor is busy its events wait in its mailbox; when it is done they are folded in the same turn in which it
becomes idle, so nobody ever sees it without them. Whatever happens, its future resolves: nobody waits for ever.
"""

import asyncio
from enum import Enum
from typing import NamedTuple

from actors.activation import Activator
from actors.entity import Entity
from actors.limits import Counts
from actors.mailbox import Mailbox
from actors.roster import Actor
from actors.seats import Seats
from eventstore.event import Event, Stream

_CHUNK_STREAMS = 128


class Need(Enum):
    """What a busy actor waits for."""

    LOAD = "snapshot and tail"
    EXTEND = "the rest of the log"
    REFOLD = "the whole log"


class Job(NamedTuple):
    """A busy actor and what it needs; with ``EXTEND`` the entity to continue."""

    actor: Actor
    mailbox: Mailbox
    need: Need
    entity: Entity | None = None


class Jobs:
    """The tasks under way. ``generation`` changes when another cache is adopted: what was begun before is redone."""

    def __init__(self, *, seats: Seats, activator: Activator, counts: Counts) -> None:
        self._seats = seats
        self._activator = activator
        self._counts = counts
        self._tasks: set[asyncio.Task[None]] = set()
        self.generation = 0

    def start(self, jobs: dict[Stream, Job]) -> None:
        """Begin the work; each job's mailbox tells when it is done."""
        if jobs:
            task = asyncio.get_running_loop().create_task(self._work(jobs, self.generation), name="actors-activation")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Give up what is under way; who waits for it is cancelled."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def fold(self, entity: Entity, event: Event) -> bool:
        """Fold the next event in place; False when the entity has to be folded anew."""
        try:
            return entity.fold(event)
        except Exception:  # noqa: BLE001 - counted; a fold that raises has spoilt its entity, but not the log
            self._counts.fold_failures += 1
            return False

    async def _work(self, jobs: dict[Stream, Job], generation: int) -> None:
        todo = list(jobs.items())
        try:
            while todo:
                chunk, todo = dict(todo[:_CHUNK_STREAMS]), todo[_CHUNK_STREAMS:]
                entities = await self._produce(chunk)
                if generation != self.generation:  # made from a cache that is no longer in use
                    generation = self.generation
                    todo = [
                        (stream, job._replace(need=Need.LOAD, entity=None)) for stream, job in [*chunk.items(), *todo]
                    ]
                    continue
                for stream, job in chunk.items():
                    if again := self._settle(stream, job, entities[stream]):
                        todo.append((stream, again))
                await asyncio.sleep(0)
        except BaseException as error:
            self._fail(jobs, error)
            if not isinstance(error, Exception):
                raise

    async def _produce(self, jobs: dict[Stream, Job]) -> dict[Stream, Entity | None]:
        activator = self._activator
        entities: dict[Stream, Entity | None] = {}
        if load := [stream for stream, job in jobs.items() if job.need is Need.LOAD]:
            entities |= await activator.load(load)
        if refold := [stream for stream, job in jobs.items() if job.need is Need.REFOLD]:
            entities |= await activator.refold(refold)
        for stream, job in jobs.items():
            if job.entity is not None:
                entities[stream] = await activator.extend(job.entity)
        return entities

    def _settle(self, stream: Stream, job: Job, entity: Entity | None) -> Job | None:
        """Fold what came meanwhile and let go of the actor; or say what it still needs."""
        events, is_overflowed = job.mailbox.take()
        for event in events:
            if entity is None:
                if event.version != 1:
                    return job._replace(need=Need.LOAD, entity=None)
                entity = self._activator.new(stream, event.number)
            step = event.version - entity.version
            if step > 1:
                return job._replace(need=Need.EXTEND, entity=entity)
            if step == 1 and not self.fold(entity, event):
                self._counts.refolded += 1
                return job._replace(need=Need.REFOLD, entity=None)
        if is_overflowed:
            return job._replace(need=Need.LOAD if entity is None else Need.EXTEND, entity=entity)
        self._let_go(stream, job, entity)
        return None

    def _let_go(self, stream: Stream, job: Job, entity: Entity | None) -> None:
        seats = self._seats
        if entity is None:
            seats.roster.drop(stream)
            seats.ledger.settle(stream)
        else:
            if stream not in seats.ledger and self._activator.saved_version(entity.number) != entity.version:
                seats.ledger.note(stream, entity.position)
            seats.seat(stream, job.actor, entity)
        if not job.mailbox.done.done():
            job.mailbox.done.set_result(entity)

    def _fail(self, jobs: dict[Stream, Job], error: BaseException) -> None:
        # The events stand in the log, and the ledger knows of them: whoever asks next tries again.
        for stream, job in jobs.items():
            if job.actor.mailbox is not job.mailbox:
                continue
            self._counts.failures += 1
            self._seats.roster.drop(stream)
            job.actor.mailbox = None
            if job.mailbox.done.done():
                continue
            if isinstance(error, Exception):
                job.mailbox.done.set_exception(error)
                job.mailbox.done.exception()  # one that nobody waits for is counted here, and not logged by the loop
            else:
                job.mailbox.done.cancel()
