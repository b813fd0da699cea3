"""What webhooks are to be told of an org's alerts, and what became of it.

What is to be told follows from the log: each alert names its sinks, and ``alert_delivered`` says which of them has
taken it, or that it was given up (``dead``). What is neither is told again after a restart, under the same id; a
receiver may so get something twice, never not at all. In memory are a task for each delivery under way, at most
``waiting_max`` a webhook, and what is known of the alerts on the board; what finds no room waits on the board.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from actors.ingest import Ingest
from eventstore.event import Event, Stream
from eventstore.store import EventStore
from gateway.alerts.posting import Poster
from kernel.clock import Clock
from kernel.errors import LeadwheelError, NotDelivered
from kernel.keys import key64
from kernel.settings_webhooks import WebhookSettings
from kernel.times import format_time
from scoring.alert_board import Alert, AlertBoard
from scoring.alerts import delivered_event
from scoring.events import ALERT_DELIVERED, AlertDelivered, Transition
from scoring.events import Delivery as Outcome
from scoring.identity import delivery_id, raised_event_id, resolved_event_id

DEAD_KEPT = 10_000
_CONFIRMED_SLACK = 10_000
_LATER_S = 5.0

_DELIVERED = msgspec.json.Decoder(AlertDelivered)
_log = structlog.get_logger(__name__)


class Delivery(NamedTuple):
    """What a webhook is to be told: the beginning or the end of an alert."""

    alert: str
    transition: Transition
    sink: str

    @property
    def message_id(self) -> str:
        """The ``webhook-id``: the same for every sink and attempt. It holds no full stop, which is what signing needs."""
        return f"{self.transition}_{self.alert}"


class DeadDelivery(NamedTuple):
    """A delivery that was given up."""

    delivery: Delivery
    lead: str
    attempts: int
    error: str
    at_us: int


class Message(msgspec.Struct, frozen=True):
    """What is posted. ``data`` is the alert as it is answered over HTTP, and whose it is."""

    type: str
    timestamp: str
    data: dict[str, object]


class Counts(msgspec.Struct):
    """What became of attempts, since the start."""

    delivered: int = 0
    failed: int = 0
    dead: int = 0


class OrgDeliveries:
    """The deliveries of one org.

    Parameters
    ----------
    webhooks : of the org's settings, by name.
    counts : shared by the orgs of a service.

    Attributes
    ----------
    dead : given up, by id, oldest first; at most ``DEAD_KEPT``.
    is_open : whether webhooks are told.
    """

    def __init__(
        self,
        org: str,
        board: AlertBoard,
        webhooks: Mapping[str, WebhookSettings],
        *,
        poster: Poster,
        store: EventStore,
        ingest: Ingest,
        clock: Clock,
        counts: Counts,
    ) -> None:
        self._org, self._board, self._webhooks = org, board, webhooks
        self._poster, self._store, self._ingest, self._clock = poster, store, ingest, clock
        self._counts = counts
        self._over: dict[str, set[Delivery]] = {}  # by alert: delivered, dead, or of old news
        self._tasks: dict[Delivery, asyncio.Task[None]] = {}
        self._prune_past = _CONFIRMED_SLACK
        self._slots = {name: asyncio.Semaphore(each.concurrency) for name, each in webhooks.items()}
        self._waiting = dict.fromkeys(webhooks, 0)
        self.is_open = False
        self.has_more = False  #: some found no room, or could not be read
        self.dead: dict[str, DeadDelivery] = {}

    @property
    def waiting(self) -> int:
        return len(self._tasks)

    # What is known.

    def fold(self, event: Event) -> None:
        """Take an ``alert_delivered``, in log order. Raises nothing for what it contains."""
        if event.type != ALERT_DELIVERED:
            return
        try:
            told: AlertDelivered = event.payload or _DELIVERED.decode(event.data)
        except msgspec.MsgspecError:
            return  # written by another version of this program
        delivery = Delivery(told.alert, told.transition, told.sink)
        self._over.setdefault(told.alert, set()).add(delivery)
        self._prune()
        letter = _letter(delivery)
        if told.outcome == "delivered":
            self.dead.pop(letter, None)
        else:
            self.dead[letter] = DeadDelivery(delivery, event.stream.id, told.attempts, told.error or "", event.at_us)
            while len(self.dead) > DEAD_KEPT:
                del self.dead[next(iter(self.dead))]

    def hush(self, alert: str) -> None:
        """Nobody is to be told how this alert ended: old news ended it."""
        self._over.setdefault(alert, set()).update(Delivery(alert, "resolved", sink) for sink in self._webhooks)

    def forget(self, lead: str) -> None:
        """The lead is erased."""
        for letter in [letter for letter, dead in self.dead.items() if dead.lead == lead]:
            del self.dead[letter]

    # Telling.

    def start(self) -> None:
        """Begin to tell: all that the log says is known."""
        self.is_open = self.has_more = True

    async def close(self) -> None:
        """Stop telling; what is under way is told again after the next start. Idempotent."""
        self.is_open = False
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    def offer(self, alert: Alert) -> None:
        """An alert began or ended: let its sinks be told what they were not told yet."""
        for delivery in self._missing(alert):
            self._begin(delivery)

    def work(self) -> None:
        """Take from the board what found no room before, oldest first."""
        if self.is_open and self.has_more:
            self.has_more = False
            for alert in reversed(list(self._board.newest_first())):
                if alert.sinks:
                    self.offer(alert)

    async def retry(self, letter: str) -> bool:
        """Try a dead one once more, now; whether it was taken. Raises ``KeyError`` where its webhook is gone."""
        delivery = self.dead[letter].delivery
        webhook = self._webhooks[delivery.sink]
        message = await self._message(delivery)
        if message is None:
            self.dead.pop(letter, None)
            return False
        stream, body = message
        try:
            await self._attempt(webhook, delivery, body)
        except NotDelivered:
            return False
        await self._confirm(stream, delivery, self.dead[letter].attempts + 1 if letter in self.dead else 1, None)
        return True

    def _missing(self, alert: Alert) -> Iterator[Delivery]:
        over = self._over.get(alert.id, ())
        for sink in alert.sinks:
            webhook = self._webhooks.get(sink)
            if webhook is None:
                continue
            wanted: list[Transition] = ["raised"]
            if alert.state == "resolved" and webhook.resolved:
                wanted.append("resolved")
            for transition in wanted:
                delivery = Delivery(alert.id, transition, sink)
                if delivery not in over and delivery not in self._tasks:
                    yield delivery

    def _begin(self, delivery: Delivery) -> None:
        if not self.is_open:
            return
        if self._waiting[delivery.sink] >= self._webhooks[delivery.sink].waiting_max:
            self.has_more = True
            return
        self._waiting[delivery.sink] += 1
        first = self._tasks.get(delivery._replace(transition="raised"))
        task = asyncio.create_task(self._deliver(delivery, first), name=f"webhook {delivery.sink}")
        self._tasks[delivery] = task
        task.add_done_callback(lambda _: self._ended(delivery))

    def _ended(self, delivery: Delivery) -> None:
        self._tasks.pop(delivery, None)
        self._waiting[delivery.sink] -= 1

    async def _deliver(self, delivery: Delivery, first: asyncio.Task[None] | None) -> None:
        """Tell it, however long that takes; that it ended comes after that it began."""
        if first is not None:
            await asyncio.wait({first})
        try:
            message = await self._message(delivery)
            if message is not None:
                attempts, error = await self._persist(delivery, message[1])
                await self._confirm(message[0], delivery, attempts, error)
        except LeadwheelError as error:  # the log cannot be read or written now
            _log.warning("webhook_waits", webhook=delivery.sink, error=str(error))
            await self._clock.sleep(_LATER_S)
            self.has_more = True
        except Exception:  # noqa: BLE001 - a supervision boundary: logged, and tried again after a restart
            _log.exception("webhook_failed", webhook=delivery.sink)

    async def _persist(self, delivery: Delivery, body: bytes) -> tuple[int, str | None]:
        """Try until it is taken or given up; how often, and why it was given up."""
        webhook = self._webhooks[delivery.sink]
        retrying = AsyncRetrying(
            sleep=self._clock.sleep,
            stop=stop_after_attempt(webhook.attempts),
            wait=_pause(webhook, delivery.message_id),
            retry=retry_if_exception(lambda error: isinstance(error, NotDelivered) and not error.is_final),
            reraise=True,
        )
        attempts = 0
        try:
            async for attempt in retrying:
                with attempt:
                    attempts += 1
                    await self._attempt(webhook, delivery, body)
        except NotDelivered as error:
            return attempts, str(error)
        return attempts, None

    async def _attempt(self, webhook: WebhookSettings, delivery: Delivery, body: bytes) -> None:
        async with self._slots[delivery.sink]:
            try:
                await self._poster.post(webhook, delivery.message_id, body)
            except NotDelivered:
                self._counts.failed += 1
                raise

    async def _confirm(self, stream: Stream, delivery: Delivery, attempts: int, error: str | None) -> None:
        if error is None:
            self._counts.delivered += 1
        else:
            self._counts.dead += 1
            _log.warning("webhook_dead", webhook=delivery.sink, alert=delivery.alert, attempts=attempts, error=error)
        outcome: Outcome = "delivered" if error is None else "dead"
        told = AlertDelivered(delivery.alert, delivery.transition, delivery.sink, outcome, attempts, error)
        await self._ingest.record([delivered_event(stream, told, self._clock.now_us())])

    async def _message(self, delivery: Delivery) -> tuple[Stream, bytes] | None:
        """Whose alert it is, and what is posted, from the log; None for what is no longer there."""
        raised = await self._store.find(self._org, raised_event_id(delivery.alert))
        if raised is None:
            return None
        board = AlertBoard()
        board.fold(raised)
        at_us = raised.at_us
        if delivery.transition == "resolved":
            resolved = await self._store.find(self._org, resolved_event_id(delivery.alert))
            if resolved is None:
                return None
            board.fold(resolved)
            at_us = resolved.at_us
        alert = board.get(delivery.alert)
        if alert is None:
            return None
        data = {"org": self._org, **msgspec.to_builtins(alert)}
        message = Message(f"alert.{delivery.transition}", format_time(at_us), data)
        return raised.stream, msgspec.json.encode(message)

    def _prune(self) -> None:
        """Forget what became of alerts that are no longer on the board."""
        if self.is_open and len(self._over) > self._prune_past:
            self._over = {alert: over for alert, over in self._over.items() if self._board.get(alert) is not None}
            self._prune_past = 2 * len(self._over) + _CONFIRMED_SLACK


def _letter(delivery: Delivery) -> str:
    return delivery_id(*delivery)


def _pause(webhook: WebhookSettings, message_id: str) -> Callable[[RetryCallState], float]:
    """Doubled each time, up to half of it left off by chance, which follows from the id, so that not all come at once."""

    def pause_s(state: RetryCallState) -> float:
        tried = state.attempt_number
        longest_s = min(webhook.backoff_max_s, webhook.backoff_s * 2.0 ** (tried - 1))
        share = (key64(f"{message_id}/{tried}") % 1000) / 2000
        error = state.outcome.exception() if state.outcome is not None else None
        asked_s = error.retry_after_s if isinstance(error, NotDelivered) else 0.0
        return max(longest_s * (1 - share), min(asked_s, webhook.backoff_max_s))

    return pause_s
