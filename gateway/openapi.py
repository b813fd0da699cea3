"""The OpenAPI 3.1 document, made from the table of routes and the structs that decode and encode bodies."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.problems import CODES, ProblemDocument
from gateway.routing import Content, Query, Route

_PARAMETER = re.compile(r"\{(\w+)\}")
_MEANINGS = {
    "org": "The organisation",
    "lead": "The lead, percent-encoded",
    "view": "A feature view",
    "feature": "A feature's name within its view",
    "id": "As listed",
}


def build_openapi(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The document as plain values.

    Raises
    ------
    TypeError
        A body's type has no JSON Schema.
    """
    table = list(routes)
    types = [content.type for route in table for content in _contents(route) if content.type is not None]
    schemas, components = msgspec.json.schema_components(
        [*types, ProblemDocument], ref_template="#/components/schemas/{name}"
    )
    of_type = {repr(kind): schema for kind, schema in zip(types, schemas, strict=False)}
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, of_type, schemas[-1])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Leadwheel",
            "version": version,
            "summary": "Live features of every lead from one event log",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}, {"subscriptionKey": []}, {"basic": []}, {}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "subscriptionKey": {"type": "apiKey", "in": "header", "name": "Ocp-Apim-Subscription-Key"},
                "basic": {"type": "http", "scheme": "basic", "description": "The key is the user name."},
            },
        },
    }


def _contents(route: Route) -> list[Content]:
    return [*route.body, *(content for content in route.answers.values() if content is not None)]


def _operation(route: Route, of_type: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *(_query_parameter(query) for query in route.query)],
        "responses": _responses(route, of_type, problem),
    }
    if route.description:
        operation["description"] = route.description
    if route.body:
        content = {each.media: _media(each, of_type) for each in route.body}
        operation["requestBody"] = {"required": True, "content": content}
    if route.access == "open":
        operation["security"] = []
    else:
        operation["x-scope"] = "read" if route.access == "local" else route.access
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[a-z0-9]+", route.path.replace("/v1/orgs/{org}", ""))
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _MEANINGS.get(name, name),
            "schema": {"type": "string", "minLength": 1},
        }
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameter(query: Query) -> dict[str, Any]:
    return {"name": query.name, "in": "query", "description": query.meaning, "schema": query.schema}


def _media(content: Content, of_type: dict[str, Any]) -> dict[str, Any]:
    return {"schema": of_type[repr(content.type)] if content.type is not None else {"type": "string"}}


def _responses(route: Route, of_type: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, content in route.answers.items():
        described: dict[str, Any] = {"description": "Not modified" if status == 304 else route.summary}
        if content is not None:
            described["content"] = {content.media: _media(content, of_type)}
        responses[str(status)] = described
    statuses = set(route.problems)
    if route.access != "open":
        statuses |= {401, 403}
    if "{org}" in route.path:
        statuses |= {404}
    for status in sorted(statuses):
        codes = [code for code, (each, _) in CODES.items() if each == status]
        responses[str(status)] = {
            "description": f"Refused: {', '.join(codes)}",
            "content": {"application/problem+json": {"schema": problem}},
        }
    return responses
