"""Policies: what the arms are, how they are chosen, what they earn, how they are doing."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from bandit.learners.learner import LearnerSettings
from bandit.models import ModelVersion
from bandit.policy import Guardrails, Policy, PolicyArm, Reward
from bandit.policy_entity import Definition, PolicyEntity
from bandit.statistics import ArmFigures, Health
from eventstore.envelope import EXPECTED_LEAD, is_lead
from gateway.bodies import decode_body, read_body
from gateway.orgs import Org
from gateway.parameters import page_of, query_of
from gateway.policies.policies import OrgPolicies, policy_key
from gateway.problems import Problem, invalid_parameter
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routing import Content, Query, Route
from gateway.service import Service
from kernel.ids import format_position
from kernel.times import format_time

POLICIES = "/v1/orgs/{org}/policies"
VERSION = Query("version", "Of the model; default the one that decides")


class PolicyDocument(msgspec.Struct, frozen=True):
    """A policy, complete. ``version`` counts its definitions and deletions."""

    name: str
    version: int
    defined: str
    arms: list[PolicyArm]
    context: str | None
    learner: LearnerSettings
    baseline: str | None
    floor: float
    seed: int
    reward: Reward
    guardrails: Guardrails


class PolicyList(msgspec.Struct, frozen=True):
    items: list[PolicyDocument]
    cursor: str | None


class ArmDocument(msgspec.Struct, frozen=True):
    """An arm's figures over the last days: of all decisions, and of those that matured (settled).

    ``interval`` is of the mean reward, 95 %. ``enabled`` is null for an arm that the policy does not have (any more).
    """

    arm: str
    enabled: bool | None
    share: float | None
    decisions: int
    matured: int
    pending: int
    rewarded: int
    mean: float | None
    interval: tuple[float, float] | None


class ArmsOnDay(msgspec.Struct, frozen=True):
    """Of the decisions made on one UTC day that are settled."""

    day: str
    arms: list[ArmFigures]


class ArmList(msgspec.Struct, frozen=True):
    items: list[ArmDocument]
    cursor: str | None
    days: list[ArmsOnDay]


class ModelDocument(msgspec.Struct, frozen=True):
    """A version of the model: what it had learned, up to which place in the log. ``decides``: new decisions follow it.

    ``kept``: its bytes can be had, and it can be rolled back to.
    """

    version: str
    updates: int
    position: str
    recorded: str
    settings: LearnerSettings
    library: str
    sha256: str
    size_bytes: int
    kept: bool
    decides: bool


class ModelList(msgspec.Struct, frozen=True):
    """Newest first. ``deciding`` is the version that was promoted, or null: decisions follow the model as it learns."""

    items: list[ModelDocument]
    cursor: str | None
    deciding: str | None


class RollbackRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Decide with this version of the model; left out: with the one before; null: with the model as it learns."""

    version: str | msgspec.UnsetType | None = msgspec.UNSET


class RollbackAnswer(msgspec.Struct, frozen=True):
    deciding: str | None


_DECODER = msgspec.json.Decoder(Policy)
_ROLLBACK = msgspec.json.Decoder(RollbackRequest)


async def put_policy(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    name = request.match_info["policy"]
    if not is_lead(name):
        raise invalid_parameter("policy", f"expected {EXPECTED_LEAD}", name)
    policies = await service.policies.of(org)
    definition, _ = await policies.define(name, await decode_body(request, _DECODER, Policy))
    return json_response(document(name, definition))


async def get_policy(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    _, entity = await _found(service, request, org)
    return json_response(document(request.match_info["policy"], _current(entity)))


async def delete_policy(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    policies = await service.policies.of(org)
    await policies.delete(request.match_info["policy"])
    return web.Response(status=204)


async def list_policies(service: Service, request: web.Request, org: Org) -> web.Response:
    page = page_of(query_of(request, ("limit", "cursor")), "policies", org.name, key=tuple[str])
    policies = await service.policies.of(org)
    after = page.after
    items: list[PolicyDocument] = []
    for name in sorted(name for name in policies.names if after is None or name > after[0]):
        entity = await policies.any_entity(name)
        if entity is None or entity.current is None:
            continue
        if len(items) == page.limit:
            return json_response(page.answer(items, [items[-1].name]))
        items.append(document(name, entity.current))
    return json_response(page.answer(items, None))


async def arms(service: Service, request: web.Request, org: Org) -> web.Response:
    return await arms_with(service, request, org, await pending_of(service, org, request.match_info["policy"]))


async def arms_with(service: Service, request: web.Request, org: Org, pending: Mapping[str, int]) -> web.Response:
    """The arms' figures, with so many open decisions by arm."""
    query_of(request, ())
    _, entity = await _found(service, request, org)
    enabled = {arm.id: arm.enabled for arm in _current(entity).policy.arms}
    items = [
        ArmDocument(enabled=enabled.get(each.arm), **msgspec.structs.asdict(each))
        for each in entity.statistics.arms(pending, enabled)
    ]
    days = [ArmsOnDay(format_time(day.day_us)[:10], day.arms) for day in entity.statistics.by_day()]
    return json_response(ArmList(items, None, days))


async def health(service: Service, request: web.Request, org: Org) -> web.Response:
    return await health_with(service, request, org, await pending_of(service, org, request.match_info["policy"]))


async def health_with(service: Service, request: web.Request, org: Org, pending: Mapping[str, int]) -> web.Response:
    """How the policy is doing, with so many open decisions by arm."""
    query_of(request, ())
    _, entity = await _found(service, request, org)
    figures = entity.statistics.health(
        service.clock.now_us(),
        pending=sum(pending.values()),
        not_learned=entity.not_learned,
        learned_us=entity.learned_us,
    )
    return json_response(figures)


async def pending_of(service: Service, org: Org, policy: str) -> Mapping[str, int]:
    """The open decisions of a policy by arm, among a service's own leads."""
    await service.policies.of(org)
    return service.policies.activity.pending(policy_key(org, policy))


async def versions(service: Service, request: web.Request, org: Org) -> web.Response:
    name = request.match_info["policy"]
    page = page_of(query_of(request, ("limit", "cursor")), "versions", org.name, name, key=tuple[str])
    _, entity = await _found(service, request, org)
    models = entity.models.listed[::-1]
    names = [each.version for each in models]
    start = names.index(page.after[0]) + 1 if page.after is not None and page.after[0] in names else 0
    chosen = models[start : start + page.limit]
    last_key = [chosen[-1].version] if start + page.limit < len(models) else None
    answer = page.answer([_model(entity, each) for each in chosen], last_key)
    return json_response({**answer, "deciding": entity.models.promoted})


async def rollback(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    has_body = bool(await read_body(request)) if request.can_read_body else False
    wanted = await decode_body(request, _ROLLBACK, RollbackRequest) if has_body else RollbackRequest()
    policies, entity = await _found(service, request, org)
    version = wanted.version
    if isinstance(version, msgspec.UnsetType):
        version = entity.models.before(entity.models.promoted)
        if version is None:
            raise Problem("model_version_not_found", "there is no version before the one that decides")
    entity = await policies.promote(entity.stream.id, version)
    return json_response(RollbackAnswer(entity.models.promoted))


async def model_file(service: Service, request: web.Request, org: Org) -> web.Response:
    query = query_of(request, ("version",))
    _, entity = await _found(service, request, org)
    wanted = query.get("version", entity.models.promoted)
    if wanted is None:
        body, version = entity.model_bytes(), entity.model_name
    else:
        found = entity.models.kept.get(wanted)
        if found is None:
            raise Problem("model_version_not_found", f"no model {wanted} is kept of policy {entity.stream.id}")
        body, version = found, wanted
    return web.Response(body=body, content_type="application/octet-stream", headers={"X-Model-Version": version})


def document(name: str, definition: Definition) -> PolicyDocument:
    """A policy as it is answered."""
    fields: dict[str, Any] = msgspec.structs.asdict(definition.policy)
    return PolicyDocument(name=name, version=definition.version, defined=format_time(definition.defined_us), **fields)


def _model(entity: PolicyEntity, made: ModelVersion) -> ModelDocument:
    return ModelDocument(
        version=made.version,
        updates=made.updates,
        position=format_position(made.position),  # type: ignore[arg-type]
        recorded=format_time(made.recorded_us),
        settings=made.settings,
        library=made.library,
        sha256=made.sha256,
        size_bytes=made.size_bytes,
        kept=made.version in entity.models.kept,
        decides=made.version == entity.models.promoted,
    )


async def _found(service: Service, request: web.Request, org: Org) -> tuple[OrgPolicies, PolicyEntity]:
    policies = await service.policies.of(org)
    return policies, await policies.entity(request.match_info["policy"])


def _current(entity: PolicyEntity) -> Definition:
    current = entity.current
    if current is None:
        raise Problem("policy_not_found", f"no policy {entity.stream.id}")
    return current


ROUTES = (
    Route(
        "PUT",
        POLICIES + "/{policy}",
        put_policy,
        "admin",
        "policies",
        "Define a policy",
        "Equal content makes no new version. Another learner, seed or context learns what was settled anew.",
        body=(Content(Policy),),
        answers={200: Content(PolicyDocument)},
        problems=(400, 413, 415, 422, 503),
    ),
    Route(
        "GET",
        POLICIES + "/{policy}",
        get_policy,
        "read",
        "policies",
        "A policy",
        answers={200: Content(PolicyDocument)},
        problems=(422,),
    ),
    Route(
        "DELETE",
        POLICIES + "/{policy}",
        delete_policy,
        "admin",
        "policies",
        "Delete a policy",
        "Its open decisions still settle. Defined again under its name, it begins with an empty model.",
        answers={204: None},
        problems=(422, 503),
    ),
    Route(
        "GET",
        POLICIES,
        list_policies,
        "read",
        "policies",
        "All policies, by name",
        query=(LIMIT, CURSOR),
        answers={200: Content(PolicyList)},
        problems=(422,),
    ),
    Route(
        "GET",
        POLICIES + "/{policy}/arms",
        arms,
        "read",
        "policies",
        "How the arms are doing: shares, decisions, rewards, over all and by day",
        answers={200: Content(ArmList)},
        problems=(422,),
    ),
    Route(
        "GET",
        POLICIES + "/{policy}/health",
        health,
        "read",
        "policies",
        "Whether decisions are joined with rewards, and drawn as logged",
        answers={200: Content(Health)},
        problems=(422,),
    ),
    Route(
        "GET",
        POLICIES + "/{policy}/versions",
        versions,
        "read",
        "policies",
        "Versions of the model, newest first",
        query=(LIMIT, CURSOR),
        answers={200: Content(ModelList)},
        problems=(422,),
    ),
    Route(
        "POST",
        POLICIES + "/{policy}/rollback",
        rollback,
        "admin",
        "policies",
        "Decide with another version of the model",
        'Without a body: with the version before. The learner goes on learning; `{"version": null}` follows it again.',
        body=(Content(RollbackRequest),),
        answers={200: Content(RollbackAnswer)},
        problems=(400, 404, 413, 415, 422, 503),
    ),
    Route(
        "GET",
        POLICIES + "/{policy}/model",
        model_file,
        "read",
        "policies",
        "The model's bytes",
        query=(VERSION,),
        answers={200: Content(media="application/octet-stream")},
        problems=(404, 422),
    ),
)
