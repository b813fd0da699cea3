"""One partition on one node: absent, followed, or led, as is wanted of it; and the service that it is.

What is wanted may change at any time; one task brings it about, a step after the other. A shard that is given back stays open and
follows, so that it can be taken again in a moment. What makes it vain to go on ends the node.

A copy that began from the changelog may lack the log's first events: it follows and leads without them while they come in, and what
needs all of them (predictions, alerts) begins when they are there.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

import structlog

from actors.following import Following
from eventstore.kafka_partition_log import PartitionLog
from gateway.nodes.changelog.publishing import Publisher
from gateway.service import Service
from kernel.clock import Clock
from kernel.errors import OwnershipLost, StoreUnavailable

Role = Literal["absent", "following", "leading"]

_RETRY_S = 0.5
_CANCEL_S = 2.0

_log = structlog.get_logger(__name__)


class Shard:
    """A partition here.

    Parameters
    ----------
    open_service : opens its service, following, on a log.
    new_log : makes the log, which asks whether this node may write, and tells when it has lost the partition.
    new_owner : a name for each time that it is led.
    new_publisher : makes what publishes the snapshots of its service while it is led, if anything does.
    on_changed : told when ``holds`` or ``is_complete`` have changed.
    on_led : told when it has come to lead the partition.

    Attributes
    ----------
    wanted : what it is to be.
    is_held : it was given to this node, and was not given back yet.
    problem : why the last step did not succeed; None when it did.
    publisher : while it is led.
    """

    def __init__(
        self,
        partition: int,
        *,
        new_log: Callable[["Shard"], PartitionLog],
        open_service: Callable[["Shard", PartitionLog], Awaitable[Service]],
        new_owner: Callable[[], str],
        new_publisher: Callable[["Shard", Service], Publisher | None],
        on_changed: Callable[[], None],
        on_led: Callable[[], None],
        release_s: float,
        clock: Clock,
    ) -> None:
        self.partition = partition
        self._new_log, self._open_service, self._new_owner = new_log, open_service, new_owner
        self._on_changed, self._on_led = on_changed, on_led
        self._release_s, self._clock = release_s, clock
        self._new_publisher = new_publisher
        self._log: PartitionLog | None = None
        self._following: asyncio.Task[None] | None = None
        self._filling: asyncio.Task[None] | None = None
        self._publishing: asyncio.Task[None] | None = None
        self.publisher: Publisher | None = None
        self._woken = asyncio.Event()
        self._opened = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        self.wanted: Role = "absent"
        self.service: Service | None = None
        self.is_held = False
        self._is_leading = self._is_taking = self._is_ending = False
        self.problem: str | None = None

    @property
    def is_leading(self) -> bool:
        """Whether this node writes the partition, and is to go on."""
        return self._is_leading and self.wanted == "leading" and self._log is not None and self._log.is_leading

    @property
    def is_complete(self) -> bool:
        """Whether the copy was brought up to the end of the partition once, is kept there, and lacks nothing."""
        return self.service is not None and self._log is not None and self._log.missing is None

    @property
    def progress(self) -> float | None:
        """Of a copy that is being made; None where none is."""
        return None if self._log is None or self.service is not None else self._log.progress

    @property
    def lag(self) -> int:
        """Records of the partition that the copy here has not yet."""
        return 0 if self._log is None else self._log.lag

    def want(self, role: Role) -> None:
        """Be this, soon."""
        if role == self.wanted:
            return
        self.wanted = role
        self._woken.set()
        if role == "leading":
            self.is_held = True
            self._free.clear()
        elif self.is_held and not (self._is_leading or self._is_taking):  # it never came to that
            self._set_free()
            self._on_changed()

    def lost(self, error: OwnershipLost) -> None:
        """Another process writes the partition; what was wanted is tried again, if it is still wanted."""
        _log.warning("partition_lost", partition=self.partition, to=error.owner)
        self._woken.set()

    async def wait_open(self) -> None:
        """Wait until there is a service for the first time."""
        await self._opened.wait()

    async def wait_free(self) -> None:
        """Wait until it is not held any more."""
        await self._free.wait()

    async def run(self) -> None:
        """Become what is wanted, until ``end``. Raises what the node cannot go on with."""
        while not self._is_ending:
            self._woken.clear()
            try:
                is_done = await self._step()
                self.problem = None
            except (StoreUnavailable, OwnershipLost) as error:  # NotLeading among them
                self.problem = str(error)
                _log.info("partition_waits", partition=self.partition, wanted=self.wanted, error=str(error))
                is_done = False
                await self._pause()
            if is_done and not self._is_ending:
                await self._wait()

    def end(self) -> None:
        """Let ``run`` return; it may be cancelled as well, which what it waits for may not heed."""
        self._is_ending = True
        self._woken.set()

    async def close(self) -> None:
        """After ``run`` has ended."""
        await self._stop_following()
        await _ended(self._filling)
        self._filling = None
        await self._stop_publishing()
        service, self.service = self.service, None
        self._is_leading = False
        if service is not None:
            await service.close()
        self._log = None
        self._set_free()

    async def _step(self) -> bool:
        """One step towards what is wanted; whether nothing is left to do."""
        wanted, log = self.wanted, self._log
        if wanted == "absent":
            if self.service is not None or self.is_held:
                await self._give_back()
                await self.close()
                self._on_changed()
            return True
        if self.service is None or log is None:
            await self._open()
        elif self._is_leading and not self.is_leading:
            await self._give_back()
        elif wanted == "leading" and not self._is_leading:
            await self._lead(log, self.service)
        elif self._is_leading and log.missing is None and not self.service.has_begun:
            self.service.begin()
        elif wanted == "following":
            if self.is_held:
                self._set_free()
                self._on_changed()
            self._follow(log, self.service)
            return True
        else:
            return True
        return False

    async def _open(self) -> None:
        self._log = self._new_log(self)
        try:
            self.service = await self._open_service(self, self._log)
        except BaseException:
            self._log = None
            raise
        self._opened.set()
        is_whole = self._log.missing is None
        _log.info("partition_open", partition=self.partition, offset=self._log.next_offset, is_whole=is_whole)
        if not is_whole:
            self._filling = asyncio.create_task(self._fill(self._log), name=f"fill-{self.partition}")
        self._on_changed()

    async def _fill(self, log: PartitionLog) -> None:
        await log.fill()
        self._woken.set()
        self._on_changed()

    async def _lead(self, log: PartitionLog, service: Service) -> None:
        began_us = self._clock.monotonic_us()
        self._is_taking = True
        try:
            await self._stop_following()
            await log.lead(self._new_owner(), Following(service.host).take)
            if self.wanted != "leading":
                await log.release(self._release_s)
                return
            service.lead()
            self._is_leading = True
            self._publish(service)
        finally:
            self._is_taking = False
        self._on_led()
        taken_us = self._clock.monotonic_us() - began_us
        _log.info("partition_led", partition=self.partition, taken_ms=taken_us // 1000)

    async def _give_back(self) -> None:
        """Stop leading: first what others wait for."""
        log, service = self._log, self.service
        if log is not None:
            await log.release(self._release_s)
        self._is_leading = False
        if self.wanted != "leading" and self.is_held:
            self._set_free()
            self._on_changed()
            _log.info("partition_given_back", partition=self.partition)
        await self._stop_publishing()
        if service is not None and service.is_leading:
            await service.follow()

    def _set_free(self) -> None:
        self.is_held = self.wanted == "leading"
        if not self.is_held:
            self._free.set()

    def _follow(self, log: PartitionLog, service: Service) -> None:
        if self._following is None:
            self._following = asyncio.create_task(
                log.follow(Following(service.host).take), name=f"follow-{self.partition}"
            )

    async def _stop_following(self) -> None:
        task, self._following = self._following, None
        await _ended(task)

    def _publish(self, service: Service) -> None:
        self.publisher = self._new_publisher(self, service)
        if self.publisher is not None:
            self._publishing = asyncio.create_task(self.publisher.run(), name=f"publish-{self.partition}")

    async def _stop_publishing(self) -> None:
        """At once: who leads next goes on from the last mark, and has no need of a newer one."""
        self.publisher = None
        while self._publishing is not None and not self._publishing.done():
            self._publishing.cancel()  # again after a while: the client of Kafka may swallow it
            await asyncio.wait([self._publishing], timeout=_CANCEL_S)
        self._publishing = None

    async def _wait(self) -> None:
        """Until something else is wanted. Raises what ended the following, or the service."""
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._woken.wait(), name="woken")]
        service = self.service
        if service is not None:
            waits.append(asyncio.create_task(service.wait_failed(), name="failed"))
        own = list(waits)
        waits += [task for task in (self._following, self._filling) if task is not None]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in own:
                task.cancel()
        if service is not None and service.failure is not None:
            raise service.failure
        if self._following is not None and self._following.done():
            self._following.result()
        if self._filling is not None and self._filling.done():
            filling, self._filling = self._filling, None
            filling.result()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_RETRY_S):
                await self._woken.wait()


async def _ended(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for its end; if it ended badly, whoever begins anew meets the reason, too."""
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
