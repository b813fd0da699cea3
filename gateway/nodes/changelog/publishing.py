"""Publishing the snapshots of a partition that this node leads: to the changelog, so that a node without a copy begins from there.

In rounds: how far the copy has come is read, then every stream with an event since the last mark is written as it is now,
then the mark. Without a mark, or after definitions changed, every stream is. What stands there is a promise (``Mark``) that
holds at every moment, whatever ends between a snapshot and the mark: what is written is at least as new as what it covers,
and who goes on fences the one before and begins from the last mark, so it writes once more what that one may have written.

It is in nobody's way: it takes a share of the loop's time, in slices of a millisecond or two, and what goes wrong here is
counted and tried again. It reads states, and changes nothing.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec
import structlog

from actors.host import ActorHost
from actors.onlookers import Dumped
from actors.restated import Restatement
from eventstore.changelog import Kept, Mark
from eventstore.kafka_coverage import (
    Changed,
    Reached,
    changed_between,
    known_among,
    reached_by,
    recorded_at,
    streams_after,
    streams_named,
)
from gateway.nodes.changelog.hashing import Asked, IdHashes
from gateway.nodes.changelog.pace import Pace
from kernel.clock import Clock
from kernel.errors import LeadwheelError, OwnershipLost, TopicUnfit

#: Events, or streams, looked through in one hop.
_PAGE = 256
#: States held until they are written.
_HELD_BYTES = 1024 * 1024
#: Streams of a round of which it is known that they were written in it.
_DONE_MAX = 100_000
#: Of the loop, in one go.
_SLICE_US = 1000
#: Streams whose newest event is stored and not folded yet are looked at again, so often and so much later.
_LATER_TURNS, _LATER_S = 20, 0.1
_RETRY_S = 5.0

_log = structlog.get_logger(__name__)


class Writer(Protocol):
    """As ``ChangelogWriter``."""

    async def open(self) -> None: ...

    async def last_mark(self) -> Mark | None: ...

    async def write(self, kept: Sequence[Kept]) -> None: ...

    async def mark(self, mark: Mark) -> None: ...

    async def close(self) -> None: ...


class ChangelogCounts(msgspec.Struct):
    """Of a node, since its start."""

    records: int = 0
    failures: int = 0


class Publisher:
    """For one time that a partition is led.

    Parameters
    ----------
    copy : of the partition's events, complete.
    catalogue : names all definitions of today.
    may_write : whether this process surely is the one that leads; asked before it fences another one.
    hashes_bytes : of hashes that are kept in memory.
    """

    def __init__(
        self,
        partition: int,
        *,
        copy: Asked,
        host: ActorHost,
        writer: Writer,
        clock: Clock,
        interval_s: float,
        catalogue: str,
        may_write: Callable[[], bool],
        pace: Pace,
        hashes_bytes: int,
        counts: ChangelogCounts,
    ) -> None:
        self._partition, self._copy, self._host, self._writer = partition, copy, host, writer
        self._clock, self._interval_s, self._catalogue = clock, interval_s, catalogue
        self._may_write, self._pace, self._counts = may_write, pace, counts
        self._hashes = IdHashes(copy, max_bytes=hashes_bytes, breathe=self._breathe)
        self._slice_us = clock.monotonic_us()
        self._mark: Mark | None = None
        self._restated = Restatement(is_whole=False, streams=frozenset())
        self._done: dict[int, int] = {}
        self._problem = ""

    @property
    def lag(self) -> int:
        """Events that the last mark does not cover."""
        return max(0, self._host.newest_position - (0 if self._mark is None else self._mark.position))

    async def run(self) -> None:
        """Publish, until cancelled."""
        try:
            while True:
                if self._may_write():
                    await self._try()
                await self._clock.sleep(min(_RETRY_S, self._interval_s))
        finally:
            await self._writer.close()

    async def _try(self) -> None:
        """Go on from the last mark until something goes wrong."""
        try:
            await self._writer.open()
            self._mark = await self._checked(await self._writer.last_mark())
            while True:
                if self._may_write():
                    await self.round()
                    self._problem = ""
                await self._clock.sleep(self._interval_s)
        except OwnershipLost as error:  # this node is told soon, or else it begins again
            _log.info("changelog_fenced", partition=self._partition, error=str(error))
        except Exception as error:  # noqa: BLE001 - a supervision boundary: counted, told once, tried again
            self._counts.failures += 1
            if str(error) != self._problem:
                self._problem = str(error)
                trace = None if isinstance(error, LeadwheelError) else error
                _log.warning("changelog_waits", partition=self._partition, error=str(error), exc_info=trace)

    async def _checked(self, mark: Mark | None) -> Mark | None:
        """A mark of this log. Raises ``TopicUnfit`` for one of another log that had its name."""
        if mark is None:
            return None
        reached = await self._reached()
        at_us = await self._copy.ask(partial(recorded_at, position=mark.position)) if mark.position else 0
        if mark.position > reached.position or at_us != mark.recorded_us:
            expected = f"marks of partition {self._partition} of this log"
            actual = f"one of another log, of position {mark.position}; delete it as you deleted that one"
            raise TopicUnfit("the changelog", expected, actual, use="a changelog")
        return mark

    # A round.

    async def round(self) -> None:
        """Write what changed since the last mark, then the next mark."""
        restated = self._take_restated()
        reached, mark = await self._reached(), self._mark
        is_whole = mark is None or mark.catalogue != self._catalogue or restated.is_whole
        if mark is not None and mark.position == reached.position and not is_whole and not restated.streams:
            return
        self._done.clear()
        later: list[Changed] = []
        pages = self._all() if is_whole or mark is None else self._changed(mark.position, reached.position, restated)
        async for page in pages:
            later += await self._publish(page)
        for _ in range(_LATER_TURNS):
            if not later:
                break
            await self._clock.sleep(_LATER_S)
            later = await self._publish(later)
        if later:
            _log.warning("changelog_behind", partition=self._partition, streams=len(later))
            return
        made = Mark(reached.offset, reached.position, reached.recorded_us, self._catalogue)
        await self._writer.mark(made)
        self._mark = made
        self._restated = Restatement(is_whole=False, streams=frozenset())

    def _take_restated(self) -> Restatement:
        """States that were replaced and are not written since, those of earlier rounds that failed among them."""
        new, old = self._host.restated.take(), self._restated
        self._restated = Restatement(new.is_whole or old.is_whole, new.streams | old.streams)
        return self._restated

    async def _reached(self) -> Reached:
        return await self._copy.ask(partial(reached_by, partition=self._partition))

    async def _all(self) -> AsyncIterator[list[Changed]]:
        number = 0
        while page := await self._copy.ask(partial(streams_after, number=number, limit=_PAGE)):
            yield [each for each in page if each.version]
            number = page[-1].number

    async def _changed(self, after: int, until: int, restated: Restatement) -> AsyncIterator[list[Changed]]:
        if restated.streams:
            yield await self._copy.ask(partial(streams_named, streams=restated.streams))
        while page := await self._copy.ask(partial(changed_between, after=after, until=until, limit=_PAGE)):
            after = page[-1].position
            yield [each for each in page if self._done.get(each.number, 0) < each.version]

    async def _publish(self, changed: Sequence[Changed]) -> list[Changed]:
        """Write these streams as they are now; those that are not yet what they should cover are left."""
        self._slice_us = self._clock.monotonic_us()
        left: list[Changed] = []
        held: list[tuple[Changed, Dumped]] = []
        held_bytes = 0
        for each in changed:
            dumped = await self._host.dump(each.stream, each.number, each.version)
            if dumped is None or dumped.version < each.version:
                left.append(each)
                continue
            held.append((each, dumped))
            held_bytes += len(dumped.snapshot.state)
            await self._breathe()
            if held_bytes > _HELD_BYTES:
                await self._write(held)
                held, held_bytes = [], 0
        if held:
            await self._write(held)
        return left

    async def _write(self, held: Sequence[tuple[Changed, Dumped]]) -> None:
        """Write states. What is read of their streams after them is of that version or later, which is harmless."""
        ids = await self._hashes.of({each.number: dumped.version for each, dumped in held})
        unknown = [each.number for each, _ in held if not each.is_known]
        known = await self._copy.ask(partial(known_among, numbers=unknown)) if unknown else frozenset()
        kept: list[Kept] = []
        for each, (version, snapshot) in held:
            covers = snapshot.version >= each.version
            kept.append(
                Kept(
                    each.stream,
                    snapshot.version if covers else version,
                    each.is_known or each.number in known,
                    ids[each.number],
                    snapshot if covers else None,
                    self._catalogue,
                )
            )
        await self._writer.write(kept)
        self._counts.records += len(kept)
        if len(self._done) > _DONE_MAX:
            self._done.clear()
        self._done |= {each.number: one.version for (each, _), one in zip(held, kept, strict=True)}
        self._slice_us = self._clock.monotonic_us()

    async def _breathe(self) -> None:
        """Let others have their turn, if this one has taken long enough."""
        worked_us = self._clock.monotonic_us() - self._slice_us
        if worked_us >= _SLICE_US:
            await self._pace.rest(worked_us)
            self._slice_us = self._clock.monotonic_us()
