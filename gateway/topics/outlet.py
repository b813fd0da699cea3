"""One topic that is told: what was told, and the place up to which it was, in turn; so everything is told at least once.

Decisions and alerts are events: they are read from the log after the place. Changes of features are made by following all
leads (``gateway.feed.following``) from the place on: after a restart each lead is looked at as it was then, and what has
changed since is told with its right instants. Whoever is away, brokers or log, is waited for; leads that move on meanwhile
cost memory up to a bound, past which they are followed anew from the place.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from eventstore.event import Event
from eventstore.kafka_client import TROUBLE, Connections, check_topic, end_teller
from eventstore.store import START
from gateway.feed.following import Following
from gateway.service import Service
from gateway.topics.places import Place, Places
from gateway.topics.supervision import Endeavour
from gateway.topics.told import Told, changes_told, event_told
from kernel.errors import StoreUnavailable
from kernel.settings_topics import TopicOutSettings
from kernel.times import SECOND_US
from projections.changes import Change

#: A place is noted so often while it moves, and so often where it does not.
_NOTE_S = 1.0
_RENEW_S = 3600.0
_SLACK_TICKS = 2
#: Messages under way to the brokers at once.
_SENT_AT_ONCE = 1000
_STOP_S = 1.0

_log = structlog.get_logger(__name__)


class Task(NamedTuple):
    """What an outlet does on its own: its name, and the work."""

    name: str
    work: Callable[[Endeavour], Awaitable[None]]


class Outlet:
    """Tells one topic of one organisation.

    Parameters
    ----------
    names : the features that are told; None for all.
    """

    def __init__(
        self,
        service: Service,
        org: str,
        name: str,
        settings: TopicOutSettings,
        *,
        connections: Connections,
        names: frozenset[str] | None,
    ) -> None:
        self._service, self._org, self._settings = service, org, settings
        self._connections, self._names = connections, names
        self._kinds = frozenset(settings.kinds)
        part = service.part
        self._group = f"leadwheel-{org}-{name}" + (f"-{part.number}" if part.parts > 1 else "")
        self.sent = 0

    def tasks(self) -> list[Task]:
        """Events and features are told beside each other, each from a place of its own."""
        tasks = []
        if self._kinds - {"features"}:
            tasks.append(Task("events", self._tell_events))
        if "features" in self._kinds:
            tasks.append(Task("features", self._tell_features))
        return tasks

    async def _tell_events(self, endeavour: Endeavour) -> None:
        store = self._service.store
        async with _Teller(self, "events") as teller:
            place = await teller.begin()
            endeavour.succeed()
            async for page in store.subscribe(after=place.position):
                told = [each for event in page if (each := self._told(event)) is not None]
                await teller.send(told)
                teller.reach(Place(page[-1].position, page[-1].recorded_us))
                endeavour.succeed()

    def _told(self, event: Event) -> Told | None:
        return event_told(event, self._kinds) if event.stream.org == self._org else None

    async def _tell_features(self, endeavour: Endeavour) -> None:
        async with _Teller(self, "features") as teller:
            place = await teller.begin()
            endeavour.succeed()
            marks = _Marks(self._service)
            waiting: list[Told] = []

            def publish(lead: str, change: Change) -> None:
                if (told := changes_told(self._org, lead, change, self._names)) is not None:
                    waiting.append(told)

            following = self._following(publish)
            deliver = _Deliver(self._org, following)
            self._service.host.tap(deliver)
            try:
                following.follow_all((place.at_us, place.position))
                while not following.is_overrun:
                    reached = marks.reached()
                    following.bell.clear()
                    await following.work()
                    told, waiting[:] = list(waiting), []
                    await teller.send(told)
                    if reached is not None and not following.is_surveying:
                        teller.reach(reached)
                    endeavour.succeed()
                    await self._rest(following)
            finally:
                self._service.host.untap(deliver)
                following.end()
            raise StoreUnavailable("more happened than could be told; it is told from the last place on")

    async def _rest(self, following: Following) -> None:
        """Until something happens, or time may have changed something."""
        if not following.bell.is_set():
            await self._service.clock.sleep(self._service.settings.stream.tick_s)

    def _following(self, publish: Callable[[str, Change], None]) -> Following:
        service, stream = self._service, self._service.settings.stream
        return Following(
            catalogue=service.orgs.catalogue_of(self._org),
            store=service.store,
            host=service.host,
            clock=service.clock,
            publish=publish,
            passed=lambda event: None,
            leads_max=stream.leads_max,
            tick_s=stream.tick_s,
        )

    @property
    def connections(self) -> Connections:
        return self._connections

    @property
    def group(self) -> str:
        return self._group

    async def first_place(self) -> Place:
        """Where the first start begins."""
        if self._settings.start == "beginning":
            return Place(START, 0)
        return Place(self._service.host.delivered_position, self._service.clock.now_us())

    async def is_of_this_log(self, place: Place) -> bool:
        return place.position <= await self._service.store.last_position()

    async def sleep(self, seconds: float) -> None:
        await self._service.clock.sleep(seconds)


class _Marks:
    """Where the log and the clock were a moment ago: up to there, whoever follows leads has followed them.

    A timer is worked off a tick or two later than it is due, and what was told up to an instant must have been told
    of the events of that instant.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._slack_us = round(_SLACK_TICKS * service.settings.stream.tick_s * SECOND_US)
        self._marks: deque[Place] = deque()

    def reached(self) -> Place | None:
        """What is noted when the work that begins now is done; None while it is the first."""
        now_us = self._service.clock.now_us()
        self._marks.append(Place(self._service.host.delivered_position, now_us))
        found = None
        while self._marks[0].at_us <= now_us - self._slack_us:
            found = self._marks.popleft()
        return found


class _Deliver:
    """Hands an organisation's delivered events to who follows its leads."""

    def __init__(self, org: str, following: Following) -> None:
        self._org, self._following = org, following

    def __call__(self, events: Sequence[Event]) -> None:
        self._following.deliver([event for event in events if event.stream.org == self._org])


class _Teller:
    """Sends messages, and notes the place up to which all were sent, every second or two. An asynchronous context.

    Raises
    ------
    TopicMissing, BrokersRefused, StoreUnavailable
        From whatever is asked of it: what was not noted is told again.
    """

    def __init__(self, outlet: Outlet, what: str) -> None:
        self._outlet = outlet
        self._connections = outlet.connections
        self._producer: AIOKafkaProducer = outlet.connections.teller()
        self._places = Places(outlet.connections, f"{outlet.group}-{what}")
        self._stack = AsyncExitStack()
        self._place: Place | None = None
        self._noted: Place | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "_Teller":
        await check_topic(self._connections)
        try:
            await self._producer.start()
            await self._stack.enter_async_context(self._places)
        except TROUBLE as error:
            await end_teller(self._producer, _STOP_S)
            raise await self._connections.translated(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await end_teller(self._producer, _STOP_S)
        try:
            async with asyncio.timeout(_STOP_S):
                await self._note()
        except TROUBLE as error:
            _log.warning("topic_place_not_noted", group=self._outlet.group, reason=repr(error))
        finally:
            await self._stack.aclose()

    async def begin(self) -> Place:
        """The place to go on from, noted."""
        try:
            place = await self._places.load()
            if place is not None and not await self._outlet.is_of_this_log(place):
                _log.warning("topic_place_beyond_log", group=self._outlet.group, position=place.position)
                place = None
            place = place or await self._outlet.first_place()
            await self._places.note(place)
        except TROUBLE as error:
            raise await self._connections.translated(error) from error
        self._place = self._noted = place
        self._keeper = asyncio.create_task(self._keep(), name=f"{self._outlet.group}-place")
        return place

    async def send(self, told: Sequence[Told]) -> None:
        """Returns when the brokers have them all."""
        try:
            for start in range(0, len(told), _SENT_AT_ONCE):
                await self._send(told[start : start + _SENT_AT_ONCE])
        except TROUBLE as error:
            raise await self._connections.translated(error) from error

    async def _send(self, told: Sequence[Told]) -> None:
        results = await asyncio.gather(*[await self._begin_sending(each) for each in told], return_exceptions=True)
        for each, result in zip(told, results, strict=True):
            if isinstance(result, MessageSizeTooLargeError):
                await self._send_alone(each)  # perhaps only what it was sent together with is too large
            elif isinstance(result, BaseException):
                raise result
        self._outlet.sent += len(told)

    async def _send_alone(self, told: Told) -> None:
        try:
            await (await self._begin_sending(told))
        except MessageSizeTooLargeError:
            topic = self._connections.options.topic
            _log.error("topic_message_too_large", topic=topic, size_bytes=len(told.value), headers=str(told.headers))

    async def _begin_sending(self, told: Told) -> Awaitable[object]:
        sending: Awaitable[object] = await self._producer.send(
            self._connections.options.topic,
            told.value,
            told.key,
            headers=told.headers,
            timestamp_ms=told.timestamp_ms,
        )
        return sending

    def reach(self, place: Place) -> None:
        """Everything up to here was sent."""
        self._place = place

    async def _keep(self) -> None:
        """Note the place while it moves, and now and then when it does not."""
        since_s = 0.0
        while True:
            await self._outlet.sleep(_NOTE_S)
            since_s += _NOTE_S
            if self._place != self._noted or since_s >= _RENEW_S:
                try:
                    await self._note()
                    since_s = 0.0
                except TROUBLE as error:
                    _log.warning("topic_place_not_noted", group=self._outlet.group, reason=repr(error))

    async def _note(self) -> None:
        if (place := self._place) is not None:
            await self._places.note(place)
            self._noted = place
