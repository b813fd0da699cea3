"""A request's body: read whole, in a media type that is asked for, decoded once into a struct."""

import asyncio
import zlib
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from eventstore.wording import explain
from gateway.problems import Invalid, Problem

_T = TypeVar("_T")
_GZIP = b"\x1f\x8b"
_AT_ONCE_BYTES = 64 * 1024  # more than this is inflated in a thread: 16 MiB take 40 ms


async def read_body(request: web.Request) -> bytes:
    """The bytes, inflated if they are gzipped. Raises what ``problems`` turns into 400, 413 or 415."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise Problem("unsupported_media_type", f"Content-Encoding {encoding}: expected gzip or none")
    body = _at_hand(request)
    if body is None:
        body = await request.read()
    if encoding in ("", "identity") or not body.startswith(_GZIP):  # a server may have inflated it already
        return body
    limit = request.client_max_size
    return await asyncio.to_thread(inflate, body, limit) if len(body) > _AT_ONCE_BYTES else inflate(body, limit)


def _at_hand(request: web.Request) -> bytes | None:
    """The body, if all of it came with the head: as ``read`` would give it, a third of its time. Else None."""
    content = request.content
    if request._read_bytes is not None or not content.is_eof():
        return None
    body = content.read_nowait()
    if len(body) > request.client_max_size > 0:
        raise web.HTTPRequestEntityTooLarge(request.client_max_size, len(body))
    request._read_bytes = body  # whoever reads it again gets it again
    return body


def inflate(body: bytes, limit: int) -> bytes:
    """The content of a gzip body, of one member or several. Never makes more than ``limit`` bytes of it.

    Raises
    ------
    Problem
        ``malformed_body``, ``request_too_large``
    """
    parts: list[bytes] = []
    size = 0
    while body:
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(body, limit - size + 1)
        except zlib.error as error:
            raise Problem("malformed_body", f"the body is not gzip: {error}") from error
        size += len(part)
        if size > limit:
            raise Problem("request_too_large", f"expected at most {limit} bytes after gzip")
        if not member.eof:
            raise Problem("malformed_body", "the gzip body ends too early")
        parts.append(part)
        body = member.unused_data
    return b"".join(parts)


def is_json(media_type: str) -> bool:
    """Whether a Content-Type is JSON in UTF-8; none at all is taken for JSON."""
    return media_type.partition(";")[0].strip().lower() in ("application/json", "")


async def decode_body(request: web.Request, decoder: msgspec.json.Decoder[_T], kind: Any) -> _T:
    """The body as a struct.

    Raises
    ------
    Problem
        ``unsupported_media_type``, ``malformed_json``; ``invalid_body`` with path, expectation and what came.
    """
    media_type = request.headers.get("Content-Type", "")
    if not is_json(media_type):
        raise Problem("unsupported_media_type", f"Content-Type {media_type}: expected application/json")
    return decoded(await read_body(request), decoder, kind)


def decoded(body: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[_T], kind: Any) -> _T:
    """JSON as a struct. Raises ``Problem``: ``malformed_json``; ``invalid_body`` with path, expectation and what came."""
    body = bytes(body)
    try:
        body.decode("utf-8")
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        fault = explain(kind, body, error)
        detail = f"{fault.path or 'the body'}: expected {fault.expected}, got {fault.actual}"
        raise Problem("invalid_body", detail, errors=[Invalid(*fault)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("malformed_json", f"the body is not JSON: {error}") from error
    except (ValueError, ArithmeticError) as error:  # integers of thousands of digits
        raise Problem("invalid_body", "a number is too large") from error
