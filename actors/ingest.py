"""The one way into the log: append, then fold, as one step that nobody can cut in two.

Bounded by the events and bytes under way: past them a request is refused whole, before anything of it is stored.

What comes while an append is under way waits, and goes to the log together with all else that waits: one append, one
delivery, one turn of the loop for many requests. Appending and folding belong to tasks of the intake's own; a request
only waits for a future, so one that is cancelled leaves nothing half done.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from actors.delivery import Delivery
from actors.host import ActorHost
from eventstore.event import Event, NewEvent
from eventstore.store import EventStore, Outcome, Stored
from kernel.errors import EventStoreError, IntakeFull, LogIncomplete, StoreClosed, StoreUnavailable

#: What an event takes in memory beside its payload, roughly.
_EVENT_BYTES = 500

#: Requests are folded and answered together up to so many events; a larger one by itself, so that nobody waits for it.
_ANSWER_EVENTS = 64


class Receipt(NamedTuple):
    """What became of a request: an outcome per event, how many are newly stored, and how many of those are dead.

    ``is_folded`` is false where the caller did not wait that long; ``dead`` is then not known, and 0.
    """

    outcomes: list[Outcome]
    new: int
    dead: int
    is_folded: bool = True


class IntakeStatistics(msgspec.Struct, frozen=True):
    """The intake now, and its refusals since start."""

    events: int
    size_bytes: int
    full: int


class _Call:
    """One request: its events, and the receipt that it waits for. Under way until it has one, wanted or not."""

    __slots__ = ("events", "is_under_way", "receipt", "size_bytes", "stored")

    def __init__(self, events: Sequence[NewEvent], size_bytes: int, receipt: asyncio.Future[Receipt]) -> None:
        self.events = events
        self.size_bytes = size_bytes
        self.receipt = receipt
        self.stored: asyncio.Future[list[Outcome]] | None = None  #: for who wants to know before they are folded
        self.is_under_way = True


class _Append(NamedTuple):
    """Requests whose events were appended together, and the outcomes of all of them in a row."""

    calls: Sequence[_Call]
    outcomes: Sequence[Outcome]
    token: int


class _Landed(NamedTuple):
    """A request that stands in the log: its outcomes, and its events that are new there and that were there before."""

    call: _Call
    outcomes: list[Outcome]
    new: list[Event]
    old: list[Event]


class Ingest:
    """Appends events and folds them.

    Parameters
    ----------
    max_events, max_bytes : accepted and not folded yet, of all requests together. A request larger than that
        is taken when nothing else is under way.
    batch_events : appended together, unless a single request has more.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        host: ActorHost,
        max_events: int = 100_000,
        max_bytes: int = 256 * 1024**2,
        batch_events: int = 4000,
    ) -> None:
        self._store = store
        self._host = host
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._batch_events = batch_events
        self._events = 0
        self._bytes = 0
        self._full = 0
        self._waiting: deque[_Call] = deque()
        self._is_appending = False
        self._joining: list[Callable[[], None]] = []
        self._landed: deque[_Append] = deque()
        self._is_folding = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(
        self, events: Sequence[NewEvent], *, is_atomic: bool = False, fold_timeout_s: float | None = None
    ) -> Receipt:
        """Store events and fold them; returns when both are done, duplicates' first occurrences included.

        Parameters
        ----------
        fold_timeout_s : return so long after they are stored even if they are not folded; None: wait.

        Raises
        ------
        IntakeFull, MailboxFull, StoreUnavailable
            Nothing of this call was stored.
        """
        if not events:
            return Receipt([], 0, 0)
        size_bytes = self._admit(events)
        call = self._begin(events, size_bytes, is_atomic, _future())
        return await (call.receipt if fold_timeout_s is None else _in_time(call, fold_timeout_s))

    def begin(self, events: Sequence[NewEvent], receipt: asyncio.Future[Receipt]) -> None:
        """``submit`` for who does not wait here: ``receipt`` gets the receipt, or the error. ``events`` : at least one.

        Raises
        ------
        IntakeFull, MailboxFull
            Nothing of this call will be stored.
        """
        self._begin(events, self._admit(events), False, receipt)

    async def record(self, events: Sequence[NewEvent], *, is_atomic: bool = False) -> Receipt:
        """Store and fold without a bound: for events of the system itself, which bounds them in its own way."""
        return await self._begin(events, _size_bytes(events), is_atomic, _future()).receipt

    def join_next(self, join: Callable[[], None]) -> bool:
        """Have ``join`` called when the append under way is done, to begin what is to go with the next one. False: none is.

        What it begins then is as soon on the disk as if it were begun now. It does not raise.
        """
        if self._is_appending:
            self._joining.append(join)
        return self._is_appending

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def statistics(self) -> IntakeStatistics:
        return IntakeStatistics(events=self._events, size_bytes=self._bytes, full=self._full)

    def _admit(self, events: Sequence[NewEvent]) -> int:
        """How many bytes it is that have room. Raises ``IntakeFull`` or ``MailboxFull``."""
        size_bytes = _size_bytes(events)
        if self._host.is_congested or not self._has_room(len(events), size_bytes):
            self._full += 1
            raise IntakeFull(f"{self._events} events of {self._bytes} bytes are under way")
        self._host.admit(events)
        return size_bytes

    def _has_room(self, events: int, size_bytes: int) -> bool:
        if self._events == 0:
            return True
        return self._events + events <= self._max_events and self._bytes + size_bytes <= self._max_bytes

    def _begin(
        self, events: Sequence[NewEvent], size_bytes: int, is_atomic: bool, receipt: asyncio.Future[Receipt]
    ) -> _Call:
        """The request, with its receipt once it is folded. Whether anybody still waits for it then changes nothing."""
        call = _Call(events, size_bytes, receipt)
        self._events += len(events)
        self._bytes += size_bytes
        if is_atomic:  # stored whole or not at all, so it is an append by itself
            self._spawn(self._append((call,), is_atomic=True), "ingest-atomic")
            return call
        self._waiting.append(call)
        if not self._is_appending:
            self._is_appending = True
            self._spawn(self._append_waiting(), "ingest-append")
        return call

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _append_waiting(self) -> None:
        """Append what waits, a batch at a time, until nothing does. The next append runs while this one is folded."""
        try:
            while self._waiting:
                await self._append(self._take(), is_atomic=False)
                self._let_join()
        finally:
            self._is_appending = False
            self._let_join()

    def _let_join(self) -> None:
        joining, self._joining = self._joining, []
        for join in joining:
            join()

    def _take(self) -> list[_Call]:
        waiting = self._waiting
        calls = [waiting.popleft()]
        size = len(calls[0].events)
        while waiting and size + len(waiting[0].events) <= self._batch_events:
            size += len(waiting[0].events)
            calls.append(waiting.popleft())
        return calls

    async def _append(self, calls: Sequence[_Call], *, is_atomic: bool) -> None:
        """Append the events of several requests as one, and have them folded."""
        token = self._host.begin_append()
        events = calls[0].events if len(calls) == 1 else [event for call in calls for event in call.events]
        try:
            outcomes = await self._store.append(events, is_atomic=is_atomic)
        except (StoreUnavailable, StoreClosed) as error:
            self._host.end_append(token)  # the contract: nothing was stored
            if isinstance(error, LogIncomplete) and len(calls) > 1:
                for call in calls:  # one of them asks for what is not there yet; the others go on without it
                    await self._append((call,), is_atomic=is_atomic)
            else:
                self._refuse(calls, error)
        except Exception as error:  # noqa: BLE001 - told to the request at fault; the others go on without it
            self._host.doubt(token)
            if len(calls) == 1 or isinstance(error, EventStoreError):
                self._refuse(calls, error)
            else:
                for call in calls:
                    await self._append((call,), is_atomic=is_atomic)
        except BaseException as error:
            self._host.doubt(token)
            self._refuse(calls, error)
            raise
        else:
            _tell_stored(calls, outcomes)
            self._landed.append(_Append(calls, outcomes, token))
            if not self._is_folding:
                self._is_folding = True
                self._spawn(self._fold_landed(), "ingest-fold")

    async def _fold_landed(self) -> None:
        """Fold appends in the order of the log: an entity that met a later event first would have to read the log."""
        try:
            while self._landed:
                await self._fold(self._landed.popleft())
        finally:
            self._is_folding = False

    async def _fold(self, append: _Append) -> None:
        """Fold an append's events; each request is answered as soon as its own are folded, and waits for no other."""
        late: list[tuple[_Landed, Delivery]] = []
        try:
            for portion in _portions(append):
                delivery = await self._host.hand_out([event for landed in portion for event in landed.new])
                for landed in portion:
                    if not landed.old and delivery.is_folded(landed.new):
                        self._answer(landed, await delivery.dead_of(landed.new))
                    else:
                        late.append((landed, delivery))
            self._host.end_delivery(append.token)
        except BaseException as error:  # the log has the events, and the host looks them up
            self._host.doubt(append.token)
            self._refuse(append.calls, error)
            if not isinstance(error, Exception):
                raise
            return
        if late:
            self._spawn(self._answer_late(late, append.token), "ingest-late")
        else:
            self._host.end_append(append.token)

    async def _answer_late(self, late: Sequence[tuple[_Landed, Delivery]], token: int) -> None:
        """Answer those whose actors are busy, and duplicates whose first occurrences are not folded yet."""
        is_folded = False
        try:
            is_folded = all(await asyncio.gather(*(self._answer_one_late(landed, by) for landed, by in late)))
        finally:
            if is_folded:
                self._host.end_append(token)
            else:
                self._host.doubt(token)

    async def _answer_one_late(self, landed: _Landed, delivery: Delivery) -> bool:
        """False: its actors could not be read."""
        try:
            dead = await delivery.dead_of(landed.new)
            await self._host.wait_folded(landed.old)
        except BaseException as error:
            self._refuse([landed.call], error)
            if not isinstance(error, Exception):
                raise
            return False
        self._answer(landed, dead)
        return True

    def _answer(self, landed: _Landed, dead: Sequence[Event]) -> None:
        self._end(landed.call)
        if not landed.call.receipt.done():  # else its request was cancelled
            landed.call.receipt.set_result(Receipt(landed.outcomes, len(landed.new), len(dead)))

    def _refuse(self, calls: Iterable[_Call], error: BaseException) -> None:
        for call in calls:
            self._end(call)
            if call.receipt.done():
                continue
            if isinstance(error, Exception):
                call.receipt.set_exception(error)
            else:
                call.receipt.cancel()

    def _end(self, call: _Call) -> None:
        if call.is_under_way:
            call.is_under_way = False
            self._events -= len(call.events)
            self._bytes -= call.size_bytes


def _future() -> asyncio.Future[Receipt]:
    return asyncio.get_running_loop().create_future()


def _size_bytes(events: Sequence[NewEvent]) -> int:
    return sum([len(event.data) for event in events]) + _EVENT_BYTES * len(events)


async def _in_time(call: _Call, fold_timeout_s: float) -> Receipt:
    """The receipt, or, where folding takes longer than that, one that says only what is stored."""
    call.stored = asyncio.get_running_loop().create_future()
    await asyncio.wait((call.stored, call.receipt), return_when=asyncio.FIRST_COMPLETED)
    if not call.receipt.done():
        await asyncio.wait((call.receipt,), timeout=fold_timeout_s)
    if call.receipt.done() and not (call.stored.done() and isinstance(call.receipt.exception(), LogIncomplete)):
        return call.receipt.result()
    call.receipt.add_done_callback(_forgotten)
    outcomes = call.stored.result()
    return Receipt(outcomes, len(_landed(call, outcomes).new), 0, is_folded=False)


def _forgotten(receipt: asyncio.Future[Receipt]) -> None:
    """Nobody waits for it: what it ended in is no error that nobody saw."""
    if not receipt.cancelled():
        receipt.exception()


def _tell_stored(calls: Sequence[_Call], outcomes: Sequence[Outcome]) -> None:
    start = 0
    for call in calls:
        if call.stored is not None and not call.stored.done():
            call.stored.set_result(list(outcomes[start : start + len(call.events)]))
        start += len(call.events)


def _portions(append: _Append) -> Iterator[list[_Landed]]:
    """The requests of one append in order, with what became of their events: small ones together."""
    portion: list[_Landed] = []
    start = size = 0
    for call in append.calls:
        own = list(append.outcomes[start : start + len(call.events)])
        start += len(own)
        portion.append(_landed(call, own))
        size += len(own)
        if size >= _ANSWER_EVENTS:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _landed(call: _Call, outcomes: list[Outcome]) -> _Landed:
    new: list[Event] = []
    old: list[Event] = []
    for outcome in outcomes:
        if isinstance(outcome, Stored) and outcome.event.version:  # version 0: refused with its atomic batch
            (old if outcome.is_duplicate else new).append(outcome.event)
    return _Landed(call, outcomes, new, old)
