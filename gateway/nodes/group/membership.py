"""One node's membership in the group of all nodes: who is there, what each holds, and how long that can be relied on.

Enters: what this node says of itself. Leaves: layouts, the same for every member, one per generation. The group is one of
Kafka's; its coordinator counts who is alive, and lets one of the members compute the layout (``assignor``). No offset is kept there.

**The lease.** Whoever was last heard of at some time is in the group for the session timeout after it, and while it is in the
group nobody else is given what it claims. So it may rely on what it holds until one session timeout after it *sent* the last sign
of life that was answered, by a clock that goes on while the machine sleeps, with a margin for clocks that go at another rate.
Joining anew, with the same claims, interrupts nothing.

**Losing it.** A member that is told that it is none any longer gives back everything before it joins again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import errors
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.protocol.group import (
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
)

from eventstore.kafka_client import TROUBLE, Connections, started
from gateway.nodes.group.assignor import assign
from gateway.nodes.group.layout import Layout, Standing, decode_layout, decode_standing, encode
from kernel.clock import Clock
from kernel.errors import BrokersRefused, LeadwheelError
from kernel.times import SECOND_US

#: What members of this group speak, of one topic. The coordinator refuses whoever speaks of another one, and any consumer.
PROTOCOL_TYPE = "leadwheel"
PROTOCOL = "leadwheel/1"

_MARGIN = 0.1
_GRACE_S = 1.0
_LATER = (
    errors.GroupCoordinatorNotAvailableError,
    errors.NotCoordinatorForGroupError,
    errors.GroupLoadInProgressError,
    errors.RebalanceInProgressError,
)
_REFUSED = (
    errors.GroupAuthorizationFailedError,
    errors.InconsistentGroupProtocolError,
    errors.InvalidGroupIdError,
    errors.InvalidSessionTimeoutError,
)

_log = structlog.get_logger(__name__)


def _words(error: Exception) -> str:
    if isinstance(error, errors.InconsistentGroupProtocolError):
        return "its members are no nodes of this topic (nodes.group)"
    if isinstance(error, errors.InvalidSessionTimeoutError):
        return "nodes.session_timeout_s is not within what they allow (group.min.session.timeout.ms)"
    return repr(error)


class _Gone(Exception):
    """The coordinator does not know this member (any more)."""


class Membership:
    """Joins, gives signs of life, and joins again whenever something has changed.

    Parameters
    ----------
    partitions, standbys : what the layout is computed for.
    standing : asked at each joining.
    on_layout : told of every new layout. Must not wait.
    on_lost : awaited before the node joins again after it was none any longer: everything is to be given back.

    Attributes
    ----------
    generation : of the layout.
    """

    def __init__(
        self,
        connections: Connections,
        group: str,
        *,
        partitions: int,
        standbys: int,
        session_timeout_s: float,
        heartbeat_s: float,
        clock: Clock,
        standing: Callable[[], Standing],
        on_layout: Callable[[Layout], None],
        on_lost: Callable[[], Awaitable[None]],
    ) -> None:
        self._connections, self._group = connections, group
        self._partitions, self._standbys = partitions, standbys
        self._session_s, self._heartbeat_s, self._clock = session_timeout_s, heartbeat_s, clock
        self._standing, self._on_layout, self._on_lost = standing, on_layout, on_lost
        self._client: Any = None
        self._coordinator: Any = None
        self._member = ""
        self._until_us = -1
        self._wants_to_join = asyncio.Event()
        self._is_waiting = False
        self.generation = 0
        self.layout: Layout | None = None

    @property
    def is_current(self) -> bool:
        """Whether what this node holds is surely still its own."""
        return self._clock.boot_us() < self._until_us

    def rejoin(self) -> None:
        """What this node says of itself has changed: let the others know, soon."""
        self._wants_to_join.set()

    async def run(self) -> None:
        """Be a member until cancelled. Raises ``BrokersRefused`` when there is no hope of that."""
        self._client = self._connections.client(2 * self._session_s + _GRACE_S)
        while True:
            try:
                await self._live()
            except _Gone:
                _log.warning("node_left_out", group=self._group, generation=self.generation)
                self._member, self._until_us = "", -1
                await self._on_lost()
            except _REFUSED as error:
                reason = f"to have this node in the group {self._group}: {_words(error)}"
                raise BrokersRefused(self._connections.options.brokers, reason) from error
            except TROUBLE as error:
                self._coordinator = None
                if not self._is_waiting:  # said once: it may be for long
                    _log.warning("group_waits", group=self._group, error=repr(error))
                self._is_waiting = True
                await asyncio.sleep(min(self._heartbeat_s, self._connections.options.retry_s))

    async def leave(self) -> None:
        """Be a member no longer, after ``run`` was cancelled; what this node claimed can be given to others at once."""
        self._until_us = -1
        if self._client is None:
            return
        with suppress(*TROUBLE, LeadwheelError):
            async with asyncio.timeout(_GRACE_S):
                if self._member and self._coordinator is not None:
                    await self._ask(LeaveGroupRequest(self._group, self._member))
        await self._client.close()

    async def _live(self) -> None:
        if self._coordinator is None:
            if not self._client.cluster.brokers():
                await started(self._client.bootstrap())
            self._coordinator = await self._client.coordinator_lookup(CoordinationType.GROUP, self._group)
        while True:
            self._wants_to_join.clear()
            await self._join()
            await self._give_signs()

    async def _give_signs(self) -> None:
        """Until somebody wants to join anew."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_s):
                    await self._wants_to_join.wait()
            if self._wants_to_join.is_set():
                return
            sent_us = self._clock.boot_us()
            async with asyncio.timeout(self._connections.options.request_s):
                said = await self._ask(HeartbeatRequest(self._group, self.generation, self._member))
            error = errors.for_code(said.error_code)
            if error is errors.NoError:
                self._renew(sent_us)
            elif error in (errors.RebalanceInProgressError, errors.IllegalGenerationError):
                return
            else:
                self._raise(error)

    async def _join(self) -> None:
        while True:
            standing = self._standing()
            sent_us = self._clock.boot_us()
            timeout_ms = round(self._session_s * 1000)
            said = await self._ask(
                JoinGroupRequest(
                    self._group,
                    timeout_ms,
                    timeout_ms,
                    self._member,
                    None,
                    PROTOCOL_TYPE,
                    [(f"{PROTOCOL}/{self._connections.options.topic}", encode(standing))],
                )
            )
            error = errors.for_code(said.error_code)
            if error is errors.MemberIdRequired:
                self._member = said.member_id
                continue
            if error is not errors.NoError:
                self._raise(error)
            self._member, generation = said.member_id, said.generation_id
            shares = self._shares(said) if said.leader_id == said.member_id else []
            self._renew(sent_us)
            synced = await self._ask(SyncGroupRequest(self._group, generation, self._member, None, shares))
            error = errors.for_code(synced.error_code)
            if error in (errors.RebalanceInProgressError, errors.IllegalGenerationError):
                continue
            if error is not errors.NoError:
                self._raise(error)
            layout = decode_layout(synced.member_assignment)
            if layout is None or layout.nodes.get(standing.node) is None:
                await asyncio.sleep(self._heartbeat_s)  # the member that computed it is of another version
                continue
            self.generation, self.layout, self._is_waiting = generation, layout, False
            _log.info("nodes", generation=generation, nodes=len(layout.nodes), moves=len(layout.moves))
            self._on_layout(layout)
            return

    def _shares(self, said: Any) -> list[tuple[str, bytes]]:
        """The layout for all members, computed here."""
        members = {member[0]: decode_standing(member[-1]) for member in said.members}
        known = [standing for standing in members.values() if standing is not None]
        layout = encode(assign(known, partitions=self._partitions, standbys=self._standbys))
        return [(member, layout) for member in members]

    def _renew(self, sent_us: int) -> None:
        self._until_us = sent_us + round(self._session_s * (1 - _MARGIN) * SECOND_US)

    def _raise(self, error: Any) -> None:
        if error is errors.UnknownMemberIdError:
            raise _Gone
        raise error()

    async def _ask(self, request: Any) -> Any:
        return await self._client.send(self._coordinator, request, group=ConnectionGroup.COORDINATION)
