"""Alert rules: what is held of leads, and how grave it is."""

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from eventstore.envelope import EXPECTED_LEAD, is_lead
from eventstore.fields import Count
from gateway.alerts.org_alerts import OrgAlerts
from gateway.bodies import decode_body
from gateway.orgs import Org
from gateway.parameters import page_of, query_of
from gateway.problems import Problem, invalid_parameter
from gateway.routes.catalogue import CURSOR, LIMIT, json_response
from gateway.routing import Content, Route
from gateway.service import Service
from scoring.events import AlertRule, AlertSeverity

_RULES = "/v1/orgs/{org}/alert-rules"
Expression = Annotated[str, Meta(min_length=1, max_length=4096)]


class AlertRuleRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``when`` and ``until`` are expressions over features (`view.name`) and predictions (`prediction.NAME`).

    An alert ends once ``when`` no longer holds and ``until``, where given, does. ``cooldown_s`` runs from its beginning.
    ``sinks`` are webhooks of the settings; the log and the change feed (`log`, `stream`) are told anyway.
    """

    when: Expression
    severity: AlertSeverity = "medium"
    cooldown_s: Count = 3600
    sinks: Annotated[list[str], Meta(max_length=32)] = []
    until: Expression | None = None


class AlertRuleDocument(msgspec.Struct, frozen=True):
    """``version`` counts definitions and deletions of the name; 0: as shipped. ``error``: why it is not in force."""

    name: str
    version: int
    when: str
    until: str | None
    severity: AlertSeverity
    cooldown_s: int
    sinks: list[str]
    built_in: bool
    error: str | None


class AlertRuleList(msgspec.Struct, frozen=True):
    items: list[AlertRuleDocument]
    cursor: str | None


_DECODER = msgspec.json.Decoder(AlertRuleRequest)


async def put_rule(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    name = request.match_info["name"]
    if not is_lead(name):
        raise invalid_parameter("name", f"expected {EXPECTED_LEAD}", name)
    wanted = await decode_body(request, _DECODER, AlertRuleRequest)
    rule = AlertRule(wanted.when, wanted.severity, wanted.cooldown_s, tuple(wanted.sinks), wanted.until)
    alerts = await service.alerts.of(org)
    await _define(service, alerts, name, rule)
    return json_response(_found(alerts, name))


async def get_rule(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    return json_response(_found(await service.alerts.of(org), request.match_info["name"]))


async def delete_rule(service: Service, request: web.Request, org: Org) -> web.Response:
    query_of(request, ())
    alerts, name = await service.alerts.of(org), request.match_info["name"]
    _found(alerts, name)
    await _define(service, alerts, name, None)
    return web.Response(status=204)


async def list_rules(service: Service, request: web.Request, org: Org) -> web.Response:
    page = page_of(query_of(request, ("limit", "cursor")), "alert-rules", org.name, key=tuple[str])
    alerts, after = await service.alerts.of(org), page.after
    names = [name for name in alerts.rules.names if after is None or name > after[0]]
    chosen = [_found(alerts, name) for name in names[: page.limit]]
    return json_response(page.answer(chosen, [chosen[-1].name] if len(names) > page.limit else None))


async def _define(service: Service, alerts: OrgAlerts, name: str, rule: AlertRule | None) -> None:
    changed = await alerts.rules.define(name, rule, ingest=service.ingest, store=service.store, clock=service.clock)
    alerts.rules_changed(changed)


def _found(alerts: OrgAlerts, name: str) -> AlertRuleDocument:
    rules = alerts.rules
    rule = rules.get(name)
    if rule is None:
        raise Problem("alert_rule_not_found", f"no alert rule {name}")
    return AlertRuleDocument(
        name=name,
        version=rules.version(name),
        when=rule.when,
        until=rule.until,
        severity=rule.severity,
        cooldown_s=rule.cooldown_s,
        sinks=list(rule.sinks),
        built_in=rules.is_built_in(name),
        error=rules.fault(name),
    )


ROUTES = (
    Route(
        "PUT",
        _RULES + "/{name}",
        put_rule,
        "admin",
        "alerts",
        "Define an alert rule",
        "Equal content makes no new version. Every lead is looked at: a rule that holds already raises alerts.",
        body=(Content(AlertRuleRequest),),
        answers={200: Content(AlertRuleDocument)},
        problems=(400, 413, 415, 422, 503),
    ),
    Route(
        "GET",
        _RULES + "/{name}",
        get_rule,
        "read",
        "alerts",
        "An alert rule",
        answers={200: Content(AlertRuleDocument)},
        problems=(404, 422),
    ),
    Route(
        "DELETE",
        _RULES + "/{name}",
        delete_rule,
        "admin",
        "alerts",
        "Delete an alert rule",
        "Its open alerts are resolved. A built-in rule that was deleted stays so until it is defined again.",
        answers={204: None},
        problems=(404, 422, 503),
    ),
    Route(
        "GET",
        _RULES,
        list_rules,
        "read",
        "alerts",
        "All alert rules, by name",
        query=(LIMIT, CURSOR),
        answers={200: Content(AlertRuleList)},
        problems=(422,),
    ),
)
