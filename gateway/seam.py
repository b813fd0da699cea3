"""Where the market's part of an answer joins a lead's: all bytes but the market's, ready to be sent around any block.

A market with a thousand events a second has a new block for nearly every read of a lead. Such a read costs a
look-up and one writing of the pieces, the lead's own among them as they were encoded once; nothing is copied before.
"""

import msgspec
from multidict import CIMultiDict

from gateway.asks import Ask
from gateway.market import Block, Market
from gateway.ready import head_of
from projections.answer import Form, Part, change_text, comes_first, head_member, time_text

MAX_JOINS = 8  # with one block: an answer that is asked for so often while the market stands still is kept whole


class Seam(msgspec.Struct, gc=False):
    """The lead's side of an answer that begins with all of its own features and ends with the market's.

    ``block`` is the one that it was joined with last, ``joins`` how often, ``joined`` the pieces of that answer.
    """

    market: Market
    key: str
    form: Form
    own: Part
    head: bytes  # with places for the length and for the block's seal
    opening: bytes
    as_of: bytes
    change: bytes
    values: bytes  # all that stands before the first value
    size_bytes: int  # of all these but the head and the change
    block: Block | None = None
    joins: int = 0
    joined: tuple[bytes, tuple[bytes, ...]] = (b"", ())

    def current(self, now_us: int) -> Block | None:
        """The block to join with now, if it is at hand, and joining is all there is to do.

        It is not while a block is made, and where keeping the answer whole is cheaper than many joins.
        """
        change_us = self.own.next_change_us
        if change_us is not None and now_us >= change_us:
            return None
        last = self.block
        if last is None or not last.is_current or not last.holds(now_us):
            return self.market.current(self.key, self.form, now_us)
        return last if self.joins < MAX_JOINS else None

    def join(self, block: Block) -> tuple[bytes, tuple[bytes, ...]]:
        """Head and body of the answer, the body in pieces."""
        if block is self.block:
            self.joins += 1
            return self.joined
        self.block, self.joins, own = block, 1, self.own
        as_of = self.as_of if own.as_of_us >= block.as_of_us else block.as_of
        change = self.change if comes_first(own, block) else block.change
        head = self.head % (self.size_bytes + len(change) + len(block.tail), block.seal)
        self.joined = head, (self.opening, as_of, change, self.values, own.body, block.tail)
        return self.joined


def seam_of(market: Market, lead: str, ask: Ask, own: Part, block: Block, headers: CIMultiDict[str]) -> Seam | None:
    """The seam of an answer, given the headers it has; None where the sides alternate, or one has nothing to show."""
    span = ask.span
    if [run.is_own for run in span.runs] != [True, False] or not own.body or not block.body:
        return None
    places = CIMultiDict(headers)
    places["Content-Length"], places["ETag"] = "%d", f'"{own.etag}%b"'
    names = b'"names":%b,' % span.encoded_columns if ask.format == "vector" else b""
    bracket = b"{" if ask.format == "map" else b"["
    opening, as_of = b'{%b"as_of":' % head_member("lead", lead), time_text(own.as_of_us)
    values = b',"catalogue":"%b",%b"values":%b' % (span.fingerprint.encode(), names, bracket)
    return Seam(
        market=market,
        key=span.key,
        form=ask.format,
        own=own,
        head=head_of(places),
        opening=opening,
        as_of=as_of,
        change=change_text(own.next_change_us),
        values=values,
        size_bytes=len(opening) + len(as_of) + len(values) + len(own.body),
    )
