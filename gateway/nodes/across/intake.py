"""Events in at any node: checked here, stored and folded by the owners of their streams, answered as one.

What an owner does not confirm is named in the answer with its id, given here where it had none, so that sending it again stores
it once, whatever became of the first time.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec
from aiohttp import web

import bandit.events
from actors.ingest import Receipt
from eventstore.admission import Admitted, Refusal, RefusalCode, refusal
from eventstore.event import Kind, NewEvent, Stream
from eventstore.store import Stored
from eventstore.types import EventTypes
from gateway.compat import cloudevents
from gateway.nodes.forwarding.cluster import LEFT
from gateway.nodes.forwarding.front import Front
from gateway.nodes.forwarding.procedures import Procedure
from gateway.orgs import Org
from gateway.problems import RETRY_AFTER_S, Problem, code_of, document
from gateway.ready import ready_json
from gateway.routes.events import IngestAnswer, offered, refused
from gateway.routing import Route
from gateway.service import Service
from kernel.errors import LeadwheelError, StoreUnavailable
from kernel.ids import Position, format_position
from scoring.events import SCORING_TYPES

_SYSTEM: Final = EventTypes([*bandit.events.TYPES, *SCORING_TYPES])
_AT_ONCE: Final = 512  # events decoded between two turns of the loop: about 2 ms
_encode = msgspec.json.Encoder().encode


class SentEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event on its way to its owner; its payload is decoded again there."""

    kind: Kind
    stream: str
    id: str
    type: str
    at_us: int
    data: bytes
    has_time: bool
    source: str | None


class Intake(msgspec.Struct, frozen=True, array_like=True):
    """Events of one partition. ``is_system``: what the service itself writes, which no bound refuses."""

    events: list[SentEvent]
    is_atomic: bool
    is_system: bool
    fold_timeout_s: float


class Fate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one event: where it stands in the log, or, with position 0, why it does not."""

    position: int
    is_duplicate: bool = False
    code: str = ""
    path: str = ""
    expected: str = ""
    actual: str = ""


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """What became of them, one by one."""

    fates: list[Fate]
    dead: int
    is_folded: bool


class Unavailable(msgspec.Struct, frozen=True):
    """An event that was not confirmed: sent again with this ``id`` it is stored once. Stands among the refusals."""

    index: int
    code: str
    id: str
    detail: str


class LateAnswer(msgspec.Struct, frozen=True):
    """All is durable, and not all is folded yet: a read may not show it for a moment. ``dead`` counts what is known."""

    accepted: int
    duplicates: int
    rejected: list[Refusal]
    dead: int
    last_position: str | None
    folded: bool


async def _take(service: Service, org: Org, asked: Intake) -> Taken:
    events: list[NewEvent] = []
    for start in range(0, len(asked.events), _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        events += [_received(org, each) for each in asked.events[start : start + _AT_ONCE]]
    return await _stored(service, events, asked.is_atomic, asked.is_system, asked.fold_timeout_s)


#: Stores events of one partition. Repeatable: their ids tell a repetition.
TAKE: Final = Procedure("events", Intake, Taken, _take)


async def post_events(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """The answer that one process would give; 503 where some owner is away, 202 where some fold is late."""
    service = front.shared
    admitted, mode, is_atomic = await offered(service, request, org)
    parts = await _submit(front, org, admitted, is_atomic)
    answer, lost = _answer(admitted, parts, mode)
    service.count(answer.accepted, answer.duplicates, len(answer.rejected), answer.dead)
    service.count_refused(each.code for each in answer.rejected)
    if lost:
        raise _unavailable(answer, lost, [part.fate for part in parts if isinstance(part.fate, Problem)])
    if answer.rejected and (len(answer.rejected) == admitted.total or (is_atomic and len(parts) == 1)):
        raise refused(answer.rejected)
    if not all(isinstance(part.fate, Taken) and part.fate.is_folded for part in parts):
        found = LateAnswer(**msgspec.structs.asdict(answer), folded=False)
        return web.Response(body=_encode(found), status=202, content_type="application/json")
    return ready_json(request, service.dates.line(service.clock.now_us()), _encode(answer))


async def store(front: Front, org: Org, events: Sequence[NewEvent]) -> list[Fate]:
    """What became of events, each stored by the owner of its stream.

    Raises
    ------
    StoreUnavailable
        Some owner did not confirm; others may have stored theirs, and all of them may be sent again.
    """
    parts = await _submit(front, org, Admitted(list(enumerate(events)), [], len(events), False), False)
    fates: dict[int, Fate] = {}
    for part in parts:
        if isinstance(part.fate, Problem):
            raise StoreUnavailable(part.fate.detail) from part.fate
        fates |= {index: fate for (index, _), fate in zip(part.events, part.fate.fates, strict=True)}
    return [fates[index] for index in range(len(events))]


class ForwardingRecorder:
    """Records what lead partitions bring about in the shared one, wherever that is written."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def record(self, events: Sequence[NewEvent]) -> object:
        """Raises ``StoreUnavailable``: some may have been recorded, and all of them may be again."""
        by_org: dict[str, dict[int, list[NewEvent]]] = {}
        for event in events:
            partition = self._front.cluster.partition_of(event.stream)
            by_org.setdefault(event.stream.org, {}).setdefault(partition, []).append(event)
        for name, parts in by_org.items():
            org = self._front.shared.orgs[name]
            for partition, mine in parts.items():
                service = self._front.local(partition)
                if service is not None:
                    await service.ingest.record(mine)
                    continue
                asked = Intake([_sent(event) for event in mine], False, True, self._front.options.fold_timeout_s)
                try:
                    await self._front.call(TAKE, partition, org, asked, waits=False)  # else a reward would wait for it
                except Problem as problem:
                    raise StoreUnavailable(str(problem)) from problem
        return None


class _Part(NamedTuple):
    """The events of one partition, with their places in the request, and what became of them."""

    events: list[tuple[int, NewEvent]]
    fate: Taken | Problem


async def _submit(front: Front, org: Org, admitted: Admitted, is_atomic: bool) -> list[_Part]:
    """Every partition's events to its owner, all at once."""
    groups: dict[int, list[tuple[int, NewEvent]]] = {}
    known: dict[Stream, list[tuple[int, NewEvent]]] = {}
    for each in admitted.events:
        stream = each[1].stream
        group = known.get(stream)
        if group is None:
            group = known[stream] = groups.setdefault(front.cluster.partition_of(stream), [])
        group.append(each)
    is_whole = is_atomic and len(groups) == 1  # of several owners none knows what the others refuse
    fates = await asyncio.gather(
        *(
            _submit_one(front, org, partition, [event for _, event in events], is_whole)
            for partition, events in groups.items()
        )
    )
    return [_Part(events, fate) for events, fate in zip(groups.values(), fates, strict=True)]


async def _submit_one(
    front: Front, org: Org, partition: int, events: Sequence[NewEvent], is_atomic: bool
) -> Taken | Problem:
    timeout_s = front.options.fold_timeout_s
    try:
        service = front.local(partition)
        if service is not None:
            with contextlib.suppress(*LEFT):  # it has just been given back: whoever has it then is asked
                return await _stored(service, events, is_atomic, False, timeout_s)
        return await front.call(
            TAKE, partition, org, Intake([_sent(each) for each in events], is_atomic, False, timeout_s)
        )
    except Problem as problem:
        return problem
    except LeadwheelError as error:  # this partition's intake is full, or its log away: the others' events are taken
        if code_of(error) is None:
            raise
        told = document(error)
        return Problem(told.code, told.detail)


async def _stored(
    service: Service, events: Sequence[NewEvent], is_atomic: bool, is_system: bool, fold_timeout_s: float
) -> Taken:
    if is_system:
        receipt = await service.ingest.record(events)
    else:
        receipt = await service.ingest.submit(events, is_atomic=is_atomic, fold_timeout_s=fold_timeout_s)
    return _taken(receipt)


def _taken(receipt: Receipt) -> Taken:
    fates = [
        Fate(each.event.position, each.is_duplicate)
        if isinstance(each, Stored)
        else Fate(0, False, each.code, each.path, each.expected, each.actual)
        for each in receipt.outcomes
    ]
    return Taken(fates, receipt.dead, receipt.is_folded)


def _sent(event: NewEvent) -> SentEvent:
    return SentEvent(
        event.stream.kind, event.stream.id, event.id, event.type, event.at_us, event.data, event.has_time, event.source
    )


def _received(org: Org, sent: SentEvent) -> NewEvent:
    """Raises ``Problem`` for one of a type that this node does not know, or knows another form of."""
    decoder = org.catalogue.event_types.decoders.get(sent.type) or _SYSTEM.decoders.get(sent.type)
    try:
        if decoder is None:
            raise msgspec.ValidationError("no such type")
        payload: Any = decoder.decode(sent.data)
    except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
        detail = f"the nodes run with other packs: the owner cannot read {sent.type} ({error})"
        raise Problem("owner_away", detail) from error
    stream = Stream(org.name, sent.kind, sent.stream)
    return NewEvent(stream, sent.id, sent.type, sent.at_us, sent.data, payload, sent.has_time, sent.source)


def _answer(
    admitted: Admitted, parts: Sequence[_Part], mode: cloudevents.Mode | None
) -> tuple[IngestAnswer, list[Unavailable]]:
    """What became of the events, refusals in the order sent, and what was not confirmed."""
    rejected, lost = list(admitted.rejected), list[Unavailable]()
    accepted = duplicates = dead = last = 0
    for events, fate in parts:
        if isinstance(fate, Problem):
            lost += [Unavailable(index, "unavailable", event.id, fate.detail) for index, event in events]
            continue
        dead += fate.dead
        for (index, _), each in zip(events, fate.fates, strict=True):
            if each.code:
                told = refusal(index, cast("RefusalCode", each.code), each.path, each.expected, each.actual)
                rejected.append(cloudevents.in_terms(mode, told))
                continue
            accepted += not each.is_duplicate
            duplicates += each.is_duplicate
            last = max(last, each.position)
    rejected.sort(key=lambda each: each.index)
    position = format_position(Position(last)) if last else None
    return IngestAnswer(accepted, duplicates, rejected, dead, position), lost


def _unavailable(answer: IngestAnswer, lost: Sequence[Unavailable], problems: Sequence[Problem]) -> Problem:
    """Some events were not confirmed: which, and what became of the others."""
    codes = {each.code for each in problems}
    code = codes.pop() if len(codes) == 1 else "owner_away"
    members = msgspec.to_builtins(answer)
    rejected = [*msgspec.to_builtins(answer.rejected), *msgspec.to_builtins(list(lost))]
    members["rejected"] = sorted(rejected, key=lambda each: each["index"])
    detail = f"{len(lost)} events are not confirmed, send them again with the ids given here: {problems[0].detail}"
    retry = max((int(each.headers.get("Retry-After", RETRY_AFTER_S)) for each in problems), default=RETRY_AFTER_S)
    return Problem(code, detail, headers={"Retry-After": str(retry)}, members=members)
