from typing import Any, get_args

import msgspec
import pytest

from gateway.app import ROUTES
from gateway.examples import EXAMPLES
from gateway.openapi import build_openapi
from gateway.problems import CODES
from gateway.routing import Content, Query, Route

DOCUMENT = build_openapi(ROUTES, "1.2.3")
OPERATIONS: list[tuple[str, str, dict[str, Any]]] = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]


def bodies() -> list[Content]:
    contents = [content for route in ROUTES for content in (*route.body, *route.answers.values())]
    return [content for content in contents if content is not None]


def structs(kind: Any) -> set[type]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {kind}
    return {found for argument in get_args(kind) for found in structs(argument)}


STRUCTS = {kind.__name__: kind for content in bodies() for kind in structs(content.type)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_value_of_its_struct(name: str) -> None:
    if name not in STRUCTS:
        assert name in {content.media for content in bodies() if content.type is None}
        return
    encoded = msgspec.json.encode(EXAMPLES[name])
    decoded = msgspec.json.decode(encoded, type=STRUCTS[name])
    known = {field.encode_name for field in msgspec.structs.fields(STRUCTS[name])}
    assert set(EXAMPLES[name]) <= known
    assert decoded is not None


def test_every_body_that_a_caller_writes_has_an_example() -> None:
    without = [
        f"{method} {path} {media}"
        for method, path, operation in OPERATIONS
        for media, content in operation.get("requestBody", {}).get("content", {}).items()
        if "example" not in content
    ]
    assert without == []


def test_every_operation_says_what_it_does_and_who_may_call() -> None:
    for _, path, operation in OPERATIONS:
        assert operation["summary"], path
        assert "key" in operation["description"], path
        for parameter in operation["parameters"]:
            assert len(parameter["description"]) > 5, (path, parameter["name"])
        assert all(response["description"] for response in operation["responses"].values())


def test_every_tag_is_described() -> None:
    described = {tag["name"] for tag in DOCUMENT["tags"] if tag.get("description")}
    assert {tag for _, _, operation in OPERATIONS for tag in operation["tags"]} <= described


def test_a_refusal_names_the_codes_that_fit_and_shows_the_first() -> None:
    refusals = DOCUMENT["paths"]["/v1/orgs/{org}/leads/{lead}/events"]["get"]["responses"]
    assert refusals["404"]["description"] == "Refused: `org_not_found`, `lead_not_found`"
    assert refusals["422"]["description"] == "Refused: `invalid_parameter`, `invalid_limit`, `invalid_cursor`"
    example = refusals["404"]["content"]["application/problem+json"]["example"]
    assert (example["code"], example["status"]) == ("org_not_found", 404)
    assert set(example) == {"type", "title", "status", "detail", "code", "message"}


def test_every_code_of_an_events_refusal_is_told() -> None:
    responses = DOCUMENT["paths"]["/v1/orgs/{org}/events"]["post"]["responses"]
    text = " ".join(response["description"] for response in responses.values())
    assert [code for code in CODES if code.startswith("event_") and f"`{code}`" not in text] == []


async def _nothing(*arguments: Any) -> Any:
    raise NotImplementedError


def test_headers_of_request_and_answer_are_described() -> None:
    route = Route(
        "GET",
        "/v1/orgs/{org}/things/{thing}",
        _nothing,
        "read",
        "things",
        "A thing",
        headers=(Query("If-Match", "What it was"),),
        sends=(Query("ETag", "What it is"),),
        answers={200: Content(list[int]), 304: None},
    )
    document = build_openapi([route], "1")
    operation = document["paths"][route.path]["get"]
    assert [each["name"] for each in operation["parameters"]] == ["org", "thing", "If-Match"]
    assert operation["parameters"][2]["in"] == "header"
    assert operation["responses"]["200"]["headers"]["ETag"]["description"] == "What it is"
    assert operation["responses"]["200"]["description"] == "OK"
    assert "things" in [tag["name"] for tag in document["tags"]]
