"""Where the market's part of an answer joins a lead's: all bytes but the market's, ready to be sent around any block.

A market with a thousand events a second has a new block for nearly every read of a lead. Such a read costs a
look-up and one writing of the pieces, the lead's own among them as they were encoded once; nothing is copied before.
"""

import msgspec
from multidict import CIMultiDict

from gateway.asks import Ask
from gateway.market import Block
from gateway.ready import head_of
from projections.answer import Form, Part, change_text, comes_first, head_member, time_text

MAX_JOINS = 8  # with one block: an answer that is asked for so often while the market stands still is kept whole


class Seam(msgspec.Struct, gc=False):
    """The lead's side of an answer that begins with all of its own features and ends with the market's.

    ``block`` is the one that it was joined with last, ``joins`` how often.
    """

    key: str
    form: Form
    own: Part
    head: bytes  # with places for length and validator
    opening: bytes
    as_of: bytes
    change: bytes
    values: bytes  # all that stands before the first value
    closing: bytes
    block: Block | None = None
    joins: int = 0

    def is_worth(self, block: Block) -> bool:
        """Whether joining is still cheaper than keeping the answer whole, which costs as much as some joins."""
        return block is not self.block or self.joins < MAX_JOINS

    def join(self, block: Block) -> tuple[bytes, tuple[bytes, ...]]:
        """Head and body of the answer, the body in pieces."""
        self.joins = self.joins + 1 if block is self.block else 1
        self.block, own = block, self.own
        as_of = self.as_of if own.as_of_us >= block.as_of_us else block.as_of
        change = self.change if comes_first(own, block) else block.change
        body = (self.opening, as_of, change, self.values, own.body, b",", block.body, self.closing)
        head = self.head % (sum(map(len, body)), b'"%b%b"' % (own.etag.encode(), block.etag.encode()))
        return head, body


def seam_of(lead: str, ask: Ask, own: Part, block: Block, headers: CIMultiDict[str]) -> Seam | None:
    """The seam of an answer, given the headers it has; None where the sides alternate, or one has nothing to show."""
    span = ask.span
    if [run.is_own for run in span.runs] != [True, False] or not own.body or not block.body:
        return None
    places = CIMultiDict(headers)
    places["Content-Length"], places["ETag"] = "%d", "%b"
    names = b'"names":%b,' % span.encoded_columns if ask.format == "vector" else b""
    opening, closing = (b"{", b"}}") if ask.format == "map" else (b"[", b"]}")
    return Seam(
        key=span.key,
        form=ask.format,
        own=own,
        head=head_of(places),
        opening=b'{%b"as_of":' % head_member("lead", lead),
        as_of=time_text(own.as_of_us),
        change=change_text(own.next_change_us),
        values=b',"catalogue":"%b",%b"values":%b' % (span.fingerprint.encode(), names, opening),
        closing=closing,
    )
