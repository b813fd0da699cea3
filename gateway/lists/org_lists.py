"""The lists of one org: which features have a column, building a table with more of them, and pages."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import structlog

from actors.host import ActorHost
from eventstore.event import Stream
from eventstore.store import EventStore
from gateway.lists.begun import Begun
from gateway.lists.keeping import Kept
from gateway.problems import Problem, invalid_parameter
from kernel.clock import Clock
from kernel.errors import LeadwheelError
from kernel.ids import IdSource
from kernel.settings import ListsSettings
from kernel.times import SECOND_US
from projections.catalogue import Catalogue
from projections.ranking.conditions import Condition
from projections.ranking.paging import Place, Standing
from projections.ranking.table import Row

_RETRY_MAX_S = 60
_SEARCH_AT_ONCE = 200  # chunks of rows searched between two turns of the loop: two milliseconds

_log = structlog.get_logger(__name__)


class Question(msgspec.Struct, frozen=True):
    """What list is asked for; ``features`` are shown beside the one it is sorted by."""

    sort: str | None
    is_descending: bool
    conditions: tuple[Condition, ...]
    wanted: str | None
    features: tuple[str, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        """The values of an item, in order."""
        sort = () if self.sort is None else (self.sort,)
        return tuple(dict.fromkeys((*sort, *self.features)))

    @property
    def needed(self) -> tuple[str, ...]:
        """The features that must have a column."""
        return tuple(dict.fromkeys((*self.shown, *(each.reference for each in self.conditions))))


class LeadPage(NamedTuple):
    """Leads as of one instant, each with its place in the list of that id.

    ``last`` is where the list goes on, None at its end; ``list_id`` is empty where nobody can go on.
    """

    as_of_us: int
    list_id: str
    rows: list[tuple[Place, Row]]
    last: Place | None


class _Building(NamedTuple):
    kept: Kept
    task: asyncio.Task[None]
    progress: "Progress"


class Progress(msgspec.Struct):
    """How far a table is: streams seen, of how many."""

    done: int = 0
    total: int = 0
    began_us: int = 0


class OrgLists:
    """One org's table, made when it is needed.

    Parameters
    ----------
    drain : hands over the marks that wait; called whenever a table is going to be read.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        store: EventStore,
        host: ActorHost,
        clock: Clock,
        ids: IdSource,
        settings: ListsSettings,
        pinned: Sequence[str],
        drain: Callable[[], None],
    ) -> None:
        self._catalogue = catalogue
        self._store, self._host, self._clock, self._settings = store, host, clock, settings
        self._pinned = tuple(pinned)
        self._drain = drain
        self._wanted: dict[str, None] = {}  # features asked for, the latest last
        self._begun = Begun(clock=clock, ids=ids, max_bytes=settings.paging_mb * 2**20, keep_s=settings.paging_s)
        self._lock = asyncio.Lock()
        self._kept: Kept | None = None
        self._building: _Building | None = None

    @property
    def kept(self) -> Kept | None:
        """The table in use."""
        return self._kept

    def mark(self, streams: Sequence[Stream]) -> None:
        """These leads got an event."""
        for kept in (self._kept, self._building.kept if self._building else None):
            if kept is not None:
                kept.mark(streams)

    def build(self, features: Sequence[str]) -> None:
        """Begin to make a table with these features, if there is none."""
        if self._building is None and (self._kept is None or not self._kept.table.has(features)):
            self._begin(features)

    async def page(
        self,
        question: Question,
        limit: int,
        after: tuple[str, Place] | None,
        is_wanted: Callable[[str], bool] | None = None,
        *,
        is_part: bool = False,
    ) -> LeadPage:
        """A page of a list.

        Parameters
        ----------
        is_part : somebody may go on behind any of its leads, so that the list is kept even if this is its end.
        is_wanted : of all leads, by id, only those for which it is true when the list begins.

        Raises
        ------
        Problem
            ``list_building`` with the progress; ``invalid_cursor`` when the list is no longer kept.
        """
        kept = await self._with_columns(question.needed)
        async with self._lock:
            now_us = self._clock.now_us()
            await self._refresh(kept, now_us)
            if after is not None:
                list_id, place = after
                standing = self._begun.get(list_id)
                if standing is None:
                    detail = "the list is no longer kept as it was: begin again without a cursor"
                    raise Problem("invalid_cursor", f"cursor: {detail}")
                places, is_end = standing.page(limit, place)
            else:
                standing = await self._select(kept, question, now_us, is_wanted)
                places, is_end = standing.page(limit, None)
                list_id = "" if is_end and not is_part else self._begun.add(standing)
            last = None if is_end else places[-1]
            places = [place for place in places if kept.table.is_listed(place.number)]
            rows = kept.table.rows([place.number for place in places], question.shown)
        return LeadPage(now_us, list_id, list(zip(places, rows, strict=True)), last)

    async def refresh(self) -> None:
        """Bring the table to now, if it is behind."""
        kept = self._kept
        if kept is not None and kept.is_behind(now_us := self._clock.now_us()):
            async with self._lock:
                await kept.refresh(now_us)

    def discard(self) -> None:
        """Give the table up; the next question makes a new one."""
        self._kept = None

    async def close(self) -> None:
        """Stop building."""
        if self._building is not None:
            self._building.task.cancel()
            await asyncio.wait([self._building.task])

    async def _refresh(self, kept: Kept, now_us: int) -> None:
        self._drain()
        await kept.refresh(now_us)
        self._drain()
        if kept.behind:  # what came while it waited
            await kept.refresh(now_us)

    async def _select(
        self, kept: Kept, question: Question, now_us: int, is_wanted: Callable[[str], bool] | None
    ) -> Standing:
        table, found, chosen = kept.table, None, None
        if question.wanted is not None:
            found = await _joined(table.search(question.wanted), _SEARCH_AT_ONCE)
            await self._refresh(kept, now_us)
        if is_wanted is not None:
            chosen = await _joined(table.choose(is_wanted), 1)
            await self._refresh(kept, now_us)
        return table.select(
            question.sort,
            is_descending=question.is_descending,
            conditions=question.conditions,
            found=found,
            chosen=chosen,
        )

    # Building.

    async def _with_columns(self, needed: Sequence[str]) -> Kept:
        """A table that has them; waits a little for one that is being built."""
        if len(needed) > self._settings.columns_max:
            raise invalid_parameter(
                "features", f"expected at most {self._settings.columns_max} in all", str(len(needed))
            )
        for each in needed:
            self._wanted.pop(each, None)
            self._wanted[each] = None
        if self._kept is None or not self._kept.table.has(needed):
            building = self._building or self._begin(needed)
            try:
                async with asyncio.timeout(self._settings.build_wait_s):
                    await asyncio.shield(building.task)  # others wait for it, too
            except TimeoutError:
                pass
            if self._kept is None or not self._kept.table.has(needed):
                raise self._not_yet(building.progress)
        return self._kept

    def _begin(self, needed: Sequence[str]) -> _Building:
        kept = Kept(catalogue=self._catalogue, store=self._store, host=self._host, features=self._columns(needed))
        progress = Progress(began_us=self._clock.monotonic_us())
        task = asyncio.create_task(self._build(kept, progress), name="lists-building")
        self._building = _Building(kept, task, progress)
        return self._building

    def _columns(self, needed: Sequence[str]) -> list[str]:
        """What has a column from now on: what is needed or pinned, then what was asked for latest."""
        wanted = dict.fromkeys((*needed, *self._pinned, *reversed(self._wanted)))
        return list(wanted)[: max(self._settings.columns_max, len(needed))]

    async def _build(self, kept: Kept, progress: Progress) -> None:
        def report(done: int, total: int) -> None:
            progress.done, progress.total = done, total

        try:
            await kept.fill(self._clock.now_us, report)
            await self._refresh(kept, self._clock.now_us())
            self._kept = kept
        except LeadwheelError:
            raise  # the caller's, if one waits: the next question tries again
        except Exception:
            _log.exception("list_building_failed", org=self._catalogue.org)
            raise
        finally:
            self._building = None

    def _not_yet(self, progress: Progress) -> Problem:
        elapsed_s = (self._clock.monotonic_us() - progress.began_us) / SECOND_US
        left_s = elapsed_s * (progress.total - progress.done) / progress.done if progress.done else 1.0
        return Problem(
            "list_building",
            f"the list is being built: {progress.done} of {progress.total or 'unknown'} leads",
            headers={"Retry-After": str(min(_RETRY_MAX_S, max(1, round(left_s))))},
            members={"progress": {"done": progress.done, "total": progress.total or None}},
        )


async def _joined(chunks: Iterator[bytes], at_once: int) -> bytes:
    """All chunks, of which so many are made between two turns of the loop."""
    made = []
    for count, chunk in enumerate(chunks, start=1):
        made.append(chunk)
        if count % at_once == 0:
            await asyncio.sleep(0)
    return b"".join(made)
