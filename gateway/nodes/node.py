"""One of the processes that share a topic: a member of their group, with a shard for every partition that it holds.

``Node`` is the ``Cluster`` that its front asks. Partition 0 is here in any case, so that what all leads share is at hand; of the others
it has those that the layout gives it, to lead or to follow, each in ``partitions/NNNN`` of the data directory.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from eventstore.event import Stream
from eventstore.kafka_client import Connections, Topic, describe
from eventstore.kafka_partition_log import PartitionLog
from eventstore.kafka_records import SHARED, key_of, partition_of
from eventstore.sqlite import SqliteEventStore
from eventstore.store import EventStore
from eventstore.types import EventTypes
from gateway.app import PARTITIONS, Paths, open_service
from gateway.kafka import kafka_options
from gateway.nodes.changelog.publishers import NodeChangelog
from gateway.nodes.changelog.publishing import ChangelogCounts, Publisher
from gateway.nodes.forwarding.cluster import Away, Local, Place, Remote
from gateway.nodes.forwarding.patience import Changes
from gateway.nodes.group.layout import Layout, Standing
from gateway.nodes.group.membership import Membership
from gateway.nodes.portions import portion_of
from gateway.nodes.shard import Shard
from gateway.service import Service
from gateway.sharing import NONE, Part
from gateway.sqlite import copy_options
from kernel.clock import Clock
from kernel.errors import LeadwheelError, LogIsNoCopy
from kernel.fatal import OnFatal, exit_now
from kernel.ids import IdSource
from kernel.settings import Settings
from kernel.settings_nodes import NodesSettings

#: Copies that are opened, and perhaps made, at a time.
_OPEN_AT_ONCE = 2
_CANCEL_S = 0.25
_SOON_S = 0.5
_LATER_S = 5.0

_log = structlog.get_logger(__name__)


class Node:
    """One process among the others. Made by ``open_node``.

    Parameters
    ----------
    ids : names this process, and its turns.
    changelog : of the topic; None where this node writes none.

    Attributes
    ----------
    name : of this process, and of no other one ever.
    failure : what ended it, if anything has.
    """

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        topic: Topic,
        *,
        clock: Clock,
        ids: IdSource,
        on_fatal: OnFatal,
        changelog: NodeChangelog | None = None,
    ) -> None:
        nodes = settings.nodes
        self._settings, self._directory, self._topic = settings, directory, topic
        self._portion = portion_of(settings, topic.partitions)
        self._clock, self._ids, self._on_fatal = clock, ids, on_fatal
        self._connections = Connections(kafka_options(settings))
        self.name = ids.uuid7()
        self.url = nodes.url.rstrip("/")
        self.secret = "" if nodes.secret is None else nodes.secret.value
        self.partitions = topic.partitions
        self.changes = Changes()
        self.shared: Service
        self.failure: BaseException | None = None
        self.is_stopping = False
        self._changelog = changelog
        self._opening = asyncio.Semaphore(_OPEN_AT_ONCE)
        self._ended = asyncio.Event()
        self._laid_out = asyncio.Event()
        self._shards = {partition: self._shard(partition, nodes) for partition in range(topic.partitions)}
        self._tasks: list[asyncio.Task[None]] = []
        self._membership_task: asyncio.Task[None] | None = None
        self._membership = Membership(
            self._connections,
            nodes.group or self._connections.options.topic,
            partitions=topic.partitions,
            standbys=nodes.standbys,
            session_timeout_s=nodes.session_timeout_s,
            heartbeat_s=nodes.heartbeat_s,
            clock=clock,
            standing=self._standing,
            on_layout=self._arrange,
            on_lost=self._give_back_all,
        )

    # What the front asks.

    @property
    def generation(self) -> int:
        return self._membership.generation

    @property
    def is_current(self) -> bool:
        """Whether what this node leads is surely still its own."""
        return self._membership.is_current

    def partition_of(self, stream: Stream) -> int:
        return partition_of(stream, key_of(stream), self.partitions)

    def place(self, partition: int) -> Place:
        shard, layout = self._shards[partition], self._membership.layout
        if shard.is_held:
            if shard.is_leading and shard.service is not None:
                if self._membership.is_current:
                    return Local(shard.service)
                return Away("the node that leads it has not heard of the others for a while", None, _SOON_S)
            if shard.progress is not None:
                return Away("its new node makes the copy", shard.progress, _LATER_S)
            return Away("it is being handed over", None, _SOON_S, is_brief=shard.problem is None)
        leader = None if layout is None else layout.leaders.get(partition)
        if layout is None or leader is None or leader == self.name:
            return Away("it is being handed over", None, _SOON_S, is_brief=True)
        return Remote(layout.nodes[leader])

    def follower(self, partition: int) -> Service | None:
        return self._shards[partition].service

    def led(self) -> Mapping[int, Service]:
        if not self._membership.is_current:
            return {}
        shards = self._shards.items()
        return {each: shard.service for each, shard in shards if shard.is_leading and shard.service is not None}

    def nodes(self) -> Sequence[str]:
        layout = self._membership.layout
        return sorted({self.url, *(() if layout is None else layout.nodes.values())})

    def not_ready(self) -> list[str]:
        """Why this node does not take requests yet, or no longer."""
        reasons = ["stopping"] if self.is_stopping else []
        if self.failure is not None:
            reasons.append("failed")
        if self._membership.layout is None:
            reasons.append("joining the other nodes")
        return reasons

    # Life.

    async def open(self) -> None:
        """Follow partition 0: ``shared`` is there when it returns."""
        shared = self._shards[SHARED]
        shared.want("following")
        self._run(shared.run(), f"shard-{SHARED}")
        await self._or_failure(shared.wait_open())
        self._watch()

    async def join(self) -> None:
        """Join the others, who may ask this node at once; returns when the first layout is there."""
        for partition, shard in self._shards.items():
            if partition != SHARED:
                self._run(shard.run(), f"shard-{partition}")
        self._membership_task = self._run(self._membership.run(), "membership")
        await self._or_failure(self._laid_out.wait())

    def _watch(self) -> None:
        metrics, shards = self.shared.metrics, self._shards.values()
        metrics.watch("leadwheel_copies", lambda: sum(each.is_complete for each in shards))
        metrics.watch("leadwheel_copies_lag", lambda: sum(each.lag for each in shards))
        written = ChangelogCounts() if self._changelog is None else self._changelog.counts
        metrics.watch("leadwheel_changelog_lag", self._changelog_lag)
        metrics.watch("leadwheel_changelog_records", lambda: written.records)
        metrics.watch("leadwheel_changelog_failures", lambda: written.failures)
        metrics.watch("leadwheel_node_generation", lambda: self.generation)
        metrics.watch("leadwheel_node_current", lambda: self.is_current)

    async def hand_over(self) -> None:
        """Give everything back, and wait until others have it, or for as long as a stop may wait.

        Afterwards the front may send on what still comes in; ``close`` ends the rest.
        """
        self.is_stopping = True
        began_us = self._clock.monotonic_us()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.nodes.stop_timeout_s):
                await self._give_back_all()
                if self._membership.layout is not None and len(self._membership.layout.nodes) > 1:
                    self._membership.rejoin()
                    await self._wait_taken()
        _log.info("handed_over", taken_ms=(self._clock.monotonic_us() - began_us) // 1000)

    async def _wait_taken(self) -> None:
        """Until the layout names others for everything."""
        while True:
            self._laid_out.clear()
            layout = self._membership.layout
            leaders = () if layout is None else layout.leaders.values()
            if layout is not None and len(leaders) == self.partitions and self.name not in leaders:
                return
            await self._laid_out.wait()

    async def close(self) -> None:
        """Leave the group and close every shard; partition 0's last. Idempotent."""
        self.is_stopping = True
        for shard in self._shards.values():
            shard.end()
        tasks, self._tasks = self._tasks, []
        await _ended(tasks)
        await self._membership.leave()
        await asyncio.gather(*(shard.close() for each, shard in self._shards.items() if each != SHARED))
        await self._shards[SHARED].close()

    async def wait_failed(self) -> None:
        await self._ended.wait()

    def fail(self, error: BaseException) -> None:
        """Something that the node cannot do without has ended."""
        if self.failure is None:
            self.failure = error
            foreseen = isinstance(error, LeadwheelError)
            _log.error("failed", error=str(error), exc_info=None if foreseen else error)
            self._ended.set()

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (task.exception() is not None or not self.is_stopping):
                self.fail(task.exception() or RuntimeError(f"{task.get_name()} ended"))

        task.add_done_callback(ended)
        self._tasks.append(task)
        return task

    async def _or_failure(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for something, unless the node fails first: then raise that."""
        waiting = asyncio.ensure_future(work)
        failing = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait([waiting, failing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            failing.cancel()
        if self.failure is not None:
            raise self.failure

    # The group.

    def _standing(self) -> Standing:
        """What this node says of itself."""
        shards = self._shards.items()
        kept = dict.fromkeys(shards_on_disk(self._directory, self.partitions), False)
        return Standing(
            self.name,
            self.url,
            tuple(each for each, shard in shards if shard.is_held),
            kept | {each: True for each, shard in shards if shard.is_complete},
            self.is_stopping,
        )

    def _arrange(self, layout: Layout) -> None:
        """Bring this node's part of a layout about."""
        for partition, shard in self._shards.items():
            is_mine = layout.leaders.get(partition) == self.name and partition not in layout.moves
            if is_mine and not self.is_stopping:
                shard.want("leading")
            elif layout.follows(self.name, partition) or shard.is_held:
                shard.want("following")
            elif partition in layout.leaders:
                shard.want("absent")
        self._laid_out.set()
        self.changes.tell()

    def _note_changed(self) -> None:
        """Let the others know. Of partitions that are given back together it is the last one that tells of all."""
        if not any(shard.is_held and shard.wanted != "leading" for shard in self._shards.values()):
            self._membership.rejoin()
        self.changes.tell()

    async def _give_back_all(self) -> None:
        for shard in self._shards.values():
            if shard.wanted == "leading":
                shard.want("following")
        for shard in self._shards.values():
            await shard.wait_free()

    def _may_write(self, shard: Shard) -> bool:
        return shard.wanted == "leading" and self._membership.is_current

    # Shards.

    def _shard(self, partition: int, nodes: NodesSettings) -> Shard:
        return Shard(
            partition,
            new_log=self._new_log,
            open_service=self._open_service,
            new_owner=lambda: f"{self.name}/{self._ids.uuid7()}",
            new_publisher=self._new_publisher,
            on_changed=self._note_changed,
            on_led=self.changes.tell,
            release_s=nodes.release_s,
            clock=self._clock,
        )

    def _new_log(self, shard: Shard) -> PartitionLog:
        return PartitionLog(
            self._connections,
            self._topic,
            shard.partition,
            clock=self._clock,
            may_write=lambda: self._may_write(shard),
            on_lost=shard.lost,
            is_whole_first=shard.partition == SHARED,
            fill_pause=self._pause_filling,
        )

    async def _pause_filling(self, events: int) -> None:
        if self._settings.nodes.fill_events:
            await self._clock.sleep(events / self._settings.nodes.fill_events)

    def _new_publisher(self, shard: Shard, service: Service) -> Publisher | None:
        if self._changelog is None:
            return None
        return self._changelog.publisher(
            shard.partition, service, lambda: shard.is_leading and shard.is_complete and self._may_write(shard)
        )

    def _changelog_lag(self) -> int:
        return sum(shard.publisher.lag for shard in self._shards.values() if shard.publisher is not None)

    async def _open_service(self, shard: Shard, log: PartitionLog) -> Service:
        directory = partition_directory(self._directory, shard.partition)
        directory.mkdir(parents=True, exist_ok=True)
        options = copy_options(self._portion.store)

        async def opened(types: EventTypes) -> EventStore:
            return await SqliteEventStore.open(
                directory, types=types, clock=self._clock, options=options, on_fatal=self._on_fatal, primary=log
            )

        is_shared = shard.partition == SHARED
        async with self._opening:
            service = await open_service(
                self._portion,
                paths=Paths(directory, self._directory),
                clock=self._clock,
                on_fatal=self._on_fatal,
                shared=None if is_shared else self.shared,
                part=NONE if is_shared else Part(shard.partition - 1, self.partitions - 1),
                log=opened,
                seed_cache=log.seed,
                is_following=True,
                is_current=lambda: shard.is_leading and self._membership.is_current,
            )
        if is_shared:
            self.shared = service
        return service


async def open_node(
    settings: Settings, directory: Path, *, clock: Clock, seed: int | None = None, on_fatal: OnFatal = exit_now
) -> Node:
    """Make a node that follows what all leads share, and is to ``join`` the others.

    Raises
    ------
    TopicUnfit, BrokersRefused, StoreUnavailable, LogIsNoCopy, DirectoryInUse, SettingsError
        Nothing was started.
    """
    if (directory / "events.db").exists():
        raise LogIsNoCopy(settings.kafka.topic, "a log of its own, of one process")
    connections = Connections(kafka_options(settings))
    topic = await describe(connections)
    changelog = await NodeChangelog.open(
        connections, partitions=topic.partitions, interval_s=settings.nodes.changelog_s, clock=clock
    )
    ids = IdSource(clock, seed)
    node = Node(settings, directory, topic, clock=clock, ids=ids, on_fatal=on_fatal, changelog=changelog)
    try:
        await node.open()
    except BaseException:
        await node.close()
        raise
    return node


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks, again and again: the client of Kafka swallows a cancellation while it closes a connection."""
    pending: Iterable[asyncio.Task[None]] = tasks
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_S)


def partition_directory(directory: Path, partition: int) -> Path:
    """Where a node keeps the copy of a partition."""
    return directory / PARTITIONS / f"{partition:04d}"


def shards_on_disk(directory: Path, partitions: int) -> list[int]:
    """The partitions of which there is a copy, however old."""
    return [each for each in range(partitions) if (partition_directory(directory, each) / "events.db").exists()]
