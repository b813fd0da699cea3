"""A features answer: encoded once, sent until its next change; or joined from parts that are kept alone."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from kernel.times import format_time
from projections.entity import FoldedEntity
from projections.market import Span
from projections.selection import Selection

Format = Literal["map", "vector"]
#: ``list``: the values alone, in the order of the names.
Form = Literal["list", "map", "vector"]


class Answer(msgspec.Struct, gc=False):
    """The bytes of an answer, its validator, and until when it may be sent (None: for ever)."""

    body: bytes
    etag: str
    next_change_us: int | None

    def holds(self, now_us: int) -> bool:
        """Whether time has not changed it yet."""
        return self.next_change_us is None or now_us < self.next_change_us


class Part(Answer, gc=False):
    """The values of one side of a span: encoded, a piece per run; ``body`` is all of them, ``etag`` seals it.

    They hold in [``as_of_us``, ``next_change_us``), unless an event arrives.
    """

    as_of_us: int = 0
    pieces: tuple[bytes, ...] = ()


def encode_answer(
    who: str | None,
    as_of_us: int,
    next_change_us: int | None,
    selection: Selection,
    values: Sequence[Any],
    format: Format = "map",
    kind: Literal["lead", "subject"] = "lead",
) -> Answer:
    """The whole answer about one entity. The validator is over lead, catalogue, format, names and values: not over
    the times, so that it survives sleep and restart.
    """
    catalogue, head = selection.entities.fingerprint, head_member(kind, who)
    names = _ENCODER.encode(selection.column_names) if format == "vector" else None
    members = _members(encode_values(selection, values, format), names)
    seal = _seal(head, f"{catalogue}{format}".encode(), members)
    return Answer(_body(head, as_of_us, next_change_us, catalogue, members), f'"{seal}"', next_change_us)


def own_part(entity: FoldedEntity, span: Span, form: Form) -> Part:
    """What a span takes of an entity that was read."""
    runs = [(run.start, run.stop) for run in span.runs if run.is_own]
    pieces = tuple(_encoded(span.own, entity.values(span.own), form, runs))
    about = f"{entity.stream.id}\n{span.fingerprint}{span.key}{form}".encode()
    return part_of(pieces, entity.as_of_us, entity.next_change_us(span.own), about)


def part_of(pieces: tuple[bytes, ...], as_of_us: int, next_change_us: int | None, about: bytes = b"") -> Part:
    """A part with its seal, which covers what it is ``about``, too. A single piece is not copied."""
    body = pieces[0] if len(pieces) == 1 else b",".join(pieces)
    return Part(body, _seal(about, body), next_change_us, as_of_us, pieces)


def each_encoded(selection: Selection, values: Sequence[Any], form: Form) -> tuple[bytes, ...]:
    """Every feature alone, to be put together in any order by ``joined``."""
    if form == "map":
        return tuple(map(bytes.__add__, selection.encoded_names, map(_ENCODER.encode, values)))
    return tuple(_encoded(selection, values, form, [(index, index + 1) for index in range(len(values))]))


def joined(pieces: Sequence[bytes]) -> bytes:
    """Pieces in the order of an answer; features without a column leave none behind."""
    return b",".join(filter(None, pieces))


def span_values(span: Span, own: Part, market: Part | None, form: Form) -> bytes:
    """The values of both sides in the order of the span, with their brackets. ``market`` is None where it has none."""
    sides = {True: iter(own.pieces), False: iter(market.pieces if market else ())}
    return _bracketed(joined([next(sides[run.is_own]) for run in span.runs]), form)


def span_answer(lead: str | None, span: Span, own: Part, market: Part, format: Format) -> Answer:
    """The answer that joins both parts: true from when both are, until either changes.

    Its validator is theirs together: the own one is over lead, catalogue, format and names, too.
    """
    as_of_us = max(own.as_of_us, market.as_of_us)
    next_change_us = (own if comes_first(own, market) else market).next_change_us
    members = _members(span_values(span, own, market, format), span.encoded_columns if format == "vector" else None)
    body = _body(head_member("lead", lead), as_of_us, next_change_us, span.fingerprint, members)
    return Answer(body, f'"{own.etag}{market.etag}"', next_change_us)


def comes_first(one: Part, other: Part) -> bool:
    """Whether ``one`` changes first, or neither ever does."""
    return other.next_change_us is None or (
        one.next_change_us is not None and one.next_change_us <= other.next_change_us
    )


def time_text(at_us: int) -> bytes:
    """A time as it stands in an answer."""
    return b'"%b"' % format_time(at_us).encode()


def change_text(next_change_us: int | None) -> bytes:
    """The member that says until when an answer holds."""
    return b',"next_change":%b' % (b"null" if next_change_us is None else time_text(next_change_us))


def head_member(kind: str, name: str | None) -> bytes:
    """The member that says whom an answer is about."""
    return b"" if name is None else b'"%b":%b,' % (kind.encode(), _ENCODER.encode(name))


def encode_values(selection: Selection, values: Sequence[Any], form: Form) -> bytes:
    """The values of one entity, with their brackets."""
    return _bracketed(next(_encoded(selection, values, form, [(0, len(values))])), form)


def _encoded(
    selection: Selection, values: Sequence[Any], form: Form, runs: Iterable[tuple[int, int]]
) -> Iterator[bytes]:
    """Runs ``[start, stop)`` of the selection's features, without brackets."""
    encode, names = _ENCODER.encode, selection.names
    if form == "vector":
        numbers, starts = selection.vector(values), selection.column_starts
        yield from (encode(numbers[starts[start] : starts[stop]])[1:-1] for start, stop in runs)
    elif form == "map":
        for start, stop in runs:
            yield encode(dict(zip(names[start:stop], values[start:stop], strict=True)))[1:-1]
    else:
        yield from (encode(values[start:stop])[1:-1] for start, stop in runs)


def _bracketed(encoded: bytes, form: Form) -> bytes:
    return b"{%b}" % encoded if form == "map" else b"[%b]" % encoded


def _members(values: bytes, encoded_names: bytes | None) -> bytes:
    """The members of an answer that its validator covers."""
    return b'"values":' + values if encoded_names is None else b'"names":%b,"values":%b' % (encoded_names, values)


def _body(head: bytes, as_of_us: int, next_change_us: int | None, catalogue: str, members: bytes) -> bytes:
    times = time_text(as_of_us) + change_text(next_change_us)
    return b'{%b"as_of":%b,"catalogue":"%b",%b}' % (head, times, catalogue.encode(), members)


def _seal(*parts: bytes) -> str:
    return blake2b(b"".join(parts), digest_size=12).hexdigest()


_ENCODER = msgspec.json.Encoder()
