"""From the bytes of a request to the bytes of its events, before any of them is looked at.

A JSON body is one event or an array of them and parses as a whole or not at all. In NDJSON each line stands
alone, so a bad one is its own item's fault; blank lines are skipped and not counted.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from kernel.errors import MalformedBody, RequestTooLarge, UnsupportedMediaType

JSON = "application/json"
NDJSON = "application/x-ndjson"

#: An event's bytes. ``Raw`` is a view into the body.
RawEvent = bytes | msgspec.Raw

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_CHARSETS = ("utf-8", "utf8", "us-ascii")


class Limits(msgspec.Struct, frozen=True):
    """What a request may carry."""

    event_bytes: int = 64 * 1024
    events: int = 10_000
    body_bytes: int = 16 * 1024 * 1024


DEFAULT_LIMITS = Limits()


class Body(NamedTuple):
    """A request's events, not decoded. ``is_checked``: their JSON and UTF-8 are known to be well-formed."""

    items: Sequence[RawEvent]
    is_single: bool
    is_checked: bool


def split_body(body: bytes, media_type: str, limits: Limits) -> Body:
    """Take a request's body apart.

    Parameters
    ----------
    media_type : the value of Content-Type, parameters included.

    Raises
    ------
    UnsupportedMediaType, RequestTooLarge, MalformedBody
    """
    kind = _essence(media_type)
    if len(body) > limits.body_bytes:
        raise RequestTooLarge("bytes", limits.body_bytes, len(body))
    if kind == NDJSON:
        parts = Body([line for line in map(bytes.strip, body.split(b"\n")) if line], False, False)
    elif body.lstrip()[:1] == b"[":
        parts = Body(_split_array(body), False, True)
    else:
        parts = Body([body], True, False)
    if len(parts.items) > limits.events:
        raise RequestTooLarge("events", limits.events, len(parts.items))
    return parts


def is_utf8(body: bytes | memoryview) -> bool:
    """Whether the bytes are UTF-8 throughout. The JSON decoder looks only at the strings that it decodes."""
    try:
        str(body, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


@lru_cache(maxsize=64)
def _essence(media_type: str) -> str:
    essence, _, parameters = media_type.partition(";")
    kind = essence.strip().lower()
    if kind not in (JSON, NDJSON):
        raise UnsupportedMediaType(f"{JSON} or {NDJSON}", media_type)
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in _CHARSETS:
            raise UnsupportedMediaType("charset utf-8", media_type)
    return kind


def _split_array(body: bytes) -> list[msgspec.Raw]:
    if not is_utf8(body):
        raise MalformedBody("it is not UTF-8")
    try:
        return _ARRAY.decode(body)
    except msgspec.DecodeError as error:
        raise MalformedBody(str(error)) from error
    except RecursionError as error:
        raise MalformedBody("it is nested too deeply") from error
