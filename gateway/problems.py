"""Refusals as the caller sees them: RFC 9457 problem documents, from one table of codes and one of error classes.

Enters: whatever a route raises. Leaves: ``application/problem+json`` with ``type, title, status, detail``,
the stable ``code``, ``message`` (the detail again, for clients that look there) and ``errors`` for invalid
input. An error that is in neither table is a 500 without its text: no stack trace leaves the process.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.web_exceptions import HTTPException
from aiohttp.web_protocol import RequestPayloadError

from kernel import errors as e

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

#: code → (status, title). A code is part of the contract: it may be added, never renamed.
CODES: dict[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not JSON"),
    "malformed_body": (400, "The body cannot be read"),
    "malformed_request": (400, "The request cannot be read"),
    "unauthorized": (401, "A valid key is needed"),
    "forbidden": (403, "The key's scopes do not reach here"),
    "not_found": (404, "Nothing is here"),
    "org_not_found": (404, "No such organisation"),
    "lead_not_found": (404, "No such lead"),
    "feature_not_found": (404, "No such feature"),
    "subject_not_found": (404, "No such subject"),
    "service_not_found": (404, "No such service"),
    "dead_letter_not_found": (404, "No such dead letter"),
    "alert_not_found": (404, "No such alert"),
    "alert_rule_not_found": (404, "No such alert rule"),
    "policy_not_found": (404, "No such policy"),
    "model_version_not_found": (404, "No such version of the model"),
    "decision_not_found": (404, "No such decision"),
    "prediction_not_found": (404, "No such prediction"),
    "model_not_found": (404, "No such scoring model"),
    "configuration_not_found": (404, "No such scoring configuration"),
    "job_not_found": (404, "No such job"),
    "method_not_allowed": (405, "Not with this method"),
    "event_conflict": (409, "The id belongs to another event"),
    "model_refused": (409, "The model cannot be used"),
    "model_not_in_use": (409, "The model is not in use"),
    "job_conflict": (409, "Another job of this kind is running"),
    "decision_conflict": (409, "The id belongs to another decision"),
    "reward_conflict": (409, "The id belongs to another reward"),
    "no_eligible_arm": (409, "No arm may be chosen"),
    "needs_whole_log": (409, "Not on one of several nodes"),
    "webhook_gone": (409, "The webhook is no longer in the settings"),
    "event_too_large": (413, "The event is too large"),
    "request_too_large": (413, "The request is too large"),
    "unsupported_media_type": (415, "Not in this media type"),
    "expectation_failed": (417, "The expectation cannot be met"),
    "event_invalid": (422, "The event breaks a rule"),
    "event_unknown_type": (422, "No such event type"),
    "event_from_future": (422, "The event is from the future"),
    "invalid_time": (422, "Not a time that can be asked for"),
    "unknown_feature": (422, "No such view, feature or service"),
    "invalid_parameter": (422, "A parameter is not as expected"),
    "invalid_limit": (422, "The limit is out of range"),
    "invalid_cursor": (422, "The cursor does not belong to this list"),
    "invalid_body": (422, "The body is not as expected"),
    "invalid_definition": (422, "The definition is not as expected"),
    "internal_error": (500, "Something broke here"),
    "owner_away": (503, "Nobody answers for this now"),
    "not_owner": (503, "This node does not answer for this"),
    "answer_lost": (503, "Whether it was done is not known"),
    "list_building": (503, "The list is being built"),
    "too_many_streams": (503, "Too many streams are open"),
    "intake_full": (503, "Too much is waiting already"),
    "store_unavailable": (503, "The log cannot be written now"),
    "copy_incomplete": (503, "The copy of the log is being made"),
    "stopping": (503, "The service is stopping"),
    "not_ready": (503, "The service is not ready"),
}

#: Refusals of what was sent, as opposed to who sent it, or where to.
VALIDATION_CODES = tuple(code for code, (status, _) in CODES.items() if status in (400, 409, 413, 415, 422))

#: error class → code. The first that fits decides, so leaves stand before what they derive from.
CODE_OF_ERROR: tuple[tuple[type[BaseException], str], ...] = (
    (e.UnknownFeature, "unknown_feature"),
    (e.ModelNotFound, "model_not_found"),
    (e.ModelCorrupt, "model_refused"),
    (e.ModelSchemaMismatch, "model_refused"),
    (e.InvalidDefinition, "invalid_definition"),
    (e.MalformedBody, "malformed_json"),
    (e.UnsupportedMediaType, "unsupported_media_type"),
    (e.RequestTooLarge, "request_too_large"),
    (e.IntakeFull, "intake_full"),
    (e.MailboxFull, "intake_full"),
    (e.LogIncomplete, "copy_incomplete"),
    (e.StoreUnavailable, "store_unavailable"),
    (e.NodeUnreachable, "owner_away"),
    (e.StoreClosed, "stopping"),
    (e.ActorStopped, "stopping"),
    (web.HTTPNotFound, "not_found"),
    (web.HTTPMethodNotAllowed, "method_not_allowed"),
    (web.HTTPRequestEntityTooLarge, "request_too_large"),
    (web.HTTPUnsupportedMediaType, "unsupported_media_type"),
    (web.HTTPExpectationFailed, "expectation_failed"),
    (web.HTTPBadRequest, "malformed_request"),
    (RequestPayloadError, "malformed_body"),  # a corrupt gzip body; as a 500 clients would retry it for ever
)


class Invalid(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place of the input that is not as expected. ``index`` is given for members of a list."""

    path: str
    expected: str
    actual: str
    index: int | None = None


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    errors: list[Invalid] | None = None


class Problem(e.LeadwheelError):
    """A request is refused.

    Parameters
    ----------
    code : of ``CODES``.
    detail : one sentence for the caller.
    members : further members of the document (extensions in the words of RFC 9457).
    status : where it is not the code's usual one.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[Invalid] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.errors = code, detail, list(errors)
        self.headers, self.members = dict(headers or {}), dict(members or {})
        self.status = status


def invalid_parameter(name: str, expected: str, actual: str, code: str = "invalid_parameter") -> Problem:
    """The refusal of a query parameter or a member of a body."""
    return Problem(code, f"{name}: {expected}", errors=[Invalid(name, expected.removeprefix("expected "), actual)])


def code_of(error: BaseException) -> str | None:
    """The code of an error that is foreseen; None for one that is not."""
    if isinstance(error, Problem):
        return error.code
    return next((code for kind, code in CODE_OF_ERROR if isinstance(error, kind)), None)


def document(error: BaseException) -> ProblemDocument:
    """The problem document of any error; what is not foreseen says nothing of itself."""
    code = code_of(error) or "internal_error"
    status, title = CODES[code]
    if isinstance(error, Problem) and error.status is not None:
        status = error.status
    return ProblemDocument(
        f"urn:leadwheel:problem:{code}",
        title,
        status,
        detail := _detail(error, code),
        code,
        detail,
        _errors(error),
    )


def _errors(error: BaseException) -> list[Invalid] | None:
    if isinstance(error, e.InvalidDefinition):
        return [Invalid(*fault) for fault in error.faults]
    return (error.errors or None) if isinstance(error, Problem) else None


def respond(error: BaseException) -> web.Response:
    """The answer to a request that ended in ``error``."""
    problem = document(error)
    body = msgspec.to_builtins(problem)
    if isinstance(error, Problem):
        body |= error.members
    elif isinstance(error, e.LogIncomplete):
        body["progress"] = error.progress
    headers = _headers(error, problem.status)
    return web.Response(body=_encode(body), status=problem.status, headers=headers, content_type=CONTENT_TYPE)


def _encode(body: Any) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # an echo of bytes that are no UTF-8
        return msgspec.json.encode(_printable(body))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(each) for key, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list) else value


def _detail(error: BaseException, code: str) -> str:
    if isinstance(error, Problem):
        return error.detail
    if isinstance(error, HTTPException) or code in ("internal_error", "malformed_body"):
        return CODES[code][1] + "."
    return str(error) or CODES[code][1] + "."


def _headers(error: BaseException, status: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(error, Problem):
        headers |= error.headers
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = error.headers.get("Allow", "")
    if status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="leadwheel"')
    if status == 503:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return headers
