"""A features answer: encoded once, sent until its next change."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from kernel.times import format_time
from projections.selection import Selection

Format = Literal["map", "vector"]


class Answer(msgspec.Struct, gc=False):
    """The bytes of an answer, its validator, and until when it may be sent (None: for ever)."""

    body: bytes
    etag: str
    next_change_us: int | None


def encode_values(selection: Selection, values: Sequence[Any], format: Format) -> bytes:
    """The part of an answer that its validator covers, without the braces around it."""
    if format == "vector":
        names, numbers = selection.column_names, selection.vector(values)
        return b'"names":' + _ENCODER.encode(names) + b',"values":' + _ENCODER.encode(numbers)
    return b'"values":' + _ENCODER.encode(dict(zip(selection.names, values, strict=True)))


def encode_answer(
    lead: str | None,
    as_of_us: int,
    next_change_us: int | None,
    selection: Selection,
    values: Sequence[Any],
    format: Format = "map",
) -> Answer:
    """The whole answer. The validator is over lead, catalogue, format, names and values: not over the times, so
    that it survives sleep and restart.
    """
    catalogue = selection.entities.fingerprint
    encoded = encode_values(selection, values, format)
    who = b"" if lead is None else b'"lead":' + _ENCODER.encode(lead) + b","
    change = b"null" if next_change_us is None else f'"{format_time(next_change_us)}"'.encode()
    times = f'"as_of":"{format_time(as_of_us)}","next_change":'.encode() + change
    body = b"{" + who + times + f',"catalogue":"{catalogue}",'.encode() + encoded + b"}"
    seal = blake2b(who + f"{catalogue}{format}".encode() + encoded, digest_size=12).hexdigest()
    return Answer(body, f'"{seal}"', next_change_us)


_ENCODER = msgspec.json.Encoder()
