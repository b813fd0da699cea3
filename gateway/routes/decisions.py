"""Decisions: asked for, rewarded, activated, and what became of them."""

import asyncio
import math
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from bandit.deciding import DECISIONS_MAX, Decision, Ranked, Request, replayed
from bandit.events import DECISION_MADE, DecisionMade, Reason, payload_of
from bandit.learners.learner import REWARD_MAX
from bandit.records import DecisionRecord, State
from eventstore.event import Event, Stream
from gateway.bodies import decode_body, decoded
from gateway.listing import Item, Listing, Part
from gateway.orgs import Org
from gateway.parameters import Page, flag, page_of, query_of
from gateway.policies.rewarding import activate, found_decision, record, records, reward
from gateway.problems import Invalid, Problem, ProblemDocument, code_of, document
from gateway.ready import ready_json
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routes.policies import POLICIES
from gateway.routing import Content, Query, Route
from gateway.service import Service
from kernel.ids import Position
from kernel.times import format_time

_DECISIONS = "/v1/orgs/{org}/decisions"
_PAGE = 200  # decoded in one go: a few milliseconds
OF_POLICY = Query("policy", "Only of this policy")
REPLAY = Query("replay", "Draw it again from the log, too", {"type": "boolean", "default": False})
OF_LEAD = Query("lead", "Only about this lead")


class ListedDecision(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member of a list: a decision, or ``error`` alone, the document of the refusal that it would have got by itself."""

    decision_id: str | msgspec.UnsetType = msgspec.UNSET
    arm: str | msgspec.UnsetType = msgspec.UNSET
    probability: float | msgspec.UnsetType = msgspec.UNSET
    ranking: list[Ranked] | msgspec.UnsetType = msgspec.UNSET
    model_version: str | msgspec.UnsetType = msgspec.UNSET
    policy_version: int | msgspec.UnsetType = msgspec.UNSET
    reason: Reason | msgspec.UnsetType = msgspec.UNSET
    error: ProblemDocument | msgspec.UnsetType = msgspec.UNSET


class RewardRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``id`` makes sending it twice harmless."""

    value: float
    id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class RewardAnswer(msgspec.Struct, frozen=True):
    """``learned``: as things stand, what the model learns contains it."""

    late: bool
    learned: bool
    duplicate: bool


class ActivationAnswer(msgspec.Struct, frozen=True):
    late: bool


class RewardDocument(msgspec.Struct, frozen=True):
    id: str
    value: float
    at: str


class ReplayDocument(msgspec.Struct, frozen=True):
    """A decision drawn again, from its logged distribution. ``same``: arm, probability and reason came out as logged."""

    arm: str
    probability: float
    reason: Reason
    same: bool


class DecisionDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """A decision and what it earned. ``context`` holds the numbers that the model saw, by column, and the request's own.

    ``replay`` is there if it was asked for.
    """

    decision_id: str
    policy: str
    lead: str | None
    arm: str
    probability: float
    ranking: list[Ranked]
    context: dict[str, float | str | bool | None]
    reason: Reason
    model_version: str
    policy_version: int
    state: State
    rewards: list[RewardDocument]
    reward: float | None
    decided: str
    replay: ReplayDocument | None = None


class DecisionList(msgspec.Struct, frozen=True):
    items: list[DecisionDocument]
    cursor: str | None


Members = Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=DECISIONS_MAX)]
Asked = Request | Annotated[list[Request], Meta(min_length=1, max_length=DECISIONS_MAX)]
ONE_OR_LIST: Any = Request | Members
DECODER = msgspec.json.Decoder(ONE_OR_LIST)
MEMBER = msgspec.json.Decoder(Request)
REWARD = msgspec.json.Decoder(RewardRequest)


async def decide(service: Service, request: web.Request, org: Org) -> web.StreamResponse:
    query_of(request, ())
    wanted: Request | list[msgspec.Raw] = await decode_body(request, DECODER, ONE_OR_LIST)
    policy = request.match_info["policy"]
    if isinstance(wanted, Request):
        decision = await service.decider.decide(org, policy, wanted)
        return ready_json(request, service.dates.line(service.clock.now_us()), msgspec.json.encode(decision))
    await (await service.policies.of(org)).entity(policy)
    members = [_member(service, org, policy, each) for each in wanted]
    return json_response(await asyncio.gather(*members))


async def _member(service: Service, org: Org, policy: str, wanted: msgspec.Raw) -> Decision | ListedDecision:
    try:
        return await service.decider.decide(org, policy, decoded(wanted, MEMBER, Request))
    except Exception as error:
        if code_of(error) is None:
            raise
        return ListedDecision(error=document(error))


async def post_reward(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    wanted = await decode_body(request, REWARD, RewardRequest)
    if not (math.isfinite(wanted.value) and abs(wanted.value) <= REWARD_MAX):
        raise _refused("value", "a number of magnitude up to 10^12", str(wanted.value))
    if wanted.id is not None and (wanted.id.startswith("~") or not wanted.id.isprintable()):
        raise _refused("id", "1 to 256 printable characters, not beginning with ~", wanted.id)
    rewarded = await reward(service, org, request.match_info["decision"], wanted.value, wanted.id)
    standing = rewarded.standing
    answer = RewardAnswer(standing.late, standing.learned, rewarded.is_duplicate)
    return json_response(answer, 202 if standing.late else 200)


async def post_activation(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    is_late = await activate(service, org, request.match_info["decision"])
    return json_response(ActivationAnswer(is_late), 202 if is_late else 200)


async def get_decision(service: Service, request: web.Request, org: Org) -> web.Response:
    query = query_of(request, ("replay",))
    made = await found_decision(service, org, request.match_info["decision"])
    found = _document(await record(service, org, made))
    if flag(query, "replay"):
        again = replayed(payload_of(made))
        drawn = ReplayDocument(again.arm, again.probability, again.reason, again.is_same)
        found = msgspec.structs.replace(found, replay=drawn)
    return json_response(found)


async def list_decisions(service: Service, request: web.Request, org: Org) -> web.Response:
    return await DECISIONS.answer(service, request, org)


def _page(request: web.Request, org: Org, key: Any) -> Page:
    query = query_of(request, ("limit", "cursor", "policy", "lead"))
    return page_of(query, "decisions", org.name, query.get("policy", ""), query.get("lead", ""), key=key)


async def _part(service: Service, request: web.Request, org: Org, after: list[Any] | None, limit: int) -> Part:
    """The newest first: by when they were made, where they stand in several logs."""
    policy, lead = request.rel_url.query.get("policy"), request.rel_url.query.get("lead")
    before = None if after is None else Position(after[0])
    chosen = await _chosen(service, org, policy, lead, before, limit + 1)
    found = await records(service, org, chosen[:limit])
    items = [
        Item((-event.recorded_us, -event.position), [event.position], _document(each))
        for event, each in zip(chosen[:limit], found, strict=True)
    ]
    return Part(items, len(chosen) <= limit)


DECISIONS = Listing(_page, _part, tuple[int])


async def _chosen(
    service: Service, org: Org, policy: str | None, lead: str | None, before: Position | None, count: int
) -> list[Event]:
    """The newest decisions that are asked for, before a position."""
    if lead is not None:
        log = await service.store.read(Stream(org.name, "lead", lead))
        made = [event for event in log if event.type == DECISION_MADE and (before is None or event.position < before)]
        return [event for event in reversed(made) if _is_of(event, policy)][:count]
    found: list[Event] = []
    while len(found) < count:
        page = await service.store.read_type(org.name, DECISION_MADE, before=before, limit=_PAGE)
        if not page:
            break
        found += [event for event in page if _is_of(event, policy)]
        before = page[-1].position
    return found[:count]


def _is_of(event: Event, policy: str | None) -> bool:
    made: DecisionMade = payload_of(event)
    return policy is None or made.policy == policy


def _document(found: DecisionRecord) -> DecisionDocument:
    fields: dict[str, Any] = msgspec.structs.asdict(found)
    fields["decided"] = format_time(fields.pop("decided_us"))
    fields["rewards"] = [RewardDocument(each.id, each.value, format_time(each.at_us)) for each in found.rewards]
    return DecisionDocument(**fields)


def _refused(path: str, expected: str, actual: str) -> Problem:
    return Problem("invalid_body", f"{path}: expected {expected}", errors=[Invalid(path, expected, actual)])


ROUTES = (
    Route(
        "POST",
        POLICIES + "/{policy}/decide",
        decide,
        "decide",
        "decisions",
        "Choose an arm; or of a list of requests, one each",
        "The decision is durable before it is answered. A `decision_id` that was used gives the first answer again. Nobody "
        "to choose is `no_eligible_arm`: 422 where the request left nobody, 409 where the guardrails did.",
        body=(Content(Asked),),
        answers={200: Content(Decision | list[ListedDecision])},
        problems=(400, 404, 409, 413, 415, 422, 503),
    ),
    Route(
        "POST",
        _DECISIONS + "/{decision}/reward",
        post_reward,
        "decide",
        "decisions",
        "Reward a decision",
        "After the waiting time a reward is stored and counted, but not learned: 202.",
        body=(Content(RewardRequest),),
        answers={200: Content(RewardAnswer), 202: Content(RewardAnswer)},
        problems=(400, 404, 409, 413, 415, 422, 503),
    ),
    Route(
        "POST",
        _DECISIONS + "/{decision}/activate",
        post_activation,
        "decide",
        "decisions",
        "Let the rewards of a deferred decision count",
        answers={200: Content(ActivationAnswer), 202: Content(ActivationAnswer)},
        problems=(404, 422, 503),
    ),
    Route(
        "GET",
        _DECISIONS + "/{decision}",
        get_decision,
        "read",
        "decisions",
        "What was decided, and what it earned",
        query=(REPLAY,),
        answers={200: Content(DecisionDocument)},
        problems=(404, 422),
    ),
    Route(
        "GET",
        _DECISIONS,
        list_decisions,
        "read",
        "decisions",
        "Decisions, newest first",
        query=(LIMIT, CURSOR, OF_POLICY, OF_LEAD),
        answers={200: Content(DecisionList)},
        problems=(422,),
    ),
)
