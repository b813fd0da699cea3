"""The ranked lists of all orgs: marks from the host, background refreshes, and the lists to build at start."""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from actors.host import ActorHost
from eventstore.event import Event, Stream
from eventstore.store import EventStore
from gateway.lists.org_lists import OrgLists
from gateway.orgs import Orgs
from kernel.clock import Clock
from kernel.errors import LeadwheelError, SettingsError, UnknownFeature
from kernel.ids import IdSource
from kernel.settings import Settings, source_of

_log = structlog.get_logger(__name__)


class ListsStatistics(msgspec.Struct, frozen=True):
    """The tables of all orgs now."""

    leads: int
    columns: int
    behind: int
    refreshed: int


class Lists:
    """Where pages come from. The host is tapped from the first question on."""

    def __init__(
        self, *, settings: Settings, orgs: Orgs, store: EventStore, host: ActorHost, clock: Clock, ids: IdSource
    ) -> None:
        self._settings, self._orgs, self._store, self._host = settings, orgs, store, host
        self._clock, self._ids = clock, ids
        self._lists: dict[str, OrgLists] = {}
        self._marked: set[Stream] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to build what the settings name. The log can be read, and the host is up."""
        for org, mine in self._settings.org.items():
            if mine.ranked:
                self.of(org).build(mine.ranked)

    def of(self, org: str) -> OrgLists:
        """The lists of an org."""
        lists = self._lists.get(org)
        if lists is None:
            lists = self._lists[org] = OrgLists(
                catalogue=self._orgs.catalogue_of(org),
                store=self._store,
                host=self._host,
                clock=self._clock,
                ids=self._ids,
                settings=self._settings.lists,
                pinned=self._settings.of_org(org).ranked,
                drain=self._drain,
            )
            if self._task is None:
                self._host.tap(self._delivered)
                self._task = asyncio.create_task(self._run(), name="lists")
        return lists

    async def close(self) -> None:
        """Stop. Idempotent."""
        self._host.untap(self._delivered)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for lists in self._lists.values():
            await lists.close()

    def statistics(self) -> ListsStatistics:
        kept = [each.kept for each in self._lists.values() if each.kept is not None]
        return ListsStatistics(
            leads=sum(each.table.leads for each in kept),
            columns=sum(len(each.table.features) for each in kept),
            behind=len(self._marked) + sum(each.behind for each in kept),
            refreshed=sum(each.refreshed for each in kept),
        )

    def _delivered(self, events: Sequence[Event]) -> None:
        self._marked.update([event.stream for event in events])

    def _drain(self) -> None:
        """Hand the marks to the orgs' tables."""
        marked, self._marked = self._marked, set()
        if not marked:
            return
        if len(self._lists) == 1:
            next(iter(self._lists.values())).mark(list(marked))
            return
        by_org: dict[str, list[Stream]] = {}
        for stream in marked:
            by_org.setdefault(stream.org, []).append(stream)
        for org, streams in by_org.items():
            if org in self._lists:
                self._lists[org].mark(streams)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._settings.lists.refresh_s)
            self._drain()
            for org, lists in list(self._lists.items()):
                try:
                    await lists.refresh()
                except LeadwheelError as error:  # the log cannot be read now: the marks stay
                    _log.warning("lists_wait", org=org, error=str(error))
                except Exception:  # noqa: BLE001 - a supervision boundary: the table is given up and made again
                    _log.exception("lists_failed", org=org)
                    lists.discard()


def check_ranked(settings: Settings, orgs: Orgs) -> None:
    """Raises ``SettingsError`` where the settings name lists of what is no feature of the org's leads."""
    for org, mine in settings.org.items():
        _check(org, mine.ranked, settings, orgs)


def _check(org: str, ranked: Sequence[str], settings: Settings, orgs: Orgs) -> None:
    key = f"org.{org}.ranked"
    if len(ranked) > settings.lists.columns_max:
        expected = f"expected at most lists.columns_max ({settings.lists.columns_max}) features"
        raise SettingsError(key, source_of(key, settings.sources), expected)
    for each in ranked:
        try:
            orgs.catalogue_of(org).feature(each)
        except UnknownFeature as error:
            raise SettingsError(key, source_of(key, settings.sources), f"expected features, got {each!r}") from error
