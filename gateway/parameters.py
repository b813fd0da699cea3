"""Query parameters, times and pages: how a request's texts become values, and how each is refused."""

import base64
import binascii
import hashlib
from collections.abc import Collection
from typing import Any

import msgspec
from aiohttp import web

from gateway.problems import invalid_parameter
from kernel.times import DAY_US, parse_rfc3339, parse_seconds

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
AHEAD_MAX_US = 400 * DAY_US
EXPECTED_TIME = "an RFC 3339 time with an offset, or seconds since the epoch"


def query_of(request: web.BaseRequest, known: Collection[str], repeatable: Collection[str] = ()) -> dict[str, str]:
    """The query, each parameter known and, if it is not repeatable, once: a misspelt ``at`` would silently mean now."""
    query: dict[str, str] = {}
    if not request.rel_url.raw_query_string:
        return query
    for name, value in request.rel_url.query.items():
        if name not in known:
            raise invalid_parameter(name, f"expected one of {', '.join(sorted(known))}", name)
        if name in query and name not in repeatable:
            raise invalid_parameter(name, "expected once", value)
        query[name] = value
    return query


def choice(query: dict[str, str], name: str, values: tuple[str, ...]) -> str:
    """One of ``values``; the first when absent."""
    value = query.get(name, values[0])
    if value not in values:
        raise invalid_parameter(name, f"expected one of {', '.join(values)}", value)
    return value


def flag(query: dict[str, str], name: str) -> bool:
    """``true`` or ``false``; false when absent."""
    return choice(query, name, ("false", "true")) == "true"


def names(query: dict[str, str], name: str) -> list[str] | None:
    """A comma-separated list; None when absent."""
    return query[name].split(",") if name in query else None


def time_text(query: dict[str, str], name: str, now_us: int) -> int | None:
    """A time of the query in either of an event's forms: in a URL a number is a text, too."""
    text = query.get(name)
    if text is None:
        return None
    text = text.strip()
    try:
        return _not_too_far(_parse_text(text), name, text, now_us)
    except ValueError:
        raise invalid_parameter(name, f"expected {EXPECTED_TIME}", text, "invalid_time") from None


def time_value(value: str | float | None, name: str, now_us: int) -> int | None:
    """A time of a JSON body."""
    if value is None:
        return None
    try:
        at_us = parse_rfc3339(_with_plus(value)) if isinstance(value, str) else parse_seconds(value)
    except ValueError:
        raise invalid_parameter(name, f"expected {EXPECTED_TIME}", str(value), "invalid_time") from None
    return _not_too_far(at_us, name, str(value), now_us)


def _parse_text(text: str) -> int:
    is_number = text[:1] in "-.0123456789" and "T" not in text.upper() and ":" not in text
    if is_number and text.isascii() and "_" not in text:
        return parse_seconds(float(text))
    return parse_rfc3339(_with_plus(text))


def _with_plus(text: str) -> str:
    """A space before the offset is a ``+`` that nobody escaped."""
    return f"{text[:-6]}+{text[-5:]}" if len(text) > 6 and text[-6] == " " else text


def _not_too_far(at_us: int, name: str, text: str, now_us: int) -> int:
    if at_us > now_us + AHEAD_MAX_US:
        raise invalid_parameter(name, "expected at most 400 days ahead", text, "invalid_time")
    return at_us


class Page(msgspec.Struct, frozen=True):
    """How many, and after what. ``after`` is the last key of the page before, None for the first page."""

    limit: int
    after: list[Any] | None
    list_id: str

    def answer(self, items: list[Any], last_key: list[Any] | None) -> dict[str, Any]:
        """The body of a list; ``last_key`` None at its end."""
        cursor = None if last_key is None else _write_cursor(self.list_id, last_key)
        return {"items": items, "cursor": cursor}


def page_of(query: dict[str, str], *identity: str, key: Any) -> Page:
    """Limit and cursor of a list.

    Parameters
    ----------
    identity : what makes this list another one than its siblings (route, org, lead, filters): a cursor of a
        different list is refused.
    key : type of the keys in its cursors, for ``msgspec``.
    """
    text = query.get("limit", str(LIMIT_DEFAULT))
    is_number = text.isascii() and text.isdigit() and len(text) <= 6
    if not is_number or not 1 <= int(text) <= LIMIT_MAX:
        raise invalid_parameter("limit", f"expected 1 to {LIMIT_MAX}", text, "invalid_limit")
    list_id = hashlib.sha256("\0".join(identity).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    cursor = query.get("cursor")
    return Page(int(text), None if cursor is None else _read_cursor(cursor, list_id, key), list_id)


def _write_cursor(list_id: str, key: list[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([list_id, key])).decode().rstrip("=")


def _read_cursor(cursor: str, list_id: str, key: Any) -> list[Any]:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found, after = msgspec.json.decode(raw, type=tuple[str, key])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        found, after = "", None
    if found != list_id:
        raise invalid_parameter("cursor", "expected the cursor of this list's last answer", cursor, "invalid_cursor")
    return list(after)
