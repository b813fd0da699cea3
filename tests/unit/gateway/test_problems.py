import msgspec
import pytest
from aiohttp import web

from gateway.problems import CODE_OF_ERROR, CODES, Problem, code_of, invalid_parameter, respond
from kernel import errors


def body(error: BaseException) -> dict[str, object]:
    response = respond(error)
    assert response.content_type == "application/problem+json"
    assert isinstance(response.body, bytes)
    document: dict[str, object] = msgspec.json.decode(response.body)
    assert document["status"] == response.status
    return document


def test_a_problem_has_all_members_of_the_contract() -> None:
    document = body(invalid_parameter("limit", "expected 1 to 1000", "0", "invalid_limit"))
    assert document == {
        "type": "urn:leadwheel:problem:invalid_limit",
        "title": CODES["invalid_limit"][1],
        "status": 422,
        "detail": "limit: expected 1 to 1000",
        "code": "invalid_limit",
        "message": "limit: expected 1 to 1000",
        "errors": [{"path": "limit", "expected": "1 to 1000", "actual": "0"}],
    }


def test_what_is_not_foreseen_says_nothing_of_itself() -> None:
    document = body(RuntimeError("the password is 1234"))
    assert document["status"] == 500
    assert document["code"] == "internal_error"
    assert "1234" not in str(document)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.UnknownFeature("x:y"), 422, "unknown_feature"),
        (errors.IntakeFull("full"), 503, "intake_full"),
        (errors.MailboxFull("full"), 503, "intake_full"),
        (errors.StoreUnavailable("disk full"), 503, "store_unavailable"),
        (errors.LogIncomplete(0.25), 503, "copy_incomplete"),
        (errors.ActorStopped("stopping"), 503, "stopping"),
        (errors.MalformedBody("x"), 400, "malformed_json"),
        (errors.UnsupportedMediaType("a", "b"), 415, "unsupported_media_type"),
        (errors.RequestTooLarge("bytes", 1, 2), 413, "request_too_large"),
        (web.HTTPNotFound(), 404, "not_found"),
        (web.HTTPRequestEntityTooLarge(1), 413, "request_too_large"),
        (web.HTTPExpectationFailed(), 417, "expectation_failed"),
        (web.RequestPayloadError("bad gzip"), 400, "malformed_body"),
    ],
)
def test_each_foreseen_error_has_its_status_and_code(error: Exception, status: int, code: str) -> None:
    document = body(error)
    assert (document["status"], document["code"]) == (status, code)
    assert document["detail"]


def test_a_copy_that_is_being_made_says_how_far_it_is() -> None:
    assert body(errors.LogIncomplete(0.25))["progress"] == 0.25


def test_405_keeps_allow_503_says_when_and_401_says_how() -> None:
    assert respond(web.HTTPMethodNotAllowed("PUT", ["GET", "HEAD"])).headers["Allow"] == "GET,HEAD"
    assert int(respond(errors.IntakeFull("x")).headers["Retry-After"]) >= 1
    assert respond(Problem("unauthorized", "x")).headers["WWW-Authenticate"].startswith("Bearer")


def test_an_echo_of_bytes_that_are_no_utf8_is_answered() -> None:
    assert body(invalid_parameter("x", "y", "\udcff"))["code"] == "invalid_parameter"


def test_every_code_in_use_is_in_the_table_with_a_status_of_an_error() -> None:
    assert {code for _, code in CODE_OF_ERROR} <= set(CODES)
    assert all(400 <= status < 600 and title for status, title in CODES.values())


def test_a_transient_error_is_always_answered_503() -> None:
    leaves = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    transient = [kind for kind in leaves if getattr(kind, "is_transient", False)]
    assert transient
    for kind in transient:
        code = code_of(kind(0.5) if kind is errors.LogIncomplete else kind("x"))
        assert code is not None
        assert CODES[code][0] == 503
