"""The OpenAPI 3.1 document, made from the table of routes and the structs that decode and encode bodies."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from inspect import cleandoc
from typing import Any, get_args

import msgspec

from gateway.examples import EXAMPLES
from gateway.problems import CODES, ProblemDocument
from gateway.routing import Content, Query, Route

_PARAMETER = re.compile(r"\{(\w+)\}")
#: Parameter of a path → what it is, and one that could be.
_MEANINGS = {
    "org": ("The organisation: the key's own; while there is no key, `default`", "default"),
    "lead": ("The lead's id, percent-encoded (`/` as `%2F`)", "42"),
    "subject": ("The subject of the market", "algebra"),
    "view": ("A feature view", "rfm"),
    "feature": ("A feature's name within its view", "recency_days"),
    "id": ("As listed", None),
    "name": ("The name it is given and found by", "next-best-offer"),
    "policy": ("The policy's name", "offers"),
    "decision": ("The decision's id", "d-4711"),
    "file": ("The file's name", "docs.js"),
    "job": ("The job's id", None),
    "prediction": ("The prediction's id", None),
    "configId": ("A scoring configuration", "default"),
}
#: Tag → what its routes are about, in the order in which pages show them.
_TAGS = {
    "events": "What happened: facts go into the log once, and are folded before the answer.",
    "leads": "What follows from it: a lead's features, now or as of any other time, and its timeline.",
    "market": "A subject of the market: supply and demand.",
    "catalogue": "What each feature means.",
    "services": "Named lists of features, in a fixed order, for whoever reads vectors.",
    "policies": "What may be done: arms, how one is chosen, what it earns, what was learned.",
    "decisions": "What was chosen for whom, with which probability, and what came of it.",
    "lead scoring": "Who next, why, and what to do: predictions of leads, their lists, and how good they have been.",
    "models": "What predicts: versions of the scoring models with their cards, and which of them are in use.",
    "alerts": "What needs somebody: rules over features and predictions, and what they raised.",
    "jobs": "Long work on request: replay, verify, train.",
    "operations": "The service itself.",
}
_DESCRIPTION = """
Events go in; exact, live features of every lead come out. The log is the truth, everything else is a fold of it.

- **Keys.** `Authorization: Bearer KEY`, `Ocp-Apim-Subscription-Key: KEY`, or the user name of basic auth. A key belongs to one
  organisation and has scopes: `ingest`, `read`, `decide`, and `admin`, which includes the others. While no key exists the
  organisation `default` is open on this machine.
- **Refusals** are problem documents (RFC 9457) with a stable `code`; for invalid input `errors` names the place, what was
  expected there, and what came. `503` carries `Retry-After`.
- **Times** in answers are RFC 3339 in UTC with six decimals. In requests: RFC 3339 with an offset, or seconds since the epoch.
- **Lists** are `{"items": […], "cursor": …}`; pass the cursor back to go on, null is the end.
""".strip()
#: Codes that a few routes answer → how their paths end.
_AT = {
    "no_eligible_arm": "/decide",
    "decision_conflict": "/decide",
    "reward_conflict": "/reward",
    "model_version_not_found": ("/rollback", "/model"),
    "invalid_definition": "/policies/{policy}",
}
_UNCHANGED = "Not modified: what the caller has is still good"


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
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": _tags(table),
        "security": [{"bearer": []}, {"subscriptionKey": []}, {"basic": []}, {}],
        "paths": paths,
        "components": {
            "schemas": {name: _component(schema) for name, schema in components.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "subscriptionKey": {"type": "apiKey", "in": "header", "name": "Ocp-Apim-Subscription-Key"},
                "basic": {"type": "http", "scheme": "basic", "description": "The key is the user name."},
            },
        },
    }


def _tags(table: Sequence[Route]) -> list[dict[str, str]]:
    used = dict.fromkeys([*_TAGS, *(route.tag for route in table)])
    return [{"name": tag, **({"description": _TAGS[tag]} if tag in _TAGS else {})} for tag in used]


def _component(schema: dict[str, Any]) -> dict[str, Any]:
    if "description" not in schema:
        return schema
    return {**schema, "description": _markdown(schema["description"])}


def _markdown(docstring: str) -> str:
    return cleandoc(docstring).replace("``", "`")


def _contents(route: Route) -> list[Content]:
    return [*route.body, *(content for content in route.answers.values() if content is not None)]


def _operation(route: Route, of_type: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "description": " ".join(filter(None, (route.description, _access(route)))),
        "parameters": [
            *_path_parameters(route),
            *(_parameter(query, "query") for query in route.query),
            *(_parameter(header, "header") for header in route.headers),
        ],
        "responses": _responses(route, of_type, problem),
    }
    if route.body:
        content = {each.media: _media(each, of_type) for each in route.body}
        operation["requestBody"] = {"required": True, "content": content}
    if route.access == "open":
        operation["security"] = []
    else:
        operation["x-scope"] = "read" if route.access == "local" else route.access
    return operation


def _access(route: Route) -> str:
    """Who may call, in words."""
    if route.access == "open":
        return "Needs no key."
    if route.access == "local":
        return "Needs no key on this machine, elsewhere one with the scope `read`."
    return f"Needs a key with the scope `{route.access}`."


def _operation_id(route: Route) -> str:
    words = re.findall(r"[a-z0-9]+", route.path.replace("/v1/orgs/{org}", ""))
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    parameters = []
    for name in _PARAMETER.findall(route.path):
        meaning, example = _MEANINGS.get(name, (name, None))
        parameter = {"name": name, "in": "path", "required": True, "description": meaning}
        parameter["schema"] = {"type": "string", "minLength": 1}
        parameters.append(parameter | ({"example": example} if example else {}))
    return parameters


def _parameter(query: Query, place: str) -> dict[str, Any]:
    schema = {"type": "string", **query.schema} if "enum" in query.schema else query.schema
    meaning = f"{query.meaning}. {schema['description']}" if "description" in schema else query.meaning
    return {"name": query.name, "in": place, "description": meaning, "schema": schema}


def _media(content: Content, of_type: dict[str, Any]) -> dict[str, Any]:
    schema = of_type[repr(content.type)] if content.type is not None else {"type": "string"}
    example = EXAMPLES.get(content.media) if content.type is None else _example(content.type)
    return {"schema": schema} if example is None else {"schema": schema, "example": example}


def _example(kind: Any) -> Any:
    """A value of a body's type; of a union the first that has one."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return EXAMPLES.get(kind.__name__)
    found = next((each for argument in get_args(kind) if (each := _example(argument)) is not None), None)
    return [found] if found is not None and getattr(kind, "__origin__", None) is list else found


def _responses(route: Route, of_type: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, content in route.answers.items():
        described: dict[str, Any] = {"description": _told(status, content)}
        if route.sends:
            described["headers"] = {
                each.name: {"description": each.meaning, "schema": each.schema} for each in route.sends
            }
        if content is not None:
            described["content"] = {content.media: _media(content, of_type)}
            if content.also:
                described["content"][content.also] = {"schema": {"type": "string"}}
        responses[str(status)] = described
    for status in sorted(_refusals(route)):
        codes = [code for code, (each, _) in CODES.items() if each == status]
        fitting = [code for code in codes if _fits(code, route)] or codes
        responses[str(status)] = {
            "description": f"Refused: {', '.join(f'`{code}`' for code in fitting)}",
            "content": {"application/problem+json": {"schema": problem, "example": _problem(fitting[0])}},
        }
    return responses


def _problem(code: str) -> dict[str, Any]:
    """A refusal without the particulars that only a request has."""
    status, title = CODES[code]
    base = {"type": f"urn:leadwheel:problem:{code}", "title": title, "status": status}
    return base | {"detail": f"{title}.", "code": code, "message": f"{title}."}


def _told(status: int, content: Content | None) -> str:
    """What an answer is: what its struct says of itself, else what its status means."""
    kind = content.type if content is not None else None
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    if is_struct and kind.__doc__:
        return _markdown(kind.__doc__)
    return _UNCHANGED if status == 304 else HTTPStatus(status).phrase


def _fits(code: str, route: Route) -> bool:
    """Whether a code of one of a route's statuses may be its answer; errs on the side of yes."""
    path, queries = route.path, {query.name for query in route.query}
    if code in ("invalid_limit", "invalid_cursor"):
        return code.removeprefix("invalid_") in queries
    if code in ("invalid_time", "unknown_feature"):
        return "features" in queries or "/features" in path
    if code in ("malformed_json", "malformed_body", "invalid_body"):
        return bool(route.body)
    if code.startswith("event_"):
        return bool(route.body) and ("/events" in path or "/extract" in path)
    if code in _AT:
        return (route.method == "PUT" or code != "invalid_definition") and path.endswith(tuple(_AT[code]))
    if code == "not_found":
        return "{org}" not in path
    if code.endswith("_not_found"):
        noun = code.removesuffix("_not_found")
        return f"{{{noun}}}" in path or f"{_plural(noun)}/{{" in path
    return not code.endswith("_conflict") or _plural(code.removesuffix("_conflict")) in path


def _plural(noun: str) -> str:
    """As it stands in paths."""
    return f"/{noun.replace('_', '-')}s"


def _refusals(route: Route) -> set[int]:
    """The statuses of refusals: the route's own, and those of the key."""
    if route.access == "open":
        return set(route.problems)
    return {*route.problems, 401, 403} | ({404} if "{org}" in route.path else set())
