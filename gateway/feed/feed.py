"""The change feeds of all orgs: made when somebody listens, dropped when nobody has for a while."""

from collections.abc import Sequence

import msgspec

from actors.host import ActorHost
from eventstore.event import Event
from eventstore.store import EventStore
from gateway.feed.following import Following
from gateway.feed.listener import Listener
from gateway.feed.org_feed import OrgFeed
from gateway.orgs import Orgs
from gateway.problems import Problem
from kernel.clock import Clock
from kernel.settings import StreamSettings


class FeedStatistics(msgspec.Struct, frozen=True):
    """The feeds now, and what they published and whom they reset since start."""

    listeners: int
    followed: int
    published: int
    resets: int


class Feed:
    """Where streams come from. The host is tapped only while an org has a feed."""

    def __init__(
        self, *, orgs: Orgs, store: EventStore, host: ActorHost, clock: Clock, settings: StreamSettings
    ) -> None:
        self._orgs, self._store, self._host, self._clock = orgs, store, host, clock
        self.settings = settings
        self._feeds: dict[str, OrgFeed] = {}
        self._published = self._resets = 0
        self._is_closed = False

    async def listen(
        self, org: str, lead: str | None, names: frozenset[str] | None, last_id: str | None
    ) -> tuple[Listener, bool]:
        """A new listener of an org, and whether it has all it missed since ``last_id``.

        Returns when the lead is followed: what changes from then on is told.

        Raises
        ------
        Problem
            ``too_many_streams``, ``stopping``
        """
        if self._is_closed:
            raise Problem("stopping", "the service is stopping")
        if sum(feed.listeners for feed in self._feeds.values()) >= self.settings.listeners_max:
            raise Problem("too_many_streams", f"{self.settings.listeners_max} streams are open")
        feed = self._feeds.get(org)
        if feed is None:
            feed = self._feeds[org] = OrgFeed(
                clock=self._clock,
                settings=self.settings,
                make_following=lambda feed: self._following(org, feed),
                on_over=lambda feed: self._forget(org),
            )
            if len(self._feeds) == 1:
                self._host.tap(self._delivered)
        listener, is_whole = feed.listen(lead, names, last_id)
        if lead is not None:
            try:
                await feed.following.wait_begun(lead)
            except BaseException:
                feed.leave(listener)
                raise
        return listener, is_whole

    def leave(self, org: str, listener: Listener) -> None:
        """The listener's stream has ended."""
        if org in self._feeds:
            self._feeds[org].leave(listener)

    def close_streams(self) -> None:
        """End all streams at once, and open no more: the service stops."""
        self._is_closed = True
        for feed in self._feeds.values():
            feed.close()

    async def close(self) -> None:
        """End everything. Idempotent."""
        self.close_streams()
        for org, feed in list(self._feeds.items()):
            self._forget(org)
            await feed.stop()

    def statistics(self) -> FeedStatistics:
        feeds = self._feeds.values()
        return FeedStatistics(
            listeners=sum(feed.listeners for feed in feeds),
            followed=sum(feed.following.shadows for feed in feeds),
            published=self._published + sum(feed.published for feed in feeds),
            resets=self._resets + sum(feed.resets for feed in feeds),
        )

    def _delivered(self, events: Sequence[Event]) -> None:
        by_org: dict[str, list[Event]] = {}
        for event in events:
            by_org.setdefault(event.stream.org, []).append(event)
        for org, mine in by_org.items():
            if org in self._feeds:
                self._feeds[org].deliver(mine)

    def _following(self, org: str, feed: OrgFeed) -> Following:
        return Following(
            catalogue=self._orgs.catalogue_of(org),
            store=self._store,
            host=self._host,
            clock=self._clock,
            publish=feed.change,
            passed=feed.tell,
            leads_max=self.settings.leads_max,
            tick_s=self.settings.tick_s,
        )

    def _forget(self, org: str) -> None:
        feed = self._feeds.pop(org)
        self._published += feed.published
        self._resets += feed.resets
        if not self._feeds:
            self._host.untap(self._delivered)
